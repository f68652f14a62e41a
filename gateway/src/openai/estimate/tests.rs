//! Estimates of whole bodies.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use super::*;
use crate::openai::facts;
use proptest::prelude::{ProptestConfig, any, prop, prop_assert, prop_assert_eq, proptest};

const RULES: Rules = Rules { encoding: Encoding::O200k, output_default: 100 };

fn of(operation: Operation, body: &str) -> Estimate {
    let facts = facts::from_json(body.as_bytes(), false).unwrap();
    estimate(operation, &facts, body.as_bytes(), &RULES)
}

fn prompt(operation: Operation, body: &str) -> (u64, bool) {
    let estimate = of(operation, body);
    (estimate.prompt, estimate.exact)
}

#[test]
fn a_chat_is_framed_as_the_cookbook_says() {
    // The cookbook's example of gpt-4o: 124 tokens.
    let body = r#"{"messages":[
        {"role":"system","content":"You are a helpful, pattern-following assistant that translates corporate jargon into plain English."},
        {"role":"system","name":"example_user","content":"New synergies will help drive top-line growth."},
        {"role":"system","name":"example_assistant","content":"Things working well together will increase revenue."},
        {"role":"system","name":"example_user","content":"Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage."},
        {"role":"system","name":"example_assistant","content":"Let's talk later when we're less busy about how to do better."},
        {"role":"user","content":"This late pivot means we don't have time to boil the ocean for the client deliverable."}]}"#;
    assert_eq!(prompt(Operation::ChatCompletions, body), (124, true));
    let parts = r#"{"messages":[{"role":"user","content":[{"type":"text","text":"hello world"}]}]}"#;
    let plain = r#"{"messages":[{"role":"user","content":"hello world"}]}"#;
    assert_eq!(prompt(Operation::ChatCompletions, parts), (3 + 3 + 1 + 2, true));
    assert_eq!(prompt(Operation::ChatCompletions, parts), prompt(Operation::ChatCompletions, plain));
}

