//! Help, version, wrong words, closed pipes.

use crate::{run, tidegate};
use std::io::Read;
use std::process::Stdio;

const COMMANDS: [&str; 8] = ["run", "check", "explain", "usage", "schema", "key", "simulate", "demo"];

#[test]
fn help_is_a_result_and_names_every_command() {
    for flag in ["--help", "-h"] {
        let (code, out, err) = run(&[flag]);
        assert_eq!((code, err.as_str()), (0, ""));
        for command in COMMANDS {
            assert!(out.lines().any(|line| line.trim_start().starts_with(command)), "{command} is not in {out}");
        }
        assert!(out.contains("Exit codes: 0 done, 1 running failed, 2 wrong"), "{out}");
    }
    for command in COMMANDS {
        let (code, out, _) = run(&[command, "--help"]);
        assert_eq!(code, 0, "{command}");
        assert!(out.contains("Usage: tidegate "), "{out}");
        assert!(command == "schema" || out.contains("Examples:\n  tidegate "), "{out}");
        assert!(out.lines().all(|line| line.chars().count() <= 110), "{out}");
    }
    assert!(!run(&["run", "--help"]).1.contains("stdin"), "inner flags stay hidden");
}

#[test]
fn version_is_the_packages() {
    assert_eq!(run(&["--version"]).1, format!("tidegate {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_words_end_with_code_2_and_a_hint() {
    for (words, hint) in [
        (&["rum"][..], "similar subcommand exists: 'run'"),
        (&[], "Usage: tidegate <COMMAND>"),
        (&["run"], "--config <FILE>"),
        (&["run", "--config"], "a value is required for '--config <FILE>'"),
        (&["check", "--confg", "x"], "similar argument exists: '--config'"),
        (&["explain", "--config", "x"], "--path <PATH>"),
        (&["usage"], "--admin <URL>"),
        (&["usage", "--admin", "https://a"], "expected http://address:port"),
        (&["demo", "--duration", "60"], "expected a number with its unit, such as 250ms, 8s"),
        (&["demo", "--duration", "1s"], "between 4s and 24h"),
        (&["demo", "--rate", "0"], "0 is not in 1..=1000"),
        (&["simulate"], "--region <REGION=ADDRESS:PORT>"),
        (&["simulate", "--region", "a"], "expected slug=address:port"),
        (&["simulate", "--region", "a=127.0.0.1:0", "--deployment", "g=x"], "deployment `g=x`: expected"),
        (&["simulate", "--region", "a=127.0.0.1:0", "--script", "/none"], "cannot read /none: No such file"),
        (&["schema", "now"], "unexpected argument 'now'"),
    ] {
        let (code, out, err) = run(words);
        assert_eq!((code, out.as_str()), (2, ""), "{words:?}: {err}");
        assert!(err.contains(hint), "{words:?}: {err}");
    }
}

#[test]
fn schema_is_the_committed_one() {
    let (code, out, err) = run(&["schema"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(out, std::fs::read_to_string(crate::example("schema.json")).unwrap());
}

#[test]
fn a_reader_who_leaves_early_is_no_failure() {
    let mut child = tidegate(&["schema"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((child.wait().unwrap().code(), err.as_str()), (Some(0), ""));
}
