//! The Azure CLI as a source of tokens: one command, bounded bytes, ended with everything that it started when nobody waits for
//! it any more.

use super::answer::{ANSWER_SIZE_MAX, Dialect, vet};
use crate::background::azure;
use crate::telemetry::clock;
use async_trait::async_trait;
use azure_identity::Executor;
use std::ffi::OsStr;
use std::io;
use std::process::{ExitStatus, Output, Stdio};
use tokio::io::AsyncReadExt;
use tokio::process::Command;

/// How a shell says that there is no such command.
const NOT_FOUND: i32 = 127;

/// Ends a group of processes when it is dropped: `az` is a script, and what hangs is a child of it.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended by itself.
            let kill = std::process::Command::new("sh")
                .args(["-c", &format!("kill -KILL -{group}")])
                .stderr(Stdio::null())
                .status();
            drop(kill);
        }
    }
}

/// Runs the command that the crate makes of it, by a shell; hands back the clean answer, and nothing of what was printed beside.
#[derive(Debug)]
pub(super) struct Az;

#[async_trait]
impl Executor for Az {
    async fn run(&self, program: &OsStr, arguments: &[&OsStr]) -> io::Result<Output> {
        let told = ask(program, arguments).await.and_then(|bytes| {
            let now = clock::unix_seconds();
            Ok(vet(&bytes, now)?.told(Dialect::Cli, now))
        });
        let told = told.map_err(azure::refused_io)?;
        Ok(Output { status: ExitStatus::default(), stdout: told.into_bytes(), stderr: Vec::new() })
    }
}

async fn ask(program: &OsStr, arguments: &[&OsStr]) -> Result<Vec<u8>, String> {
    let mut command = Command::new(program);
    command.args(arguments);
    // What it says of an error may quote what it was given: the exit status has to do.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| format!("`az` cannot be started: {error}"))?;
    let mut group = Group(child.id());
    let output = child.stdout.take().ok_or("`az` has no output")?;
    let mut bytes = Vec::new();
    let limit = u64::try_from(ANSWER_SIZE_MAX).unwrap_or(u64::MAX).saturating_add(1);
    output.take(limit).read_to_end(&mut bytes).await.map_err(|error| format!("`az`: {error}"))?;
    if bytes.len() > ANSWER_SIZE_MAX {
        return Err("`az` prints more than a token".to_owned());
    }
    let status = child.wait().await.map_err(|error| format!("`az`: {error}"))?;
    // From here on its number may be another's.
    group.0 = None;
    match status.code() {
        Some(0) => Ok(bytes),
        Some(NOT_FOUND) => Err("`az` is not on the `PATH`".to_owned()),
        _ => Err(format!("`az` failed ({status}); is somebody logged in?")),
    }
}
