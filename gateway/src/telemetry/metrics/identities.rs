//! Series of our own tokens and of secrets in vaults: how fresh they are.

use super::{Metrics, clock, result, seconds};
use crate::config::snapshot::{Snapshot, VaultSecret};
use crate::domain::IdentityName;
use std::collections::HashSet;
use std::time::Duration;

impl Metrics {
    /// Gives every token and secret of `snapshot` its series, and takes them from all others.
    pub fn identities(&self, snapshot: &Snapshot) {
        let tokens = snapshot.own_tokens.iter();
        let now: HashSet<_> = tokens.map(|token| (token.identity.name.to_string(), token.scope.to_string())).collect();
        let mut known = self.own_tokens.lock();
        for (name, scope) in known.difference(&now) {
            for result in [result(true), result(false)] {
                // Gone already is as good.
                let _ = self.families.identity_tries.remove_label_values(&[name, scope, result]);
            }
            let _ = self.families.identity_expiry.remove_label_values(&[name, scope]);
        }
        for (name, scope) in now.difference(&known) {
            for result in [result(true), result(false)] {
                self.families.identity_tries.with_label_values(&[name, scope, result]);
            }
            self.families.identity_expiry.with_label_values(&[name, scope]);
        }
        *known = now;
        drop(known);
        let wanted = snapshot.key_vault.iter().flat_map(|vault| &vault.wanted);
        self.vault_secrets(wanted.map(ToString::to_string).collect());
    }

    fn vault_secrets(&self, now: HashSet<String>) {
        let mut known = self.vault_secrets.lock();
        for secret in known.difference(&now) {
            for result in [result(true), result(false)] {
                let _ = self.families.vault_looks.remove_label_values(&[secret, result]);
            }
            let _ = self.families.vault_last_success.remove_label_values(&[secret]);
        }
        for secret in now.difference(&known) {
            for result in [result(true), result(false)] {
                self.families.vault_looks.with_label_values(&[secret, result]);
            }
            self.families.vault_last_success.with_label_values(&[secret]);
        }
        *known = now;
    }

    /// Somebody tried to get a token, and got one that lives for `life`; none where that failed.
    pub fn token_tried(&self, identity: &IdentityName, scope: &str, life: Option<Duration>) {
        let name = identity.as_str();
        // A try that was under way when its token left the configuration.
        if !self.own_tokens.lock().contains(&(name.to_owned(), scope.to_owned())) {
            return;
        }
        self.families.identity_tries.with_label_values(&[name, scope, result(life.is_some())]).inc();
        if let Some(life) = life {
            let life = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
            let expiry = seconds(clock::unix_ms().saturating_add(life));
            self.families.identity_expiry.with_label_values(&[name, scope]).set(expiry);
        }
    }

    /// Somebody looked at a secret in its vault; `seen` is when its value was last seen, Unix time in seconds.
    pub fn secret_looked_at(&self, secret: &VaultSecret, found: bool, seen: Option<u64>) {
        let name = secret.to_string();
        if !self.vault_secrets.lock().contains(&name) {
            return;
        }
        self.families.vault_looks.with_label_values(&[name.as_str(), result(found)]).inc();
        self.secret_seen(secret, seen);
    }

    /// When a secret's value was last seen, Unix time in seconds.
    pub fn secret_seen(&self, secret: &VaultSecret, seen: Option<u64>) {
        let name = secret.to_string();
        if let Some(seen) = seen.filter(|_| self.vault_secrets.lock().contains(&name)) {
            let seen = seconds(seen.saturating_mul(1000));
            self.families.vault_last_success.with_label_values(&[name.as_str()]).set(seen);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
impl Metrics {
    /// Gives one token and one secret series.
    pub(super) fn identity_seen(&self) {
        let name = IdentityName::new("gateway").unwrap();
        self.own_tokens.lock().insert(("gateway".to_owned(), "https://ai.azure.com/.default".to_owned()));
        self.token_tried(&name, "https://ai.azure.com/.default", Some(Duration::from_secs(60)));
        self.vault_secrets(HashSet::from(["vault.example/key".to_owned()]));
    }
}
