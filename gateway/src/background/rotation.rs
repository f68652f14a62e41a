//! Secrets that change in their vaults: looked at again every few minutes, and put in force by the same way as a reload, with the
//! text that is in force. The last good values stay through an outage.

use super::crew::spread;
use super::reload::Reload;
use super::vault::{Round, preserve};
use crate::config::snapshot::KeyVault;
use crate::state::{Fleet, Secrets};
use crate::telemetry::clock;
use std::sync::Arc;
use std::time::Duration;

/// After a round with a failure the next comes this soon, then after twice as long each time, up to the usual pace.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// Spread of the pace.
const JITTER: f64 = 0.2;

/// Keeps the secrets of the configuration in force fresh, for ever.
pub(super) async fn keep(reload: &Arc<Reload>) {
    let shared = reload.shared();
    let mut generations = reload.generations();
    let lacking = is_lacking(&shared.fleets.load_full(), &shared.secrets);
    let mut watch = Watch { failures: u32::from(lacking), ..Watch::default() };
    let mut next = clock::now();
    let mut waited = false;
    loop {
        let fleet = shared.fleets.load_full();
        if let Some(vault) = &fleet.snapshot.key_vault {
            if waited {
                watch.look(reload, &fleet, vault).await;
            }
            shared.secrets.retain(&vault.wanted);
            preserve(vault, &shared.secrets).await;
            if waited || next <= clock::now() {
                next = clock::now().after(spread(pause(vault.refresh, watch.failures), JITTER, fastrand::f64()));
            }
        }
        let rests = fleet.snapshot.key_vault.is_none();
        drop(fleet);
        let nap = if rests { Duration::from_secs(3600) } else { clock::now().until(next) };
        waited = tokio::select! {
            () = tokio::time::sleep(nap) => true,
            changed = generations.changed() => {
                if changed.is_err() {
                    return;
                }
                false
            }
        };
    }
}

/// What is known from round to round.
#[derive(Default)]
struct Watch {
    /// Rounds with a failure, in a row.
    failures: u32,
    /// A new value is not in force yet.
    pending: bool,
}

impl Watch {
    /// One round, and what follows from it.
    async fn look(&mut self, reload: &Arc<Reload>, fleet: &Fleet, vault: &KeyVault) {
        let Some(bearer) = fleet.own_tokens.get(vault.token) else { return };
        let shared = reload.shared();
        let wanted: Vec<_> = vault.wanted.iter().collect();
        let round = Round { vault, bearer, secrets: &shared.secrets, metrics: Some(&shared.metrics) };
        let (changed, failed) = round.run(&wanted, self.failures == 0).await;
        match (failed, self.failures) {
            (true, 0) => log::warn!("the last good secrets stay in use"),
            (false, 1..) => log::info!("all secrets can be read again"),
            _ => {}
        }
        self.failures = if failed { self.failures.saturating_add(1) } else { 0 };
        self.pending |= changed;
        if self.pending {
            log::warn!("a secret has changed in its vault");
            self.pending = reload.renew().await.is_err();
        }
    }
}

fn pause(pace: Duration, failures: u32) -> Duration {
    match failures.checked_sub(1) {
        None => pace,
        Some(doublings) => pace.min(FIRST_PAUSE.saturating_mul(1 << doublings.min(10))),
    }
}

fn is_lacking(fleet: &Fleet, secrets: &Secrets) -> bool {
    fleet.snapshot.key_vault.iter().flat_map(|vault| &vault.wanted).any(|one| secrets.get(one).is_none())
}
