"""Drives the official `openai` package, unmodified and with its own defaults (two retries), against the gateway.

Reads one call a line from standard input, {"call": NAME, "model": NAME}, and writes one result a line to standard output:
{"text": …} or {"error": CLASS, "status": …, "code": …, "message": …, "text": what came before}.
Arguments: azure | openai, and the gateway's base URL.
"""

import asyncio
import io
import json
import os
import sys

import openai

VERSION = "2024-10-21"
KEY = os.environ.get("CLIENT_KEY", "client-key-not-real")
MESSAGES = [{"role": "user", "content": "Say something."}]


def client(kind, base, asynchronous=False):
    if kind == "azure":
        make = openai.AsyncAzureOpenAI if asynchronous else openai.AzureOpenAI
        return make(azure_endpoint=base, api_key=KEY, api_version=VERSION)
    make = openai.AsyncOpenAI if asynchronous else openai.OpenAI
    return make(base_url=f"{base}/openai/v1", api_key=KEY)


def chat(sdk, model):
    answer = sdk.chat.completions.create(model=model, messages=MESSAGES)
    assert answer.usage.completion_tokens > 0
    return answer.choices[0].message.content


def chat_large(sdk, model):
    answer = sdk.chat.completions.create(model=model, messages=[{"role": "user", "content": "x" * 3_000_000}])
    return answer.choices[0].message.content


def chat_stream(sdk, model, text):
    options = {"include_usage": True}
    usage = None
    for chunk in sdk.chat.completions.create(model=model, messages=MESSAGES, stream=True, stream_options=options):
        usage = chunk.usage or usage
        if chunk.choices:
            text.append(chunk.choices[0].delta.content or "")
    assert usage.completion_tokens > 0


def chat_stream_helper(sdk, model):
    with sdk.chat.completions.stream(model=model, messages=MESSAGES) as stream:
        return stream.get_final_completion().choices[0].message.content


def chat_async(kind, base, model):
    async def ask():
        async with client(kind, base, asynchronous=True) as sdk:
            answers = await asyncio.gather(
                *(sdk.chat.completions.create(model=model, messages=MESSAGES) for _ in range(3))
            )
            return answers[0].choices[0].message.content

    return asyncio.run(ask())


def completion(sdk, model):
    return sdk.completions.create(model=model, prompt="Say something.").choices[0].text


def embeddings(sdk, model):
    answer = sdk.embeddings.create(model=model, input=["one", "two"])
    assert len(answer.data) == 2 and len(answer.data[0].embedding) > 100
    return answer.model_extra.get("x_sim", "")


def responses(sdk, model):
    answer = sdk.responses.create(model=model, input="Say something.")
    assert answer.status == "completed", answer.status
    return answer.output_text


def responses_stream(sdk, model, text):
    done = False
    for event in sdk.responses.create(model=model, input="Say something.", stream=True):
        if event.type == "response.output_text.delta":
            text.append(event.delta)
        done = done or event.type == "response.completed"
    assert done, "no response.completed"


def transcription(sdk, model):
    sound = io.BytesIO(b"RIFF" + bytes(200_000))
    sound.name = "speech.wav"
    return sdk.audio.transcriptions.create(model=model, file=sound).text


def image(sdk, model):
    answer = sdk.images.generate(model=model, prompt="A tide gate.")
    return answer.data[0].revised_prompt or answer.data[0].url or ""


STREAMS = {"chat_stream": chat_stream, "responses_stream": responses_stream}
CALLS = {
    "chat": chat,
    "chat_large": chat_large,
    "chat_stream_helper": chat_stream_helper,
    "completion": completion,
    "embeddings": embeddings,
    "responses": responses,
    "transcription": transcription,
    "image": image,
}


def run(kind, base, sdk, call, model):
    text = []
    try:
        if call == "chat_async":
            return {"text": chat_async(kind, base, model)}
        if call in STREAMS:
            STREAMS[call](sdk, model, text)
            return {"text": "".join(text)}
        return {"text": CALLS[call](sdk, model)}
    except openai.OpenAIError as error:
        return {
            "error": type(error).__name__,
            "status": getattr(error, "status_code", None),
            "code": getattr(error, "code", None),
            "message": str(error),
            "text": "".join(text),
        }


def main():
    kind, base = sys.argv[1:3]
    sdk = client(kind, base)
    for line in sys.stdin:
        wanted = json.loads(line)
        print(json.dumps(run(kind, base, sdk, wanted["call"], wanted["model"])), flush=True)


main()
