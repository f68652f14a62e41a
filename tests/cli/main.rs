//! The command line as people meet it: the real binary, its texts, its exit codes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

mod check;
mod demo;
mod explain;
mod key;
mod start;
mod words;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Folder of the examples.
fn example(name: &str) -> PathBuf {
    harness::workspace_file("conf").join(name)
}

/// The binary, with the variables that the examples refer to and nothing of ours that would change its output.
fn tidegate(arguments: &[&str]) -> Command {
    let mut command = Command::new(harness::binary());
    command.args(arguments).stdin(Stdio::null()).env_remove("TIDEGATE_CONFIG").env_remove("RUST_LOG");
    for name in
        ["SWEDEN_KEY", "FRANCE_KEY", "FRANCE_TOKEN", "PROBE_SECRET", "GATEWAY_SECRET", "REDIS_PASSWORD", "ID_KEY"]
    {
        command.env(name, "hunter2-hunter2-hunter2-hunter2-hunter2");
    }
    command
}

/// Runs it to its end: exit code, standard output, standard error. No secret is ever in either.
fn run(arguments: &[&str]) -> (i32, String, String) {
    told(tidegate(arguments).output().expect("the binary starts"))
}

fn told(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(!out.contains("hunter2") && !err.contains("hunter2"), "a secret: {out}{err}");
    assert!(!err.contains("panicked"), "{err}");
    (output.status.code().expect("an exit code"), out, err)
}

/// A configuration file with this text.
fn file(text: &str) -> tempfile::TempPath {
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.into_temp_path()
}

/// One pool, one backend, on these addresses, with more lines at the end.
fn minimal(listener: &str, more: &str) -> String {
    format!(
        "version: 1\nlisteners:\n  - {{ name: public, address: \"{listener}\" }}\npools:\n  - name: chat\n    backends:\n      \
         - {{ name: a, region: swedencentral, url: \"http://127.0.0.1:9\" }}\n{more}"
    )
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}
