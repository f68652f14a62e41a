"""Reads whole lists by the pagination of the official `openai` package, and finds every item again by its id.

Arguments: azure | openai, the gateway's base URL. Prints a JSON object: each list, as the names of its items in order (the purposes of files).
"""

import json
import sys

import openai


def main():
    kind, base = sys.argv[1:3]
    if kind == "azure":
        version = "2025-04-01-preview"
        sdk = openai.AzureOpenAI(azure_endpoint=base, api_key="not-real", api_version=version, max_retries=0)
    else:
        sdk = openai.OpenAI(base_url=f"{base}/openai/v1", api_key="not-real", max_retries=0)
    lists = {
        "vector_stores": sdk.vector_stores,
        "assistants": sdk.beta.assistants,
        "jobs": sdk.fine_tuning.jobs,
        "files": sdk.files,
    }
    told = {}
    for name, calls in lists.items():
        items = list(calls.list(limit=2))
        for item in items:
            assert calls.retrieve(item.id).id == item.id
        told[name] = [getattr(item, "name", None) or getattr(item, "purpose", None) or item.metadata["name"] for item in items]
    print(json.dumps(told))


main()
