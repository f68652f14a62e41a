//! `Content-Length`: once, one decimal number, under its own name.

use super::{Case, SMUGGLED, Want, broken, case, echo, framing, post};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (fields, want) in [
        ("content-length: 5\r\n", echo("hello")),
        ("CONTENT-LENGTH: 5\r\n", echo("hello")),
        ("content-length:5\r\n", echo("hello")),
        ("content-length:   5  \r\n", echo("hello")),
        ("content-length:\t5\t\r\n", echo("hello")),
        ("x-content-length: 7\r\ncontent-length: 5\r\n", echo("hello")),
        // Twice, and lists.
        ("content-length: 5\r\ncontent-length: 5\r\n", framing()),
        ("content-length: 5\r\nContent-Length: 6\r\n", broken()),
        ("content-length: 0\r\ncontent-length: 5\r\n", broken()),
        ("content-length: 5, 5\r\n", framing()),
        ("content-length: 5,5\r\n", framing()),
        ("content-length: 5, 6\r\n", broken()),
        ("content-length: 5,\r\n", broken()),
        ("content-length: ,5\r\n", broken()),
        // No decimal numbers.
        ("content-length:\r\n", broken()),
        ("content-length: +5\r\n", broken()),
        ("content-length: -5\r\n", broken()),
        ("content-length: 0x5\r\n", broken()),
        ("content-length: 5 5\r\n", broken()),
        ("content-length: 5;a=b\r\n", broken()),
        ("content-length: \"5\"\r\n", broken()),
        ("content-length: 5.0\r\n", broken()),
        ("content-length: 5e0\r\n", broken()),
        ("content-length: five\r\n", broken()),
        ("content-length: \u{ff15}\r\n", broken()),
        ("content-length: 5\x0b\r\n", broken()),
        ("content-length: \x0c5\r\n", broken()),
        ("content-length: 5\0\r\n", broken()),
        ("content-length: 5\r\r\n", broken()),
        // Numbers that not every reader holds.
        ("content-length: 05\r\n", framing()),
        ("content-length: 000000000000000000005\r\n", framing()),
        ("content-length: 1234567890123456789\r\n", framing()),
        ("content-length: 18446744073709551616\r\n", broken()),
        ("content-length: 18446744073709551621\r\n", broken()),
        ("content-length: 999999999\r\n", Want::Refused(413, "body_too_large")),
        ("content-length: 500\r\n", Want::Refused(408, "body_timeout")),
        // Under another name.
        ("content_length: 5\r\n", framing()),
        ("Content_Length: 5\r\ncontent-length: 5\r\n", framing()),
        ("content-length_: 5\r\n", framing()),
        ("content.length: 5\r\n", framing()),
        ("contentlength: 5\r\ncontent-length: 5\r\n", echo("hello")),
        ("content length: 5\r\n", broken()),
        ("content-length : 5\r\n", broken()),
        ("content-length\t: 5\r\n", broken()),
        (" content-length: 5\r\n", broken()),
        ("content-length\0: 5\r\n", broken()),
        ("content-length\u{a0}: 5\r\n", broken()),
        ("x: y\r\n content-length: 5\r\n", broken()),
    ] {
        cases.push(post(fields, "hello", want));
    }
    let inside = format!("content-length: {}\r\n", SMUGGLED.len());
    cases.push(post(&inside, SMUGGLED, echo(SMUGGLED)));
    cases.push(post("content-length: 0\r\n", "", echo("")));
    cases.push(post("", "", echo("")));
    // Bytes that nobody has announced are no body, and no request either.
    cases.push(post("", "hello", echo("")));
    cases.push(case("POST /echo HTTP/1.0\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello", echo("hello")));
    cases
}
