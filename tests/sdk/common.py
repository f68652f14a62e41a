"""What the scripts share: both clients of the official package, unmodified, with their default retries."""

import json
import sys

from openai import AzureOpenAI, OpenAI

BASE = sys.argv[1]
CHAT = {"model": "gpt", "messages": [{"role": "user", "content": "Say hello."}]}


def azure():
    return AzureOpenAI(azure_endpoint=BASE, api_key="client-key", api_version="2024-10-21")


def openai():
    return OpenAI(base_url=BASE + "/openai/v1", api_key="client-key")


def say(**facts):
    print(json.dumps(facts), flush=True)
