#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
use super::*;
use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn verdict(method: &Method, target: &str, fields: &[(&str, &str)]) -> Option<Flaw> {
    let (headers, target) = (headers(fields), target.as_bytes());
    flaw(&Head { method, target, version: Version::HTTP_11, headers: &headers, raw: None })
}

fn post(fields: &[(&str, &str)]) -> Option<Flaw> {
    verdict(&Method::POST, "/", fields)
}

#[test]
fn honest_heads_have_no_flaw() {
    for fields in [
        &[][..],
        &[("host", "ai.example.com")],
        &[("host", "ai.example.com:8443"), ("content-length", "12"), ("content-type", "application/json")],
        &[("host", "[2001:db8::1]:443"), ("transfer-encoding", "chunked")],
        &[("host", "127.0.0.1:1"), ("transfer-encoding", "Chunked")],
        &[("host", ""), ("content-length", "0")],
        &[("connection", "keep-alive, Upgrade, HTTP2-Settings"), ("upgrade", "h2c"), ("content-length", "7")],
        &[("connection", "TE, close"), ("te", "trailers"), ("expect", "100-Continue")],
        &[("x_custom_header", "1"), ("x-stainless-retry-count", "0"), ("user-agent", "x")],
    ] {
        assert_eq!(post(fields), None, "{fields:?}");
    }
    assert_eq!(verdict(&Method::GET, "/a?b=%20c", &[("content-length", "0")]), None);
    assert_eq!(verdict(&Method::GET, "HTTP://x/a", &[("host", "x")]), None);
    assert_eq!(verdict(&Method::OPTIONS, "*", &[]), None);
    assert_eq!(verdict(&Method::GET, "/", &[("upgrade", "websocket"), ("connection", "Upgrade")]), None);
}

#[test]
fn every_flaw_is_found_in_the_fields() {
    for (fields, flaw) in [
        (&[("content-length", "1000,1000")][..], Flaw::LengthTwice),
        (&[("content-length", "5"), ("content-length", "5")], Flaw::LengthTwice),
        (&[("content-length", "+5")], Flaw::LengthOdd),
        (&[("content-length", "")], Flaw::LengthOdd),
        (&[("content-length", "0x5")], Flaw::LengthOdd),
        (&[("content-length", "5 5")], Flaw::LengthOdd),
        (&[("content-length", "05")], Flaw::LengthPadded),
        (&[("content-length", "1234567890123456789")], Flaw::LengthPadded),
        (&[("content-length", "5"), ("transfer-encoding", "chunked")], Flaw::LengthAndCoding),
        (&[("transfer-encoding", "chunked,chunked")], Flaw::CodingOdd),
        (&[("transfer-encoding", "gzip, chunked")], Flaw::CodingOdd),
        (&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], Flaw::CodingOdd),
        (&[("transfer-encoding", "identity")], Flaw::CodingOdd),
        (&[("content_length", "5")], Flaw::NameCollides),
        (&[("transfer_encoding", "chunked")], Flaw::NameCollides),
        (&[("transfer-encoding_", "chunked")], Flaw::NameCollides),
        (&[("content.length", "5")], Flaw::NameCollides),
        (&[("x_forwarded_for", "1.2.3.4")], Flaw::NameCollides),
        (&[("host", "a"), ("host", "a")], Flaw::HostOdd),
        (&[("host", "a, b")], Flaw::HostOdd),
        (&[("host", "a/b")], Flaw::HostOdd),
        (&[("host", "a b")], Flaw::HostOdd),
        (&[("host", "a:80:90")], Flaw::HostOdd),
        (&[("host", "a:8o")], Flaw::HostOdd),
        (&[("host", "u@a")], Flaw::HostOdd),
        (&[("host", "[::1")], Flaw::HostOdd),
        (&[("connection", "close, Content-Length")], Flaw::ConnectionNames),
        (&[("connection", "transfer_encoding")], Flaw::ConnectionNames),
        (&[("connection", "host")], Flaw::ConnectionNames),
        (&[("connection", "a, b, c, d, e, f, g, h, i")], Flaw::ConnectionNames),
        (&[("expect", "100-continue, x")], Flaw::ExpectOdd),
        (&[("expect", "100-continue"), ("expect", "100-continue")], Flaw::ExpectOdd),
        (&[("upgrade", "WebSocket")], Flaw::UpgradeWithBody),
    ] {
        assert_eq!(post(fields), Some(flaw), "{fields:?}");
    }
    for field in [("content-length", "1"), ("transfer-encoding", "chunked")] {
        assert_eq!(verdict(&Method::GET, "/", &[field]), Some(Flaw::BodyOnGet));
        assert_eq!(verdict(&Method::HEAD, "/", &[field]), Some(Flaw::BodyOnGet));
        assert_eq!(verdict(&Method::GET, "/", &[field, ("upgrade", "websocket")]), Some(Flaw::UpgradeWithBody));
    }
    for (target, flaw) in [
        ("", Flaw::TargetForm),
        ("x", Flaw::TargetForm),
        ("*", Flaw::TargetForm),
        ("ftp://x/", Flaw::TargetForm),
        ("x:443", Flaw::TargetForm),
        ("/a b", Flaw::TargetOdd),
        ("/a\u{7f}", Flaw::TargetOdd),
        ("/ä", Flaw::TargetOdd),
        ("/a#b", Flaw::TargetOdd),
        ("/a\\b", Flaw::TargetOdd),
    ] {
        assert_eq!(verdict(&Method::GET, target, &[]), Some(flaw), "{target}");
    }
}

