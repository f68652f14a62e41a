//! Compiles a reference to a secret in a Key Vault, and finds its value among those that are known. Reads none.

use crate::config::file;
use crate::config::report::Report;
use crate::config::snapshot::{VaultSecret, authority};
use crate::domain::Secret;

/// Longest name or version, bytes.
const NAME_LENGTH_MAX: usize = 127;

/// The secret at `path` as it is known now; `None` where it is not, or after a problem.
pub(super) fn value(typed: &file::VaultSecret, path: &str, report: &mut Report<'_>) -> Option<Secret> {
    if !report.has_vault() {
        report.problem(path, "nothing says how a vault is read", "add `key_vault` at the top of the file".to_owned());
    }
    let legal = |text: &str| {
        (1..=NAME_LENGTH_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if !legal(&typed.name) {
        let help = format!("letters, digits and `-`, at most {NAME_LENGTH_MAX}");
        report.problem(&format!("{path}.name"), "is no name of a secret", help);
    }
    if typed.version.as_deref().is_some_and(|text| !legal(text)) {
        report.problem(&format!("{path}.version"), "is no version of a secret", None);
    }
    let endpoint = match authority(&typed.vault, None) {
        Ok(endpoint) if endpoint.tls => endpoint,
        Ok(_) => {
            report.problem(&format!("{path}.vault"), "must begin with https://", None);
            return None;
        }
        Err(why) => {
            report.problem(&format!("{path}.vault"), why, "such as https://contoso.vault.azure.net".to_owned());
            return None;
        }
    };
    let host = endpoint.authority.to_str().ok()?.to_owned();
    let (name, version) = (typed.name.clone(), typed.version.clone());
    report.vault_secret(VaultSecret { vault: format!("https://{host}"), host, name, version })
}
