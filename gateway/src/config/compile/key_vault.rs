//! Compiles how secrets are read from Key Vaults, and which. Reads none.

use super::identities::{Wanted, limited};
use super::tls::check_authorities;
use super::{positive, secret};
use crate::config::file;
use crate::config::report::Report;
use crate::config::snapshot::{Keepsake, KeyVault};
use std::path::Path;

/// Most secrets of one configuration: each is a request every few minutes.
const SECRETS_MAX: usize = 256;

/// Compiles `key_vault`, after everything that takes secrets.
pub(super) fn compile(file: &file::File, tokens: &mut Wanted<'_>, report: &mut Report<'_>) -> Option<KeyVault> {
    let wanted = report.wanted();
    if wanted.len() > SECRETS_MAX {
        let message = format!("{} secrets are taken from it, at most {SECRETS_MAX} are allowed", wanted.len());
        report.problem("key_vault", message, None);
    }
    let typed = file.key_vault.as_ref()?;
    if wanted.is_empty() {
        report.warn("key_vault", "no secret is taken from it", None);
    }
    let reader = file.identities.iter().find(|one| one.name == typed.identity);
    let own = reader.and_then(|one| one.client_secret.as_ref()).map(|one| &one.secret);
    if matches!(own, Some(file::Secret::KeyVault(_))) {
        let message = format!("`{}` has its own secret in a vault, which it would have to read first", typed.identity);
        report.problem("key_vault.identity", message, None);
    }
    let token = tokens.index((&typed.identity, &typed.scope), "key_vault", report);
    let refresh = positive(typed.refresh, "key_vault.refresh", report);
    let timeout = limited(typed.timeout, "key_vault.timeout", report);
    let ca_file = typed.ca_file.as_ref().map(|file| report.resolve(file));
    if let Some(file) = &ca_file {
        check_authorities(file, "key_vault.ca_file", report);
    }
    let last_good = typed.last_good.as_ref().map(|typed| keepsake(typed, report));
    Some(KeyVault { token: token?, refresh, timeout, ca_file, last_good, wanted })
}

fn keepsake(typed: &file::Keepsake, report: &mut Report<'_>) -> Keepsake {
    let file = report.resolve(&typed.file);
    let directory = file.parent().filter(|directory| !directory.as_os_str().is_empty());
    if !directory.unwrap_or_else(|| Path::new(".")).is_dir() {
        report.problem("key_vault.last_good.file", "its directory does not exist", None);
    }
    if file.is_dir() {
        report.problem("key_vault.last_good.file", "is a directory", None);
    }
    let key = typed.key.as_ref().and_then(|typed| match typed {
        file::Secret::KeyVault(_) => {
            let help = "write `{ env: NAME }` or `{ file: PATH }`";
            report.problem("key_vault.last_good.key", "is for when no vault can be read", help.to_owned());
            None
        }
        typed => secret::text(typed, "key_vault.last_good.key", report)?.known(),
    });
    Keepsake { file, key }
}
