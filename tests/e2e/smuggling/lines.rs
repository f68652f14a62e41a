//! Lines, names and values: what ends a line, what is no name, and versions of HTTP.

use super::{Case, Want, broken, case, echo, framing, get, post};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (fields, want) in [
        ("x: y\n", framing()),
        ("x: y\n\r\n", framing()),
        ("x: y\r\n\n", framing()),
        ("x: a\rb\r\n", broken()),
        ("x: a\0b\r\n", broken()),
        ("x: a\x08b\r\n", broken()),
        ("x: a\x7fb\r\n", broken()),
        ("x: a\r\n b\r\n", broken()),
        ("x: a\r\n\tb\r\n", broken()),
        ("x\r\n", broken()),
        (": x\r\n", broken()),
        ("x y: z\r\n", broken()),
        ("x(y): z\r\n", broken()),
        ("x\u{e9}: z\r\n", broken()),
        ("x : z\r\n", broken()),
        ("x: caf\u{e9}\r\n", echo("hello")),
        ("x:\r\n", echo("hello")),
        ("x_y: z\r\n", echo("hello")),
        ("x!y: z\r\n", echo("hello")),
        ("expect: 100-continue\r\n", echo("hello")),
        ("expect: 100-continued\r\n", framing()),
        ("expect: y 100-continue\r\n", framing()),
        ("expect: 100-continue\r\nexpect: 100-continue\r\n", framing()),
    ] {
        cases.push(post(&format!("content-length: 5\r\n{fields}"), "hello", want));
    }
    for (raw, want) in [
        ("POST /echo HTTP/1.1\nhost: x\ncontent-length: 5\n\nhello", framing()),
        ("POST /echo HTTP/1.1\nhost: x\r\ncontent-length: 5\r\n\r\nhello", framing()),
        ("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\nhello", framing()),
        ("\nPOST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello", framing()),
        ("\r\nPOST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello", echo("hello")),
        ("POST /echo HTTP/1.2\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello", broken()),
        ("POST /echo HTTP/2.0\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello", broken()),
        ("POST /echo HTTP/1.10\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello", broken()),
        ("POST /echo http/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello", broken()),
        ("POST /echo HTTP/1.1 \r\nhost: x\r\ncontent-length: 5\r\n\r\nhello", broken()),
        ("POST /echo HTTP/\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello", broken()),
        ("POST\t/echo HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello", broken()),
        ("PO ST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello", framing()),
        ("P(ST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello", broken()),
        ("GET /version/zero/point/nine\r\n", Want::Dropped),
        ("GET /version/zero/point/nine\r\n\r\n", Want::Dropped),
        ("GET /old HTTP/1.0\r\nhost: x\r\n\r\n", get("GET /old")),
        ("GET /old HTTP/1.0\r\nlast: field\r\n\r\n", Want::Refused(400, "host_missing")),
        ("GET /a HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello", framing()),
        ("HEAD /a HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello", Want::Refused(400, "")),
        ("GET /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", framing()),
        ("GET /a HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n", get("GET /a")),
        (
            "DELETE /a HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello",
            Want::Forwarded("DELETE /a", b"hello".to_vec()),
        ),
        ("TRACE /a HTTP/1.1\r\nhost: x\r\n\r\n", Want::Refused(405, "method_not_allowed")),
        ("CONNECT x:443 HTTP/1.1\r\nhost: x:443\r\n\r\n", Want::Refused(405, "method_not_allowed")),
    ] {
        cases.push(case(raw, want));
    }
    cases
}
