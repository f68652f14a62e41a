//! The unmodified official SDKs for Python and Node, each class against a backend of the other style: every call that has two
//! shapes. Realtime sessions, whose events differ, are held by the backend of their own, though it comes second.

use harness::{Authority, Gateway, Setup, Sim, node_modules, venv_python, within, workspace_file};
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use tidegate::simulator::{DeploymentOptions, Quota, RegionOptions, Style};
use tokio::process::Command;

/// Each call and what its answer holds; `{}` is the place and deployment that served.
const CALLS: [(&str, &str); 13] = [
    ("chat", "{}"),
    ("stream", "{}"),
    ("completion", "{}"),
    ("embeddings", "2"),
    ("responses", "{}"),
    ("image", "{}"),
    ("image_edit", "{}"),
    ("speech", "ID3{}"),
    ("transcription", "{}"),
    ("translation", "{}"),
    ("models", "gpt"),
    ("retrieved", "gpt"),
    ("realtime", "francecentral/own"),
];

/// The class for Node opens its sockets over TLS only.
async fn run(language: &str, class: &str, (gateway, authority): (&Gateway, &Path)) -> Value {
    let base = match language {
        "python" => format!("http://{}", gateway.address()),
        _ => format!("https://localhost:{}", gateway.secure().port()),
    };
    let mut command = match language {
        "python" => Command::new(venv_python()),
        _ => Command::new("node"),
    };
    match language {
        "python" => command.arg(workspace_file("tests/sdk/shapes.py")).args([class, &base, "gpt"]),
        _ => command.arg(workspace_file("tests/sdk/shapes.mjs")).args([class, &base, "gpt"]).arg(node_modules()),
    };
    command
        .env("NODE_EXTRA_CA_CERTS", authority)
        .env("NO_PROXY", "*")
        .env_remove("OPENAI_LOG")
        .stderr(Stdio::inherit())
        .kill_on_drop(true);
    let output = within(format!("{language}'s calls"), std::time::Duration::from_secs(90), command.output()).await;
    let output = output.expect("the SDK starts");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{language} {class}: {error}"))
}

async fn all_are_served(class: &str, style: Style, keys: &str) {
    let region = |style, name, region| {
        let deployments = vec![DeploymentOptions::new(name, Quota::Unlimited)];
        Sim::with(RegionOptions { style, deployments, ..RegionOptions::new(region) })
    };
    let sim = region(style, "there", "swedencentral").await;
    let own = region(if style == Style::V1 { Style::Classic } else { Style::V1 }, "own", "francecentral").await;
    let authority = Arc::new(Authority::new());
    let trusted = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(trusted.path(), authority.pem()).expect("a file can be written");
    let keys = format!("deployment: there, model: gpt, {keys}, priority: 1");
    let setup = Setup::new().tls(&authority).backend("a", &sim, &keys);
    let gateway = setup.backend("own", &own, "deployment: own, model: gpt, priority: 2").start().await;
    for language in ["python", "node"] {
        let results = run(language, class, (&gateway, trusted.path())).await;
        let more: &[(&str, &str)] = if language == "python" { &[("async", "{}")] } else { &[] };
        for (call, want) in CALLS.iter().chain(more) {
            let text = results[*call].as_str().unwrap_or_default();
            let want = want.replace("{}", "[swedencentral/there]");
            assert!(text.contains(&want), "{language} {class} {call}: {text:?} does not hold {want:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_azure_class_is_served_by_a_v1_backend() {
    all_are_served("azure", Style::V1, "style: v1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_openai_class_is_served_by_a_classic_backend() {
    all_are_served("openai", Style::Classic, "style: classic, api_version: 2025-04-01-preview").await;
}
