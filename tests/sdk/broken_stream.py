"""A stream that breaks off late, through both clients. One JSON line each: how much came, and what was raised."""

from common import CHAT, azure, openai, say

for client in (azure(), openai()):
    chunks = 0
    try:
        for _chunk in client.chat.completions.create(**CHAT, stream=True):
            chunks += 1
        say(chunks=chunks, error=None)
    except Exception as error:
        say(chunks=chunks, error=type(error).__name__, text=str(error))
