//! Compiles what the configuration says about ACME: names that HTTP-01 can prove, a directory over HTTPS, a private cache.
//! It asks no server, and whether there is a certificate already is not its concern.

use super::tls;
use crate::config::file;
use crate::config::report::Report;
use crate::config::snapshot::Acme;
use std::collections::BTreeSet;
use std::path::Path;

/// Longest host name (RFC 1035), bytes.
const NAME_LENGTH_MAX: usize = 253;

/// ACME of the listener called `listener`, at `path`.
pub(super) fn compile(typed: &file::Acme, listener: &str, path: &str, report: &mut Report<'_>) -> Acme {
    let mut names = BTreeSet::new();
    for (index, name) in typed.names.iter().enumerate() {
        let key = format!("{path}.names[{index}]");
        let lower = name.to_ascii_lowercase();
        if name.starts_with("*.") {
            let help = "HTTP-01 proves no wildcard: name each host, or obtain it by DNS-01 beside the gateway";
            report.problem(&key, format!("`{name}` is a wildcard"), help.to_owned());
        } else if !is_host(&lower) {
            report.problem(
                &key,
                format!("`{name}` is no host name"),
                "write a name such as edge.example.com".to_owned(),
            );
        } else if !names.insert(lower) {
            report.problem(&key, format!("`{name}` is there twice"), None);
        }
    }
    let fine = url::Url::parse(&typed.directory).is_ok_and(|url| {
        url.scheme() == "https" && url.has_host() && url.username().is_empty() && url.password().is_none()
    });
    if !fine {
        let help =
            "write the URL that the ACME server documents, such as https://acme.example.com/directory".to_owned();
        report.problem(&format!("{path}.directory"), format!("`{}` is no https URL", typed.directory), help);
    }
    for (index, contact) in typed.contacts.iter().enumerate() {
        let parts = contact.split_once('@');
        if !parts.is_some_and(|(name, host)| !name.is_empty() && is_host(&host.to_ascii_lowercase()))
            || contact.chars().any(|c| !c.is_ascii_graphic())
        {
            report.problem(&format!("{path}.contacts[{index}]"), format!("`{contact}` is no mail address"), None);
        }
    }
    let directory_ca = typed.directory_ca.as_ref().map(|file| report.resolve(file));
    if let Some(file) = &directory_ca {
        tls::check_authorities(file, &format!("{path}.directory_ca"), report);
    }
    let cache = report.resolve(&typed.cache);
    check_cache(&cache, &format!("{path}.cache"), report);
    Acme {
        names: names.into_iter().collect(),
        directory: typed.directory.clone(),
        directory_ca,
        contacts: typed.contacts.clone(),
        pem: cache.join(format!("{listener}.pem")),
        cache,
    }
}

/// A problem where nobody could answer the ACME server's question.
pub(super) fn needs_plain(file: &file::File, report: &mut Report<'_>) {
    if file.listeners.iter().any(|listener| listener.tls.is_none()) {
        return;
    }
    let asking = |listener: &file::Listener| listener.tls.as_ref().is_some_and(|tls| tls.acme.is_some());
    if let Some(index) = file.listeners.iter().position(asking) {
        let help = "add a listener without `tls` that port 80 leads to, such as one with `redirect_to_https: true`";
        let message = "the ACME server asks in plain text, and no listener speaks it";
        report.problem(&format!("listeners[{index}].tls.acme"), message, help.to_owned());
    }
}

fn is_host(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let numbers = || name.split('.').next_back().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    name.len() <= NAME_LENGTH_MAX && name.split('.').all(label) && !numbers()
}

/// Whoever can read the directory has the key; whoever can write to it chooses the certificate.
fn check_cache(cache: &Path, path: &str, report: &mut Report<'_>) {
    use std::os::unix::fs::PermissionsExt;
    let Ok(metadata) = std::fs::metadata(cache) else { return };
    if !metadata.is_dir() {
        report.problem(path, format!("{} is no directory", cache.display()), None);
    } else if metadata.permissions().mode() & 0o077 != 0 {
        let help = "give it a directory of its own with mode 0700".to_owned();
        report.problem(path, format!("others have access to {}", cache.display()), help);
    }
}
