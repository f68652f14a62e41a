//! Tables and properties of sealing.

use super::*;
use proptest::prelude::{ProptestConfig, any, prop, prop_assert, prop_assert_eq, proptest};

fn key(name: &str) -> Key {
    Key::new(name, &Secret::new(&format!("{name}: a secret that nobody guesses"))).unwrap()
}

fn sealer(names: &[&str]) -> Sealer {
    Sealer::new(names.iter().map(|name| key(name)))
}

const OWNER: Owner = Owner { resource: 7, consumer: 9 };

fn seal(sealer: &Sealer, owner: Owner, id: &str) -> String {
    let (prefix, rest) = split(id).unwrap();
    sealer.seal(owner, prefix, rest.as_bytes()).unwrap()
}

fn open(sealer: &Sealer, text: &str, consumer: u64) -> Result<Opened, IdFlaw> {
    sealer.open(split(text).ok_or(IdFlaw::Unsealed)?, consumer)
}

#[test]
fn a_sealed_id_keeps_its_prefix_and_tells_nothing_else() {
    let sealer = sealer(&["a"]);
    let id = "resp_68af1c0ffee0000000000000000000000000000000000000";
    let sealed = seal(&sealer, OWNER, id);
    assert!(sealed.starts_with("resp_tg1") && is_sealed(&sealed["resp_".len()..]), "{sealed}");
    assert!(sealed.len() < 160, "{}", sealed.len());
    assert_eq!(seal(&sealer, OWNER, id), sealed, "one id, one sealed form");
    for other in [Owner { resource: 8, ..OWNER }, Owner { consumer: 8, ..OWNER }] {
        let other = seal(&sealer, other, id);
        let shared = sealed.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
        assert!(shared < "resp_tg1".len() + 6, "nothing but the key's id is shared: {sealed} {other}");
    }
}

#[test]
fn one_search_finds_whatever_was_sealed_and_data_hides_no_walk_behind_a_chance_hit() {
    let sealed = seal(&sealer(&["a"]), OWNER, "file-68af1c0f");
    let other = seal(&sealer(&["a"]), OWNER, "resp_68af1c0f");
    let escaped = [sealed.replacen('-', "\\u002D", 1), other.replacen('_', "\\u005f", 1)];
    for id in [&sealed, &other].into_iter().chain(&escaped) {
        for text in [id.clone(), format!("tg1 {id}"), format!("data:image/png;base64,Atg1{id}"), format!("{id}\"}}]}}")]
        {
            assert!(may_hold(text.as_bytes()), "{text}");
        }
    }
    let data = "A".repeat(100);
    for text in [
        "",
        "tg1",
        "_tg1",
        "file-tg1AAAA",
        &format!("xtg1{data}"),
        &format!("\\u0041tg1{data}"),
        &format!("ftg1{data}"),
    ] {
        assert!(!may_hold(text.as_bytes()), "{text}");
    }
}

#[test]
fn what_does_not_open_has_its_reason() {
    let (ours, older) = (sealer(&["new", "old"]), sealer(&["old"]));
    let sealed = seal(&ours, OWNER, "thread_abc");
    let old = seal(&older, OWNER, "thread_abc");
    let body = &sealed["thread_tg1".len()..];
    for (text, flaw) in [
        ("thread_abc".to_owned(), IdFlaw::Unsealed),
        ("thread_tg1".to_owned(), IdFlaw::Forged),
        ("thread_tg1AA".to_owned(), IdFlaw::Forged),
        (format!("thread_tg0{body}"), IdFlaw::Version),
        (format!("thread_tg2{body}"), IdFlaw::Version),
        (format!("run_tg1{body}"), IdFlaw::Forged),
        (format!("thread-tg1{body}"), IdFlaw::Forged),
        (sealed[..sealed.len() - 1].to_owned(), IdFlaw::Forged),
        (format!("{sealed}AAAA"), IdFlaw::Forged),
        (format!("thread_tg1{}", "A".repeat(80)), IdFlaw::Key),
        (format!("thread_{}", "a".repeat(SEALED_LENGTH_MAX)), IdFlaw::Unsealed),
        (seal(&sealer(&["other"]), OWNER, "thread_abc"), IdFlaw::Key),
        (seal(&ours, Owner { consumer: 1, ..OWNER }, "thread_abc"), IdFlaw::Foreign),
    ] {
        assert_eq!(open(&ours, &text, OWNER.consumer), Err(flaw), "{text}");
    }
    let opened = Opened { id: b"thread_abc".to_vec(), resource: OWNER.resource };
    assert_eq!(open(&ours, &old, OWNER.consumer), Ok(opened.clone()), "the key before still opens");
    assert_eq!(open(&ours, &sealed, OWNER.consumer), Ok(opened));
    assert_ne!(sealed, old, "the first key seals");
    assert_eq!(open(&older, &sealed, OWNER.consumer), Err(IdFlaw::Key));
    assert_eq!(Sealer::new([]).seal(OWNER, "a_", b"b"), None);
    assert_eq!(ours.seal(OWNER, "a_", &[b'x'; ID_LENGTH_MAX]), None);
    assert_eq!(format!("{ours:?} {:?}", key("a")), "Sealer(2 keys) ***");
}

