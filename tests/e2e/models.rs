//! Names of models: what clients may call a deployment, and what they are told there is.

use crate::common::{A, B, regions, served_by};
use harness::{Ask, Client, Gateway, Proto, Setup, Sim};
use serde_json::Value;
use tidegate::domain::KeyHash;

/// Two keys that somebody chose.
const SMALL: &str = "4f1c9a7b2e8d40536a1bb0c2d3e4f596";
const EVERY: &str = "5f1c9a7b2e8d40536a1bb0c2d3e4f597";

async fn names(client: &Client, path: &str, key: Option<&str>) -> Vec<String> {
    let mut ask = Ask::new("GET", path);
    if let Some(key) = key {
        ask = ask.header("api-key", key);
    }
    let answer = client.ask(&ask).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"), "{answer}");
    let list = answer.json();
    assert_eq!(list["object"], "list", "{list}");
    list["data"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

/// `chat` takes chats, `small` what is small; each backend has a name of its own for them.
async fn gateway(a: &Sim, b: &Sim, more: &str) -> Gateway {
    Setup::new()
        .top("models: { aliases: { fast: gpt-4o-mini, \"gpt-4o-2*\": gpt-4o, \"gpt-4o-2024-11-20\": gpt-4o-mini, gone: nothing } }")
        .backend("a", a, "deployment: chat-there")
        .more(&format!(
            "  - name: small\n    probe: off\n    backends:\n      - {{ name: b, region: francecentral, url: \"{}\" }}\n\
             routes:\n  - {{ name: chat, match: {{ deployment: gpt-4o }}, pool: chat }}\n  \
             - {{ name: small, match: {{ deployment: gpt-4o-mini }}, pool: small }}\n{more}",
            b.url()
        ))
        .start()
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alias_is_served_by_what_it_stands_for() {
    let (a, b) = regions().await;
    let gateway = gateway(&a, &b, "").await;
    let client = gateway.client(Proto::H1);
    for (name, backend, there) in [
        ("gpt-4o", A, "chat-there"),
        ("gpt-4o-2024-08-06", A, "chat-there"),
        ("gpt-4o-mini", B, "gpt-4o-mini"),
        ("fast", B, "gpt-4o-mini"),
        // Exact beats a pattern.
        ("gpt-4o-2024-11-20", B, "gpt-4o-mini"),
    ] {
        for ask in [Ask::chat(name), Ask::v1(name), Ask::transcription("/openai/v1/audio/transcriptions", name, b"x")] {
            let answer = client.ask(&ask).await;
            served_by(&answer, backend);
            assert!(answer.text().contains(&format!("central/{there}]")), "{name} {}: {answer}", ask.path);
        }
        let record = gateway.record(&client_asked(&client, name).await).await;
        let plain = name == "gpt-4o" || name == "gpt-4o-mini";
        assert_eq!(record["alias"], if plain { Value::Null } else { name.into() }, "{record}");
    }
    for name in ["gone", "slow", "gpt-4o-"] {
        let answer = client.ask(&Ask::v1(name)).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (404, &"deployment_not_found".into()), "{answer}");
    }
}

async fn client_asked(client: &Client, name: &str) -> String {
    let ask = Ask::v1(name);
    assert_eq!(client.ask(&ask).await.status, 200);
    ask.id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_is_what_can_be_used() {
    let (a, b) = regions().await;
    let gateway = gateway(&a, &b, "").await;
    for proto in Proto::PLAIN {
        let client = gateway.client(proto);
        let want = ["fast", "gpt-4o", "gpt-4o-2024-11-20", "gpt-4o-mini"];
        for path in ["/openai/v1/models", "/v1/models", "/openai/models?api-version=2024-10-21"] {
            assert_eq!(names(&client, path, None).await, want, "{path}");
        }
        assert_eq!(names(&client, "/openai/deployments?api-version=2022-12-01", None).await, want);
        let one = client.ask(&Ask::new("GET", "/openai/v1/models/fast")).await;
        assert_eq!((one.status, &one.json()["id"], &one.json()["object"]), (200, &"fast".into(), &"model".into()));
        let one = client.ask(&Ask::new("GET", "/openai/deployments/gpt-4o?api-version=2022-12-01")).await;
        assert_eq!(
            (one.status, &one.json()["id"], &one.json()["object"]),
            (200, &"gpt-4o".into(), &"deployment".into())
        );
        // A pattern is no name, but what it takes is one.
        assert_eq!(client.ask(&Ask::new("GET", "/openai/v1/models/gpt-4o-2024-05-13")).await.status, 200);
        for name in ["gone", "chat-there", "o3"] {
            let answer = client.ask(&Ask::new("GET", &format!("/openai/v1/models/{name}"))).await;
            assert_eq!(
                (answer.status, &answer.json()["error"]["code"]),
                (404, &"deployment_not_found".into()),
                "{answer}"
            );
        }
    }
    assert_eq!(a.requests() + b.requests(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nothing_is_named_or_wanted_a_backend_answers() {
    let (a, _b) = regions().await;
    for setup in [
        Setup::new().backend("a", &a, ""),
        Setup::new().backend("a", &a, "deployment: gpt").top("models: { list: pass }"),
    ] {
        let gateway = setup.start().await;
        let answer = gateway.client(Proto::H1).ask(&Ask::new("GET", "/openai/v1/models")).await;
        served_by(&answer, A);
    }
    let gateway = Setup::new().backend("a", &a, "deployment: there, model: gpt-4o").start().await;
    assert_eq!(names(&gateway.client(Proto::H1), "/openai/v1/models", None).await, ["gpt-4o"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_see_what_they_may_use_and_nothing_else() {
    let (a, b) = regions().await;
    let consumer = |name: &str, key: &str, allow: &str| {
        format!("  - {{ name: {name}, keys: [ {{ hash: \"{}\" }} ]{allow} }}\n", KeyHash::of(key))
    };
    let more = format!(
        "consumers:\n{}{}",
        consumer("small", SMALL, ", allow: { deployments: [ gpt-4o-mini ] }"),
        consumer("every", EVERY, ""),
    );
    let gateway = gateway(&a, &b, &more).await;
    let client = gateway.client(Proto::H1);
    let path = "/openai/v1/models";
    assert_eq!(names(&client, path, Some(EVERY)).await, ["fast", "gpt-4o", "gpt-4o-2024-11-20", "gpt-4o-mini"]);
    assert_eq!(names(&client, path, Some(SMALL)).await, ["fast", "gpt-4o-2024-11-20", "gpt-4o-mini"]);
    assert_eq!(client.ask(&Ask::new("GET", path)).await.status, 401);
    for (name, status) in [("fast", 200), ("gpt-4o", 404)] {
        let ask = Ask::new("GET", &format!("{path}/{name}")).header("api-key", SMALL);
        assert_eq!(client.ask(&ask).await.status, status, "{name}");
    }
    // What is listed can be used, and nothing else: an alias is no way around a scope.
    for (name, status) in
        [("fast", 200), ("gpt-4o-mini", 200), ("gpt-4o-2024-11-20", 200), ("gpt-4o", 403), ("gpt-4o-2024-08-06", 403)]
    {
        assert_eq!(client.ask(&Ask::v1(name).header("api-key", SMALL)).await.status, status, "{name}");
    }
    // Nor is Azure's own spillover.
    for (spillover, status) in [("gpt-4o-mini", 200), ("gpt-4o", 403)] {
        let ask = Ask::v1("fast").header("api-key", SMALL).header("x-ms-spillover-deployment", spillover);
        assert_eq!(client.ask(&ask).await.status, status, "{spillover}");
    }
}
