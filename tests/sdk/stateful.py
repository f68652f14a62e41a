"""Walks through everything that is stored, with the official `openai` package, unmodified, against the gateway.

Two regions serve; each step that goes on from an earlier one has to meet the region that made it. Arguments: azure | openai, the
gateway's base URL, and `sealed` or `raw`. Prints `ok` at the end; anything else is a failure.
"""

import io
import json
import re
import sys

import openai

KEY = "client-key-not-real"
# At least and at most: chance says which region something new is made in.
ROUNDS, ROUNDS_MAX = 4, 50


def client(kind, base):
    if kind == "azure":
        return openai.AzureOpenAI(azure_endpoint=base, api_key=KEY, api_version="2025-04-01-preview", max_retries=0)
    return openai.OpenAI(base_url=f"{base}/openai/v1", api_key=KEY, max_retries=0)


def region(text):
    return re.match(r"\[(\w+)/", text).group(1)


def ids_in(value):
    """Every id of an answer, by the keys under which ids stand."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(inner, str) and (key == "id" or key.endswith("_id")) and not inner.startswith("call_"):
                yield inner
            elif key != "metadata":
                yield from ids_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from ids_in(inner)


def check(answer, sealed):
    for text in ids_in(json.loads(answer.model_dump_json())):
        assert ("_tg1" in text or "-tg1" in text) == sealed, text
    return answer


def responses(sdk, sealed):
    first = check(sdk.responses.create(model="gpt", input="one", metadata={"id": "my_own"}), sealed)
    home = region(first.output_text)
    second = check(sdk.responses.create(model="gpt", input="two", previous_response_id=first.id), sealed)
    assert region(second.output_text) == home and second.previous_response_id == first.id
    again = check(sdk.responses.retrieve(second.id), sealed)
    assert again.id == second.id and again.output[0].id == second.output[0].id
    assert sdk.responses.input_items.list(first.id).data == []
    assert sdk.responses.cancel(first.id).id == first.id
    created, done, text = None, None, ""
    for event in sdk.responses.create(model="gpt", input="three", previous_response_id=second.id, stream=True):
        if event.type == "response.created":
            created = check(event.response, sealed)
        elif event.type == "response.output_text.delta":
            text += event.delta
            item = event.item_id
        elif event.type == "response.completed":
            done = check(event.response, sealed)
    assert created.id == done.id and done.output[0].id == item, "a stream and its end name one response"
    assert region(text) == home and done.output_text == text
    assert sdk.responses.retrieve(done.id).previous_response_id == second.id
    sdk.responses.delete(done.id)
    try:
        sdk.responses.retrieve(done.id)
        raise AssertionError("it is deleted")
    except openai.NotFoundError:
        pass
    return home


def reasoning(sdk, sealed):
    """State that the client keeps: what one region has encrypted, no other can read."""
    first = sdk.responses.create(model="gpt", input="one", store=False, include=["reasoning.encrypted_content"])
    assert first.output[0].type == "reasoning" and first.output[0].encrypted_content.startswith("gAAAAA")
    history = [{"role": "user", "content": "one"}, *(item.model_dump(exclude_none=True) for item in first.output)]
    history.append({"role": "user", "content": "two"})
    second = sdk.responses.create(model="gpt", input=history, store=False)
    assert region(second.output_text) == region(first.output_text)
    return region(first.output_text)


def completions(sdk, sealed):
    """Chat completions with `store`; those without keep Azure's id."""
    asked = {"model": "gpt", "messages": [{"role": "user", "content": "one"}]}
    kept = check(sdk.chat.completions.create(**asked, store=True, metadata={"topic": "tides"}), sealed)
    again = check(sdk.chat.completions.retrieve(kept.id), sealed)
    assert again.id == kept.id and again.choices[0].message.content == kept.choices[0].message.content
    assert sdk.chat.completions.messages.list(kept.id).data == []
    changed = check(sdk.chat.completions.update(kept.id, metadata={"completion_id": "my_own"}), sealed)
    assert changed.metadata == {"completion_id": "my_own"}
    chunks = list(sdk.chat.completions.create(**asked, store=True, stream=True))
    ids = {check(chunk, sealed).id for chunk in chunks if chunk.id}
    assert len(ids) == 1 and len(chunks) > 3, chunks
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    streamed = check(sdk.chat.completions.retrieve(ids.pop()), sealed)
    assert streamed.choices[0].message.content == text
    check(sdk.chat.completions.create(**asked), False)
    check(sdk.chat.completions.create(**asked, store=False), False)
    assert check(sdk.chat.completions.delete(kept.id), sealed).id == kept.id
    try:
        sdk.chat.completions.retrieve(kept.id)
        raise AssertionError("it is deleted")
    except openai.NotFoundError:
        pass
    return region(kept.choices[0].message.content)


