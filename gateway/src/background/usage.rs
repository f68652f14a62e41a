//! What usage limits need beside requests: idle buckets are forgotten, and what was used of quotas is kept in a file, so
//! that a restart gives none anew. A file that cannot be read starts empty, with a warning; one that cannot be written
//! disturbs no request.

use super::Shared;
use crate::policy::limit::Now;
use crate::state::{Fleet, Quotas};
use crate::telemetry::clock;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Pause between two looks; each forgets the idle buckets of one part of 72.
const PAUSE: Duration = Duration::from_millis(250);
/// Looks between two writings of the file.
const WRITE_EVERY: u32 = 12;
/// Largest file that is read: of as many buckets as there can be.
const FILE_SIZE_MAX: u64 = 64 * 1024 * 1024;

/// Sweeps and writes, for ever.
pub(super) async fn keep(shared: &Shared) {
    let mut looks = 0_u32;
    loop {
        tokio::time::sleep(PAUSE).await;
        looks = looks.wrapping_add(1);
        let fleet = shared.fleets.load_full();
        fleet.limits.sweep(now());
        // While the process drains, the one that took over writes.
        if looks.is_multiple_of(WRITE_EVERY)
            && fleet.snapshot.usage_limits.state.is_some()
            && !shared.draining.load(Ordering::Acquire)
        {
            // An error is a panic, which has been told.
            let _ = tokio::task::spawn_blocking(move || write_used(&fleet)).await;
        }
    }
}

/// Goes on from what was used before the process was started.
pub fn restore(fleet: &Fleet) {
    if let Some(shared) = &fleet.snapshot.shared_limits {
        // The server knows what was used.
        fleet.limits.share(shared.gateways);
        return;
    }
    let Some(path) = &fleet.snapshot.usage_limits.state else { return };
    match read(path) {
        Ok(Some(quotas)) => fleet.limits.restore(&quotas),
        Ok(None) => {}
        Err(error) => log::warn!("quotas begin anew: {} {error}", path.display()),
    }
}

/// Keeps what was used, at the end of the process. What another process has counted meanwhile stays.
pub fn conclude(fleet: &Fleet) {
    let Some(path) = &fleet.snapshot.usage_limits.state else { return };
    let mut quotas = fleet.limits.quotas(now());
    if let Ok(Some(theirs)) = read(path) {
        quotas.merge(&theirs);
    }
    write(path, &quotas);
}

fn write_used(fleet: &Fleet) {
    if let (Some(path), Some(quotas)) = (&fleet.snapshot.usage_limits.state, fleet.limits.quotas_used(now())) {
        write(path, &quotas);
    }
}

fn now() -> Now {
    Now { moment: clock::now(), unix: clock::unix_seconds() }
}

/// What the file holds; nothing where there is none.
fn read(path: &Path) -> Result<Option<Quotas>, String> {
    let size = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot be read: {error}")),
    };
    if size > FILE_SIZE_MAX {
        return Err(format!("is larger than {FILE_SIZE_MAX} bytes"));
    }
    let bytes = fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    Quotas::from_bytes(&bytes).map(Some).map_err(|error| error.to_string())
}

/// Beside the file, and then in its place: a reader sees the old one or the new one.
fn write(path: &Path, quotas: &Quotas) {
    let beside = path.with_extension("new");
    let put = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(&quotas.to_bytes())?;
        file.sync_data()?;
        fs::rename(&beside, path)
    };
    if let Err(error) = put() {
        log::error!("cannot keep what was used of quotas in {}: {error}", path.display());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_none_of_ours_is_told_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("usage");
        assert!(read(&path).unwrap().is_none());
        fs::write(&path, b"something else").unwrap();
        assert!(read(&path).is_err());
        write(&path, &Quotas::default());
        assert!(read(&path).unwrap().unwrap().is_empty());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
        write(Path::new("/nowhere/at/all"), &Quotas::default());
    }
}
