//! The Azure CLI as a source of tokens: one command, bounded bytes, ended with everything that it started when nobody waits for
//! it any more.

use super::answer::ANSWER_SIZE_MAX;
use std::process::Stdio;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

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

/// What `az account get-access-token` prints for `scope`.
pub(super) async fn ask(directory: Option<&str>, scope: &str) -> Result<Vec<u8>, String> {
    let mut command = Command::new("az");
    command.args(["account", "get-access-token", "--output", "json", "--scope", scope]);
    command.args(directory.iter().flat_map(|directory| ["--tenant", directory]));
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
    if !status.success() {
        return Err(format!("`az` failed ({status}); is somebody logged in?"));
    }
    Ok(bytes)
}
