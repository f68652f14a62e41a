//! What is held, let go and raised.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use super::super::deadline::now;
use super::*;
use crate::domain::Throttle;
use bytes::Bytes;

const GATE: Gate = Gate { events: 4, bytes: 1000, time: Duration::from_secs(5) };
const BOTH: Watch = Watch { missing: true, too_long: false, trouble: false, page: false, gate: Some(GATE) };
const EVENTS: &str = "text/event-stream";
const ERROR: &str = "data: {\"error\":{\"code\":\"no_capacity\",\"message\":\"x\"}}\n\n";
const ROLE: &str = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n";
const DELTA: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";

fn head(status: u16, media: &str) -> HttpTask {
    let mut header = ResponseHeader::build(status, None).unwrap();
    header.insert_header("content-type", media.to_owned()).unwrap();
    HttpTask::Header(Box::new(header), false)
}

fn body(text: &str) -> HttpTask {
    HttpTask::Body(Some(Bytes::copy_from_slice(text.as_bytes())), false)
}

fn failed() -> HttpTask {
    HttpTask::Failed(Error::new(ErrorType::ReadError))
}

/// Tasks let through after each step, or the error raised.
fn steps(watch: Watch, tasks: Vec<HttpTask>) -> Vec<Result<usize, ErrorType>> {
    let mut hold = Hold::new(watch);
    let sift = |task| hold.sift(vec![task], now()).map(|tasks| tasks.len()).map_err(|error| error.etype().clone());
    tasks.into_iter().map(sift).collect()
}

#[test]
fn a_stream_waits_for_its_first_delta_and_no_longer() {
    let (half, rest) = ERROR.split_at(9);
    for (tasks, want) in [
        (vec![body(ROLE), body(DELTA), body(ERROR)], vec![Ok(0), Ok(3), Ok(1)]),
        (vec![body(ROLE), body(ROLE), body(ERROR)], vec![Ok(0), Ok(0), Err(STREAM_THROTTLED)]),
        (vec![body(ERROR)], vec![Err(STREAM_THROTTLED)]),
        (vec![body(half), body(rest)], vec![Ok(0), Err(STREAM_THROTTLED)]),
        (vec![body("data: {\"error\":{\"code\":\"x\"}}\n\n")], vec![Err(STREAM_FAILED)]),
        (vec![body(ROLE), body("data: {\"error\":{\"type\":\"user_error\"}}\n\n")], vec![Ok(0), Ok(3)]),
        (vec![body(": alive\n\n"), body(": alive\n\n"), body(DELTA)], vec![Ok(0), Ok(0), Ok(4)]),
        (vec![body(": alive\n\n"), body(ERROR)], vec![Ok(0), Err(STREAM_THROTTLED)]),
        (vec![body(&": alive\n\n".repeat(200))], vec![Ok(2)]),
        (vec![body(ROLE), body(ROLE), body(ROLE), body(ROLE)], vec![Ok(0), Ok(0), Ok(0), Ok(5)]),
        (vec![HttpTask::Done], vec![Err(STREAM_BROKEN)]),
        (vec![body(ROLE), HttpTask::Done], vec![Ok(0), Err(STREAM_BROKEN)]),
        (vec![body(ROLE), failed()], vec![Ok(0), Err(STREAM_BROKEN)]),
        (vec![body("data: [DONE]"), HttpTask::Done], vec![Ok(0), Ok(3)]),
        (vec![body(ERROR.trim_end()), HttpTask::Done], vec![Ok(0), Err(STREAM_THROTTLED)]),
    ] {
        let label = format!("{tasks:?}");
        let tasks: Vec<HttpTask> = [head(200, EVENTS)].into_iter().chain(tasks).collect();
        assert_eq!(steps(BOTH, tasks), [vec![Ok(0)], want].concat(), "{label}");
    }
}

