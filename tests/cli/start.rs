//! `tidegate run` and `tidegate simulate`: what they say when they cannot start, and how they end.

use crate::{file, minimal, run, text, tidegate};
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Sends a signal by its name.
pub(crate) fn signal(child: &Child, name: &str) {
    let kill = Command::new("sh").args(["-c", &format!("kill -{name} {}", child.id())]).status();
    assert!(kill.unwrap().success(), "kill -{name}");
}

#[test]
fn an_address_in_use_is_one_sentence() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let directory = tempfile::tempdir().unwrap();
    let more = format!(
        "admin: off\nprocess: {{ upgrade_socket: {}/upgrade/upgrade.sock }}\naccess_log: off\n",
        directory.path().display()
    );
    let (code, out, err) = run(&["run", "--config", text(&file(&minimal(&address, &more)))]);
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    let last = err.lines().last().unwrap();
    assert!(
        last.starts_with(&format!("tidegate: cannot listen on {address} (public): Address already in use")),
        "{err}"
    );
    let (code, _, err) = run(&["simulate", "--region", &format!("swedencentral={address}")]);
    assert_eq!((code, err.lines().count()), (1, 1), "{err}");
    assert!(err.starts_with(&format!("tidegate: region `swedencentral` cannot listen on {address}: ")), "{err}");
}

#[test]
fn a_bad_configuration_does_not_start() {
    let (code, out, err) = run(&["run", "--config", text(&file("version: 1\nlistenrs: []\n"))]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("did you mean `listeners`?") && err.ends_with("configuration not loaded\n"), "{err}");
    assert_eq!(run(&["run", "--config", "/nowhere"]).0, 2);
}

#[test]
fn simulated_regions_say_where_they_are_and_end_on_request() {
    let words =
        ["simulate", "--region", "swedencentral=127.0.0.1:0", "--region", "eastus2=127.0.0.1:0", "--tokens", "3"];
    let mut child = tidegate(&words).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert!(
        line.starts_with("swedencentral  http://127.0.0.1:") && line.trim_end().ends_with("/_sim/faults"),
        "{line}"
    );
    let address = line.split_whitespace().nth(1).unwrap().trim_start_matches("http://").to_owned();
    assert!(std::net::TcpStream::connect(address).is_ok());
    signal(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("eastus2        http://127.0.0.1:"), "{rest}");
}

#[test]
fn a_simulation_ends_after_its_duration() {
    let words = ["simulate", "--region", "swedencentral=127.0.0.1:0", "--duration", "200ms"];
    assert_eq!(run(&words).0, 0);
}

#[tokio::test]
async fn a_gateway_that_watches_its_input_ends_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let admin = harness::Port::free();
    let more = format!(
        "admin: {{ address: \"{}\" }}\nprocess: {{ upgrade_socket: {}/upgrade/upgrade.sock }}\naccess_log: off\n",
        admin.address(),
        directory.path().display()
    );
    let path = file(&minimal("127.0.0.1:0", &more));
    let mut child = tidegate(&["run", "--until-stdin-closes", "--config", text(&path)])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    harness::eventually("the gateway is up", Duration::from_secs(20), async || {
        assert!(child.try_wait().unwrap().is_none(), "it ended");
        std::net::TcpStream::connect(admin.address()).ok().map(|_| ())
    })
    .await;
    drop(child.stdin.take());
    let end = async || child.try_wait().unwrap();
    assert_eq!(harness::eventually("its end", Duration::from_secs(20), end).await.code(), Some(0));
}
