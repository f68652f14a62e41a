//! Compiles the active health check of a pool.

use super::{header, positive};
use crate::config::file::{self, Method};
use crate::config::report::Report;
use crate::config::snapshot::{Probe, ProbeKind};
use crate::policy::health::Thresholds;

/// Compiles the probe at `path`; `None` only after a problem.
pub(super) fn compile(typed: &file::Probe, path: &str, report: &mut Report<'_>) -> Option<Probe> {
    let kinds = [typed.path.is_some(), typed.tcp.is_some(), typed.http.is_some()];
    if kinds.into_iter().filter(|given| *given).count() > 1 {
        report.problem(path, "has more than one of `path`, `tcp` and `http`", "keep one".to_owned());
    }
    let kind = match (&typed.http, &typed.path) {
        (Some(request), _) => http(request, &format!("{path}.http"), report),
        (None, Some(short)) => http(&file::HttpProbe::of_path(short), path, report),
        (None, None) => Some(ProbeKind::Tcp),
    };
    let interval = positive(typed.interval, &format!("{path}.interval"), report);
    let timeout = positive(typed.timeout, &format!("{path}.timeout"), report);
    Some(Probe {
        kind: kind?,
        interval,
        jitter: typed.jitter.fraction(),
        timeout,
        thresholds: Thresholds { healthy_after: typed.healthy_after, unhealthy_after: typed.unhealthy_after },
    })
}

fn http(typed: &file::HttpProbe, path: &str, report: &mut Report<'_>) -> Option<ProbeKind> {
    let headers = header::compile(&typed.headers, &format!("{path}.headers"), report);
    let legal = typed.path.starts_with('/')
        && !typed.path.contains('#')
        && typed.path.parse::<http::uri::PathAndQuery>().is_ok();
    if !legal {
        let help = "begin it with `/`, such as /openai/models".to_owned();
        report.problem(&format!("{path}.path"), "is not a path", help);
        return None;
    }
    Some(ProbeKind::Http {
        method: match typed.method {
            Method::Get => http::Method::GET,
            Method::Head => http::Method::HEAD,
        },
        path: typed.path.clone(),
        statuses: typed.statuses.clone(),
        credential: typed.credential,
        headers,
    })
}
