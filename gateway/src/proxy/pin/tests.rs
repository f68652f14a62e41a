//! Answers that were sealed, and what becomes of them when they come back.

use super::opening::Opening;
use super::sealing::Sealing;
use crate::domain::{IdFlaw, Secret};
use crate::openai::ids::{self, Answer};
use crate::policy::seal::{Key, Owner, Sealer};
use bytes::Bytes;

const HERE: Owner = Owner { resource: 1, consumer: 7 };

fn sealer() -> Sealer {
    Sealer::new(Key::new("k", &Secret::new("a secret of thirty-two characters")))
}

fn sealed(document: &str, owner: Owner) -> String {
    let mut sealing = Sealing::new(sealer(), owner, true);
    let told = Answer::json().feed(&Bytes::copy_from_slice(document.as_bytes()), &mut sealing);
    String::from_utf8(told.to_vec()).unwrap()
}

/// The document as the backend gets it, and the resource; or the flaw.
fn opened(document: &str, consumer: u64) -> Result<(String, Option<u64>), IdFlaw> {
    let sealer = sealer();
    let mut opening = Opening::new(Some(&sealer), consumer, true);
    let bytes = Bytes::copy_from_slice(document.as_bytes());
    let told = ids::body(&bytes, &mut opening).unwrap_or(bytes);
    match opening.flaw {
        Some((flaw, _)) => Err(flaw),
        None => Ok((String::from_utf8(told.to_vec()).unwrap(), opening.resource)),
    }
}

const REASONING: &str = r#"{"id":"rs_1","type":"reasoning","encrypted_content":"gAAAAAone=="}"#;

#[test]
fn what_was_sealed_comes_back_as_it_was() {
    for document in [
        REASONING,
        r#"{"id":"resp_1","previous_response_id":null,"output":[{"id":"msg_2","content":[{"file_id":"file-3"}]}]}"#,
        r#"{"data":[{"id":"batch_1","input_file_id":"file-2"}],"first_id":"batch_1"}"#,
    ] {
        let sealed = sealed(document, HERE);
        assert_ne!(sealed, document);
        assert_eq!(opened(&sealed, 7), Ok((document.to_owned(), Some(1))));
        assert_eq!(opened(&sealed, 8), Err(IdFlaw::Foreign));
    }
    let turn = r#"{"tool_calls":[{"id":"call_1","call_id":"call_2"}],"metadata":{"id":"a_b"}}"#;
    assert_eq!(sealed(turn, HERE), turn);
    assert_eq!(opened(turn, 7), Ok((turn.to_owned(), None)));
}

#[test]
fn of_a_stored_completion_its_own_id_alone_is_sealed_and_alike_in_every_event() {
    let chunk = r#"data: {"id":"chatcmpl-1","choices":[{"delta":{"tool_calls":[{"id":"chatcmpl-tool-2"}],"audio":{"id":"audio_3"}}}]}"#;
    let mut sealing = Sealing::new(sealer(), HERE, false);
    let sent = Bytes::from(format!("data: {{\"id\":\"\"}}\n\n{chunk}\n\n{chunk}\n\ndata: [DONE]\n\n"));
    let told = Answer::events().feed(&sent, &mut sealing);
    let told = String::from_utf8(told.to_vec()).unwrap();
    let whole = sealed(r#"{"id":"chatcmpl-1"}"#, HERE);
    let id = &whole[1..whole.len() - 1];
    assert!(id.contains("chatcmpl-tg1"), "{id}");
    assert_eq!(told.replace(id, "\"id\":\"chatcmpl-1\""), sent);
    assert_eq!(told.matches(id).count(), 2);
}

#[test]
fn encrypted_content_is_bound_to_its_resource_and_its_consumer() {
    let mine = sealed(REASONING, HERE);
    let other = sealed(&REASONING.replace("one", "two"), HERE);
    let token = |document: &str| document.rsplit_once(".tg1").unwrap().1.to_owned();
    assert_eq!(opened(REASONING, 7), Err(IdFlaw::Unsealed), "nobody says where it can be read");
    let swapped = mine.replace(&token(&mine), &token(&other));
    assert_eq!(opened(&swapped, 7), Err(IdFlaw::Forged), "a token is of one content");
    let changed = mine.replace("gAAAAAone", "gAAAAAonf");
    assert_eq!(opened(&changed, 7), Err(IdFlaw::Forged));
    let escaped = mine.replace("==.", "\\u003d=.");
    assert!(opened(&escaped, 7).is_ok_and(|(document, _)| document == REASONING), "however it was escaped");
    assert_eq!(opened(&mine.replace("rs_tg1", "rs_tg3"), 7), Err(IdFlaw::Version));
}

#[test]
fn ids_of_two_resources_do_not_go_together() {
    let there = Owner { resource: 2, ..HERE };
    let [one, two] = [HERE, there].map(|owner| sealed(r#"{"file_id":"file-1"}"#, owner));
    assert_eq!(opened(&format!("[{one},{one}]"), 7).map(|(_, resource)| resource), Ok(Some(1)));
    assert_eq!(opened(&format!("[{one},{two}]"), 7), Err(IdFlaw::Torn));
}

#[test]
fn only_references_have_to_be_sealed() {
    for (document, told) in [
        (r#"{"previous_response_id":"resp_1"}"#, Err(IdFlaw::Unsealed)),
        (r#"{"conversation":{"id":"conv_1"}}"#, Err(IdFlaw::Unsealed)),
        (r#"{"input":[{"type":"item_reference","id":"msg_1"}]}"#, Err(IdFlaw::Unsealed)),
        (r#"{"file_ids":["file-1"]}"#, Err(IdFlaw::Unsealed)),
        (r#"{"input":[{"type":"message","id":"msg_1"}]}"#, Ok(())),
        (r#"{"tool_call_id":"call_1","x_id":"no id","container":{"type":"auto"}}"#, Ok(())),
    ] {
        assert_eq!(opened(document, 7).map(|_| ()), told, "{document}");
    }
}