#[test]
fn the_raw_block_shows_what_the_parser_has_dropped() {
    let judge = |raw: &str, fields: &[(&str, &str)], version| {
        let (headers, method) = (headers(fields), Method::POST);
        let target = raw.split(' ').nth(1).unwrap().as_bytes();
        flaw(&Head { method: &method, target, version, headers: &headers, raw: Some(raw.as_bytes()) })
    };
    let coded = [("transfer-encoding", "chunked")];
    let beside = "POST / HTTP/1.1\r\nContent-LENGTH: 7\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(judge(beside, &coded, Version::HTTP_11), Some(Flaw::LengthAndCoding));
    let alike = "POST /content-length: HTTP/1.1\r\nx-content-length: 7\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(judge(alike, &coded, Version::HTTP_11), None);
    assert_eq!(judge(alike, &coded, Version::HTTP_10), Some(Flaw::CodingInOldVersion));
    for bare in ["POST / HTTP/1.1\nhost: x\r\n\r\n", "POST / HTTP/1.1\r\nhost: x\n\r\n", "\nPOST / HTTP/1.1\r\n\r\n"] {
        assert_eq!(judge(bare, &[], Version::HTTP_11), Some(Flaw::BareLineFeed), "{bare:?}");
    }
    let fragment = "POST /a#b HTTP/1.1\r\n\r\n";
    assert_eq!(judge(fragment, &[], Version::HTTP_11), Some(Flaw::TargetOdd));
    assert_eq!(judge("POST /%20HTTP/1.1 HTTP/1.1\r\n\r\n", &[], Version::HTTP_11), Some(Flaw::TargetOdd));
}

#[test]
fn strictness_decides_by_class() {
    use Treatment::{Forward, ForwardAndClose, Refuse};
    for flaw in Flaw::ALL {
        let treatments = [Strictness::Monitor, Strictness::Defensive, Strictness::Strictest].map(|s| s.treat(flaw));
        let expected = match flaw.class() {
            Class::Ambiguous => [Forward, ForwardAndClose, Refuse],
            Class::Severe => [Forward, Refuse, Refuse],
            Class::Broken => [Refuse; 3],
        };
        assert_eq!(treatments, expected, "{flaw:?}");
    }
    assert_eq!(Strictness::default(), Strictness::Strictest);
}

#[test]
fn the_protected_names_are_sorted_and_fit() {
    assert!(PROTECTED.is_sorted());
    assert_eq!(PROTECTED.iter().map(|name| name.len()).max(), Some(PROTECTED_LENGTH_MAX));
}

proptest! {
    /// A head that passes has at most one framing, whatever was typed.
    #[test]
    fn what_passes_has_one_framing(
        fields in prop::collection::vec((prop::sample::select(vec![
            "content-length", "transfer-encoding", "content_length", "transfer_encoding", "connection", "host", "upgrade", "x-a",
        ]), "[ -~]{0,12}|[0-9]{1,3}|chunked"), 0..6),
        target in "[ -~]{0,12}",
        get in any::<bool>(),
    ) {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let method = if get { Method::GET } else { Method::POST };
        if verdict(&method, &target, &fields).is_none() {
            let count = |name| fields.iter().filter(|(own, _)| *own == name).count();
            prop_assert!(count("content-length") + count("transfer-encoding") <= 1);
            prop_assert_eq!(count("content_length") + count("transfer_encoding"), 0);
            prop_assert!(count("host") <= 1);
            for (name, value) in &fields {
                match *name {
                    "content-length" => prop_assert!(value.parse::<u64>().is_ok()),
                    "transfer-encoding" => prop_assert!(value.eq_ignore_ascii_case("chunked")),
                    _ => {}
                }
            }
        }
    }
}