#[test]
fn inputs_of_every_shape_are_counted() {
    for (operation, body, want) in [
        (Operation::Embeddings, r#"{"input":"hello world"}"#, (2, true)),
        (Operation::Embeddings, r#"{"input":["hello world","hello"]}"#, (3, true)),
        (Operation::Embeddings, r#"{"input":[1,2,3]}"#, (3, true)),
        (Operation::Embeddings, r#"{"input":[[1,2],[3]]}"#, (3, true)),
        (Operation::Completions, r#"{"prompt":"hello world","suffix":" the"}"#, (3, true)),
        (Operation::Responses, r#"{"input":"hello world","instructions":"hello"}"#, (3, true)),
        (
            Operation::Responses,
            r#"{"input":[{"role":"user","content":[{"type":"input_text","text":"hello"}]},{"type":"function_call_output","output":"hello"}]}"#,
            (3 + 1 + 1 + 3 + 1, true),
        ),
        (Operation::Responses, r#"{"input":"hello","previous_response_id":"resp_1"}"#, (1, false)),
        (Operation::ChatCompletions, r#"{"messages":[],"metadata":{"content":"not shown to a model"}}"#, (3, true)),
        (Operation::ImagesGenerations, r#"{"prompt":"a cat"}"#, (0, true)),
        (
            Operation::ChatCompletions,
            r#"{"messages":[{"content":[{"type":"input_audio","input_audio":{"data":"AAAA"}}]}]}"#,
            (6, false),
        ),
    ] {
        assert_eq!(prompt(operation, body), want, "{body}");
    }
}

#[test]
fn tools_and_images_are_counted() {
    let bare = prompt(Operation::ChatCompletions, r#"{"messages":[]}"#).0;
    let tools = r#"[{"type":"function","function":{"name":"weather","parameters":{"type":"object"}}}]"#;
    let with = prompt(Operation::ChatCompletions, &format!(r#"{{"messages":[],"tools":{tools}}}"#));
    assert_eq!(with, (bare + Encoding::O200k.count(tools), true));
    for (image, want, exact) in [
        (r#""image_url":{"url":"https://x.example/a.png","detail":"low"}"#, 85, true),
        (r#""image_url":{"url":"https://x.example/a.png"}"#, 1445, false),
        (r#""image_url":"https://x.example/a.png","detail":"low""#, 85, true),
        (r#""detail":"low","image_url":"https://x.example/a.png""#, 85, true),
        (r#""image_url":"data:image/gif;base64,R0lGODlhAAQABA==""#, 765, true),
        (r#""image_url":7"#, 1445, false),
    ] {
        let body = format!(r#"{{"messages":[{{"content":[{{"type":"image_url",{image}}}]}}]}}"#);
        assert_eq!(prompt(Operation::ChatCompletions, &body), (bare + 3 + want, exact), "{image}");
    }
}

#[test]
fn the_ceiling_counts_for_each_answer() {
    for (body, want) in [
        (r#"{"messages":[]}"#, 100),
        (r#"{"messages":[],"max_tokens":7}"#, 7),
        (r#"{"messages":[],"max_completion_tokens":7,"n":3}"#, 21),
        (r#"{"messages":[],"max_tokens":7,"best_of":4,"n":2}"#, 28),
        (r#"{"messages":[],"n":0}"#, 100),
        (r#"{"messages":[],"max_tokens":18446744073709551615,"n":9}"#, OUTPUT_MAX),
    ] {
        assert_eq!(of(Operation::ChatCompletions, body).output_max, want, "{body}");
    }
    assert_eq!(of(Operation::Embeddings, r#"{"input":"a","max_tokens":7}"#).output_max, 0);
}

#[test]
fn what_is_too_long_or_too_deep_is_estimated_by_its_length() {
    let long = "x".repeat(EXACT_MAX + 1);
    let estimate = of(Operation::Embeddings, &format!(r#"{{"input":"{long}"}}"#));
    assert_eq!((estimate.prompt, estimate.exact), (by_length(EXACT_MAX + 1), false));
    let deep = format!(r#"{{"messages":{}{}}}"#, "[".repeat(1000), "]".repeat(1000));
    let facts = Facts::default();
    let estimate = super::estimate(Operation::ChatCompletions, &facts, deep.as_bytes(), &RULES);
    assert_eq!((estimate.prompt, estimate.exact), (by_length(deep.len()), false));
    assert_eq!(by_length(7), 2);
}

#[test]
fn what_may_have_more_tokens_than_bytes_is_never_taken_roughly() {
    let told = |operation, body: &str| {
        let facts = facts::from_json(body.as_bytes(), false).unwrap();
        rough(operation, &facts, body.as_bytes(), &RULES)
    };
    let chat = r#"{"messages":[{"role":"user","content":"hi"}],"max_tokens":7,"n":2}"#;
    let estimate = Estimate { prompt: by_length(chat.len()), output_max: 14, exact: false };
    assert_eq!(told(Operation::ChatCompletions, chat), Some(estimate));
    assert_eq!(told(Operation::Embeddings, r#"{"input":"hi","max_tokens":7}"#).unwrap().output_max, 0);
    for (operation, body) in [
        (Operation::ChatCompletions, r#"{"messages":[{"role":"user","content":[{"type":"image_url"}]}]}"#),
        (Operation::Responses, r#"{"input":[{"type":"input_image"}]}"#),
        (Operation::Responses, r#"{"input":"hi","previous_response_id":"resp_1"}"#),
        (Operation::AudioSpeech, r#"{"input":"hi"}"#),
    ] {
        assert_eq!(told(operation, body), None, "{body}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    /// What the rough estimate is bounded by.
    #[test]
    fn a_prompt_has_no_more_tokens_than_its_body_has_bytes(texts in prop::collection::vec("\\PC{0,40}", 1..4)) {
        let messages: Vec<_> = texts.iter().map(|text| serde_json::json!({ "role": "user", "content": text })).collect();
        let body = serde_json::json!({ "messages": messages }).to_string();
        prop_assert!(of(Operation::ChatCompletions, &body).prompt <= body.len() as u64, "{}", body);
    }

    #[test]
    fn no_bytes_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
        let facts = Facts::default();
        let _estimate = estimate(Operation::ChatCompletions, &facts, &body, &RULES);
    }

    /// What is settled early is what the whole would have cost, wherever the text is cut.
    #[test]
    fn settled_tokens_stay_settled(text in "([a-zA-Z' \n0-9,.日本é]{0,12}(n't| the|'ll)?){0,12}", at in any::<prop::sample::Index>()) {
        let cuts: Vec<usize> = text.char_indices().map(|(index, _)| index).chain([text.len()]).collect();
        let cut = cuts.get(at.index(cuts.len())).copied().unwrap_or(0);
        for encoding in [Encoding::O200k, Encoding::Cl100k] {
            let (tokens, end) = encoding.settled(text.get(..cut).unwrap());
            prop_assert!(end <= cut);
            prop_assert_eq!(tokens + encoding.count(text.get(end..).unwrap()), encoding.count(&text));
        }
    }
}