#[test]
fn a_page_waits_until_it_is_known_and_no_longer() {
    let watch = Watch { page: true, ..Watch::default() };
    let begun = || {
        let mut hold = Hold::new(watch);
        assert!(hold.sift(vec![head(200, "application/json"), body("{")], now()).unwrap().is_empty());
        hold
    };
    let mut shown = begun();
    shown.turn(Turn::Shown).unwrap();
    assert_eq!(shown.sift(vec![body("}")], now()).unwrap().len(), 3);
    shown.turn(Turn::Over).unwrap();
    assert_eq!(begun().turn(Turn::Over).unwrap_err().etype(), &LIST_OVER);
    assert_eq!(begun().sift(vec![failed()], now()).unwrap_err().etype(), &ErrorType::ReadError);
    assert_eq!(begun().sift(vec![HttpTask::Done], now()).unwrap().len(), 3, "its end was not told");
    assert_eq!(begun().sift(vec![body(&"x".repeat(PAGE_MAX))], now()).unwrap().len(), 3);
    let mut at_once = Hold::new(watch);
    at_once.turn(Turn::Shown).unwrap();
    assert_eq!(at_once.sift(vec![head(200, "application/json")], now()).unwrap().len(), 1);
    assert_eq!(Hold::new(watch).turn(Turn::Over).unwrap_err().etype(), &LIST_OVER);
    for other in [head(404, "application/json"), head(200, EVENTS)] {
        assert_eq!(steps(watch, vec![other]), [Ok(1)]);
    }
}

#[test]
fn only_streams_that_can_be_read_wait() {
    for header in [head(200, "application/json"), head(500, EVENTS), head(201, EVENTS)] {
        assert_eq!(steps(BOTH, vec![header, body(ERROR)]), [Ok(1), Ok(1)]);
    }
    let HttpTask::Header(mut header, _) = head(200, EVENTS) else { unreachable!() };
    header.insert_header("content-encoding", "br").unwrap();
    assert_eq!(steps(BOTH, vec![HttpTask::Header(header, false), body(ERROR)]), [Ok(1), Ok(1)]);
    assert_eq!(steps(Watch::default(), vec![head(200, EVENTS), body(ERROR)]), [Ok(1), Ok(1)]);
}

/// What becomes of a stream in pieces of this size: bytes let through, or the error raised.
fn in_pieces(stream: &str, size: usize) -> Result<usize, ErrorType> {
    let mut hold = Hold::new(BOTH);
    let pieces = stream.as_bytes().chunks(size).map(|piece| HttpTask::Body(Some(piece.to_vec().into()), false));
    let mut passed = 0;
    for task in [head(200, EVENTS)].into_iter().chain(pieces).chain([HttpTask::Done]) {
        for task in hold.sift(vec![task], now()).map_err(|error| error.etype().clone())? {
            if let HttpTask::Body(Some(bytes), _) = task {
                passed += bytes.len();
            }
        }
    }
    Ok(passed)
}

#[test]
fn any_chunking_of_a_stream_comes_to_the_same_as_the_whole() {
    let long = format!("data: {{\"type\":\"response.created\",\"x\":\"{}\"}}\n\n", "y".repeat(900));
    for stream in [
        [ROLE, ERROR].concat(),
        [ROLE, DELTA, ERROR].concat(),
        [ROLE, ROLE, ROLE, ROLE, ERROR].concat(),
        [": a\n\n", ROLE, "data: {\"error\":{\"code\":\"content_filter\"}}\n\n"].concat(),
        [&long, ERROR].concat(),
        [ROLE, ": a\r\n\r\n"].concat(),
        String::new(),
    ] {
        let whole = in_pieces(&stream, 10_000);
        for size in [1, 2, 3, 7, 50, 200] {
            assert_eq!(in_pieces(&stream, size), whole, "pieces of {size}: {stream}");
        }
        assert!(whole.is_err() || whole == Ok(stream.len()), "nothing is lost: {stream}");
    }
}

#[test]
fn the_gate_opens_when_its_time_is_up() {
    let mut hold = Hold::new(BOTH);
    let begin = now();
    assert!(hold.sift(vec![head(200, EVENTS)], begin).unwrap().is_empty());
    assert_eq!(hold.until(), Some(begin + GATE.time));
    assert!(hold.sift(vec![body(": a\n\n")], begin + GATE.time / 2).unwrap().is_empty());
    assert_eq!(hold.sift(vec![body(": b\n\n")], begin + GATE.time).unwrap().len(), 3);
    assert_eq!(hold.until(), None);
    assert_eq!(hold.sift(vec![body(ERROR)], begin + GATE.time).unwrap().len(), 1);
}

