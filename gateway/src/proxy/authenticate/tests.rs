//! Tables of what requests show and whom they come from.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]

use super::*;
use crate::domain::{ClientCertificate, KeyHash, make_key};
use crate::state::Registry;
use http::HeaderValue;
use std::path::Path;
use std::sync::Arc;

const FOREIGN: &str = "0123456789abcdef0123456789abcdef";
const NOW: u64 = 1_800_000_000;

fn key(seed: u8) -> String {
    make_key(&(0..=255_u8).map(|byte| byte.wrapping_mul(5).wrapping_add(seed)).collect::<Vec<_>>()).unwrap()
}

fn listed(key: &str, rest: &str) -> String {
    let id = crate::domain::ApiKey::parse(key).map(|parsed| format!(", id: {}", parsed.id)).unwrap_or_default();
    format!("{{ hash: \"{}\"{id}{rest} }}", KeyHash::of(key))
}

fn live(authentication: &str) -> Live {
    let text = format!(
        "version: 1
listeners: [ {{ name: a, address: \"127.0.0.1:0\" }} ]
authentication: {{ key_headers: [ api-key, authorization, x-team-key ], key_queries: [ team-key ], failures_max: 2{authentication} }}
consumers:
  - name: search
    keys: [ {}, {} ]
    certificates: [ {{ subject: CN=search }} ]
  - {{ name: chat, keys: [ {} ], allow: {{ networks: [ 10.0.0.0/8 ] }}, class: batch }}
  - {{ name: former, keys: [ {} ], enabled: false }}
  - {{ name: visitors, allow: {{ operations: [ models ], deployments: [ gpt-4* ] }} }}
pools:
  - name: chat
    backends: [ {{ name: b, region: francecentral, url: \"https://x.example\", auth: {{ api_key: {{ env: KEY }} }} }} ]
",
        listed(&key(1), ""),
        listed(FOREIGN, ", expires: 2030-01-01"),
        listed(&key(2), ""),
        listed(&key(3), ""),
    );
    let environment = |_: &str| Some("secret".to_owned());
    let (snapshot, _) = crate::config::load_text("x.yaml", &text, Path::new("."), &environment).unwrap();
    Live::new(Registry::default().bind(Arc::new(snapshot)), &Metrics::new().unwrap())
}

fn envelope(certificate: Option<&str>) -> Envelope {
    let certificate = certificate.map(|subject| {
        let (subject, fingerprint) = (subject.to_owned(), "00".to_owned());
        Arc::new(ClientCertificate { subject, is_exact: true, common_name: None, names: Vec::new(), fingerprint })
    });
    Envelope {
        request_id: HeaderValue::from_static("r"),
        client: Some("192.0.2.1:5000".parse().unwrap()),
        hop: None,
        http2: false,
        tls: true,
        certificate,
        upgrade: true,
        sdk_retries: 0,
    }
}

fn request(target: &str, headers: &[(&'static str, &str)]) -> RequestHeader {
    let mut request = RequestHeader::build("GET", target.as_bytes(), None).unwrap();
    for (name, value) in headers {
        request.append_header(*name, *value).unwrap();
    }
    request
}

/// Name and proof of the caller, or the label of the reason.
fn told(live: &Live, request: &RequestHeader, certificate: Option<&str>) -> Result<(String, Proof), &'static str> {
    let envelope = envelope(certificate);
    let asked = Asked { live, envelope: &envelope, now: Moment::from_micros(1_000_000), second: || NOW };
    let access = live.fleet.snapshot.access.as_ref().unwrap();
    let caller = identify(request, access, asked).map_err(|doubt| doubt.refused.why.label())?;
    Ok((access.consumers[caller.consumer].name.to_string(), caller.proof))
}

#[test]
fn whom_a_request_comes_from() {
    let live = live("");
    let (one, two, off) = (key(1), key(2), key(3));
    let bearer = |key: &str| format!("Bearer {key}");
    let protocol = format!("realtime, openai-insecure-api-key.{one}");
    let search = |proof| Ok(("search".to_owned(), proof));
    for (target, headers, certificate, want) in [
        ("/", vec![("api-key", one.as_str())], None, search(Proof::Key)),
        ("/", vec![("authorization", &*bearer(&one))], None, search(Proof::Key)),
        ("/", vec![("authorization", &*format!("bEARER   {one}"))], None, search(Proof::Key)),
        ("/", vec![("x-team-key", FOREIGN)], None, search(Proof::Key)),
        (&*format!("/?a=b&Team%2Dkey={one}"), vec![], None, search(Proof::Key)),
        ("/", vec![("sec-websocket-protocol", &*protocol)], None, search(Proof::Key)),
        ("/", vec![], Some("CN=search"), search(Proof::Certificate)),
        ("/", vec![("api-key", &one), ("authorization", &*bearer(FOREIGN))], Some("CN=search"), search(Proof::Key)),
        ("/", vec![("api-key", "")], Some("CN=search"), search(Proof::Certificate)),
        ("/", vec![("authorization", "Bearer")], None, Err("missing")),
        ("/", vec![], None, Err("missing")),
        ("/", vec![], Some("CN=else"), Err("missing")),
        ("/", vec![("ocp-apim-subscription-key", &one)], None, Err("missing")),
        ("/", vec![("authorization", &one)], None, Err("malformed")),
        ("/", vec![("authorization", "Basic dTpw")], None, Err("malformed")),
        ("/", vec![("authorization", &*format!("Bearer{one}"))], None, Err("malformed")),
        ("/", vec![("api-key", &one[..80.min(one.len() - 1)])], None, Err("malformed")),
        ("/", vec![("api-key", "an unknown foreign key")], None, Err("unknown")),
        ("/", vec![("api-key", &off)], None, Err("disabled")),
        ("/", vec![("api-key", &one), ("api-key", &two)], None, Err("conflict")),
        ("/", vec![("api-key", &two)], Some("CN=search"), Err("conflict")),
        ("/", vec![("api-key", &one), ("x-team-key", "a wrong key beside it")], None, Err("unknown")),
        ("/", vec![("api-key", &*one); 9], None, Err("malformed")),
    ] {
        assert_eq!(told(&live, &request(target, &headers), certificate), want, "{target} {headers:?} {certificate:?}");
    }
}

#[test]
fn whoever_shows_nothing_is_the_anonymous_consumer() {
    let live = live(", anonymous: visitors");
    let visitor = Ok(("visitors".to_owned(), Proof::Anonymous));
    assert_eq!(told(&live, &request("/", &[]), None), visitor);
    assert_eq!(told(&live, &request("/", &[("api-key", "wrong but shown, too")]), None), Err("unknown"));
}

fn refused(live: &Live, shown: &str) -> Denial {
    let envelope = envelope(None);
    let asked = Asked { live, envelope: &envelope, now: Moment::from_micros(1_000_000), second: || NOW };
    let (mut request, metrics) = (request("/", &[("api-key", shown)]), Metrics::new().unwrap());
    futures::executor::block_on(authenticate(&mut request, asked, &metrics)).unwrap_err()
}

#[test]
fn guesses_from_one_address_are_looked_at_no_more() {
    let live = live("");
    let wait = Duration::from_secs(59);
    for _ in 0..2 {
        assert!(matches!(refused(&live, "a guess of a foreign key"), Denial::Unauthenticated { .. }));
    }
    for guess in ["another guess of a foreign key", "no key", FOREIGN, &key(9)] {
        assert_eq!(refused(&live, guess), Denial::TooManyFailures { retry_after: wait }, "{guess}");
    }
    let good = told(&live, &request("/", &[("api-key", &key(1))]), None);
    assert_eq!(good, Ok(("search".to_owned(), Proof::Key)), "a key that nobody guesses goes on");
}

#[test]
fn scopes_hold_for_address_and_purpose() {
    let live = live("");
    let caller = |consumer| Caller { consumer, proof: Proof::Key, zones: Zones::NONE, claims: None };
    let from = |address: &str| Envelope { client: Some(address.parse().unwrap()), ..envelope(None) };
    assert_eq!(from_here(Some(&caller(1)), &from("10.1.1.1:1"), &live), Ok(()));
    let outside = from_here(Some(&caller(1)), &from("11.1.1.1:1"), &live);
    assert_eq!(outside, Err(Denial::NotAllowed { what: "come from this address" }));
    assert_eq!(from_here(None, &from("11.1.1.1:1"), &live), Ok(()));
    let routed = |path: &str| {
        let request = request(path, &[("host", "x")]);
        let find = |(host, path, deployment): (&str, &str, Option<&str>)| {
            Ok(crate::policy::route::find(&live.matchers, host, path, deployment))
        };
        let target = crate::openai::operation::parse(request.uri.path()).unwrap();
        crate::proxy::route::route((&request, &target), &bytes::Bytes::new(), &live, find).unwrap()
    };
    let (chat, models) = ("/openai/deployments/gpt-4o/chat/completions", "/openai/deployments/o3/models");
    assert_eq!(allowed(Some(&caller(0)), (&routed(chat), false), &live), Ok(()));
    let operation = allowed(Some(&caller(3)), (&routed(chat), false), &live);
    assert_eq!(operation, Err(Denial::NotAllowed { what: "use this operation" }));
    let deployment = allowed(Some(&caller(3)), (&routed(models), false), &live);
    let bare = "/openai/models";
    assert_eq!(allowed(Some(&caller(3)), (&routed(bare), false), &live), deployment, "none is none of them");
    assert_eq!(allowed(Some(&caller(3)), (&routed(bare), true), &live), Ok(()), "what is its own needs none");
    assert_eq!(deployment, Err(Denial::NotAllowed { what: "use this deployment" }));
    assert_eq!((class(Some(&caller(1)), &live), class(Some(&caller(0)), &live)), (Some(Class::Batch), None));
}

#[test]
fn credentials_leave_whatever_comes_of_them() {
    let live = live("");
    let envelope = envelope(None);
    let asked = Asked { live: &live, envelope: &envelope, now: Moment::from_micros(1), second: || NOW };
    let one = key(1);
    for shown in [one.as_str(), "wrong-and-long-enough"] {
        let mut request = request(&format!("/a?team-key={shown}&x=1"), &[("api-key", shown), ("x-team-key", shown)]);
        let metrics = Metrics::new().unwrap();
        let _ = futures::executor::block_on(authenticate(&mut request, asked, &metrics));
        assert!(!format!("{request:?}").contains(shown), "{request:?}");
        assert_eq!(request.uri.query(), Some("x=1"));
    }
}