#[test]
fn ids_are_told_by_their_shape() {
    for (text, parts) in [
        ("resp_1", Some(("resp_", "1"))),
        ("file-aB_c-9", Some(("file-", "aB_c-9"))),
        ("assistant-x", Some(("assistant-", "x"))),
        ("resp_", None),
        ("_x", None),
        ("resp", None),
        ("Resp_x", None),
        ("gpt-4.1", None),
        ("file-a/b", None),
        ("a b_c", None),
        ("", None),
    ] {
        assert_eq!(split(text), parts, "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn what_is_sealed_opens_for_its_consumer_alone(
        prefix in "[a-z]{1,12}[-_]", rest in "[A-Za-z0-9_-]{1,400}", resource: u64, consumer: u64, other: u64,
    ) {
        let (sealer, id) = (sealer(&["a", "b"]), format!("{prefix}{rest}"));
        let owner = Owner { resource, consumer };
        let sealed = seal(&sealer, owner, &id);
        prop_assert!(sealed.len() <= SEALED_LENGTH_MAX);
        prop_assert_eq!(seal(&sealer, owner, &id), sealed.clone());
        prop_assert_eq!(open(&sealer, &sealed, consumer), Ok(Opened { id: id.into_bytes(), resource }));
        if other != consumer {
            prop_assert_eq!(open(&sealer, &sealed, other), Err(IdFlaw::Foreign));
        }
    }

    #[test]
    fn no_byte_of_it_can_be_changed_taken_or_added(
        rest in "[A-Za-z0-9]{1,60}", at in any::<prop::sample::Index>(), byte in "[ -~]", cut in any::<prop::sample::Index>(),
    ) {
        let sealer = sealer(&["a"]);
        let sealed = seal(&sealer, OWNER, &format!("resp_{rest}"));
        let at = at.index(sealed.len());
        let changed = [&sealed[..at], &byte, &sealed[at + 1..]].concat();
        if changed != sealed {
            prop_assert!(open(&sealer, &changed, OWNER.consumer).is_err(), "{}", changed);
        }
        prop_assert!(open(&sealer, &sealed[..cut.index(sealed.len())], OWNER.consumer).is_err());
        let longer = [&*sealed, &byte].concat();
        prop_assert!(open(&sealer, &longer, OWNER.consumer).is_err());
    }

    #[test]
    fn keys_come_and_go_and_every_id_of_a_key_that_is_there_opens(
        rest in "[A-Za-z0-9]{1,60}", made in 0_usize..4, kept in prop::collection::vec(0_usize..4, 1..4),
    ) {
        let names = ["a", "b", "c", "d"];
        let sealed = seal(&sealer(&[names[made]]), OWNER, &format!("vs_{rest}"));
        let kept_names: Vec<&str> = kept.iter().map(|index| names[*index]).collect();
        let told = open(&sealer(&kept_names), &sealed, OWNER.consumer);
        prop_assert_eq!(told.map(|_| ()), if kept.contains(&made) { Ok(()) } else { Err(IdFlaw::Key) });
    }

    #[test]
    fn any_text_is_survived(text in any::<String>(), junk in "[a-z]{0,3}[_-]?tg[0-9][A-Za-z0-9_-]{0,120}") {
        let sealer = sealer(&["a"]);
        for text in [text, junk] {
            prop_assert!(open(&sealer, &text, OWNER.consumer).is_err());
        }
    }
}
