//! Whom the background work trusts over TLS: the CAs of a file, or the system's.

use pingora_core::tls::{load_ca_file_into_store, load_platform_certs_incl_env_into_store};
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;

/// A client's side of TLS that trusts `ca_file`, else the system. Reads files: not for the async threads.
///
/// # Errors
/// What cannot be read, in a few words.
pub(super) fn client(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(file) => load_ca_file_into_store(file, &mut roots)
            .map_err(|_error| format!("the CA file {} cannot be read", file.display()))?,
        None => load_platform_certs_incl_env_into_store(&mut roots)
            .map_err(|_error| "the system's CAs cannot be read".to_owned())?,
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}
