//! The input of a batch: lines are calls, and say what Azure knows.

use crate::common::{B, ladder, regions};
use crate::stateful::{NEW, get, id, keyed, refused};
use harness::Ask;

const ALIASES: &str = "models: { aliases: { fast: gpt-4o-batch } }";

fn upload(path: &str, purpose: &str, file: &str) -> Ask {
    let part =
        |name: &str, value: &str| format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    let form = format!("{}{}--b--\r\n", part("purpose", purpose), part("file", file));
    Ask::new("POST", path).header("content-type", "multipart/form-data; boundary=b").body(form)
}

fn line(model: &str, more: &str) -> String {
    format!(
        r#"{{"custom_id":"1","method":"POST","url":"/v1/responses","body":{{"input":"fast"{more},"model":"{model}"}}}}"#
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aliases_in_the_lines_of_a_batch_become_deployments_and_nothing_else_changes() {
    let (a, b) = regions().await;
    let gateway = keyed(ladder(&a, &b), NEW).top(ALIASES).start().await;
    let file = [line("fast", ""), line("gpt", ""), "no line".to_owned(), line("fast", "")].join("\n");
    for (path, purpose, want) in [
        ("/openai/v1/files", "batch", file.replace(r#""model":"fast""#, r#""model":"gpt-4o-batch""#)),
        (
            "/openai/files?api-version=2024-10-21",
            "batch",
            file.replace(r#""model":"fast""#, r#""model":"gpt-4o-batch""#),
        ),
        ("/openai/v1/files", "assistants", file.clone()),
    ] {
        let made = id(&gateway.ask(&upload(path, purpose, &file)).await);
        let content = gateway.ask(&get(&format!("files/{made}/content"))).await;
        assert_eq!(content.text(), want, "{path} {purpose}");
    }
    let many = vec![line("fast", ""); 20_000].join("\n");
    let made = id(&gateway.ask(&upload("/openai/v1/files", "batch", &many)).await);
    let content = gateway.ask(&get(&format!("files/{made}/content"))).await.text();
    assert!(content == many.replace(r#""model":"fast""#, r#""model":"gpt-4o-batch""#), "{} bytes", content.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_in_the_lines_of_a_batch_lead_its_file_where_they_live() {
    let (a, b) = regions().await;
    let gateway = keyed(ladder(&a, &b), NEW).start().await;
    let respond = || Ask::json("/openai/v1/responses", r#"{"model":"gpt","input":"hi"}"#);
    let here = id(&gateway.ask(&respond()).await);
    a.status(503);
    let there = id(&gateway.ask(&respond()).await);
    a.clear();
    let follow = |id: &str| line("gpt", &format!(r#","previous_response_id":"{id}""#));
    let file = format!("{}\n{}", line("gpt", ""), follow(&there));
    let answer = gateway.ask(&upload("/openai/v1/files", "batch", &file)).await;
    let made = id(&answer);
    assert_eq!(answer.header("x-served-by"), B, "{answer}");
    let content = gateway.ask(&get(&format!("files/{made}/content"))).await.text();
    assert!(content.starts_with(&line("gpt", "")) && !content.contains("tg1"), "{content}");
    assert!(content.contains(r#""previous_response_id":"resp_0"#), "{content}");
    let torn = format!("{}\n{}", follow(&here), follow(&there));
    refused(&gateway.ask(&upload("/openai/v1/files", "batch", &torn)).await, 400, "ids_of_two_backends");
    let foreign = follow(&format!("{}x", &there[..there.len() - 1]));
    refused(&gateway.ask(&upload("/openai/v1/files", "batch", &foreign)).await, 404, "not_found");
}
