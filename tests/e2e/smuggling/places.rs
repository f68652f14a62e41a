//! Hosts, targets and what `Connection` and `Upgrade` say: one place that a request is for.

use super::{Case, Want, broken, case, echo, framing, get, post};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = hosts();
    cases.extend(targets());
    cases.extend(connections());
    cases
}

fn hosts() -> Vec<Case> {
    let mut cases = Vec::new();
    for (host, want) in [
        ("host: x\r\n", get("GET /a")),
        ("Host: x:8080\r\n", get("GET /a")),
        ("host: [::1]:80\r\n", get("GET /a")),
        ("", Want::Refused(400, "host_missing")),
        ("host:\r\n", Want::Refused(400, "host_missing")),
        ("host: x\r\nhost: x\r\n", broken()),
        ("host: x\r\nhost: y\r\n", broken()),
        ("host : x\r\n", broken()),
        ("host: x, y\r\n", framing()),
        ("host: x y\r\n", framing()),
        ("host: x/y\r\n", framing()),
        ("host: x?y\r\n", framing()),
        ("host: x:80:90\r\n", framing()),
        ("host: x:eighty\r\n", framing()),
        ("host: [::1\r\n", framing()),
        ("host: u@x\r\n", broken()),
        ("host: x\r\nhost_: y\r\n", framing()),
        ("host: x\r\nx_forwarded_host: y\r\n", framing()),
    ] {
        cases.push(case(format!("GET /a HTTP/1.1\r\n{host}accept: */*\r\n\r\n"), want));
    }
    cases
}

fn targets() -> Vec<Case> {
    let mut cases = Vec::new();
    for (target, want) in [
        ("/a?b=c", get("GET /a?b=c")),
        ("/a?b=%20", get("GET /a?b=%20")),
        // Escaped by the HTTP library: one meaning from there on.
        ("/a?b c", get("GET /a?b%20c")),
        ("http://x/a", get("GET /a")),
        ("HTTP://x/a?b", get("GET /a?b")),
        ("http://y/a", broken()),
        ("http://u@x/a", broken()),
        ("ftp://x/a", framing()),
        ("x", framing()),
        ("*", framing()),
        ("a/b", framing()),
        ("", broken()),
        (" /a", framing()),
        ("/a HTTP/1.1", broken()),
        ("/a?b HTTP/1.0", broken()),
        ("/a HTTP/2", framing()),
        ("/a#b", framing()),
        ("/a\\b", framing()),
        ("/a\0b", Want::Refused(400, "bad_path")),
        ("/a\rb", Want::Refused(400, "bad_path")),
        ("/a\x7fb", Want::Refused(400, "bad_path")),
        ("/a%0d%0ab", Want::Refused(400, "bad_path")),
        ("/a%00b", Want::Refused(400, "bad_path")),
        ("/a/../b", Want::Refused(400, "bad_path")),
        ("/a/%2e%2e/b", Want::Refused(400, "bad_path")),
        ("//x/a", Want::Refused(400, "bad_path")),
    ] {
        cases.push(case(format!("GET {target} HTTP/1.1\r\nhost: x\r\naccept: */*\r\n\r\n"), want));
    }
    cases
}

fn connections() -> Vec<Case> {
    let mut cases = Vec::new();
    for (fields, want) in [
        ("connection: close\r\n", echo("hello")),
        ("connection: keep-alive, x-own\r\nx-own: 1\r\n", echo("hello")),
        ("connection: content-length\r\n", framing()),
        ("connection: close, Content_Length\r\n", framing()),
        ("connection: host\r\n", framing()),
        ("connection: authorization\r\n", framing()),
        ("connection: x-forwarded-for\r\n", framing()),
        ("connection: a, b, c, d, e, f, g, h, i, j, k\r\n", framing()),
        ("upgrade: h2c\r\nconnection: Upgrade, HTTP2-Settings\r\nhttp2-settings: AAMAAABk\r\n", echo("hello")),
        ("upgrade: other\r\nconnection: Upgrade\r\n", echo("hello")),
        ("upgrade: websocket\r\nconnection: Upgrade\r\n", framing()),
        ("upgrade: websocket\r\n", framing()),
    ] {
        cases.push(post(&format!("content-length: 5\r\n{fields}"), "hello", want));
    }
    cases
}
