"""Every kind of call, through both clients. One JSON line each: did it work, and who served it."""

import io

from common import CHAT, azure, openai, say


def report(call, client, raw, ok):
    headers = raw.headers
    say(call=call, client=client, ok=bool(ok), served_by=headers.get("x-served-by"), request_id=headers.get("x-request-id"))


def stream(client, **options):
    with client.chat.completions.with_streaming_response.create(**CHAT, stream=True, **options) as raw:
        chunks = list(raw.parse())
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    return raw, chunks, text


def run(name, client):
    raw = client.chat.completions.with_raw_response.create(**CHAT)
    answer = raw.parse()
    report("chat", name, raw, "token1" in answer.choices[0].message.content and answer.usage.total_tokens > 0)

    raw, chunks, text = stream(client)
    report("stream", name, raw, "token16" in text)

    raw, chunks, text = stream(client, stream_options={"include_usage": True})
    report("stream with usage", name, raw, chunks[-1].usage and chunks[-1].usage.total_tokens > 0)

    raw = client.embeddings.with_raw_response.create(model="gpt", input=["one", "two"])
    report("embeddings", name, raw, len(raw.parse().data) == 2)

    raw = client.completions.with_raw_response.create(model="gpt", prompt="Once upon")
    report("completions", name, raw, raw.parse().choices[0].text)

    sound = io.BytesIO(b"RIFF" + bytes(200_000))
    sound.name = "speech.wav"
    raw = client.audio.transcriptions.with_raw_response.create(model="gpt", file=sound)
    report("transcription", name, raw, raw.parse().text)

    big = [{"role": "user", "content": "word " * 300_000}]
    raw = client.chat.completions.with_raw_response.create(model="gpt", messages=big)
    report("large chat", name, raw, raw.parse().choices[0].message.content)

    raw = client.responses.with_raw_response.create(model="gpt", input="Say hello.", store=False)
    report("responses", name, raw, raw.parse().output_text)

    with client.responses.with_streaming_response.create(model="gpt", input="Hi.", store=False, stream=True) as raw:
        kinds = [event.type for event in raw.parse()]
    report("responses stream", name, raw, kinds[-1] == "response.completed")


run("azure", azure())
run("openai", openai())
