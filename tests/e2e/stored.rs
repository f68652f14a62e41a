//! Chat completions that are stored.

use crate::common::{ladder, regions};
use crate::stateful::{NEW, by, consumers, get, id, keyed, refused};
use harness::Ask;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stored_completion_is_found_again_by_its_consumer_alone_and_others_keep_azures_id() {
    let (a, b) = regions().await;
    let gateway = consumers(keyed(ladder(&a, &b), NEW)).start().await;
    let chat = |more: &str| {
        let body = format!(r#"{{"model":"gpt","messages":[{{"role":"user","content":"hi"}}]{more}}}"#);
        by(Ask::json("/openai/v1/chat/completions", body), 1)
    };
    for plain in ["", r#","store":false"#, r#","store":null"#, r#","metadata":{"store":true}"#] {
        let answer = gateway.ask(&chat(plain)).await;
        assert!(id(&answer).starts_with("chatcmpl-0"), "{answer}");
        assert!(!answer.header("content-length").is_empty(), "it goes on as it came: {answer}");
        let path = format!("chat/completions/{}", id(&answer));
        refused(&gateway.ask(&by(get(&path), 1)).await, 404, "not_found");
    }
    a.status(503);
    let made = id(&gateway.ask(&chat(r#","store":true"#)).await);
    assert!(made.starts_with("chatcmpl-tg1"), "{made}");
    a.clear();
    let calls = a.requests();
    let path = format!("/openai/v1/chat/completions/{made}");
    for method in ["GET", "POST", "DELETE"] {
        let ask = if method == "POST" { Ask::json(&path, "{}") } else { Ask::new(method, &path) };
        refused(&gateway.ask(&by(ask.clone(), 2)).await, 404, "not_found");
        let answer = gateway.ask(&by(ask, 1)).await;
        assert_eq!((id(&answer), answer.header("x-served-by")), (made.clone(), "francecentral/b"), "{method}");
    }
    assert_eq!(a.requests(), calls, "the first of the ladder does not have it");
    let messages = gateway.ask(&by(get(&format!("chat/completions/{made}/messages")), 1)).await;
    assert_eq!((messages.status, messages.header("x-served-by")), (404, "francecentral/b"), "it is deleted");
}
