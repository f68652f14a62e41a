//! Starting wrong: one clear sentence and a non-zero exit.

use crate::common::{ladder, regions};
use harness::{Ask, Sim, binary};
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

fn run(args: &[&str], dir: &Path) -> Output {
    Command::new(binary()).args(args).current_dir(dir).output().expect("the binary starts")
}

fn config(dir: &Path, port: u16, more: &str) -> String {
    let path = dir.join("t.yaml");
    fs::write(
        &path,
        format!(
            "version: 1\nlisteners: [{{ name: public, address: \"127.0.0.1:{port}\" }}]\nadmin: off\naccess_log: off\n\
             process: {{ upgrade_socket: {}/u/u.sock }}\npools:\n  - name: chat\n    probe: off\n    backends:\n      \
             - {{ name: a, region: uksouth, url: \"http://127.0.0.1:9\"{more} }}\n",
            dir.display()
        ),
    )
    .unwrap();
    path.display().to_string()
}

/// Ends on its own, says `words`, in few lines and without a panic.
#[track_caller]
fn refuses(output: &Output, words: &[&str]) {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.code().is_some_and(|code| code != 0), "{:?} {text}", output.status);
    assert!(!text.contains("panicked") && text.lines().count() <= 12, "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

#[test]
fn a_port_in_use_is_one_clear_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let started = std::time::Instant::now();
    refuses(&run(&["run", "--config", &config(dir.path(), port, "")], dir.path()), &[&port.to_string(), "public"]);
    assert!(started.elapsed().as_secs() < 5, "at once, not after retries: {:?}", started.elapsed());
}

#[test]
fn what_cannot_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    refuses(&run(&["run", "--config", "nothing.yaml"], dir.path()), &["nothing.yaml"]);
    let missing = config(dir.path(), 1, ", auth: { api_key: { file: no-such-key } }");
    refuses(&run(&["run", "--config", &missing], dir.path()), &["no-such-key", "t.yaml:"]);
    let unset = config(dir.path(), 1, ", auth: { api_key: { env: TIDEGATE_NOT_SET } }");
    refuses(&run(&["run", "--config", &unset], dir.path()), &["TIDEGATE_NOT_SET"]);
}

#[test]
fn wrong_words_on_the_command_line_are_told() {
    let dir = tempfile::tempdir().unwrap();
    refuses(&run(&["run", "--confg", "x"], dir.path()), &["--confg"]);
    refuses(&run(&["runn"], dir.path()), &["runn"]);
    refuses(&run(&["run"], dir.path()), &["--config"]);
}

#[test]
fn help_and_version_are_there() {
    let dir = tempfile::tempdir().unwrap();
    for args in [&["--help"][..], &["--version"], &["run", "--help"], &["check", "--help"]] {
        let output = run(args, dir.path());
        assert!(output.status.success() && !output.stdout.is_empty(), "{args:?} {output:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_check_accepts_runs() {
    let (a, b): (Sim, Sim) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    let output = run(&["check", "--config", &gateway.config().display().to_string()], Path::new("/"));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(gateway.ask(&Ask::chat("gpt")).await.status, 200);
}
