//! `Transfer-Encoding`: one `chunked`, alone, in HTTP/1.1; and chunks that everybody reads alike.

use super::{Case, SMUGGLED, Want, broken, case, echo, framing, post};

const HELLO: &str = "5\r\nhello\r\n0\r\n\r\n";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = fields();
    cases.extend(chunks());
    cases
}

fn fields() -> Vec<Case> {
    let mut cases = Vec::new();
    for (fields, want) in [
        ("transfer-encoding: chunked\r\n", echo("hello")),
        ("Transfer-Encoding: CHUNKED\r\n", echo("hello")),
        ("transfer-encoding:  chunked\t\r\n", echo("hello")),
        ("transfer-encoding: chunked\r\nte: trailers\r\nconnection: TE\r\n", echo("hello")),
        // Beside a length, in both orders.
        ("content-length: 5\r\ntransfer-encoding: chunked\r\n", framing()),
        ("transfer-encoding: chunked\r\ncontent-length: 5\r\n", framing()),
        ("transfer-encoding: chunked\r\nContent-Length: 15\r\n", framing()),
        ("transfer-encoding: chunked\r\ncontent-length: x\r\n", framing()),
        ("transfer-encoding: x\r\ncontent-length: 5\r\n", broken()),
        // Twice, and lists.
        ("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", framing()),
        ("transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n", framing()),
        ("transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n", broken()),
        ("transfer-encoding: chunked, chunked\r\n", framing()),
        ("transfer-encoding: gzip, chunked\r\n", framing()),
        ("transfer-encoding: identity, chunked\r\n", framing()),
        ("transfer-encoding: , chunked\r\n", framing()),
        ("transfer-encoding: chunked,\r\n", broken()),
        ("transfer-encoding: chunked, gzip\r\n", broken()),
        // Almost.
        ("transfer-encoding: identity\r\n", broken()),
        ("transfer-encoding:\r\n", broken()),
        ("transfer-encoding: xchunked\r\n", broken()),
        ("transfer-encoding: chunkedx\r\n", broken()),
        ("transfer-encoding: chunked;q=1\r\n", broken()),
        ("transfer-encoding: \"chunked\"\r\n", broken()),
        ("transfer-encoding: chun ked\r\n", broken()),
        ("transfer-encoding: chunked\x0b\r\n", broken()),
        ("transfer-encoding: \x0bchunked\r\n", broken()),
        ("transfer-encoding: chunked\0\r\n", broken()),
        ("transfer-encoding:\r\n chunked\r\n", broken()),
        ("transfer-encoding : chunked\r\n", broken()),
        ("transfer-encoding\t: chunked\r\n", broken()),
        (" transfer-encoding: chunked\r\n", broken()),
        ("x: y\r\n transfer-encoding: chunked\r\n", broken()),
        ("x: y\rtransfer-encoding: chunked\r\n", broken()),
        // Under another name.
        ("transfer_encoding: chunked\r\n", framing()),
        ("transfer_encoding: chunked\r\ncontent-length: 15\r\n", framing()),
        ("transfer-encoding-: chunked\r\ncontent-length: 15\r\n", echo(HELLO)),
        ("transfer encoding: chunked\r\n", broken()),
        // Taken away by Connection.
        ("transfer-encoding: chunked\r\nconnection: transfer-encoding\r\n", framing()),
    ] {
        cases.push(post(fields, HELLO, want));
    }
    cases.push(case(format!("POST /echo HTTP/1.0\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{HELLO}"), broken()));
    cases
}

fn chunks() -> Vec<Case> {
    let long = format!("{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n", SMUGGLED.len());
    let mut cases = vec![post("transfer-encoding: chunked\r\n", &long, echo(SMUGGLED))];
    for (body, want) in [
        ("5\r\nhello\r\n0\r\n\r\n", echo("hello")),
        ("0\r\n\r\n", echo("")),
        ("2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", echo("hello")),
        ("0005\r\nhello\r\n000\r\n\r\n", echo("hello")),
        ("A\r\n0123456789\r\n0\r\n\r\n", echo("0123456789")),
        ("5;a=b\r\nhello\r\n0;c\r\n\r\n", echo("hello")),
        ("5;a=\"\r\nhello\r\n0\r\n\r\n", echo("hello")),
        ("5 \r\nhello\r\n0\r\n\r\n", echo("hello")),
        ("5\r\nhello\r\n0\r\nx: y\r\n\r\n", echo("hello")),
        ("5\r\nhello\r\n0\r\ncontent-length: 9\r\ntransfer-encoding: gzip\r\n\r\n", echo("hello")),
        ("0x5\r\nhello\r\n0\r\n\r\n", Want::Dropped),
        ("+5\r\nhello\r\n0\r\n\r\n", Want::Dropped),
        ("-5\r\nhello\r\n0\r\n\r\n", Want::Dropped),
        ("5 5\r\nhello\r\n0\r\n\r\n", Want::Dropped),
        ("5h\r\nhello\r\n0\r\n\r\n", Want::Dropped),
        ("g\r\nhello\r\n0\r\n\r\n", Want::Dropped),
        ("5\nhello\n0\n\n", Want::Dropped),
        ("5\rhello\r0\r\r", Want::Dropped),
        ("5\r\nhelloX\r\n0\r\n\r\n", Want::Dropped),
        ("5\r\nhello0\r\n\r\n", Want::Dropped),
        ("fffffffffffffffff\r\nhello\r\n0\r\n\r\n", Want::Dropped),
        ("10000000000000005\r\nhello\r\n0\r\n\r\n", Want::Dropped),
        ("5\r\nhello", Want::Dropped),
    ] {
        cases.push(post("transfer-encoding: chunked\r\n", body, want));
    }
    cases
}
