//! Compiles one backend: names, URL, credential, headers, distance.

use super::{capabilities, header, known_region, name, point, quota, region_name, residency, secret, tls, url};
use crate::config::file::{self, Auth as TypedAuth};
use crate::config::regions;
use crate::config::report::Report;
use crate::config::snapshot::{Auth, Backend};
use crate::domain::{BackendId, BackendName, DeploymentName, PoolName, Region};
use crate::openai::versions;
use crate::policy::distance::{Point, Spot};
use http::HeaderValue;

/// Longest `api-version`, in bytes.
const API_VERSION_LENGTH_MAX: usize = 64;

/// Compiles the backend at `path`; `None` only after a problem.
pub(super) fn compile(
    typed: &file::Backend,
    pool: Option<&PoolName>,
    path: &str,
    home: Option<Spot>,
    report: &mut Report<'_>,
) -> Option<Backend> {
    let backend = name(BackendName::new(&typed.name), &format!("{path}.name"), report);
    let region = region(typed, path, report);
    let deployment = typed
        .deployment
        .as_deref()
        .map(|deployment| name(DeploymentName::new(deployment), &format!("{path}.deployment"), report));
    let model =
        typed.model.as_deref().and_then(|model| name(DeploymentName::new(model), &format!("{path}.model"), report));
    api_version(typed.api_version.as_deref(), path, report);
    let speaks = capabilities::speaks(typed, path, report);
    let spillover = capabilities::spillover(typed, path, report);
    let quota = quota::compile(typed.quota.as_ref(), path, report);
    let trust = tls::backend(typed, path, report);
    let url = url::compile(&typed.url, trust, &format!("{path}.url"), report);
    let plain = url.as_ref().is_some_and(|url| !url.tls);
    for (key, there) in [
        ("http2", typed.http2),
        ("ca_file", typed.ca_file.is_some()),
        ("server_name", typed.server_name.is_some()),
        ("client_certificate", typed.client_certificate.is_some()),
    ] {
        if plain && there {
            report.problem(&format!("{path}.{key}"), "needs an https `url`", None);
        }
    }
    let unknown = report.unknown();
    let auth = auth(typed, plain, path, report);
    let headers = header::compile(&typed.headers, &format!("{path}.headers"), report);
    let here = typed.coordinates.map(point).or_else(|| regions::find(&typed.region)).map(Point::spot);
    let (backend, region) = (backend?, region?);
    Some(Backend {
        served_by: HeaderValue::from_str(&format!("{region}/{backend}")).ok()?,
        site: residency::site(&region, typed.kind, here),
        id: BackendId { pool: pool?.clone(), backend },
        region,
        enabled: typed.enabled,
        priority: typed.priority,
        weight: typed.weight,
        url: url?,
        deployment: match deployment {
            Some(deployment) => Some(deployment?),
            None => None,
        },
        model: model.map(|model| model.as_str().to_owned()),
        api_version: typed.api_version.clone(),
        speaks,
        realtime: typed.realtime.map_or(speaks, capabilities::style),
        capability: capabilities::compile(typed),
        lacks_by_version: typed.api_version.as_deref().map(versions::lacks).unwrap_or_default(),
        spillover: match spillover {
            Some(spillover) => Some(spillover?),
            None => None,
        },
        quota: quota?,
        auth: auth?,
        keyless: report.unknown() > unknown,
        headers,
        distance_km: home.zip(here).map(|(home, here)| home.distance_km(here)),
        http2: typed.http2,
    })
}

fn region(typed: &file::Backend, path: &str, report: &mut Report<'_>) -> Option<Region> {
    let path = format!("{path}.region");
    let region = region_name(&typed.region, &path, report)?;
    if typed.coordinates.is_none() {
        known_region(&typed.region, &path, Some("coordinates"), report);
    }
    Some(region)
}

fn api_version(typed: Option<&str>, path: &str, report: &mut Report<'_>) {
    let legal = |text: &str| {
        !text.is_empty()
            && text.len() <= API_VERSION_LENGTH_MAX
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
    };
    if typed.is_some_and(|text| !legal(text)) {
        report.problem(&format!("{path}.api_version"), "is not an API version", "such as 2024-10-21".to_owned());
    }
}

fn auth(typed: &file::Backend, plain: bool, path: &str, report: &mut Report<'_>) -> Option<Auth> {
    match &typed.auth {
        None => {
            if !plain {
                let help = "write `auth: { api_key: { env: NAME } }`, or `auth: none` if that is meant";
                report.warn(path, "has no `auth`: requests go there without a credential", help.to_owned());
            }
            Some(Auth::None)
        }
        Some(TypedAuth::None) => Some(Auth::None),
        Some(TypedAuth::ApiKey(reference)) => {
            let key = secret::header(reference, "", &format!("{path}.auth.api_key"), report)?;
            Some(key.known().map_or(Auth::None, Auth::ApiKey))
        }
        Some(TypedAuth::Bearer(reference)) => {
            let token = secret::header(reference, "Bearer ", &format!("{path}.auth.bearer"), report)?;
            Some(token.known().map_or(Auth::None, Auth::Bearer))
        }
        // Given its index once every pool is compiled.
        Some(TypedAuth::Token(_)) => Some(Auth::None),
    }
}
