"""A client of the realtime API for the tests: one JSON command a line in, one JSON answer a line out."""

import json
import sys
from contextlib import ExitStack

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import connect

sockets = {}
stack = ExitStack()


def opened(command):
    """Opens a socket and reads its greeting."""
    try:
        client = connect(
            command["url"],
            additional_headers=command.get("headers", {}),
            subprotocols=command.get("subprotocols"),
            open_timeout=30,
            close_timeout=10,
            ping_interval=None,
            max_size=None,
            proxy=None,
        )
        socket = stack.enter_context(client)
    except InvalidStatus as refused:
        return {"status": refused.response.status_code, "body": refused.response.body.decode("utf-8", "replace")}
    sockets[command["name"]] = socket
    return {
        "status": socket.response.status_code,
        "served_by": socket.response.headers.get("x-served-by"),
        "subprotocol": socket.subprotocol,
        "greeting": json.loads(socket.recv(timeout=30)),
    }


def echoed(command):
    """Sends a message of so many bytes, or a text, and reads it back."""
    socket = sockets[command["name"]]
    message = bytes(i % 251 for i in range(command["bytes"])) if "bytes" in command else command["text"]
    socket.send(message)
    return {"same": socket.recv(timeout=60) == message}


def asked(command):
    """Sends an event and reads so many."""
    socket = sockets[command["name"]]
    socket.send(json.dumps(command["event"]))
    return {"types": [json.loads(socket.recv(timeout=30))["type"] for _ in range(command["count"])]}


def ended(command):
    """Waits for the end of a socket; null where no close frame came."""
    try:
        while True:
            sockets[command["name"]].recv(timeout=60)
    except ConnectionClosed as closed:
        return {"code": closed.rcvd.code if closed.rcvd else None}


def closed(command):
    """Closes a socket."""
    socket = sockets.pop(command["name"])
    socket.close()
    return {"code": socket.close_code}


DO = {"open": opened, "echo": echoed, "ask": asked, "end": ended, "close": closed}

for line in sys.stdin:
    command = json.loads(line)
    try:
        answer = DO[command["do"]](command)
    except (ConnectionClosed, InvalidHandshake, OSError, TimeoutError) as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
