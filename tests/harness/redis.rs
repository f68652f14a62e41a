//! [`Redis`]: a real server as a child process, to be stopped, killed, emptied and started again.

use crate::ca::Authority;
use crate::ports::Port;
use crate::wait::eventually;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A server starts within this.
const LIMIT: Duration = Duration::from_secs(10);

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub struct Redis {
    child: Child,
    port: Port,
    args: Vec<String>,
    /// Its other port: for TLS, or for the nodes of its cluster.
    other: Option<Port>,
    dir: TempDir,
}

impl Redis {
    /// Starts a server and waits until it answers.
    ///
    /// # Panics
    /// Where there is none to start: `tests/setup.sh` installs it.
    pub async fn start() -> Self {
        Self::with(Port::free(), None, directory(), &[]).await
    }

    /// The same, which speaks TLS on another port, by a certificate of `authority` for 127.0.0.1.
    ///
    /// # Panics
    /// When the files cannot be written.
    pub async fn tls(authority: &Authority) -> Self {
        let (dir, secure) = (directory(), Port::free());
        let (certificate, key) = authority.sign(&["127.0.0.1"]);
        let file = |name: &str| dir.path().join(name).display().to_string();
        for (name, text) in [("edge.pem", &certificate), ("edge.key", &key), ("ca.pem", &authority.pem())] {
            fs::write(file(name), text).expect("a file");
        }
        let port = secure.address().port().to_string();
        let (certificate, key, ca) = (file("edge.pem"), file("edge.key"), file("ca.pem"));
        let args = ["--tls-port", &port, "--tls-cert-file", &certificate, "--tls-key-file", &key];
        let more = ["--tls-ca-cert-file", &ca, "--tls-auth-clients", "no"];
        Self::with(Port::free(), Some(secure), dir, &[&args[..], &more[..]].concat()).await
    }

    /// Three servers that are a cluster.
    ///
    /// # Panics
    /// When they do not become one.
    pub async fn sharded() -> Vec<Self> {
        let mut nodes = Vec::new();
        for slots in ["0 5460", "5461 10922", "10923 16383"] {
            let bus = Port::free();
            let port = bus.address().port().to_string();
            let args = ["--cluster-enabled", "yes", "--cluster-port", &port, "--cluster-node-timeout", "2000"];
            let node = Self::with(Port::free(), Some(bus), directory(), &args).await;
            node.command(&format!("CLUSTER ADDSLOTSRANGE {slots}")).await.expect("an answer");
            nodes.push(node);
        }
        for other in &nodes[1..] {
            let bus = other.other.as_ref().expect("a bus").address().port();
            let meet = format!("CLUSTER MEET 127.0.0.1 {} {bus}", other.port.address().port());
            nodes[0].command(&meet).await.expect("an answer");
        }
        for node in &nodes {
            eventually("the cluster is one", LIMIT, async || {
                let info = node.command("CLUSTER INFO").await?;
                (info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")).then_some(())
            })
            .await;
        }
        nodes
    }

    /// A server that follows this one.
    pub async fn replica(&self) -> Self {
        let port = self.port.address().port().to_string();
        let args = ["--replicaof", "127.0.0.1", &port, "--repl-diskless-sync-delay", "0"];
        let replica = Self::with(Port::free(), None, directory(), &args).await;
        eventually("it follows", LIMIT, async || {
            replica.command("INFO replication").await.filter(|info| info.contains("master_link_status:up")).map(drop)
        })
        .await;
        replica
    }

    /// A sentinel that watches this server by the name `limits`, and knows its replica.
    ///
    /// # Panics
    /// When its file cannot be written.
    pub async fn sentinel(&self) -> Self {
        let (dir, port) = (directory(), Port::free());
        let text = format!(
            "port {}\nbind 127.0.0.1\nsentinel monitor limits 127.0.0.1 {} 1\nsentinel down-after-milliseconds limits 500\n\
             sentinel failover-timeout limits 3000\n",
            port.address().port(),
            self.port.address().port()
        );
        let file = dir.path().join("sentinel.conf");
        fs::write(&file, text).expect("a file");
        let args = vec![file.display().to_string(), "--sentinel".to_owned()];
        let sentinel = Self { child: spawn(&args, &dir), port, args, other: None, dir };
        sentinel.until_up().await;
        eventually("it knows the replica", LIMIT * 2, async || {
            sentinel.command("INFO sentinel").await.filter(|info| info.contains("slaves=1")).map(drop)
        })
        .await;
        sentinel
    }

    async fn with(port: Port, other: Option<Port>, dir: TempDir, more: &[&str]) -> Self {
        let number = port.address().port().to_string();
        let args = ["--port", &number, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        let args: Vec<String> = args.iter().chain(more).map(ToString::to_string).collect();
        let redis = Self { child: spawn(&args, &dir), port, args, other, dir };
        redis.until_up().await;
        redis
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.port.address())
    }

    /// Where it speaks TLS.
    ///
    /// # Panics
    /// Where it does not.
    #[must_use]
    pub fn secure_url(&self) -> String {
        format!("rediss://{}", self.other.as_ref().expect("a port for TLS").address())
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
        self.child = spawn(&self.args, &self.dir);
        self.until_up().await;
    }

    /// Sends a command and gives the beginning of its answer.
    pub async fn command(&self, line: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.port.address()).await.ok()?;
        stream.write_all(format!("{line}\r\n").as_bytes()).await.ok()?;
        let mut answer = [0; 4096];
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

fn directory() -> TempDir {
    tempfile::Builder::new().prefix("tidegate-redis-").tempdir().expect("a directory")
}

fn spawn(args: &[String], dir: &TempDir) -> Child {
    Command::new("redis-server")
        .args(args)
        .current_dir(dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is installed: see tests/setup.sh")
}
