//! Tests of the fault rules.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use super::*;

fn sight(operation: Operation, stream: bool) -> Sight<'static> {
    Sight { operation, deployment: Some("gpt"), stream: Some(stream) }
}

#[test]
fn rules_are_read_strictly() {
    let json = br#"[{"kind":"status","preset":"429_tokens","retry_after":30,"count":2,"match":{"stream":true}},
        {"kind":"hang_before_headers"},{"kind":"html_200","share":0.5},{"kind":"refuse","for_ms":5}]"#;
    let rules = FaultRule::parse(json).unwrap();
    assert_eq!(rules.first().unwrap().count, Some(2));
    assert!(matches!(&rules.first().unwrap().kind, FaultKind::Status(s) if s.retry_after.as_deref() == Some("30")));
    for bad in [
        r#"{"kind":"no"}"#,
        r#"{"kind":"status","stats":429}"#,
        r#"{"kind":"hang_before_headers","for":1}"#,
        r#"{"kind":"html_200","x":1}"#,
        r#"{"kind":"drip","byte_ms":1,"match":{"op":"chat"}}"#,
        "[",
    ] {
        assert!(FaultRule::parse(bad.as_bytes()).is_err(), "{bad}");
    }
    for rule in rules {
        let printed = serde_json::to_vec(&rule).unwrap();
        assert_eq!(FaultRule::parse(&printed).unwrap(), vec![rule]);
    }
}

#[test]
fn a_counted_rule_is_used_up() {
    let mut faults = Faults::new(1);
    faults.add(FaultRule::preset("500").times(2)).unwrap();
    let drawn = (0..5).filter(|_| faults.draw(sight(Operation::Chat, false), false).is_some()).count();
    assert_eq!((drawn, faults.len()), (2, 0));
}

#[test]
fn a_rule_meets_only_its_requests() {
    let mut faults = Faults::new(1);
    faults.add(FaultRule::preset("500").stream(true)).unwrap();
    faults.add(FaultRule::preset("503").operation("any").share(0.0)).unwrap();
    assert!(faults.draw(sight(Operation::Chat, false), false).is_none());
    assert!(faults.draw(sight(Operation::Chat, true), true).is_none());
    assert!(faults.draw(sight(Operation::Models, true), false).is_none());
    assert!(faults.draw(sight(Operation::Chat, true), false).is_some());
    faults.add(FaultRule::preset("503").operation("any")).unwrap();
    assert!(faults.draw(sight(Operation::Models, true), false).is_some());
}

#[test]
fn shares_come_up_as_often_as_said() {
    let mut faults = Faults::new(7);
    faults.add(FaultRule::preset("500").share(0.3)).unwrap();
    let drawn = (0..10_000).filter(|_| faults.draw(sight(Operation::Chat, false), false).is_some()).count();
    assert!((2800..3200).contains(&drawn), "{drawn}");
}

#[test]
fn unknown_presets_and_too_many_rules_are_refused() {
    let mut faults = Faults::new(1);
    assert_eq!(faults.add(FaultRule::preset("418")), Err(FaultError::Preset("418".into())));
    for _ in 0..RULES_MAX {
        faults.add(FaultRule::preset("500")).unwrap();
    }
    assert_eq!(faults.add(FaultRule::preset("500")), Err(FaultError::TooMany));
}
