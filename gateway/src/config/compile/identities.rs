//! Compiles who we are for Entra ID, and the tokens that backends want of it. Asks nobody for one.

use super::tls::{check_authorities, read_limited};
use super::{name, positive, secret, unique};
use crate::config::defaults;
use crate::config::file::{self, Period};
use crate::config::report::{Report, suggestion};
use crate::config::snapshot::{
    Application, Auth, Credential, Endpoint, Identity, OwnToken, Place, Pool, SigningKey, UserAssigned, authority,
};
use crate::domain::{IdentityName, Secret};
use ring::rsa;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// Longest limit of one try: beyond it a start would seem to hang.
pub(super) const TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// Longest tenant or scope, bytes.
const TEXT_LENGTH_MAX: usize = 256;
/// Largest file of a certificate or key.
const PEM_SIZE_MAX: u64 = 256 * 1024;
/// The metadata service of virtual machines (IMDS).
const METADATA_HOST: &str = "http://169.254.169.254";
const METADATA_PATH: &str = "/metadata/identity/oauth2/token";
/// How every scope of an application's own token ends.
const SCOPE_END: &str = "/.default";

/// The identities in the order of the file; `None` for one that has a problem.
fn compile(file: &file::File, report: &mut Report<'_>) -> Vec<Option<Identity>> {
    unique(file.identities.iter().map(|one| one.name.as_str()), "identities", "identities", report);
    let all = file.identities.iter().enumerate();
    all.map(|(index, typed)| identity(typed, &format!("identities[{index}]"), report)).collect()
}

fn identity(typed: &file::Identity, path: &str, report: &mut Report<'_>) -> Option<Identity> {
    let timeout = limited(typed.timeout, &format!("{path}.timeout"), report);
    let name = name(IdentityName::new(&typed.name), &format!("{path}.name"), report);
    let credential = credential(typed, path, report);
    Some(Identity { name: name?, credential: credential?, timeout })
}

/// The limit of one try.
pub(super) fn limited(typed: Period, path: &str, report: &mut Report<'_>) -> Duration {
    if typed.0 > TIMEOUT_MAX {
        report.problem(path, format!("{typed} is longer than {}", Period(TIMEOUT_MAX)), None);
    }
    positive(typed, path, report)
}

fn credential(typed: &file::Identity, path: &str, report: &mut Report<'_>) -> Option<Credential> {
    let kinds = [
        ("managed_identity", typed.managed_identity.is_some()),
        ("workload_identity", typed.workload_identity.is_some()),
        ("client_secret", typed.client_secret.is_some()),
        ("client_certificate", typed.client_certificate.is_some()),
        ("azure_cli", typed.azure_cli.is_some()),
    ];
    let there: Vec<_> = kinds.iter().filter(|(_, there)| *there).map(|(kind, _)| *kind).collect();
    if there.len() != 1 {
        let help = format!("write one of {}", kinds.map(|(kind, _)| format!("`{kind}`")).join(", "));
        let message = match there.as_slice() {
            [] => "does not say how it gets its tokens".to_owned(),
            [one, two, ..] => format!("has `{one}` and `{two}`"),
            [_] => return None,
        };
        report.problem(path, message, help);
        return None;
    }
    let at = |kind: &str| format!("{path}.{kind}");
    if let Some(typed) = &typed.managed_identity {
        return managed(typed, &at("managed_identity"), report);
    }
    if let Some(typed) = &typed.workload_identity {
        return workload(typed, &at("workload_identity"), report);
    }
    if let Some(typed) = &typed.client_secret {
        return by_secret(typed, &at("client_secret"), report);
    }
    if let Some(typed) = &typed.client_certificate {
        return by_certificate(typed, &at("client_certificate"), report);
    }
    let typed = typed.azure_cli.as_ref()?;
    let path = at("azure_cli.tenant_id");
    typed.directory.iter().for_each(|text| directory(text, &path, report));
    Some(Credential::Cli { directory: typed.directory.clone() })
}

fn managed(typed: &file::ManagedIdentity, path: &str, report: &mut Report<'_>) -> Option<Credential> {
    let assigned = match (&typed.client_id, &typed.object_id) {
        (None, None) => None,
        (Some(id), None) => {
            uuid(id, &format!("{path}.client_id"), report);
            Some(UserAssigned::Client(id.clone()))
        }
        (None, Some(id)) => {
            uuid(id, &format!("{path}.object_id"), report);
            Some(UserAssigned::Object(id.clone()))
        }
        (Some(_), Some(_)) => {
            report.problem(path, "has `client_id` and `object_id`", "one of them says who it is".to_owned());
            None
        }
    };
    let place = place(path, report)?;
    Some(Credential::Managed { assigned, place: Box::new(place) })
}

