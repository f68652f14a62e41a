//! The lists of a pool's resources as one: nothing twice, nothing left out, and never silently short.

use crate::common::{ladder, regions, secs};
use crate::stateful::{NEW, get, id, keyed, refused};
use harness::{Ask, Client, Gateway, Proto, Setup, Sim, node_modules, venv_python, within, workspace_file};
use serde_json::{Value, json};
use tokio::process::Command;

/// Makes something in a region, past the gateway. The name of a file is its purpose.
async fn make(sim: &Sim, family: &str, name: &str) {
    let address = sim.url().trim_start_matches("http://").parse().expect("an address");
    let path = format!("/openai/v1/{family}");
    let form = format!("--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\n{name}\r\n--b--\r\n");
    let ask = match family {
        "files" => Ask::new("POST", &path).header("content-type", "multipart/form-data; boundary=b").body(form),
        _ => Ask::json(&path, format!(r#"{{"name":"{name}","metadata":{{"name":"{name}"}}}}"#)),
    };
    let answer = Client::new(address, Proto::H1).ask(&ask).await;
    assert_eq!(answer.status, 200, "{answer}");
}

async fn make_all(sim: &Sim, family: &str, names: &[&str]) {
    for name in names {
        make(sim, family, name).await;
    }
}

/// Three regions and a gateway that has them in one pool; attempts are scarce.
async fn three() -> (Sim, Sim, Sim, Setup) {
    let (a, b) = regions().await;
    let c = Sim::start("polandcentral").await;
    let setup = ladder(&a, &b).backend("c", &c, "priority: 1").pool("failover: { attempts_max: 2 }");
    (a, b, c, keyed(setup, NEW))
}

async fn read(language: &str, class: &str, gateway: &Gateway) -> Value {
    let base = format!("http://{}", gateway.address());
    let mut command = match language {
        "python" => Command::new(venv_python()),
        _ => Command::new("node"),
    };
    match language {
        "python" => command.arg(workspace_file("tests/sdk/lists.py")).args([class, &base]),
        _ => command.arg(workspace_file("tests/sdk/lists.mjs")).args([class, &base]).arg(node_modules()),
    };
    command.env("NO_PROXY", "*").env_remove("OPENAI_LOG").stderr(std::process::Stdio::inherit()).kill_on_drop(true);
    let output = within(format!("{language}'s lists"), secs(60), command.output()).await.expect("the SDK starts");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{language} {class}: {error}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sdks_read_the_lists_of_all_regions_to_their_end() {
    let (a, b, c, setup) = three().await;
    make_all(&a, "vector_stores", &["a1", "a2", "a3", "a4", "a5"]).await;
    make_all(&c, "vector_stores", &["c1", "c2"]).await;
    make_all(&c, "fine_tuning/jobs", &["c1", "c2", "c3"]).await;
    for (sim, name) in [(&a, "a1"), (&a, "a2"), (&a, "a3"), (&b, "b1"), (&c, "c1"), (&c, "c2")] {
        make(sim, "files", name).await;
    }
    let gateway = setup.start().await;
    let want = json!({
        "vector_stores": ["a5", "a4", "a3", "a2", "a1", "c2", "c1"],
        "assistants": [],
        "jobs": ["c3", "c2", "c1"],
        "files": ["a3", "a2", "a1", "b1", "c2", "c1"],
    });
    for language in ["python", "node"] {
        for class in ["openai", "azure"] {
            assert_eq!(read(language, class, &gateway).await, want, "{language} {class}");
        }
    }
    assert!(gateway.access_log().iter().all(|record| record["status"] == 200), "{:?}", gateway.access_log());
}

fn names(page: &Value) -> Vec<&str> {
    page["data"]
        .as_array()
        .map(|data| data.iter().filter_map(|one| one["name"].as_str().or(one["purpose"].as_str())).collect())
        .unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_region_ends_no_list_and_costs_no_attempt() {
    let (a, b, c, setup) = three().await;
    make_all(&a, "vector_stores", &["a1"]).await;
    make_all(&c, "vector_stores", &["c1", "c2"]).await;
    let gateway = setup.start().await;
    for proto in Proto::PLAIN {
        let client = gateway.client(proto);
        let first = client.ask(&get("vector_stores?limit=1&order=desc")).await;
        let page = first.json();
        assert_eq!(
            (names(&page), &page["has_more"], &page["last_id"]),
            (vec!["a1"], &json!(true), &page["data"][0]["id"])
        );
        let after = page["data"][0]["id"].as_str().expect("an id").to_owned();
        let ask = get(&format!("vector_stores?limit=1&after={after}&order=desc"));
        let second = client.ask(&ask).await;
        let page = second.json();
        assert_eq!((second.status, names(&page), &page["has_more"]), (200, vec!["c2"], &json!(true)), "{second}");
        assert_eq!(second.header("x-served-by"), "polandcentral/c");
        let record = gateway.record(&ask.id).await;
        let outcomes: Vec<&str> =
            record["attempts"].as_array().into_iter().flatten().filter_map(|step| step["outcome"].as_str()).collect();
        assert_eq!((outcomes, &record["ending"]), (vec!["served"; 3], &json!("served")), "{record}");
        for sim in [&b, &c] {
            let seen = sim.records().pop().expect("a record").path_and_query;
            assert_eq!(seen, "/openai/v1/vector_stores?limit=1&order=desc", "from its beginning");
        }
        let last = page["data"][0]["id"].as_str().expect("an id");
        let page = client.ask(&get(&format!("vector_stores?limit=1&after={last}"))).await.json();
        assert_eq!((names(&page), &page["has_more"]), (vec!["c1"], &json!(false)));
        let page = client.ask(&get(&format!("vector_stores?before={after}"))).await.json();
        assert_eq!(page["has_more"], false, "what comes before is of one region");
        let none = client.ask(&get("assistants")).await;
        assert_eq!((none.status, &none.json()["data"], &none.json()["has_more"]), (200, &json!([]), &json!(false)));
    }
    assert_eq!(gateway.metrics().await.count("tidegate_failovers_total", &[]), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_without_pages_is_read_once() {
    let (a, b, c, setup) = three().await;
    make_all(&a, "files", &["a1"]).await;
    make_all(&b, "files", &["b1", "b2"]).await;
    drop(c);
    let gateway = setup.backend("c", &b, "priority: 1, weight: 7").start().await;
    let list = |query: &str| Ask::new("GET", &format!("/openai/files?api-version=2024-10-21{query}"));
    let page = gateway.ask(&list("")).await.json();
    assert_eq!((names(&page), &page["has_more"]), (vec!["a1"], &json!(true)));
    let page = gateway.ask(&list(&format!("&after={}", page["data"][0]["id"].as_str().expect("an id")))).await.json();
    assert_eq!((names(&page), &page["has_more"]), (vec!["b2", "b1"], &json!(false)), "two backends, one resource");
    let end = gateway.ask(&list(&format!("&after={}", page["data"][1]["id"].as_str().expect("an id")))).await;
    assert_eq!((end.status, &end.json()["data"], &end.json()["has_more"]), (200, &json!([]), &json!(false)), "{end}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_is_never_silently_short() {
    let (a, b, c, setup) = three().await;
    make_all(&a, "vector_stores", &["a1", "a2"]).await;
    make_all(&b, "vector_stores", &["b1"]).await;
    let gateway = setup.clone().start().await;
    let first = gateway.ask(&get("vector_stores")).await.json();
    let on = get(&format!("vector_stores?after={}", first["data"][1]["id"].as_str().expect("an id")));
    b.throttle(secs(7));
    let throttled = gateway.ask(&on).await;
    assert_eq!((names(&first), throttled.status), (vec!["a2", "a1"], 429), "{throttled}");
    assert!(throttled.header("retry-after-ms").parse::<u64>().is_ok_and(|wait| wait > 1000), "{throttled}");
    assert_eq!(c.requests(), 0, "nobody is left out");
    let gateway = setup.start().await;
    b.clear();
    b.refuse();
    refused(&gateway.ask(&on).await, 503, "no_backend_available");
    assert_eq!(c.requests(), 0, "nobody is left out");
    b.clear();
    assert_eq!(names(&gateway.ask(&on).await.json()), ["b1"]);
    a.status(500);
    assert_eq!(gateway.ask(&get("vector_stores")).await.status, 500, "the first one, too");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_disabled_is_not_listed_and_one_pool_is_listed_to_its_end() {
    let (a, b, c, setup) = three().await;
    for (sim, name) in [(&a, "a1"), (&b, "b1"), (&c, "c1")] {
        make(sim, "vector_stores", name).await;
    }
    // The narrower route leads to a pool with the first resource alone.
    let alone = format!(
        "  - name: alone\n    backends: [ {{ name: x, region: swedencentral, url: \"{}\", auth: none }} ]\nroutes:\n  - {{ name: x, \
         match: {{ deployment: x }}, pool: alone }}\n  - {{ name: gpt, match: {{ deployment: \"*\" }}, pool: chat, stateful: true }}\n",
        a.url()
    );
    let gateway = setup.backend("b", &b, "priority: 1, enabled: false").more(&alone).start().await;
    let first = gateway.ask(&get("vector_stores")).await.json();
    assert_eq!((names(&first), &first["has_more"]), (vec!["a1"], &json!(true)));
    let on = get(&format!("vector_stores?after={}", first["data"][0]["id"].as_str().expect("an id")));
    let second = gateway.ask(&on).await.json();
    assert_eq!((names(&second), &second["has_more"]), (vec!["c1"], &json!(false)));
    assert_eq!(
        id(&gateway.ask(&get(&format!("vector_stores/{}", second["data"][0]["id"].as_str().expect("an id")))).await)
            .len(),
        second["data"][0]["id"].as_str().map_or(0, str::len)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_one_region_stays_what_it_is() {
    let (a, b) = regions().await;
    make_all(&a, "vector_stores", &["a1", "a2"]).await;
    make_all(&b, "vector_stores", &["b1"]).await;
    let allow = NEW.replace("stateful: {", "stateful: { lists: allow,");
    let gateway = keyed(ladder(&a, &b), &allow).start().await;
    let page = gateway.ask(&get("vector_stores?limit=1")).await.json();
    let after = page["data"][0]["id"].as_str().expect("an id").to_owned();
    let page = gateway.ask(&get(&format!("vector_stores?after={after}"))).await.json();
    assert_eq!((names(&page), &page["has_more"]), (vec!["a1"], &json!(false)));
}
