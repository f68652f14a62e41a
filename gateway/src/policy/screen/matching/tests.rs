//! One row per operator; what does not compile; no value makes a matcher panic.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use super::*;
use crate::policy::screen::view::Place;
use proptest::prelude::{ProptestConfig, any, prop_assert_eq, proptest};

fn matcher(operator: Operator, values: &[&str]) -> Matcher {
    Matcher::new(operator, values, &[], false).unwrap()
}

#[test]
fn each_operator_takes_what_it_says() {
    for (operator, values, taken, not_taken) in [
        (Operator::Any, &[][..], &["", "x"][..], &[][..]),
        (Operator::Equal, &["b", "a"], &["a", "b"], &["A", "ab", ""]),
        (Operator::Contains, &["x", "yz"], &["axb", "yz"], &["y", ""]),
        (Operator::BeginsWith, &["ab", "c"], &["abc", "c"], &["a", "bc"]),
        (Operator::EndsWith, &["ab", "c"], &["xab", "abc"], &["aba"]),
        (Operator::LessThan, &["3"], &["", "ab"], &["abc"]),
        (Operator::LessThan, &["0"], &[], &["", "a"]),
        (Operator::LessThanOrEqual, &["3"], &["", "abc"], &["abcd"]),
        (Operator::GreaterThan, &["3"], &["abcd"], &["abc", ""]),
        (Operator::GreaterThanOrEqual, &["3"], &["abc"], &["ab", ""]),
        (Operator::RegEx, &["^a+$", "q.z"], &["aaa", "xqwz"], &["aab", "qz"]),
        (Operator::IpMatch, &["10.0.0.0/8"], &["10.1.2.3", " 10.0.0.1"], &["11.0.0.1", "x"]),
    ] {
        let matcher = matcher(operator, values);
        for value in taken {
            assert!(matcher.takes([value.as_bytes()]), "{operator:?} {values:?} takes {value:?}");
        }
        for value in not_taken {
            assert!(!matcher.takes([value.as_bytes()]), "{operator:?} {values:?} leaves {value:?}");
        }
    }
}

#[test]
fn a_negation_holds_where_no_value_matches() {
    let not = Matcher::new(Operator::Equal, &["a"], &[], true).unwrap();
    assert!(not.takes([]));
    assert!(not.takes([&b"b"[..]]));
    assert!(!not.takes([&b"b"[..], b"a"]));
    let absent = Matcher::new::<&str>(Operator::Any, &[], &[], true).unwrap();
    assert!(absent.takes([]) && !absent.takes([&b""[..]]));
}

#[test]
fn transforms_come_before_the_comparison_in_their_order() {
    let transforms = [Transform::UrlDecode, Transform::Trim, Transform::Lowercase];
    let matcher = Matcher::new(Operator::Equal, &["../etc"], &transforms, false).unwrap();
    let hit = matcher.judge([&b"%20..%2FETC"[..]]).unwrap().unwrap();
    assert_eq!((&*hit.value, hit.range), (&b"../etc"[..], 0..6));
    let other = Matcher::new(Operator::Equal, &["../etc"], &[Transform::Trim, Transform::UrlDecode], false).unwrap();
    assert!(!other.takes([&b"%20../etc"[..]]));
}

#[test]
fn addresses_are_judged_by_network_country_and_system() {
    let place = Place { country: Country::new("SE").unwrap(), asn: Some(8075) };
    let address: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
    for (operator, value, taken) in [
        (Operator::IpMatch, "192.0.2.0/24", true),
        (Operator::IpMatch, "192.0.3.0/24", false),
        (Operator::CountryMatch, "se", true),
        (Operator::CountryMatch, "FR", false),
        (Operator::AsnMatch, "AS8075", true),
        (Operator::AsnMatch, "8076", false),
    ] {
        assert_eq!(matcher(operator, &[value]).takes_address(Some(address), place), taken, "{operator:?} {value}");
    }
    let unknown = Place::default();
    assert!(matcher(Operator::CountryMatch, &["ZZ"]).takes_address(None, unknown));
    assert!(!matcher(Operator::IpMatch, &["0.0.0.0/0"]).takes_address(None, unknown));
}

#[test]
fn what_cannot_run_is_refused_with_its_reason() {
    for (operator, value, said) in [
        (Operator::IpMatch, "10.0.0.1/8", "10.0.0.0/8"),
        (Operator::IpMatch, "300.0.0.1", "no IP address"),
        (Operator::CountryMatch, "SWE", "no country code"),
        (Operator::AsnMatch, "x", "no AS number"),
        (Operator::LessThan, "-1", "no number of bytes"),
        (Operator::Contains, "", "match everything"),
        (Operator::RegEx, "(", "unclosed group"),
        (Operator::RegEx, "(?=a)", "look-around"),
        (Operator::RegEx, "(?<!a)b", "look-around"),
        (Operator::RegEx, r"(a)\1", "backreferences"),
        (Operator::RegEx, r"\C", "unrecognized escape"),
        (Operator::RegEx, r"\R", "unrecognized escape"),
        (Operator::RegEx, r"a\Kb", "unrecognized escape"),
        (Operator::RegEx, "(?>a)", "unrecognized flag"),
        (Operator::RegEx, "(?R)", "recursion"),
        (Operator::RegEx, "(?(1)a|b)", ""),
        (Operator::RegEx, "a++b", "possessive"),
        (Operator::RegEx, "a{2}+", "possessive"),
        (Operator::RegEx, "(a{1000}){1000}", "size limit"),
    ] {
        let bad = Matcher::new(operator, &[value], &[], false).unwrap_err();
        assert!(bad.what.contains(said) && bad.index == Some(0), "{operator:?} {value}: {bad}");
    }
    for fine in [r"a+?", r"[+*]+", r"\++", "a{2}?", "x+(y+)+"] {
        assert!(Matcher::new(Operator::RegEx, &[fine], &[], false).is_ok(), "{fine}");
    }
    assert!(Matcher::new::<&str>(Operator::Equal, &[], &[], false).is_err());
    assert!(Matcher::new(Operator::Any, &["x"], &[], false).is_err());
    assert!(Matcher::new(Operator::IpMatch, &["::/0"], &[Transform::Trim], false).is_err());
    assert!(Matcher::new(Operator::Equal, &["x"], &[Transform::Trim, Transform::Trim], false).is_err());
    assert!(Matcher::new(Operator::Equal, &vec!["x"; VALUES_MAX + 1], &[], false).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn negation_is_the_opposite_for_any_bytes(value in any::<Vec<u8>>(), text in "[ -~]{1,8}", number in 0usize..64) {
        for operator in Operator::ALL.into_iter().filter(|operator| !operator.is_of_address()) {
            let number = number.to_string();
            let values: &[&str] = match operator {
                Operator::Any => &[],
                Operator::RegEx => &["a.*b"],
                Operator::LessThan | Operator::LessThanOrEqual => &[&number],
                Operator::GreaterThan | Operator::GreaterThanOrEqual => &[&number],
                _ => &[&text],
            };
            let plain = Matcher::new(operator, values, &Transform::ALL, false).unwrap();
            let negated = Matcher::new(operator, values, &Transform::ALL, true).unwrap();
            prop_assert_eq!(plain.takes([value.as_slice()]), !negated.takes([value.as_slice()]));
            if let Some(Some(hit)) = plain.judge([value.as_slice()]) {
                assert!(hit.value.get(hit.range).is_some());
            }
        }
    }
}
