//! The stage: regions up, one configuration in a directory of its own, the gateway running and ready. All of it goes again.

use super::DemoOptions;
use super::child::Child;
use super::http::Client;
use super::story::{self, ACTORS, CHAT, EMBEDDINGS};
use crate::simulator::Region;
use std::fmt::Write;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{interval, timeout};

/// How long the gateway may take to become ready.
const READY_LIMIT: Duration = Duration::from_secs(20);
/// How often we look whether it is.
const LOOK: Duration = Duration::from_millis(50);
/// A free port may be taken by somebody else before the gateway binds it: so many tries.
const TRIES: u32 = 3;
/// Lines of the gateway's log that are shown when it does not start.
const LOG_LINES: usize = 12;

/// Why the demo does not start.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// A simulated region.
    #[error("the simulated region {0} does not start")]
    Region(&'static str, #[source] io::Error),
    /// The directory of the configuration.
    #[error("cannot write {0}")]
    File(PathBuf, #[source] io::Error),
    /// A port for the gateway.
    #[error("no free port on 127.0.0.1")]
    Port(#[source] io::Error),
    /// The gateway as a process.
    #[error("cannot run {0}")]
    Spawn(PathBuf, #[source] io::Error),
    /// The gateway ended at once.
    #[error("the gateway does not start; its log says:\n{0}")]
    Ended(String),
    /// The gateway is not ready in time.
    #[error("the gateway is not ready in time; its log says:\n{0}")]
    NotReady(String),
}

/// Everything that runs.
pub(super) struct Stage {
    /// In the order of [`ACTORS`].
    pub(super) regions: Vec<Region>,
    pub(super) public: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) config: PathBuf,
    pub(super) log: PathBuf,
    child: Child,
    _directory: Directory,
}

/// A directory that goes with its owner.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        // What cannot be removed stays for the system's own cleaning.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Stage {
    /// Starts everything and waits until the gateway is ready.
    pub(super) async fn set(options: &DemoOptions) -> Result<Self, StageError> {
        let directory = directory()?;
        let keys: Vec<(String, String)> = ACTORS.iter().map(|actor| (key_name(actor), key())).collect();
        let mut regions = Vec::with_capacity(ACTORS.len());
        for (index, (actor, (_, key))) in ACTORS.iter().zip(&keys).enumerate() {
            let region = story::region(index, actor, options.rate, key);
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let started = Region::start(region, address).await;
            regions.push(started.map_err(|error| StageError::Region(actor.region, error))?);
        }
        let addresses: Vec<SocketAddr> = regions.iter().map(Region::address).collect();
        let (config, log) = (directory.0.join("tidegate.yaml"), directory.0.join("gateway.log"));
        let mut tries = 0;
        loop {
            tries += 1;
            let ports = ports(options.port)?;
            let [public, admin] = ports.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
            std::fs::write(&config, configuration((public, admin), &addresses, &directory.0))
                .map_err(|error| StageError::File(config.clone(), error))?;
            let mut child = Child::start(&options.program, &config, &log, &keys)
                .map_err(|error| StageError::Spawn(options.program.clone(), error))?;
            match ready(&mut child, admin, &log).await {
                Ok(()) => {
                    return Ok(Self { regions, public, admin, config, log, child, _directory: directory });
                }
                Err(StageError::Ended(_)) if options.port == 0 && tries < TRIES => {}
                Err(error) => {
                    child.end().await;
                    return Err(error);
                }
            }
        }
    }

    /// Ends the gateway, then the regions, and removes the files.
    pub(super) async fn strike(self) {
        self.child.end().await;
        for region in self.regions {
            region.stop().await;
        }
    }
}

async fn ready(child: &mut Child, admin: SocketAddr, log: &Path) -> Result<(), StageError> {
    let client = Client::new(&admin.to_string());
    let look = async {
        let mut ticks = interval(LOOK);
        loop {
            ticks.tick().await;
            if child.ended().is_some() {
                return Err(StageError::Ended(tail(log)));
            }
            if client.get("/readyz").await.is_ok() {
                return Ok(());
            }
        }
    };
    timeout(READY_LIMIT, look).await.unwrap_or_else(|_late| Err(StageError::NotReady(tail(log))))
}

/// The last lines of the gateway's log.
fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LOG_LINES);
    lines.get(from..).unwrap_or_default().join("\n")
}

