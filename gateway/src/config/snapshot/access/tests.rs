//! Every way in which a credential is somebody's or nobody's.

use super::*;
use crate::domain::make_key;

fn consumer(name: &str, enabled: bool) -> Consumer {
    let name = ConsumerName::new(name).unwrap();
    Consumer { name, plan: None, residency: None, limits: Vec::new(), class: None, enabled, scopes: Vec::new() }
}

fn key_of(seed: u8) -> String {
    make_key(&(0..=255_u8).map(|byte| byte.wrapping_mul(3).wrapping_add(seed)).collect::<Vec<_>>()).unwrap()
}

fn access() -> Access {
    let mut keys = Keys::default();
    let mut add = |text: &str, consumer, (not_before, expires)| {
        let hash = KeyHash::of(text);
        let key = Key { consumer, hash, not_before, expires };
        match ApiKey::parse(text) {
            Some(parsed) => keys.by_id.insert(parsed.id.into(), key),
            None => keys.by_hash.insert(hash, key),
        }
    };
    add(&key_of(1), 0, (None, None));
    add(&key_of(2), 0, (Some(100), Some(200)));
    add(&key_of(3), 1, (None, None));
    add("0123456789abcdef0123456789abcdef", 0, (None, None));
    let certificates = Certificates {
        by_subject: [("CN=search".into(), 0), ("CN=off".into(), 1)].into(),
        by_fingerprint: [("ab".into(), 0)].into(),
    };
    Access {
        consumers: vec![consumer("on", true), consumer("off", false)],
        plans: Vec::new(),
        anonymous: None,
        issuers: Vec::new(),
        key_headers: Vec::new(),
        key_queries: Vec::new(),
        failures_max: 1,
        keys,
        certificates,
    }
}

fn judged(text: &str, now: u64) -> Result<usize, (Unproven, Option<usize>)> {
    let told = KeyText::read(text).map_err(Refused::from).and_then(|key| access().by_key(key, now));
    told.map_err(|refused| (refused.why, refused.consumer))
}

#[test]
fn keys_are_somebodys_or_nobodys() {
    for (text, now, want) in [
        (key_of(1).as_str(), 0, Ok(0)),
        (&key_of(2), 100, Ok(0)),
        (&key_of(2), 199, Ok(0)),
        (&key_of(2), 99, Err((Unproven::NotYet, Some(0)))),
        (&key_of(2), 200, Err((Unproven::Expired, Some(0)))),
        (&key_of(3), 0, Err((Unproven::Disabled, Some(1)))),
        (&key_of(4), 0, Err((Unproven::Unknown, None))),
        ("0123456789abcdef0123456789abcdef", 0, Ok(0)),
        ("0123456789abcdef0123456789abcdeg", 0, Err((Unproven::Unknown, None))),
        ("short", 0, Err((Unproven::Malformed, None))),
        ("", 0, Err((Unproven::Malformed, None))),
        ("tgk_0123456789abcdef", 0, Err((Unproven::Malformed, None))),
        (&"x".repeat(FOREIGN_KEY_MAX + 1), 0, Err((Unproven::Malformed, None))),
    ] {
        assert_eq!(judged(text, now), want, "{now}");
    }
}

#[test]
fn the_right_id_does_not_help_a_wrong_secret() {
    let mut access = access();
    let key = key_of(1);
    let id = ApiKey::parse(&key).unwrap().id;
    access.keys.by_id.get_mut(id).unwrap().hash = KeyHash::of("another");
    let told = access.by_key(KeyText::read(&key).unwrap(), 0);
    assert_eq!(told, Err(Refused { why: Unproven::Wrong, consumer: Some(0) }));
}

#[test]
fn certificates_count_where_their_subject_is_exact() {
    let shown = |subject: &str, fingerprint: &str, is_exact| ClientCertificate {
        subject: subject.to_owned(),
        is_exact,
        common_name: None,
        names: Vec::new(),
        fingerprint: fingerprint.to_owned(),
    };
    let access = access();
    assert_eq!(access.by_certificate(&shown("CN=search", "cd", true)), Some(Ok(0)));
    assert_eq!(access.by_certificate(&shown("CN=search", "cd", false)), None, "it may be another's");
    assert_eq!(access.by_certificate(&shown("CN=else", "ab", false)), Some(Ok(0)));
    assert_eq!(access.by_certificate(&shown("CN=else", "cd", true)), None);
    let off = Refused { why: Unproven::Disabled, consumer: Some(1) };
    assert_eq!(access.by_certificate(&shown("CN=off", "cd", true)), Some(Err(off)));
}

#[test]
fn nothing_of_a_key_is_printed() {
    let (access, key) = (format!("{:?}", access()), key_of(1));
    assert!(!access.contains(&KeyHash::of(&key).to_string()) && access.contains("***"), "{access}");
    let text = format!("{:?} {:?}", KeyText::read(&key), judged(&key, 0));
    assert!(!text.contains(key.get(15..58).unwrap()), "{text}");
}
