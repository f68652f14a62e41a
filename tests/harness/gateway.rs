//! [`Gateway`]: the real binary as a child process, seen through its sockets, signals, files and exit status only.

use crate::ask::Ask;
use crate::binary::binary;
use crate::client::{Answer, Client, Proto};
use crate::metrics::Metrics;
use crate::ports::Port;
use crate::setup::{Ports, Setup};
use crate::wait::eventually;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// Start, stop and reload of a debug build on a busy machine stay below this.
const LIMIT: Duration = Duration::from_secs(20);

/// A running gateway. Dropping it kills it; when the test panics, its log is printed.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    log: PathBuf,
    dir: Arc<TempDir>,
    ports: Ports,
    setup: Setup,
}

/// How a process ended.
#[derive(Debug)]
pub struct Exit {
    /// Its status.
    pub status: ExitStatus,
    /// What it wrote to standard output and standard error.
    pub log: String,
}

impl Gateway {
    /// Starts the binary with `setup` and waits until it is ready.
    ///
    /// # Panics
    /// With the gateway's own words when it does not start.
    pub(crate) async fn start(setup: Setup) -> Self {
        let dir = Arc::new(tempfile::Builder::new().prefix("tidegate-e2e-").tempdir().expect("a directory"));
        let free = || Arc::new(Port::free());
        let ports = Ports { public: free(), secure: free(), admin: free() };
        prepare(&setup, &ports, dir.path());
        let (child, log) = spawn(&setup, dir.path(), &[]);
        let mut gateway = Self { child, log, dir, ports, setup };
        gateway.wait_until_up().await;
        gateway
    }

    async fn wait_until_up(&mut self) {
        let path = if self.setup.wait { "/readyz" } else { "/livez" };
        let client = Client::new(self.ports.admin.address(), Proto::H1);
        eventually(format!("{path} of the gateway says 200"), LIMIT, async || {
            if let Some(status) = self.child.try_wait().expect("the child can be asked") {
                panic!("the gateway ended at its start: {status}\n{}", self.log());
            }
            client.try_ask(&Ask::new("GET", path)).await.ok().filter(|answer| answer.status == 200)
        })
        .await;
    }

