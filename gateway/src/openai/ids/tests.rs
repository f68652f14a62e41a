//! Tables of every place, and properties of chunking.

use super::*;
use crate::openai::operation;
use proptest::prelude::{ProptestConfig, any, prop, prop_assert_eq, proptest};
use serde_json::{Value, json};

/// Puts `<place>` in front of what looks like an id, and notes it.
#[derive(Default)]
struct Marks {
    seen: Vec<(Place, String)>,
    left: usize,
}

impl Edit for Marks {
    fn text(&mut self, place: Place, text: &str) -> Option<String> {
        self.seen.push((place, text.to_owned()));
        let letter = match place {
            Place::Path => 'P',
            Place::Reference => 'R',
            Place::Own | Place::Root => 'O',
            Place::Content => 'C',
        };
        text.contains(['_', '-']).then(|| format!("{letter}{text}"))
    }

    fn end_content(&mut self, digest: [u8; 16]) -> Option<String> {
        Some(format!(".{:02x}{:02x}", digest[0], digest[1]))
    }

    fn left_reference(&mut self) {
        self.left += 1;
    }
}

fn asked(value: &str) -> (String, Marks) {
    let bytes = Bytes::copy_from_slice(value.as_bytes());
    let mut marks = Marks::default();
    let told = body(&bytes, &mut marks).unwrap_or(bytes);
    (String::from_utf8(told.to_vec()).unwrap(), marks)
}

/// An answer in chunks that end at `cuts`.
fn answered(mut answer: Answer, text: &str, cuts: &[usize]) -> String {
    let mut out = Vec::new();
    let mut from = 0;
    for &cut in cuts.iter().chain([&text.len()]) {
        let chunk = Bytes::copy_from_slice(&text.as_bytes()[from..cut]);
        out.extend_from_slice(&answer.feed(&chunk, &mut Marks::default()));
        from = cut;
    }
    out.extend_from_slice(&answer.finish());
    String::from_utf8_lossy(&out).into_owned()
}

#[test]
fn ids_of_a_request_are_found_wherever_they_stand() {
    for (sent, want) in [
        (json!({"previous_response_id": "resp_1"}), json!({"previous_response_id": "Rresp_1"})),
        (json!({"conversation": "conv_1"}), json!({"conversation": "Rconv_1"})),
        (json!({"conversation": {"id": "conv_1"}}), json!({"conversation": {"id": "Rconv_1"}})),
        (
            json!({"input": [{"type": "item_reference", "id": "msg_1"}, {"id": "rs_2", "encrypted_content": "x_y"}]}),
            json!({"input": [{"type": "item_reference", "id": "Omsg_1"}, {"id": "Ors_2", "encrypted_content": "Cx_y"}]}),
        ),
        (
            json!({"tools": [{"type": "file_search", "vector_store_ids": ["vs_1", "vs_2"]},
                {"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["file-1"]}},
                {"type": "code_interpreter", "container": "cntr_1"}]}),
            json!({"tools": [{"type": "file_search", "vector_store_ids": ["Rvs_1", "Rvs_2"]},
                {"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["Rfile-1"]}},
                {"type": "code_interpreter", "container": "Rcntr_1"}]}),
        ),
        (
            json!({"tool_resources": {"file_search": {"vector_store_ids": ["vs_1"], "vector_stores": [{"file_ids": ["file-1"]}]}}}),
            json!({"tool_resources": {"file_search": {"vector_store_ids": ["Rvs_1"], "vector_stores": [{"file_ids": ["Rfile-1"]}]}}}),
        ),
        (
            json!({"assistant_id": "asst_1", "thread": {"messages": [{"attachments": [{"file_id": "file-1"}]}]}}),
            json!({"assistant_id": "Rasst_1", "thread": {"messages": [{"attachments": [{"file_id": "Rfile-1"}]}]}}),
        ),
        (
            json!({"input_file_id": "file-1", "training_file": "file-2", "validation_file": null}),
            json!({"input_file_id": "Rfile-1", "training_file": "Rfile-2", "validation_file": null}),
        ),
    ] {
        assert_eq!(serde_json::from_str::<Value>(&asked(&sent.to_string()).0).unwrap(), want);
        let pretty = serde_json::to_string_pretty(&sent).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&asked(&pretty).0).unwrap(), want);
    }
}