/// App Service and Container Apps say where their service is; a virtual machine has it at one address for all.
fn place(path: &str, report: &mut Report<'_>) -> Option<Place> {
    let (variable, url, header) = match (report.variable("IDENTITY_ENDPOINT"), report.variable("IDENTITY_HEADER")) {
        (Some(url), Some(header)) => ("IDENTITY_ENDPOINT", url, Some(Secret::new(&header))),
        _ => {
            let host = report.variable("AZURE_POD_IDENTITY_AUTHORITY_HOST");
            let host = host.unwrap_or_else(|| METADATA_HOST.to_owned());
            ("AZURE_POD_IDENTITY_AUTHORITY_HOST", format!("{}{METADATA_PATH}", host.trim_end_matches('/')), None)
        }
    };
    let endpoint = Endpoint::local(&url);
    let told = |why| report.problem(path, format!("the variable `{variable}` {why}"), None);
    Some(Place { endpoint: endpoint.map_err(told).ok()?, header })
}

fn workload(typed: &file::WorkloadIdentity, path: &str, report: &mut Report<'_>) -> Option<Credential> {
    let mut given = |typed: Option<String>, key: &str, variable: &str| {
        let found = typed.or_else(|| report.variable(variable).filter(|text| !text.is_empty()));
        if found.is_none() {
            let help = "Azure's webhook for workload identities sets it, where the pod has the label";
            let message = format!("has no `{key}`, and the variable `{variable}` is not set");
            report.problem(path, message, help.to_owned());
        }
        found
    };
    let directory = given(typed.directory.clone(), "tenant_id", "AZURE_TENANT_ID");
    let client_id = given(typed.client_id.clone(), "client_id", "AZURE_CLIENT_ID");
    let token_file = typed.token_file.as_ref().map(|file| file.display().to_string());
    let token_file = given(token_file, "token_file", "AZURE_FEDERATED_TOKEN_FILE");
    let place = (typed.authority.as_deref(), typed.ca_file.as_deref());
    let application = application((&directory?, &client_id?), place, path, report);
    Some(Credential::Workload { application, token_file: report.resolve(&PathBuf::from(token_file?)) })
}

fn by_secret(typed: &file::ClientSecret, path: &str, report: &mut Report<'_>) -> Option<Credential> {
    let place = (typed.authority.as_deref(), typed.ca_file.as_deref());
    let application = application((&typed.directory, &typed.client_id), place, path, report);
    let secret = secret::text(&typed.secret, &format!("{path}.secret"), report)?;
    Some(Credential::Secret { application, secret: secret.known() })
}

fn by_certificate(typed: &file::ClientCertificate, path: &str, report: &mut Report<'_>) -> Option<Credential> {
    let place = (typed.authority.as_deref(), typed.ca_file.as_deref());
    let application = application((&typed.directory, &typed.client_id), place, path, report);
    Some(Credential::Certificate { application, key: signing_key(&typed.pair, &format!("{path}.pair"), report)? })
}

fn application(
    (tenancy, client_id): (&str, &str),
    (host, ca_file): (Option<&str>, Option<&Path>),
    path: &str,
    report: &mut Report<'_>,
) -> Application {
    directory(tenancy, &format!("{path}.tenant_id"), report);
    uuid(client_id, &format!("{path}.client_id"), report);
    let ca_file = ca_file.map(|file| report.resolve(file));
    if let Some(file) = &ca_file {
        check_authorities(file, &format!("{path}.ca_file"), report);
    }
    let host = host.map(str::to_owned).or_else(|| report.variable("AZURE_AUTHORITY_HOST"));
    let host = host.unwrap_or_else(|| defaults::AUTHORITY.to_owned());
    if let Err(why) = authority(&host, ca_file.clone()) {
        report.problem(&format!("{path}.authority"), why, None);
    }
    Application { directory: tenancy.to_owned(), client_id: client_id.to_owned(), authority: host, ca_file }
}

/// Reads a certificate and its key; only RSA keys sign what Entra ID takes.
fn signing_key(typed: &file::Pair, path: &str, report: &mut Report<'_>) -> Option<SigningKey> {
    let mut read = |file: &Path, key: &str| {
        let file = report.resolve(file);
        let bytes = read_limited(&file, PEM_SIZE_MAX);
        let told = |error| report.problem(key, format!("{} cannot be read: {error}", file.display()), None);
        bytes.map_err(told).ok()
    };
    let (at_certificate, at_key) = (format!("{path}.certificate.file"), format!("{path}.key.file"));
    let certificate = read(&typed.certificate.file, &at_certificate);
    let key = read(&typed.key.file, &at_key);
    let certificate = CertificateDer::from_pem_slice(&certificate?);
    let certificate =
        certificate.map_err(|_error| report.problem(&at_certificate, "holds no PEM certificate", None)).ok()?;
    let usable = PrivateKeyDer::from_pem_slice(&key?).ok().and_then(|key| {
        let pair = match &key {
            PrivateKeyDer::Pkcs8(key) => rsa::KeyPair::from_pkcs8(key.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(key) => rsa::KeyPair::from_der(key.secret_pkcs1_der()),
            _ => return None,
        };
        Some((key.secret_der().to_vec(), pair.ok()?))
    });
    let Some((key, pair)) = usable else {
        let help = "Entra ID takes RSA keys of 2048 to 4096 bits, as PEM without a passphrase";
        report.problem(&at_key, "holds no RSA key", help.to_owned());
        return None;
    };
    let (_, parsed) = x509_parser::parse_x509_certificate(&certificate)
        .map_err(|_error| report.problem(&at_certificate, "holds a certificate that cannot be read", None))
        .ok()?;
    if parsed.public_key().subject_public_key.data.as_ref() != pair.public().as_ref() {
        report.problem(&at_key, "is not the key of the certificate", None);
        return None;
    }
    Some(SigningKey { key: key.into(), fingerprint: Sha256::digest(&certificate).into() })
}

/// A tenant, by its id or one of its domains: it stands in a path.
fn directory(text: &str, path: &str, report: &mut Report<'_>) {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    if text.is_empty() || text.len() > TEXT_LENGTH_MAX || !text.bytes().all(legal) {
        report.problem(
            path,
            "is neither the id of a tenant nor a domain",
            "such as contoso.onmicrosoft.com".to_owned(),
        );
    }
}

