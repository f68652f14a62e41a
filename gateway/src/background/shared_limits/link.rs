//! The connection to the server of Redis or Valkey, of whatever kind that is. Every wait on it has its limit.

use crate::config::snapshot::{RedisMode, SharedLimits};
use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, FromRedisValue, IntoConnectionInfo, RedisResult, ScriptInvocation,
    TlsCertificates, TlsMode,
};
use std::time::Duration;
use tokio::time::timeout;

/// Longest wait for an answer.
const ANSWER_LIMIT: Duration = Duration::from_millis(250);
/// Longest wait for a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// A connection; clones share it.
#[derive(Clone)]
pub(super) enum Link {
    One(MultiplexedConnection),
    Sharded(ClusterConnection),
}

impl Link {
    /// Connects; nothing where that fails.
    pub(super) async fn open(settings: &SharedLimits) -> Option<Self> {
        match timeout(CONNECT_LIMIT, connect(settings)).await {
            Ok(Ok(link)) => Some(link),
            failed => {
                log::debug!("shared limits: {:?}", failed.map(|tried| tried.err()));
                None
            }
        }
    }

    /// Whether the server answers at all.
    pub(super) async fn is_there(&self) -> bool {
        let ping = redis::cmd("PING");
        let answer = async {
            match self {
                Self::One(connection) => ping.query_async::<()>(&mut connection.clone()).await,
                Self::Sharded(connection) => ping.query_async::<()>(&mut connection.clone()).await,
            }
        };
        matches!(timeout(ANSWER_LIMIT, answer).await, Ok(Ok(())))
    }

    /// The answer of a script; nothing where there was none in time, or another one.
    pub(super) async fn run<T: FromRedisValue>(&self, invocation: &ScriptInvocation<'_>) -> Option<T> {
        let answer = async {
            match self {
                Self::One(connection) => invocation.invoke_async(&mut connection.clone()).await,
                Self::Sharded(connection) => invocation.invoke_async(&mut connection.clone()).await,
            }
        };
        let answer: RedisResult<T> = timeout(ANSWER_LIMIT, answer).await.ok()?;
        answer.inspect_err(|error| log::debug!("shared limits: {error}")).ok()
    }
}

async fn connect(settings: &SharedLimits) -> RedisResult<Link> {
    let infos: Vec<ConnectionInfo> = settings.urls.iter().map(|url| info(url, settings)).collect::<RedisResult<_>>()?;
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_LIMIT))
        .set_response_timeout(Some(ANSWER_LIMIT));
    let trust = settings.authorities.clone().map(|pem| TlsCertificates { client_tls: None, root_cert: Some(pem) });
    match &settings.mode {
        RedisMode::Single => {
            let first = infos.into_iter().next().ok_or((redis::ErrorKind::InvalidClientConfig, "no address"))?;
            let client = match trust {
                Some(trust) => Client::build_with_tls(first, trust)?,
                None => Client::open(first)?,
            };
            Ok(Link::One(client.get_multiplexed_async_connection_with_config(&config).await?))
        }
        RedisMode::Sharded => {
            let builder = ClusterClient::builder(infos)
                .connection_timeout(CONNECT_LIMIT)
                .response_timeout(ANSWER_LIMIT)
                .retries(1);
            let builder = match trust {
                Some(trust) => builder.certs(trust),
                None => builder,
            };
            let client = builder.build()?;
            Ok(Link::Sharded(client.get_async_connection().await?))
        }
        RedisMode::Sentinel { master } => {
            let addresses = infos.into_iter().map(|info| info.addr().clone());
            let mut builder = SentinelClientBuilder::new(addresses, master, SentinelServerType::Master)?;
            if settings.urls.iter().any(|url| url.starts_with("rediss:")) {
                builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
            }
            if let Some(trust) = trust {
                builder = builder.set_client_to_redis_certificates(trust.clone());
                builder = builder.set_client_to_sentinel_certificates(trust);
            }
            if let Some(username) = &settings.username {
                builder = builder.set_client_to_redis_username(username);
            }
            if let Some(password) = &settings.password {
                builder = builder.set_client_to_redis_password(password.expose());
            }
            let mut client = builder.build()?;
            Ok(Link::One(client.get_async_connection_with_config(&config).await?))
        }
    }
}

/// Where a server is, and who we are there.
fn info(url: &str, settings: &SharedLimits) -> RedisResult<ConnectionInfo> {
    let info = url.into_connection_info()?;
    let mut login = info.redis_settings().clone();
    if let Some(username) = &settings.username {
        login = login.set_username(username);
    }
    if let Some(password) = &settings.password {
        login = login.set_password(password.expose());
    }
    Ok(info.set_redis_settings(login))
}
