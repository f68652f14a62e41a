//! Secrets from Key Vaults, off the request path: read before there is a configuration that needs them, kept in a file through a
//! restart. When they are looked at again is `rotation`'s business.

mod fetch;
mod keepsake;

use super::identity;
use crate::config::snapshot::{KeyVault, OwnToken, Snapshot, VaultSecret};
use crate::config::{self, Environment};
use crate::state::{Bearer, Fleet, Kept, Secrets};
use crate::telemetry::{Metrics, clock};
use fetch::Vaults;
use futures::StreamExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::spawn_blocking;

/// Secrets that are looked at together.
const LOOKS_MAX: usize = 8;
/// The longest that a start or a reload waits for vaults in all.
const START_MAX: Duration = Duration::from_secs(20);

/// The secrets that the configuration at `path` takes from vaults: as they are now, else as they were last kept. Takes bounded
/// time; a configuration that does not load needs none. Blocks.
#[must_use]
pub fn at_start(path: &Path, environment: Environment<'_>) -> Arc<Secrets> {
    let secrets = Arc::new(Secrets::default());
    let Ok((snapshot, _)) = config::load(path, environment) else { return secrets };
    let Some(vault) = &snapshot.key_vault else { return secrets };
    restore(vault, &secrets);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(missing(&snapshot, None, &secrets)),
        Err(error) => log::error!("no vault can be read: {error}"),
    }
    secrets
}

/// The values of the file, where one is wanted and not known yet.
fn restore(vault: &KeyVault, secrets: &Secrets) {
    let Some(file) = &vault.last_good else { return };
    match keepsake::read(file) {
        Ok(kept) => {
            let wanted = kept.into_iter().filter(|(secret, _)| vault.wanted.contains(secret));
            wanted.for_each(|(secret, kept)| {
                secrets.put(secret, kept);
            });
        }
        Err(why) => log::error!("the last good secrets are not used: {why}"),
    }
}

/// Looks at the secrets of `snapshot` before it comes into force: at all of them at the start, at those that are not known where
/// there is a fleet in force.
pub(super) async fn missing(snapshot: &Snapshot, fleet: Option<&Fleet>, secrets: &Secrets) {
    let Some(vault) = &snapshot.key_vault else { return };
    let Some(token) = snapshot.own_tokens.get(vault.token) else { return };
    let wanted: Vec<_> = vault.wanted.iter().filter(|one| fleet.is_none() || secrets.get(one).is_none()).collect();
    if wanted.is_empty() {
        return;
    }
    let bearer = bearer(token, fleet);
    let looks = async {
        if bearer.usable(clock::now()).is_none()
            && let Err(why) = identity::once(token, &bearer).await
        {
            log::error!("identity {}: no token to read vaults with: {why}", token.identity.name);
            return;
        }
        Round { vault, bearer: &bearer, secrets, metrics: None }.run(&wanted, true).await;
    };
    if tokio::time::timeout(START_MAX, looks).await.is_err() {
        log::error!("vaults did not answer within {START_MAX:?}");
    }
    for secret in wanted.into_iter().filter(|one| secrets.get(one).is_none()) {
        log::error!("secret {secret} is not known: what needs it gets no requests");
    }
}

/// The token in force that `token` is, or a cell for one.
fn bearer(token: &OwnToken, fleet: Option<&Fleet>) -> Arc<Bearer> {
    let known = fleet.and_then(|fleet| {
        let place = fleet.snapshot.own_tokens.iter().position(|one| one.is_same_bearer(token))?;
        fleet.own_tokens.get(place).map(Arc::clone)
    });
    known.unwrap_or_default()
}

/// A look at secrets.
pub(super) struct Round<'a> {
    pub(super) vault: &'a KeyVault,
    pub(super) bearer: &'a Arc<Bearer>,
    pub(super) secrets: &'a Secrets,
    pub(super) metrics: Option<&'a Metrics>,
}

impl Round<'_> {
    /// Looks at every secret, and logs failures if it shall `tell`. Whether a value has changed, and whether a look has failed.
    pub(super) async fn run(&self, wanted: &[&VaultSecret], tell: bool) -> (bool, bool) {
        let (changed, failed) = (AtomicBool::new(false), AtomicBool::new(false));
        let vaults = Vaults::new(self.vault, self.bearer, wanted);
        futures::stream::iter(wanted)
            .for_each_concurrent(LOOKS_MAX, async |secret| {
                let found = vaults.get(secret).await;
                let known = found.is_ok();
                match found {
                    Ok(value) => {
                        let kept = Kept { value, seen: clock::unix_seconds() };
                        if self.secrets.put((*secret).clone(), kept) {
                            changed.store(true, Ordering::Relaxed);
                        }
                    }
                    Err(why) => {
                        failed.store(true, Ordering::Relaxed);
                        if tell {
                            log::warn!("secret {secret}: {why}");
                        }
                    }
                }
                if let Some(metrics) = self.metrics {
                    metrics.secret_looked_at(secret, known, self.secrets.seen(secret));
                }
            })
            .await;
        (changed.into_inner(), failed.into_inner())
    }
}

/// Writes what is known to the file, where there is one.
pub(super) async fn preserve(vault: &KeyVault, secrets: &Secrets) {
    let Some(file) = vault.last_good.clone() else { return };
    let all = secrets.all();
    let written = spawn_blocking(move || keepsake::write(&file, &all)).await;
    if let Err(why) = written.unwrap_or_else(|error| Err(error.to_string())) {
        log::error!("the last good secrets are not kept: {why}");
    }
}

/// What was found before there were metrics.
pub(super) fn report(fleet: &Fleet, secrets: &Secrets, metrics: &Metrics) {
    for secret in fleet.snapshot.key_vault.iter().flat_map(|vault| &vault.wanted) {
        metrics.secret_seen(secret, secrets.seen(secret));
    }
}
