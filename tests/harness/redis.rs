//! [`Redis`]: a real server as a child process, without files, to be stopped, killed, emptied and started again.

use crate::ports::Port;
use crate::wait::eventually;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A server starts within this.
const LIMIT: Duration = Duration::from_secs(10);

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub struct Redis {
    child: Child,
    port: Port,
}

impl Redis {
    /// Starts a server and waits until it answers.
    ///
    /// # Panics
    /// Where there is none to start: `tests/setup.sh` installs it.
    pub async fn start() -> Self {
        let port = Port::free();
        let redis = Self { child: spawn(&port), port };
        redis.until_up().await;
        redis
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.port.address())
    }

    /// Sends a signal: `STOP`, `CONT`, `KILL`.
    ///
    /// # Panics
    /// When it cannot be sent.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success(), "kill -{name}");
    }

    /// Starts it again, empty, at the same place.
    pub async fn start_again(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        self.child = spawn(&self.port);
        self.until_up().await;
    }

    /// Sends a command and gives the beginning of its answer.
    pub async fn command(&self, line: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.port.address()).await.ok()?;
        stream.write_all(format!("{line}\r\n").as_bytes()).await.ok()?;
        let mut answer = [0; 512];
        let count = stream.read(&mut answer).await.ok()?;
        String::from_utf8(answer[..count].to_vec()).ok()
    }

    async fn until_up(&self) {
        eventually("the server answers", LIMIT, async || self.command("PING").await.filter(|a| a.contains("PONG")))
            .await;
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn spawn(port: &Port) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.address().port().to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is installed: see tests/setup.sh")
}
