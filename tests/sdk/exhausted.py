"""One chat with the client's default retries. One JSON line: served, or with what error it gave up."""

import sys

from common import CHAT, azure, openai, say
from openai import APIStatusError

client = {"azure": azure, "openai": openai}[sys.argv[2]]()
try:
    raw = client.chat.completions.with_raw_response.create(**CHAT)
    raw.parse()
    say(ok=True, request_id=raw.headers.get("x-request-id"))
except APIStatusError as error:
    headers = error.response.headers
    say(ok=False, error=type(error).__name__, status=error.status_code, request_id=headers.get("x-request-id"))