#[test]
fn what_is_let_go_in_silence_is_all_that_was_held_once() {
    let mut hold = Hold::new(BOTH);
    for task in [head(200, EVENTS), body(ROLE), body(": a\n\n")] {
        assert!(hold.sift(vec![task], now()).unwrap().is_empty());
    }
    let tasks = hold.let_go();
    assert!(matches!(tasks.as_slice(), [HttpTask::Header(..), HttpTask::Body(Some(first), _), _] if first == ROLE));
    assert!(hold.let_go().is_empty());
    for next in [DELTA, ERROR] {
        let tasks = hold.sift(vec![body(next)], now()).unwrap();
        assert!(matches!(tasks.as_slice(), [HttpTask::Body(Some(text), _)] if text == next));
    }
}

#[test]
fn a_404_waits_until_it_tells_whose_it_is() {
    let json = "application/json";
    let missing = "{\"error\":{\"code\":\"DeploymentNotFound\"}}";
    for (tasks, want) in [
        (vec![head(404, json), body(missing)], vec![Ok(0), Err(DEPLOYMENT_MISSING)]),
        (vec![head(404, json), body("{\"error\":{"), body("}}")], vec![Ok(0), Ok(0), Ok(3)]),
        (vec![head(404, json), HttpTask::Done], vec![Ok(0), Ok(2)]),
        (vec![head(400, json), body(missing)], vec![Ok(1), Ok(1)]),
    ] {
        assert_eq!(steps(BOTH, tasks), want);
    }
}

#[test]
fn a_failure_is_never_let_go_and_tells_what_it_is_about() {
    let trouble = Watch { trouble: true, ..Watch::default() };
    let json = "application/json";
    let tokens =
        "{\"error\":{\"code\":\"429\",\"message\":\"have exceeded token rate limit. Please retry after 7 seconds.\"}}";
    let (half, rest) = tokens.split_at(20);
    for (status, kind) in [(429, RATE_LIMITED), (500, SERVER_ERROR)] {
        for (tasks, want) in [
            (vec![body(tokens)], vec![Err(kind.clone())]),
            (vec![body(half), body(rest)], vec![Ok(0), Err(kind.clone())]),
            (vec![body(half), HttpTask::Done], vec![Ok(0), Err(kind.clone())]),
            (vec![body(half), failed()], vec![Ok(0), Err(kind.clone())]),
            (vec![body("<html>")], vec![Err(kind.clone())]),
            (vec![body(&"{\"a\":".repeat(500))], vec![Err(kind.clone())]),
        ] {
            let tasks: Vec<HttpTask> = [head(status, json)].into_iter().chain(tasks).collect();
            assert_eq!(steps(trouble, tasks), [vec![Ok(0)], want].concat());
        }
    }
    let mut hold = Hold::new(trouble);
    let begin = now();
    assert!(hold.sift(vec![head(429, json), body(half)], begin).unwrap().is_empty());
    assert_eq!((hold.until(), hold.about()), (Some(begin + TROUBLE_TIME), None));
    assert!(hold.trouble().is_some(), "its time is up");
    assert!(hold.sift(vec![body(rest)], begin).is_err());
    let about = hold.about().unwrap();
    assert_eq!((about.throttle, about.wait), (Some(Throttle::TokenRate), Some(Duration::from_secs(7))));
}

#[test]
fn a_400_waits_only_where_the_prompt_may_fit_elsewhere() {
    let json = "application/json";
    let too_long = "{\"error\":{\"code\":\"context_length_exceeded\"}}";
    let watch = Watch { too_long: true, ..BOTH };
    for (watch, tasks, want) in [
        (watch, vec![head(400, json), body(too_long)], vec![Ok(0), Err(CONTEXT_EXCEEDED)]),
        (watch, vec![head(400, json), body("{\"error\":{"), body("}}")], vec![Ok(0), Ok(0), Ok(3)]),
        (watch, vec![head(400, json), body(&"x".repeat(3000))], vec![Ok(0), Ok(2)]),
        (watch, vec![head(422, json), body(too_long)], vec![Ok(1), Ok(1)]),
        (BOTH, vec![head(400, json), body(too_long)], vec![Ok(1), Ok(1)]),
    ] {
        assert_eq!(steps(watch, tasks), want);
    }
}