/// A directory that nobody else can write to.
fn directory() -> Result<Directory, StageError> {
    let path = std::env::temp_dir().join(format!("tidegate-demo-{:08x}", fastrand::u32(..)));
    std::fs::DirBuilder::new().mode(0o700).create(&path).map_err(|error| StageError::File(path.clone(), error))?;
    Ok(Directory(path))
}

/// The port asked for (or a free one), and a free one for the admin listener.
fn ports(wanted: u16) -> Result<[u16; 2], StageError> {
    // Both are held at once, so that they differ; the gateway binds them a moment later.
    let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|held| Ok((held.local_addr()?.port(), held)));
    let (first, second) = free().and_then(|first| Ok((first, free()?))).map_err(StageError::Port)?;
    Ok([if wanted == 0 { first.0 } else { wanted }, second.0])
}

fn key_name(actor: &story::Actor) -> String {
    format!("DEMO_{}_KEY", actor.backend.to_ascii_uppercase())
}

fn key() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// The gateway's configuration: what an operator would write, with times short enough for a demo.
fn configuration((public, admin): (SocketAddr, SocketAddr), regions: &[SocketAddr], directory: &Path) -> String {
    let mut text = format!(
        "version: 1\nhome_region: {home}\nlisteners:\n  - {{ name: public, address: \"{public}\" }}\n\
         admin: {{ address: \"{admin}\" }}\n\
         process: {{ threads: 2, pre_drain: 0s, drain: 5s, upgrade_socket: \"{socket}\" }}\n\
         access_log: {{ file: access.jsonl }}\n# The trail of attempts: the demo counts failovers by it.\n\
         headers: {{ attempts: true }}\nstateful: {{ ids: raw }}\npools:\n",
        home = ACTORS.first().map_or("swedencentral", |actor| actor.region),
        socket = directory.join("upgrade").join("upgrade.sock").display(),
    );
    for (pool, deployment) in [("chat", None), ("embeddings", Some(EMBEDDINGS))] {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "  - name: {pool}\n    required: true\n    selection: {{ latency_band: 150ms, slow_start: 3s }}\n    \
             failover: {{ deadline: 15s, first_byte_timeout: 2s, stream_first_byte_timeout: 1s, budget: 50% }}\n    \
             ejection: {{ failures: 3, base: 1s, max: 4s }}\n    \
             probe: {{ path: \"/openai/models?api-version={version}\", interval: 1s, timeout: 500ms }}\n    backends:\n",
            version = story::API_VERSION,
        );
        for (actor, address) in ACTORS.iter().zip(regions) {
            let _ = writeln!(
                text,
                "      - {{ name: {}, region: {}, url: \"http://{address}\", deployment: {}, priority: {}, weight: {}, \
                 auth: {{ api_key: {{ env: {} }} }} }}",
                actor.backend,
                actor.region,
                deployment.unwrap_or(actor.chat),
                actor.priority,
                actor.weight,
                key_name(actor),
            );
        }
    }
    let _ = write!(
        text,
        "routes:\n  - {{ name: chat, match: {{ deployment: {CHAT} }}, pool: chat }}\n  \
         - {{ name: embeddings, match: {{ deployment: {EMBEDDINGS} }}, pool: embeddings }}\n",
    );
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_valid() {
        let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let text = configuration((address(1), address(2)), &[address(3), address(4), address(5)], Path::new("/tmp/x"));
        let known = |_: &str| Some("secret".to_owned());
        let (snapshot, warnings) = crate::config::load_text("demo", &text, Path::new("/tmp"), &known).unwrap();
        assert_eq!((snapshot.pools.len(), snapshot.routes.len(), warnings.len()), (2, 2, 0), "{text}{warnings:?}");
    }
}
