//! What the tests of this room share: a small site, written as YAML and loaded as the real thing is.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]

use super::*;
use crate::config;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

/// A pool `chat` with one backend per URL.
pub(super) struct Site<'a> {
    pub(super) urls: &'a [&'a str],
    /// YAML of the pool's probe.
    pub(super) probe: &'a str,
    /// More top-level YAML.
    pub(super) more: &'a str,
}

impl Default for Site<'_> {
    fn default() -> Self {
        Self { urls: &["http://127.0.0.1:9"], probe: "", more: "" }
    }
}

impl Site<'_> {
    pub(super) fn yaml(&self) -> String {
        let mut text = format!(
            "version: 1\nhome_region: swedencentral\nlisteners:\n  - {{ name: public, address: \"127.0.0.1:8080\" }}\n{}\n\
             routes:\n  - {{ name: all, pool: chat }}\npools:\n  - name: chat\n    required: true\n",
            self.more
        );
        if !self.probe.is_empty() {
            writeln!(text, "    probe: {}", self.probe).unwrap();
        }
        text.push_str("    backends:\n");
        for (index, url) in self.urls.iter().enumerate() {
            let auth = "auth: { api_key: { env: KEY } }";
            writeln!(text, "      - {{ name: b{index}, region: swedencentral, url: \"{url}\", {auth} }}").unwrap();
        }
        text
    }
}

pub(super) fn environment(name: &str) -> Option<String> {
    (name == "KEY").then(|| "CANARY-KEY".to_owned())
}

/// A site in force as generation 1.
pub(super) fn shared(site: &Site<'_>) -> Shared {
    let loaded = config::load_text("test.yaml", &site.yaml(), Path::new("."), &environment);
    let (mut snapshot, _) = loaded.unwrap_or_else(|problems| panic!("{problems}\n{}", site.yaml()));
    snapshot.generation = 1;
    let metrics = Arc::new(Metrics::new().unwrap());
    let registry = Arc::new(Registry::default());
    let access_log = AccessLog::start(&snapshot.access_log, &metrics).unwrap();
    let memory = BodyMemory::new(snapshot.limits.body_memory_max);
    let fleet = registry.bind(Arc::new(snapshot));
    Shared {
        floor: Floor::default(),
        fleets: Arc::new(ArcSwap::new(fleet)),
        registry,
        metrics,
        access_log,
        memory,
        listening: Arc::new(true.into()),
        draining: Arc::default(),
        challenges: Default::default(),
        secrets: Default::default(),
    }
}

/// Waits until `done` says so.
pub(super) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain: {what}");
}

#[tokio::test]
async fn the_work_ends_with_the_server() {
    let reload = Reload::new(shared(&Site::default()), "none.yaml".into(), Box::new(environment), Vec::new());
    let (stop, shutdown) = tokio::sync::watch::channel(false);
    let (ready, mut is_ready) = tokio::sync::watch::channel(false);
    let work = Work { reload };
    let running = tokio::spawn(async move {
        work.start_with_ready_notifier(shutdown, ServiceReadyNotifier::new(ready)).await;
    });
    is_ready.changed().await.unwrap();
    stop.send(true).unwrap();
    tokio::time::timeout(Duration::from_secs(20), running).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_listener_is_seen_without_a_connection() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    assert!(!is_listening(address), "it is bound and does not listen yet");
    let listener = socket.listen(8).unwrap();
    assert!(is_listening(address));
    tokio::select! {
        accepted = listener.accept() => panic!("nobody connects: {accepted:?}"),
        () = tokio::time::sleep(Duration::from_millis(20)) => {}
    }
}
