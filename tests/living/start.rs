//! What cannot start says why in one clear sentence, with an exit code that tells usage and configuration (2) from the
//! rest (1), and never with a panic.

use crate::common::{secs, single};
use harness::{Port, Sim, binary};
use std::fs;
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;
use tokio::process::Command;

/// Exit code, standard output, standard error.
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

async fn tidegate(directory: &Path, args: &[&str]) -> Ran {
    let mut command = Command::new(binary());
    command.args(args).current_dir(directory).env_remove("RUST_LOG").env_remove("NO_SUCH_VARIABLE");
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(secs(30), command.output()).await.expect("it ends by itself").expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    let ran = Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) };
    for word in ["panicked", "RUST_BACKTRACE", "unwrap", "stack backtrace"] {
        assert!(!ran.err.contains(word), "{}", ran.err);
    }
    ran
}

/// A configuration in a directory of its own, on free ports, which stay free.
struct Place {
    directory: TempDir,
    public: Port,
    admin: Port,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), public: Port::free(), admin: Port::free() }
    }

    /// Sixteen lines that start.
    fn text(&self) -> String {
        format!(
            "version: 1
home_region: swedencentral
listeners:
  - {{ name: public, address: \"{}\" }}
admin: {{ address: \"{}\" }}
process: {{ upgrade_socket: upgrade/upgrade.sock }}
pools:
  - name: chat
    backends:
      - {{ name: a, region: swedencentral, url: \"http://127.0.0.1:9\" }}
",
            self.public.address(),
            self.admin.address()
        )
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.directory.path().join(name), text).unwrap();
    }

    async fn run(&self, text: &str) -> Ran {
        self.write("gate.yaml", text);
        tidegate(self.directory.path(), &["run", "--config", "gate.yaml"]).await
    }
}

/// The last words on standard error: one line, a sentence that holds `words`.
#[track_caller]
fn says(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, Some(code), "{}", ran.err);
    for word in words {
        assert!(ran.err.contains(word), "{word:?} is not in: {}", ran.err);
    }
    assert!(ran.out.is_empty(), "standard output is for results: {}", ran.out);
}

#[track_caller]
fn in_one_line(ran: &Ran, code: i32, words: &[&str]) {
    says(ran, code, words);
    assert_eq!(ran.err.trim().lines().count(), 1, "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_is_told_in_one_sentence() {
    let place = Place::new();
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (name, ours) in [("public", &place.public), ("admin", &place.admin)] {
        let text = place.text().replace(&ours.address().to_string(), &address);
        in_one_line(&place.run(&text).await, 1, &["cannot listen", &address, name, "in use"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_of_another_machine_is_told_in_one_sentence() {
    let place = Place::new();
    let text = place.text().replace(&place.public.address().to_string(), "192.0.2.1:8080");
    in_one_line(&place.run(&text).await, 1, &["cannot listen", "192.0.2.1:8080", "public"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_is_not_there_is_told_in_one_sentence() {
    let place = Place::new();
    for verb in ["run", "check"] {
        let ran = tidegate(place.directory.path(), &[verb, "--config", "none.yaml"]).await;
        says(&ran, 2, &["none.yaml", "cannot be read", "No such file"]);
        let ran = tidegate(place.directory.path(), &[verb, "--config", "."]).await;
        says(&ran, 2, &["directory"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_configuration_is_told_with_file_line_and_column() {
    let place = Place::new();
    says(&place.run("version: 1\nlisteners: [\n").await, 2, &["gate.yaml:", "YAML"]);
    let text = place.text().replace("pools:", "pool:").replace("home_region", "home_regoin");
    says(&place.run(&text).await, 2, &["gate.yaml:2:", "home_regoin", "home_region", "gate.yaml:7:", "not loaded"]);
    place.write("gate.yaml", &text);
    let checked = tidegate(place.directory.path(), &["check", "--config", "gate.yaml"]).await;
    assert_eq!(checked.code, Some(2));
    assert!(format!("{}{}", checked.out, checked.err).contains("gate.yaml:2:"));
    place.write("gate.yaml", place.text());
    let checked = tidegate(place.directory.path(), &["check", "--config", "gate.yaml"]).await;
    assert_eq!(checked.code, Some(0), "{}", checked.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_cannot_be_read_is_told_and_not_shown() {
    let place = Place::new();
    let with =
        |auth: &str| place.text().replace("http://127.0.0.1:9\"", &format!("http://127.0.0.1:9\", auth: {auth}"));
    says(
        &place.run(&with("{ api_key: { file: none.key } }")).await,
        2,
        &["gate.yaml:10:", "none.key", "cannot be read"],
    );
    says(&place.run(&with("{ api_key: { env: NO_SUCH_VARIABLE } }")).await, 2, &["NO_SUCH_VARIABLE", "not set"]);
    let ran = place.run(&with("{ api_key: hunter2 }")).await;
    says(&ran, 2, &["a secret is never written in the configuration"]);
    assert!(!ran.err.contains("hunter2"), "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_does_not_fit_its_key_is_told() {
    let place = Place::new();
    let authority = harness::Authority::new();
    let (certificate, _) = authority.sign(&["localhost"]);
    let (_, key) = authority.sign(&["localhost"]);
    place.write("edge.pem", certificate);
    place.write("edge.key", key);
    let tls = "tls: { certificate: { file: edge.pem }, key: { file: edge.key } } }\nadmin:";
    let text = place.text().replacen(" }\nadmin:", &format!(", {tls}"), 1);
    says(&place.run(&text).await, 2, &["gate.yaml:4:", "edge.key"]);
    place.write("edge.key", "no key at all");
    says(&place.run(&text).await, 2, &["edge.key", "PEM"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_command_line_is_told_with_the_usage() {
    let place = Place::new();
    let here = place.directory.path();
    for args in [&["run", "--confg", "x"][..], &["--no-such-flag"], &["rnu"], &["run", "--config"], &["check"], &[]] {
        let ran = tidegate(here, args).await;
        assert_eq!(ran.code, Some(2), "{args:?}: {}{}", ran.out, ran.err);
        assert!(ran.err.contains("Usage") || ran.err.contains("--help"), "{args:?}: {}", ran.err);
    }
    assert!(tidegate(here, &["run", "--confg", "x"]).await.err.contains("--config"), "it suggests what was meant");
    for args in [&["--help"][..], &["run", "--help"], &["--version"]] {
        let ran = tidegate(here, args).await;
        assert_eq!((ran.code, ran.out.is_empty()), (Some(0), false), "{args:?}: {}", ran.err);
    }
    assert!(tidegate(here, &["--version"]).await.out.contains(env!("CARGO_PKG_VERSION")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_without_an_old_process_ends_with_a_sentence() {
    let place = Place::new();
    place.write("gate.yaml", place.text());
    let ran = tidegate(place.directory.path(), &["run", "--config", "gate.yaml", "--upgrade"]).await;
    says(&ran, 1, &["upgrade"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_socket_that_cannot_be_is_told_in_one_sentence() {
    let place = Place::new();
    let text = place.text().replace("upgrade/upgrade.sock", "/proc/no/such/upgrade.sock");
    let ran = place.run(&text).await;
    assert!(matches!(ran.code, Some(1 | 2)), "{}", ran.err);
    assert!(ran.err.contains("/proc/no/such"), "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_in_rust_log_keeps_nothing_from_starting() {
    let a = Sim::start("swedencentral").await;
    let mut gateway = single(&a).env("RUST_LOG", "=,!!,tidegate=loud").start().await;
    gateway.signal("TERM");
    assert_eq!(gateway.ended(secs(10)).await.status.code(), Some(0));
}