#[test]
fn what_is_the_clients_own_is_not_looked_at() {
    for kept in [
        json!({"metadata": {"id": "a_1", "file_id": ["file-1", {"file_id": "x-y"}]}, "input": "file_id: file-1"}),
        json!({"tools": [{"parameters": {"properties": {"file_id": {"enum": ["file-1"]}}, "id": "x_y"}}]}),
        json!({"call_id": "call_1", "tool_call_id": "call_2", "connector_id": "connector_x", "custom_id": "a-b"}),
        json!({"model": "gpt-4o", "text": "resp_1", "file_ids": {"a": "b_c"}, "n": -1, "x": [true, null, "id", ["a_b"]]}),
    ] {
        let (told, marks) = asked(&kept.to_string());
        assert_eq!((told.as_str(), marks.seen), (kept.to_string().as_str(), Vec::new()));
    }
    let deep = format!("{}{{\"id\":\"a_b\"}}{}", "[".repeat(100), "]".repeat(100));
    assert_eq!(asked(&deep).0, deep);
}

#[test]
fn escapes_hide_nothing() {
    for (sent, want) in [
        (r#"{"previous\u005fresponse_id":"resp_1"}"#, r#"{"previous\u005fresponse_id":"Rresp_1"}"#),
        (r#"{"previous_response_id":"resp\u005f1"}"#, r#"{"previous_response_id":"Rresp_1"}"#),
        (r#"{"a\"id":"x_y","id":"b_\\"}"#, r#"{"a\"id":"x_y","id":"Ob_\"}"#),
    ] {
        assert_eq!(asked(sent).0, want);
    }
}

#[test]
fn a_reference_whose_id_is_left_is_told() {
    for (sent, left) in [
        (r#"[{"type":"item_reference","id":"plain"}]"#, 1),
        (r#"[{"id":"plain","type":"item_reference"},{"id":"plain","type":"message"}]"#, 1),
        (r#"[{"type":"item_reference","id":"msg_1"}]"#, 0),
        (r#"[{"type":"item_reference","x":{"id":"plain"}}]"#, 0),
    ] {
        assert_eq!(asked(sent).1.left, left, "{sent}");
    }
}

#[test]
fn paths_and_queries_are_read_by_their_segments() {
    for (uri, want) in [
        ("/openai/v1/responses/resp_1", Some("/openai/v1/responses/Presp_1")),
        (
            "/openai/responses/resp_1/input_items?after=msg_1&limit=2",
            Some("/openai/responses/Presp_1/Oinput_items?after=Rmsg_1&limit=2"),
        ),
        ("/v1/threads/thread_1/runs/run_1", Some("/v1/threads/Pthread_1/runs/Orun_1")),
        ("/openai/v1/fine_tuning/jobs/ftjob-1/events", Some("/openai/v1/fine_tuning/jobs/Pftjob-1/events")),
        ("/openai/v1/files?before=a%5Fb&x_id=c-d", Some("/openai/v1/files?before=Ra_b&x_id=Rc-d")),
        ("/openai/v1/chat/completions/chatcmpl-1/messages", Some("/openai/v1/chat/completions/Pchatcmpl-1/messages")),
        ("/openai/v1/chat/completions?limit=2", None),
        ("/openai/v1/files", None),
        ("/openai/v1/files?limit=20", None),
        ("/openai/v1/threads/runs", None),
    ] {
        let (path, query) = uri.split_once('?').map_or((uri, None), |(path, query)| (path, Some(query)));
        let parsed = operation::parse(path).unwrap();
        let told = target(&parsed, (path, query), parsed.bound().is_some(), &mut Marks::default());
        assert_eq!(told.as_deref(), want, "{uri}");
    }
}

#[test]
fn fields_of_forms_are_read_and_files_are_not() {
    let field =
        |name: &str, value: &str| format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    let sent =
        [field("file_id", "file-tg1x"), field("file", "see file-tg1x\r\n"), field("y", "vs_tg1z"), "--b--\r\n".into()];
    let want = [
        field("file_id", "Ofile-tg1x"),
        field("file", "see file-tg1x\r\n"),
        field("y", "Ovs_tg1z"),
        "--b--\r\n".into(),
    ];
    let told = form(&Bytes::from(sent.concat()), "tg1", &mut Marks::default()).unwrap();
    assert_eq!(told, want.concat());
    assert_eq!(form(&Bytes::from(want.concat()), "tg9", &mut Marks::default()), None);
}

#[test]
fn each_line_is_a_document_of_its_own() {
    let (front, behind) = ("{\"file_id\":\"a_b\"}\n", "\n{\"file_id\":\"a_b\"}");
    let text =
        "{\"body\":{\"file_id\":\"a_b\"}}\n{\"metadata\":{\"file_id\":\"a_b\n{\"file_id\":\"c_d\",\"x\":\"e_f\"}\r\n";
    let sent = Bytes::from(format!("{front}{text}{behind}"));
    let told = lines(&sent, front.len()..front.len() + text.len(), &mut Marks::default()).unwrap();
    let want = text.replacen("a_b", "Ra_b", 1).replace("c_d", "Rc_d");
    assert_eq!(told, format!("{front}{want}{behind}"));
    assert_eq!(lines(&sent, 0..0, &mut Marks::default()), None);
}

const DOCUMENT: &str = r#"{"id":"resp_1","n":[1,2],"output":[{"id":"rs_2","encrypted_content":"gAAA\u0041\/x==","summary":[]},
    {"id":"msg_3","content":[{"text":"a \"id\":\"x_y\" \\","annotations":[{"file_id":"file-4","container_id":"cntr_5"}]}]}],
    "previous_response_id":"resp_0","metadata":{"id":"x_y"},"first_id":null,"data":[{"id":"a_b"}],"usage":{"total":1}}"#;

fn document() -> String {
    let end = digest("gAAAA/x==");
    DOCUMENT
        .replace("\"resp_1", "\"Oresp_1")
        .replace("rs_2", "Ors_2")
        .replace("msg_3", "Omsg_3")
        .replace("file-4", "Rfile-4")
        .replace("cntr_5", "Rcntr_5")
        .replace("resp_0", "Rresp_0")
        .replace("a_b", "Oa_b")
        .replace("x==", &format!("x==.{:02x}{:02x}", end[0], end[1]))
}

#[test]
fn an_answer_is_rewritten_wherever_its_chunks_end() {
    let (want, events) = (document(), stream(&document()));
    for cut in 0..DOCUMENT.len() {
        assert_eq!(answered(Answer::json(), DOCUMENT, &[cut]), want, "{cut}");
    }
    let bytes: Vec<usize> = (0..DOCUMENT.len()).collect();
    assert_eq!(answered(Answer::json(), DOCUMENT, &bytes), want);
    let sent = stream(DOCUMENT);
    for cut in 0..sent.len() {
        assert_eq!(answered(Answer::events(), &sent, &[cut]), events, "{cut}");
    }
}

fn stream(document: &str) -> String {
    let line = document.replace("\n", "");
    let torn = document.replace('\n', "\r\ndata:");
    format!(
        ": {{\"id\":\"a_b\"}}\nevent: x_y\nid: a_b\ndata: {line}\n\ndata:{torn}\r\n\r\ndata: {{\"id\":\"a\n\ndatum: {{\"id\":\"a_b\"}}\n\ndata: [DONE]\n\n"
    )
}

#[test]
fn what_needs_no_change_is_not_copied() {
    for text in [r#"{"object":"list","data":[{"text":"resp_1"}]}"#, "no JSON at all \"id\":\"a_b\"", "[[[[{{{{\"\"\"\""]
    {
        let chunk = Bytes::from(text);
        let out = Answer::json().feed(&chunk, &mut Marks::default());
        assert_eq!((out.as_ptr(), out.len()), (chunk.as_ptr(), chunk.len()), "{text}");
    }
}

#[test]
fn an_answer_leaves_in_the_step_in_which_it_came() {
    let mut answer = Answer::events();
    let mut feed = |text: &'static str| answer.feed(&Bytes::from_static(text.as_bytes()), &mut Marks::default());
    assert_eq!(feed("data: {\"delta\":\"hel"), "data: {\"delta\":\"hel");
    assert_eq!(feed("lo\",\"item_id\":\"msg"), "lo\",\"item_id\":\"");
    assert_eq!(feed("_1\"}\n\n"), "Rmsg_1\"}\n\n");
    let long: &'static str = Box::leak(format!("{{\"id\":\"{}", "x_".repeat(2000)).into_boxed_str());
    assert_eq!(
        Answer::json().feed(&Bytes::from_static(long.as_bytes()), &mut Marks::default()),
        long,
        "held in bounds"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn any_chunking_of_any_text_gives_the_bytes_of_the_whole(
        parts in prop::collection::vec(prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"", "\\", "\"id\"", "\"id\":\"a_b\"", "\"file_ids\":[\"", "a_b", "\"metadata\":{",
            "data: ", "data:", "\n", "\r", "\n\n", "\"encrypted_content\":\"xy\\u00", "41", "\"type\":\"item_reference\"", "\\\"", "é",
        ]), 0..30),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let text = parts.concat();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.sort_unstable();
        for make in [Answer::json, Answer::events] {
            prop_assert_eq!(answered(make(), &text, &cuts), answered(make(), &text, &[]));
        }
        let (_told, _marks) = asked(&text);
    }
}
