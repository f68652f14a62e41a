//! `tidegate demo`: a region fails and comes back, and no client notices.

use crate::start::signal;
use crate::{run, tidegate};
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

#[test]
fn demo_ends_without_client_errors() {
    let (code, out, err) = run(&["demo", "--duration", "8s", "--plain"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    for words in [
        "curl -i 'http://127.0.0.1:",
        "from openai import AzureOpenAI, OpenAI",
        "/metrics",
        "t=  2s  swedencentral goes dark",
        "swedencentral comes back",
    ] {
        assert!(out.contains(words), "{words:?} is not in {out}");
    }
    let verdict = out.lines().rev().find(|line| line.starts_with("client errors: ")).expect("a verdict");
    let requests: u64 = verdict.trim_start_matches("client errors: 0 of ").parse().expect("no client error");
    assert!(requests > 250, "{out}");
    let served = |region: &str| {
        let row = out.lines().rev().find(|line| line.starts_with(region)).expect("a row of the table");
        row.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    assert!(served("swedencentral") > 0 && served("francecentral") > 0, "{out}");
    assert!(out.matches("attempts ").count() >= 7, "a line a second: {out}");
    assert!(!out.contains('\x1b'), "no colours into a file");
    assert!(!Path::new(&value(&out, "config")).exists(), "the files are gone");
}

/// The value behind a word at the start of a line.
fn value(out: &str, word: &str) -> String {
    let line = out.lines().find(|line| line.starts_with(word)).expect("a line of the introduction");
    line.split_whitespace().nth(1).unwrap().to_owned()
}

/// A demo whose introduction has been read.
fn begin() -> (Child, BufReader<ChildStdout>, String) {
    let words = ["demo", "--duration", "60s", "--rate", "10", "--plain"];
    let mut child = tidegate(&words).stdout(Stdio::piped()).spawn().unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut out = String::new();
    while !out.contains("\nt=") {
        assert!(reader.read_line(&mut out).unwrap() > 0, "the demo ended: {out}");
    }
    (child, reader, out)
}

async fn gateway_is_gone(out: &str) {
    let address = value(out, "gateway").trim_start_matches("http://").to_owned();
    harness::eventually("the gateway is gone", Duration::from_secs(10), async || {
        TcpStream::connect(&address).is_err().then_some(())
    })
    .await;
}

#[tokio::test]
async fn ctrl_c_ends_it_cleanly() {
    let (mut child, mut reader, mut out) = begin();
    signal(&child, "INT");
    reader.read_to_string(&mut out).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{out}");
    assert!(out.contains("client errors: 0 of "), "{out}");
    gateway_is_gone(&out).await;
    assert!(!Path::new(&value(&out, "config")).exists(), "the files are gone");
}

#[tokio::test]
async fn the_gateway_goes_with_a_demo_that_is_killed() {
    let (mut child, _reader, out) = begin();
    signal(&child, "KILL");
    child.wait().unwrap();
    gateway_is_gone(&out).await;
    let directory = value(&out, "config");
    let _ = std::fs::remove_dir_all(Path::new(&directory).parent().unwrap());
}
