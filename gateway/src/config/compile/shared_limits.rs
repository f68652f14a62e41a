//! Compiles where limits are shared.

use super::{secret, tls};
use crate::config::file;
use crate::config::report::Report;
use crate::config::snapshot::{RedisMode, SharedLimits};
use url::Url;

/// Compiles `shared_limits`.
pub(super) fn compile(typed: Option<&file::SharedLimits>, report: &mut Report<'_>) -> Option<SharedLimits> {
    let typed = typed?;
    let redis = &typed.redis;
    for (index, url) in redis.urls.iter().enumerate() {
        if let Err(what) = check(url) {
            let help = "write redis://HOST:PORT or rediss://HOST:PORT".to_owned();
            report.problem(&format!("shared_limits.redis.urls[{index}]"), what, help);
        }
    }
    let mode = match (&redis.sentinel_master, redis.sharded) {
        (Some(_), true) => {
            report.problem("shared_limits.redis.sentinel_master", "a cluster has no sentinels", None);
            RedisMode::Sharded
        }
        (Some(master), false) => RedisMode::Sentinel { master: master.clone() },
        (None, true) => RedisMode::Sharded,
        (None, false) => {
            if redis.urls.len() > 1 {
                let help = "write `cluster: true` or `sentinel_master`, or leave one".to_owned();
                report.problem(
                    "shared_limits.redis.urls",
                    "several servers that are neither a cluster nor sentinels",
                    help,
                );
            }
            RedisMode::Single
        }
    };
    let authorities = redis.ca_file.as_ref().and_then(|file| {
        let path = "shared_limits.redis.ca_file";
        if !redis.urls.iter().any(|url| url.starts_with("rediss:")) {
            report.problem(path, "no server is spoken to over TLS", "write rediss:// in `urls`".to_owned());
        }
        let file = report.resolve(file);
        tls::check_authorities(&file, path, report);
        std::fs::read(file).ok()
    });
    let password = match &redis.password {
        Some(typed) => {
            // Until it is known the server refuses us, as if it were away.
            secret::text(typed, "shared_limits.redis.password", report)?.known()
        }
        None => None,
    };
    Some(SharedLimits {
        urls: redis.urls.clone(),
        mode,
        authorities,
        username: redis.username.clone(),
        password,
        gateways: typed.gateways,
        prefix: typed.prefix.clone(),
        ejections: typed.ejections,
    })
}

fn check(url: &str) -> Result<(), &'static str> {
    let url = Url::parse(url).map_err(|_error| "is not a URL")?;
    if !matches!(url.scheme(), "redis" | "rediss") {
        return Err("is not an address of Redis");
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("names no host");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a credential: it belongs into `username` and `password`");
    }
    Ok(())
}