    /// The clear-text listener.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.ports.public.address()
    }

    /// The TLS listener.
    #[must_use]
    pub fn secure(&self) -> SocketAddr {
        self.ports.secure.address()
    }

    /// A client of it.
    ///
    /// # Panics
    /// For TLS without a setup that has it.
    #[must_use]
    pub fn client(&self, proto: Proto) -> Client {
        match proto {
            Proto::H1 | Proto::H2c => Client::new(self.address(), proto),
            Proto::H1Tls | Proto::H2Tls => {
                Client::new(self.secure(), proto).trusting(self.setup.authority.as_ref().expect("a TLS listener"))
            }
        }
    }

    /// One request over HTTP/1.1 on a connection of its own.
    pub async fn ask(&self, ask: &Ask) -> Answer {
        self.client(Proto::H1).ask(ask).await
    }

    /// The admin listener.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.ports.admin.address()
    }

    /// `GET` of the admin listener.
    pub async fn admin(&self, path: &str) -> Answer {
        Client::new(self.ports.admin.address(), Proto::H1).ask(&Ask::new("GET", path)).await
    }

    /// `/metrics`, parsed.
    pub async fn metrics(&self) -> Metrics {
        Metrics::parse(&self.admin("/metrics").await.text())
    }

    /// `/backends`.
    pub async fn backends(&self) -> serde_json::Value {
        self.admin("/backends").await.json()
    }

    /// Waits until a backend may take a request (in service, or at the end of its rest and waiting for its trial), or may
    /// take none.
    pub async fn until_eligible(&self, backend: &str, eligible: bool) {
        let what = if eligible { "eligible" } else { "not eligible" };
        self.until_state(backend, what, |report| report["eligible"] == eligible).await;
    }

    async fn until_state(&self, backend: &str, what: &str, wanted: impl Fn(&serde_json::Value) -> bool) {
        eventually(format!("{backend} is {what}"), LIMIT, async || {
            let page = self.backends().await;
            let reports = page["backends"].as_array().cloned().unwrap_or_default();
            reports.iter().any(|report| report["backend"] == backend && wanted(report)).then_some(())
        })
        .await;
    }

    /// Waits until a metric satisfies `wanted`, and gives it.
    pub async fn until_metric(&self, name: &str, labels: &[(&str, &str)], wanted: impl Fn(f64) -> bool) -> f64 {
        let mut last = f64::NAN;
        let mut looks = 0;
        loop {
            let value = self.metrics().await.sum(name, labels);
            if wanted(value) {
                return value;
            }
            last = if value.is_nan() { last } else { value };
            looks += 1;
            assert!(looks < 500, "{name} {labels:?} stays at {last}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// All records of the access log so far.
    ///
    /// # Panics
    /// On a line that is no JSON.
    #[must_use]
    pub fn access_log(&self) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(self.file("access.jsonl")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }

    /// The access log's record of a request, once it is written.
    pub async fn record(&self, id: &str) -> serde_json::Value {
        eventually(format!("an access log line of {id}"), Duration::from_secs(10), async || {
            self.access_log().into_iter().find(|record| record["request_id"] == id)
        })
        .await
    }

    /// A file in its directory.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.file("tidegate.yaml")
    }

    /// What it was started, or last reloaded, with.
    #[must_use]
    pub const fn setup(&self) -> &Setup {
        &self.setup
    }

    /// What it wrote to standard output and standard error so far.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Resident memory in KiB.
    ///
    /// # Panics
    /// When the process is gone.
    #[must_use]
    pub fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says so");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Sends a signal by its name: `HUP`, `TERM`, `QUIT`.
    ///
    /// # Panics
    /// When that fails.
    pub fn signal(&self, name: &str) {
        let kill = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())]).status();
        assert!(kill.expect("a shell").success(), "kill -{name}");
    }

    /// Puts `setup` into the configuration file and reloads; says whether it came into force.
    pub async fn apply(&mut self, setup: Setup) -> bool {
        prepare(&setup, &self.ports, self.dir.path());
        self.setup = setup;
        self.reload().await
    }

    /// SIGHUP; returns once the reload has happened, and says whether it came into force.
    pub async fn reload(&self) -> bool {
        let before = self.metrics().await.sum("tidegate_reloads_total", &[]);
        self.signal("HUP");
        self.until_metric("tidegate_reloads_total", &[], |count| count > before).await;
        self.metrics().await.sum("tidegate_config_last_reload_successful", &[]) > 0.5
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end within `limit`.
    pub async fn ended(&mut self, limit: Duration) -> Exit {
        let status = eventually("the end of the gateway", limit, async || self.child.try_wait().expect("ours")).await;
        Exit { status, log: self.log() }
    }

    /// Starts a new process that takes the sockets over, and sends this one SIGQUIT. Returns the new one; this one drains.
    pub async fn upgrade(&self) -> Self {
        // Left over from an upgrade before this one.
        let _ = fs::remove_file(self.file("upgrade/upgrade.sock"));
        let (child, log) = spawn(&self.setup, self.dir.path(), &["--upgrade"]);
        let dir = Arc::clone(&self.dir);
        let mut next = Self { child, log, dir, ports: self.ports.clone(), setup: self.setup.clone() };
        // The new process must wait on its socket before the old one may hand over; it says so by creating it.
        let socket = self.file("upgrade/upgrade.sock");
        eventually("the new process waits on the upgrade socket", LIMIT, async || {
            if let Some(status) = next.child.try_wait().expect("ours") {
                panic!("the new process ended: {status}\n{}", next.log());
            }
            socket.exists().then_some(())
        })
        .await;
        self.signal("QUIT");
        next
    }

    /// Waits until this process itself (not another one on the same port) says something in its log.
    pub async fn until_log(&self, text: &str) {
        eventually(format!("the log says {text:?}"), LIMIT, async || self.log().contains(text).then_some(())).await;
    }

    /// Process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            eprintln!("--- the gateway's log ({} lines):", log.lines().count());
            for line in tail.iter().rev() {
                eprintln!("{line}");
            }
        }
    }
}

/// Writes the configuration and its files.
fn prepare(setup: &Setup, ports: &Ports, dir: &Path) {
    for (name, text) in &setup.files {
        fs::write(dir.join(name), text).expect("the directory is ours");
    }
    let config = dir.join("tidegate.yaml");
    // Whole or not at all, as an editor or a deployment tool does it.
    fs::write(dir.join("tidegate.yaml.new"), setup.render(ports, dir)).expect("the directory is ours");
    fs::rename(dir.join("tidegate.yaml.new"), config).expect("the directory is ours");
}

fn spawn(setup: &Setup, dir: &Path, more: &[&str]) -> (Child, PathBuf) {
    let log = (0..).map(|n| dir.join(format!("process-{n}.log"))).find(|path| !path.exists()).unwrap();
    let file = fs::File::create(&log).expect("the directory is ours");
    let child = Command::new(binary())
        .arg("run")
        .arg("--config")
        .arg(dir.join("tidegate.yaml"))
        .args(more)
        .envs(setup.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(file.try_clone().expect("a second handle"))
        .stderr(file)
        .spawn()
        .expect("the binary starts");
    (child, log)
}
