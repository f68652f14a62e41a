"""Every call of the official `openai` package that has two shapes, once: tells what came back, one JSON object in all.

Arguments: azure | openai, the gateway's base URL, the model.
"""

import asyncio
import base64
import io
import json
import sys

import openai

VERSION = "2025-04-01-preview"
KEY = "client-key-not-real"
MESSAGES = [{"role": "user", "content": "Say something."}]


def client(kind, base, make=""):
    socket = base.replace("http://", "ws://")
    if kind == "azure":
        make = getattr(openai, f"{make}AzureOpenAI")
        return make(azure_endpoint=base, api_key=KEY, api_version=VERSION, websocket_base_url=f"{socket}/openai")
    make = getattr(openai, f"{make}OpenAI")
    return make(base_url=f"{base}/openai/v1", api_key=KEY, websocket_base_url=f"{socket}/openai/v1")


def sound():
    file = io.BytesIO(b"RIFF" + bytes(range(256)) * 200)
    file.name = "speech.wav"
    return file


def stream(sdk, model):
    chunks = sdk.chat.completions.create(model=model, messages=MESSAGES, stream=True)
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def image(answer):
    return base64.b64decode(answer.data[0].b64_json).decode()


def realtime(sdk, model):
    with sdk.realtime.connect(model=model) as connection:
        created = connection.recv()
        connection.send({"type": "session.update", "session": {"type": "realtime"}})
        updated = connection.recv()
        assert (created.type, updated.type) == ("session.created", "session.updated"), (created, updated)
        return str(created.session.model)


async def asynchronous(kind, base, model):
    async with client(kind, base, "Async") as sdk:
        answer = await sdk.chat.completions.create(model=model, messages=MESSAGES)
        return answer.choices[0].message.content


CALLS = {
    "chat": lambda sdk, model: sdk.chat.completions.create(model=model, messages=MESSAGES).choices[0].message.content,
    "stream": stream,
    "completion": lambda sdk, model: sdk.completions.create(model=model, prompt="Say").choices[0].text,
    "embeddings": lambda sdk, model: str(len(sdk.embeddings.create(model=model, input=["a", "b"]).data)),
    "responses": lambda sdk, model: sdk.responses.create(model=model, input="Say something.").output_text,
    "image": lambda sdk, model: image(sdk.images.generate(model=model, prompt="A gate.", response_format="b64_json")),
    "image_edit": lambda sdk, model: sdk.images.edit(model=model, prompt="A gate.", image=sound()).data[0].revised_prompt,
    "speech": lambda sdk, model: sdk.audio.speech.create(model=model, voice="alloy", input="Hi").read()[:60].decode("latin-1"),
    "transcription": lambda sdk, model: sdk.audio.transcriptions.create(model=model, file=sound()).text,
    "translation": lambda sdk, model: sdk.audio.translations.create(model=model, file=sound()).text,
    "realtime": realtime,
    "models": lambda sdk, model: ",".join(one.id for one in sdk.models.list()),
    "retrieved": lambda sdk, model: sdk.models.retrieve(model).id,
}


def main():
    kind, base, model = sys.argv[1:4]
    sdk = client(kind, base)
    results = {}
    for name, call in CALLS.items():
        try:
            results[name] = call(sdk, model)
        except Exception as error:  # told to the test, whatever it is
            results[name] = f"{type(error).__name__}: {error}"
    results["async"] = asyncio.run(asynchronous(kind, base, model))
    print(json.dumps(results))


main()
