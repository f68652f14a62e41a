//! Tables and properties of streams.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]

use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest};

use super::*;

/// Everything a scanner knows.
type Seen = (u64, bool, bool, Option<Usage>, Option<StreamError>);

fn seen(scanner: &Scanner) -> Seen {
    (scanner.events(), scanner.done(), scanner.at_boundary(), scanner.usage(), scanner.error())
}

/// Scans `stream` whole and in equal pieces of many sizes.
fn scan(stream: &[u8]) -> Scanner {
    let mut whole = Scanner::new();
    whole.feed(stream);
    for size in [1, 2, 3, 5, 7, 64, 200, 4096, 70_000] {
        if stream.len() > 50_000 && size < 64 {
            continue;
        }
        let mut pieces = Scanner::new();
        stream.chunks(size).for_each(|piece| pieces.feed(piece));
        assert_eq!(seen(&pieces), seen(&whole), "pieces of {size}");
    }
    whole
}

const CHAT: &str = concat!(
    "data: {\"choices\":[],\"prompt_filter_results\":[],\"usage\":null}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"error\\\":{} \\\"usage\\\":{}\"}}],\"usage\":null}\n\n",
    ": ping\n\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\n",
    "data: [DONE]\n\n",
);

#[test]
fn a_chat_stream_is_read_with_any_line_end() {
    for end in ["\n", "\r\n", "\r"] {
        let scanner = scan(CHAT.replace('\n', end).as_bytes());
        let usage = Usage { prompt: 3, completion: 4, ..Usage::default() };
        assert_eq!(seen(&scanner), (4, true, true, Some(usage), None), "{end:?}");
    }
}

#[test]
fn a_responses_stream_is_read() {
    let stream = b"event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"error\":null,\"usage\":null}}\n\n\
        event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"error\":null,\
        \"usage\":{\"input_tokens\":9,\"output_tokens\":2,\"output_tokens_details\":{\"reasoning_tokens\":1}}}}\n\n";
    let usage = Usage { prompt: 9, completion: 2, cached: 0, reasoning: 1 };
    assert_eq!(seen(&scan(stream)), (2, true, true, Some(usage), None));
    assert!(scan(b"data: {\"type\" : \"response.incomplete\"}\n").done());
    assert!(scan(b"event: response.failed\ndata: x\n").done());
    assert!(!scan(b"event: response.failed\n\ndata: x\n\n").done());
}

#[test]
fn errors_are_found_and_named() {
    use StreamErrorKind::{Forbidden, ServerError, TooManyRequests, UserError};
    for (stream, want) in [
        ("data: {\"error\":{\"type\":\"server_error\"}}\n", Some(ServerError)),
        ("data: {\"id\":1,\"error\" : {\"code\":429}}\n", Some(TooManyRequests)),
        (
            "data: {\"type\":\"error\",\"error\":{\"type\":\"too_many_requests\",\"code\":\"no_capacity\"}}\n",
            Some(TooManyRequests),
        ),
        ("data: {\"type\":\"error\",\"code\":\"forbidden\",\"message\":\"m\"}\n", Some(Forbidden)),
        ("event: error\ndata: {\"type\":\"user_error\"}\n", Some(UserError)),
        ("event: error\ndata: oops\n", Some(ServerError)),
        ("event: error\n\n", Some(ServerError)),
        ("event: error\n", None),
        ("data: {\"error\":\"text\"}\n", Some(ServerError)),
        (
            "data: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"rate_limit_exceeded\"}}}\n",
            Some(TooManyRequests),
        ),
        ("data: {\"error\":{\"code\":\"invalid_image_format\"}}\n", Some(UserError)),
        ("data: {\"error\":{\"code\":\"image_too_large\"}}\n", Some(UserError)),
        ("data: {\"error\":{\"code\":\"unsupported_value\"}}\n", Some(UserError)),
        ("data: {\"error\":{\"code\":422}}\n", Some(UserError)),
        ("data: {\"error\":{\"code\":408}}\n", Some(ServerError)),
        ("data: {\"error\":{\"type\":\"image_generation_server_error\"}}\n", Some(ServerError)),
        ("data: {\"error\":{\"type\":\"invalid_request_error\",\"code\":\"429\"}}\n", Some(TooManyRequests)),
        ("data: {\"error\":null}\n", None),
        ("data: {\"error\":{}}\n", None),
        ("data: {\"error\":false}\n", None),
        ("data: {\"a\":{\"error\":{\"code\":\"429\"}}}\n", None),
        ("data: {\"a\":\"error\"}\n", None),
        ("data: {\"error\":{\"code\":\"429\"}\n", None),
        (": {\"error\":{\"code\":\"429\"}}\n", None),
    ] {
        assert_eq!(scan(stream.as_bytes()).error().map(|error| error.kind), want, "{stream}");
    }
}

