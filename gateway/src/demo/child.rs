//! The gateway as a child process. It ends with us, however we end: its standard input is a pipe that we hold.

use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child as Process, Command};
use tokio::time::timeout;

/// How long it may take to end by itself.
const END_LIMIT: Duration = Duration::from_secs(5);

/// A running gateway.
#[derive(Debug)]
pub(super) struct Child(Process);

impl Child {
    /// Starts `program run --config …`; its log goes to `log`.
    pub(super) fn start(program: &Path, config: &Path, log: &Path, keys: &[(String, String)]) -> io::Result<Self> {
        let log = std::fs::File::create(log)?;
        let process = Command::new(program)
            .args(["run", "--until-stdin-closes", "--config"])
            .arg(config)
            .envs(keys.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C is for us alone: the gateway goes last.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self(process))
    }

    /// Its status, once it has ended.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().ok().flatten()
    }

    /// Ends it and waits until it is gone.
    pub(super) async fn end(mut self) {
        drop(self.0.stdin.take());
        if timeout(END_LIMIT, self.0.wait()).await.is_err() {
            // Fails only when it is gone already.
            let _ = self.0.kill().await;
        }
    }
}
