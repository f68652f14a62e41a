"""Streams of the official `openai` package, many at once, some left midway; tells what each of them saw.

Reads one job a line from standard input, {"id", "call": "chat" | "completions" | "responses", "tokens", "stall_after", "leave_after",
"ask"}, all of them before the first starts, and writes one result a line to standard output: {"id", "seen", "usages"}.
Arguments: azure | openai, and the gateway's base URL.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import openai

VERSION = "2024-10-21"
RESPONSES_VERSION = "2025-03-01-preview"
KEY = "client-key-not-real"
MESSAGES = [{"role": "user", "content": "Say something."}]


def client(kind, base, call):
    if kind == "azure":
        version = RESPONSES_VERSION if call == "responses" else VERSION
        return openai.AzureOpenAI(azure_endpoint=base, api_key=KEY, api_version=version)
    return openai.OpenAI(base_url=f"{base}/openai/v1", api_key=KEY)


def begin(sdk, job):
    headers = {"x-request-id": job["id"], "x-sim-tokens": str(job["tokens"]), "x-sim-words": "1"}
    if job["stall_after"] is not None:
        headers["x-sim-stall-after"] = str(job["stall_after"])
    if job["call"] == "responses":
        return sdk.responses.create(model="gpt", input="Say something.", stream=True, extra_headers=headers)
    options = {"stream_options": {"include_usage": True}} if job["ask"] else {}
    if job["call"] == "completions":
        return sdk.completions.create(model="gpt", prompt="Say", stream=True, extra_headers=headers, **options)
    return sdk.chat.completions.create(model="gpt", messages=MESSAGES, stream=True, extra_headers=headers, **options)


def text_of(call, chunk):
    if call == "responses":
        return chunk.delta if chunk.type == "response.output_text.delta" else None
    if not chunk.choices:
        return None
    return chunk.choices[0].text if call == "completions" else chunk.choices[0].delta.content


def usage_of(call, chunk):
    if call == "responses":
        usage = chunk.response.usage if chunk.type == "response.completed" else None
        return usage and {"prompt": usage.input_tokens, "completion": usage.output_tokens}
    return chunk.usage and {"prompt": chunk.usage.prompt_tokens, "completion": chunk.usage.completion_tokens}


def run(kind, base, job):
    seen, usages = 0, []
    stream = begin(client(kind, base, job["call"]), job)
    for chunk in stream:
        if text_of(job["call"], chunk):
            seen += 1
        usage = usage_of(job["call"], chunk)
        if usage:
            usages.append(usage)
        if job["leave_after"] is not None and seen >= job["leave_after"]:
            break
    stream.close()
    return {"id": job["id"], "seen": seen, "usages": usages}


def main():
    kind, base = sys.argv[1:3]
    jobs = [json.loads(line) for line in sys.stdin]
    with ThreadPoolExecutor(max_workers=8) as pool:
        for result in pool.map(lambda job: run(kind, base, job), jobs):
            print(json.dumps(result), flush=True)


main()