#[test]
fn boundaries_are_known() {
    for (stream, events, boundary) in [
        ("", 0, true),
        ("\u{feff}data: x\n\n", 1, true),
        ("data: x", 0, false),
        ("data: x\n", 0, false),
        ("data: x\n\n", 1, true),
        ("data: x\r\n\r", 1, true),
        ("data: x\r\n\r\n", 1, true),
        ("data\n\n", 1, true),
        ("id: 4\n", 0, false),
        ("id: 4\n\n", 0, true),
        (": comment\n", 0, true),
        (": comment", 0, false),
        ("\n\n\n", 0, true),
        ("data: a\ndata: b\n\ndata: c\n\n", 2, true),
        ("garbage\n", 0, false),
        ("data: x\n\nd", 1, false),
    ] {
        let scanner = scan(stream.as_bytes());
        assert_eq!((scanner.events(), scanner.at_boundary()), (events, boundary), "{stream:?}");
    }
}

#[test]
fn a_last_line_without_its_end_counts_when_finished() {
    let mut scanner = scan(b"data: [DONE]");
    assert!(!scanner.done());
    scanner.finish();
    assert!(scanner.done());
}

#[test]
fn lines_of_any_length_are_read_without_being_kept() {
    for (length, mark) in [(65_000, ""), (LINE_MAX - 50, "\u{feff}"), (65_536, ""), (300_000, "\u{feff}")] {
        let stream = format!(
            "{mark}data: {{\"type\":\"response.completed\",\"x\":\"{}\",\"usage\":{{\"input_tokens\":6}}}}\r\n\r\n",
            "y".repeat(length)
        );
        let scanner = scan(stream.as_bytes());
        assert_eq!((scanner.events(), scanner.done()), (1, true), "{length}");
        assert_eq!(scanner.usage().map(|usage| usage.prompt), Some(6), "{length}");
        assert!(scanner.line.capacity() <= IDLE_MAX);
    }
    let mut endless = Scanner::new();
    for _ in 0..200 {
        endless.feed(&[b'x'; 1000]);
        assert!(endless.line.capacity() <= 2 * LINE_MAX);
    }
    assert!(!endless.at_boundary());
    let error = format!("data: {{\"type\":\"error\",\"x\":\"{}\"}}\n\n", "y".repeat(70_000));
    assert_eq!(scan(error.as_bytes()).error().unwrap().kind, StreamErrorKind::ServerError);
}

#[test]
fn our_own_error_event_is_an_error() {
    let event = error_event("req-1", "the \"stream\" broke\n\n", "backend_broke");
    let text = std::str::from_utf8(&event).unwrap();
    assert!(text.starts_with("data: {\"error\":{") && text.ends_with("}\n\n") && text.lines().count() == 2);
    let json: serde_json::Value = serde_json::from_str(text.strip_prefix("data: ").unwrap()).unwrap();
    let want = serde_json::json!({"error": {"message": "the \"stream\" broke\n\n", "type": "server_error",
        "param": null, "code": "backend_broke", "request_id": "req-1"}});
    assert_eq!(json, want);
    assert_eq!(seen(&scan(&event)).4, Some(StreamError::BARE));
}

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("data: ".to_owned()),
        Just("event: error".to_owned()),
        Just("event: response.completed".to_owned()),
        Just("[DONE]".to_owned()),
        Just("\n".to_owned()),
        Just("\r".to_owned()),
        Just("\r\n\r\n".to_owned()),
        Just("{\"error\":{\"code\":\"429\"}}".to_owned()),
        Just("{\"type\":\"response.failed\"}".to_owned()),
        Just("{\"usage\":{\"prompt_tokens\":3}}".to_owned()),
        Just("{\"usage\":".to_owned()),
        Just("{\"output_tokens\":3}".to_owned()),
        Just(": c".to_owned()),
        Just("\u{feff}".to_owned()),
        (60_000_usize..70_000).prop_map(|length| "z".repeat(length)),
        "[ -~]{0,12}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn any_chunking_equals_the_whole(
        pieces in prop::collection::vec(piece(), 0..30),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..30),
    ) {
        let stream = pieces.concat().into_bytes();
        let mut whole = Scanner::new();
        whole.feed(&stream);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.sort_unstable();
        let mut parts = Scanner::new();
        let mut from = 0;
        for cut in cuts {
            parts.feed(&stream[from..cut]);
            from = cut;
        }
        parts.feed(&stream[from..]);
        prop_assert_eq!(seen(&parts), seen(&whole));
        whole.finish();
        parts.finish();
        prop_assert_eq!(seen(&parts), seen(&whole));
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        scan(&bytes);
    }
}
