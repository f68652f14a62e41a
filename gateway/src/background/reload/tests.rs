//! Tests of reload, with a file on disk.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]

use super::*;
use crate::background::tests::{Site, environment, shared};
use crate::config::snapshot::Address;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

struct Fixture {
    folder: tempfile::TempDir,
    reload: Arc<Reload>,
    committed: Arc<AtomicUsize>,
}

fn fixture(refuse: Option<&'static str>) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let committed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&committed);
    let hook: Hook = Box::new(move |_| {
        let count = Arc::clone(&count);
        refuse.map_or_else(
            || Ok(Box::new(move |_: &Arc<Fleet>| _ = count.fetch_add(1, Ordering::Relaxed)) as Commit),
            |why| Err(why.to_owned()),
        )
    });
    let path = folder.path().join("tidegate.yaml");
    let reload = Reload::new(shared(&Site::default()), path, Box::new(environment), vec![hook]);
    Fixture { folder, reload, committed }
}

impl Fixture {
    fn write(&self, text: &str) {
        fs::write(self.folder.path().join("tidegate.yaml"), text).unwrap();
    }

    fn metrics(&self) -> String {
        String::from_utf8(self.reload.shared.metrics.render()).unwrap()
    }
}

#[tokio::test]
async fn a_good_file_comes_into_force_and_state_survives() {
    let fixture = fixture(None);
    let before = fixture.reload.shared.fleets.load_full();
    let mut generations = fixture.reload.generations();
    fixture.write(&Site { urls: &["http://127.0.0.1:9", "http://localhost:7"], ..Site::default() }.yaml());
    assert_eq!(fixture.reload.reload_now().await, Ok(2));
    let after = fixture.reload.shared.fleets.load_full();
    assert_eq!(after.snapshot.generation, 2);
    assert!(Arc::ptr_eq(before.pools[0].backend(0).unwrap(), after.pools[0].backend(0).unwrap()));
    assert!(after.pools[0].backend(1).unwrap().addresses().count() > 0, "resolved before it came into force");
    assert_eq!(fixture.committed.load(Ordering::Relaxed), 1);
    assert!(generations.has_changed().unwrap());
    assert_eq!(*generations.borrow_and_update(), 2);
    assert!(fixture.metrics().contains("tidegate_config_generation 2"));
    assert!(fixture.metrics().contains("tidegate_reloads_total{result=\"ok\"} 1"));
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_says_why() {
    let fixture = fixture(None);
    fixture.write("version: 1\nlisteners: 7\n");
    let refused = fixture.reload.reload_now().await.unwrap_err().to_string();
    assert!(refused.contains("tidegate.yaml:2:") && refused.contains("listeners"), "{refused}");
    assert_eq!(fixture.reload.shared.fleets.load().snapshot.generation, 1);
    assert_eq!(fixture.committed.load(Ordering::Relaxed), 0);
    assert!(fixture.metrics().contains("tidegate_reloads_total{result=\"failed\"} 1"));
    assert!(fixture.metrics().contains("tidegate_config_last_reload_successful 0"));
}

#[tokio::test]
async fn a_hook_or_the_access_log_can_refuse() {
    let refusing = fixture(Some("certificate public: expired"));
    refusing.write(&Site::default().yaml());
    let refused = refusing.reload.reload_now().await.unwrap_err().to_string();
    assert!(refused.contains("certificate public: expired"), "{refused}");
    let fixture = fixture(None);
    fixture.write(&Site { more: "access_log: { file: no/such/folder/access.log }", ..Site::default() }.yaml());
    fixture.reload.reload_now().await.unwrap_err();
    assert_eq!(fixture.reload.shared.fleets.load().snapshot.generation, 1);
}

#[tokio::test]
async fn what_needs_a_restart_is_named() {
    let old = shared(&Site::default()).fleets.load().snapshot.as_ref().clone();
    let mut new = old.clone();
    assert!(needs_restart(&old, &new).is_empty());
    new.process.threads += 1;
    new.listeners[0].address = Address::Ip("127.0.0.1:9999".parse().unwrap());
    assert_eq!(needs_restart(&old, &new), ["listeners", "process.threads"]);
}

#[test]
fn one_is_not_many() {
    assert_eq!(format!("{}, {}", Count(1, "pool"), Count(2, "backend")), "1 pool, 2 backends");
}