fn uuid(text: &str, path: &str, report: &mut Report<'_>) {
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    if groups != [8, 4, 4, 4, 12] || !text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') {
        let help = "such as 3f2504e0-4f89-41d3-9a0c-0305e82c3301";
        report.problem(path, "is not an id", help.to_owned());
    }
}

/// What a token is for: `https://…/.default` or `api://…/.default`.
fn scope(text: &str, path: &str, report: &mut Report<'_>) {
    let fits = text.strip_suffix(SCOPE_END).is_some_and(|resource| {
        let url = Url::parse(resource).ok().filter(|url| matches!(url.scheme(), "https" | "api"));
        url.is_some_and(|url| url.host_str().is_some_and(|host| !host.is_empty()) && url.query().is_none())
    });
    let legal = text.len() <= TEXT_LENGTH_MAX && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if !fits || !legal {
        let help = "such as https://cognitiveservices.azure.com/.default or https://ai.azure.com/.default";
        report.problem(path, "is no scope of an application's own token", help.to_owned());
    }
}

/// The tokens that are wanted, each once; built up by those who want them.
pub(super) struct Wanted<'f> {
    file: &'f file::File,
    identities: Vec<Option<Identity>>,
    tokens: Vec<OwnToken>,
}

impl<'f> Wanted<'f> {
    /// Compiles the identities; nobody wants a token yet.
    pub(super) fn start(file: &'f file::File, report: &mut Report<'_>) -> Self {
        if file.key_vault.is_some() {
            report.set_vault();
        }
        Self { file, identities: compile(file, report), tokens: Vec::new() }
    }

    /// Index of the token of `identity` for `text`; `None` only after a problem.
    pub(super) fn index(
        &mut self,
        (identity, text): (&str, &str),
        path: &str,
        report: &mut Report<'_>,
    ) -> Option<usize> {
        scope(text, &format!("{path}.scope"), report);
        let position = self.file.identities.iter().position(|one| one.name == identity);
        let Some(position) = position else {
            if !report.any_replaced("identities", ".name") {
                let known = self.file.identities.iter().map(|one| one.name.as_str());
                let help = suggestion(identity, known, "identities defined");
                report.problem(&format!("{path}.identity"), format!("no identity is named `{identity}`"), help);
            }
            return None;
        };
        let wanted = OwnToken { identity: self.identities.get(position)?.clone()?, scope: Arc::from(text) };
        if let Some(known) = self.tokens.iter().position(|one| *one == wanted) {
            return Some(known);
        }
        self.tokens.push(wanted);
        Some(self.tokens.len() - 1)
    }

    /// Gives every backend that is shown a token its index.
    pub(super) fn assign(&mut self, pools: &mut [Pool], report: &mut Report<'_>) {
        let file = self.file;
        for (pool, typed) in file.pools.iter().enumerate() {
            for (index, backend) in typed.backends.iter().enumerate() {
                let Some(file::Auth::Token(typed)) = &backend.auth else { continue };
                let path = format!("pools[{pool}].backends[{index}].auth.token");
                let token = self.index((&typed.identity, &typed.scope), &path, report);
                let compiled = pools.get_mut(pool).and_then(|pool| pool.backends.get_mut(index));
                if let (Some(token), Some(compiled)) = (token, compiled) {
                    compiled.auth = Auth::Token(token);
                }
            }
        }
    }

    /// The tokens, in the order in which they were wanted.
    pub(super) fn finish(self, report: &mut Report<'_>) -> Vec<OwnToken> {
        for (index, typed) in self.file.identities.iter().enumerate() {
            let identity = self.identities.get(index).and_then(Option::as_ref);
            if identity.is_some_and(|one| self.tokens.iter().all(|token| token.identity.name != one.name)) {
                report.warn(&format!("identities[{index}]"), format!("nobody uses `{}`", typed.name), None);
            }
        }
        self.tokens
    }
}