def conversation(sdk, sealed):
    talk = check(sdk.conversations.create(metadata={"topic": "tides"}), sealed)
    homes = {region(sdk.responses.create(model="gpt", input="x", conversation=talk.id).output_text) for _ in range(3)}
    assert sdk.conversations.retrieve(talk.id).metadata == {"topic": "tides"}
    sdk.conversations.delete(talk.id)
    return homes.pop() if len(homes) == 1 else None


def files(sdk, sealed):
    content = b'{"custom_id": "1", "body": {"id": "file-of_my_own"}}\n{"custom_id": "2"}'
    file = check(sdk.files.create(file=("in.jsonl", io.BytesIO(content)), purpose="batch"), sealed)
    assert sdk.files.retrieve(file.id).bytes == len(content)
    assert sdk.files.content(file.id).read() == content, "a file's content is its owner's"
    batch = check(
        sdk.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"), sealed
    )
    assert batch.input_file_id == file.id
    batch = check(sdk.batches.retrieve(batch.id), sealed)
    result = sdk.files.content(batch.output_file_id).read().decode()
    assert '"id":"batch_req_1"' in result, result
    home = re.search(r"\[(\w+)/", result).group(1)
    assert sdk.batches.cancel(batch.id).status == "cancelled"
    store = check(sdk.vector_stores.create(name="tides", file_ids=[file.id]), sealed)
    assert check(sdk.vector_stores.files.create(store.id, file_id=file.id), sealed).id == file.id
    answer = sdk.responses.create(
        model="gpt", input="x", tools=[{"type": "file_search", "vector_store_ids": [store.id]}]
    )
    assert region(answer.output_text) == home
    sdk.files.delete(file.id)
    return home


def threads(sdk, sealed):
    assistant = check(sdk.beta.assistants.create(model="gpt", name="x"), sealed)
    homes = set()
    for _ in range(2):
        try:
            thread = check(sdk.beta.threads.create(metadata={"thread_id": "my_own"}), sealed)
            message = check(sdk.beta.threads.messages.create(thread.id, role="user", content="one"), sealed)
            assert message.thread_id == thread.id
            run = check(sdk.beta.threads.runs.create(thread.id, assistant_id=assistant.id), sealed)
            assert run.assistant_id == assistant.id
            assert sdk.beta.threads.runs.retrieve(run.id, thread_id=thread.id).status == "completed"
            messages = check(sdk.beta.threads.messages.list(thread.id), sealed)
            assert [one.role for one in messages.data] == ["assistant", "user"] and messages.data[1].id == message.id
            homes.add(region(messages.data[0].content[0].text.value))
            events = list(sdk.beta.threads.runs.create(thread.id, assistant_id=assistant.id, stream=True))
            assert [event.event for event in events][:3] == ["thread.run.created", "thread.message.delta", "thread.run.completed"]
            assert events[0].data.id == events[2].data.id
            check(events[0].data, sealed)
        except openai.BadRequestError as error:
            # Made in the other region than the assistant: told, and not sent anywhere.
            assert sealed and error.code == "ids_of_two_backends", error
    return homes


def main():
    kind, base, mode = sys.argv[1:4]
    sdk, sealed = client(kind, base), mode == "sealed"
    for call in (responses, reasoning, completions, conversation, files, threads):
        met, count = set(), 0
        while count < ROUNDS or (sealed and count < ROUNDS_MAX and len(met) < 2):
            home = call(sdk, sealed)
            met |= home if isinstance(home, set) else {home}
            count += 1
        assert mode == "raw" or met == {"swedencentral", "francecentral"}, f"{call.__name__} met {met}"
    print("ok")


main()
