//! Limits that several gateways share, over Redis or Valkey: leases are granted, renewed and returned here. The request path
//! only spends what was granted, and keeps to its fair share where nothing is: a server that is slow, away or empty costs
//! no request and no time.

use super::Shared;
use crate::config::snapshot::{RedisMode, SharedLimits};
use crate::policy::limit::sliding::PARTS;
use crate::policy::limit::{Now, Window};
use crate::state::{Grant, Limits, Report};
use crate::telemetry::clock;
use futures::future::join_all;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{AsyncConnectionConfig, Client, ConnectionInfo, IntoConnectionInfo, RedisResult, Script};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Pause between two rounds of reports.
const PAUSE: Duration = Duration::from_millis(50);
/// How soon a missing lease is asked for.
const LOOK: Duration = Duration::from_millis(5);
/// Pause before another try to connect, and between looks at a configuration that shares nothing.
const RETRY: Duration = Duration::from_millis(250);
/// Longest wait for an answer.
const ANSWER_LIMIT: Duration = Duration::from_millis(250);
/// Longest wait for a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// How long a grant is good, from when it was asked for.
const GOOD: Duration = Duration::from_secs(1);
/// How much longer it counts as open at the server.
const OPEN: Duration = Duration::from_secs(1);
/// Reports on their way at the same time.
const REPORTS_MAX: usize = 256;
/// How long the server keeps a bucket in which nothing counts any more.
const KEPT: Duration = Duration::from_secs(60);

/// A connection to the server.
enum Link {
    One(MultiplexedConnection),
    Sharded(ClusterConnection),
}

/// Grants, renews and returns, for ever.
pub(super) async fn keep(shared: &Shared) {
    let script = Script::new(include_str!("shared_limits.lua"));
    let gateway = format!("{:016x}", fastrand::u64(..));
    let mut link: Option<(SharedLimits, Link)> = None;
    loop {
        let fleet = shared.fleets.load_full();
        let Some(settings) = &fleet.snapshot.shared_limits else {
            fleet.limits.share(0);
            link = None;
            sleep(RETRY).await;
            continue;
        };
        fleet.limits.share(settings.gateways);
        match link.take().filter(|(made_for, _)| made_for == settings) {
            Some((made_for, connected)) => {
                let ok = round(&fleet.limits, (settings, &connected), (&script, &gateway)).await;
                shared.metrics.limits.synced(ok);
                link = ok.then_some((made_for, connected));
                pause(&fleet.limits).await;
            }
            None => match timeout(CONNECT_LIMIT, connect(settings)).await {
                Ok(Ok(connected)) => {
                    log::info!("shared limits: connected");
                    link = Some((settings.clone(), connected));
                }
                failed => {
                    shared.metrics.limits.synced(false);
                    log::debug!("shared limits: {:?}", failed.map(|tried| tried.err()));
                    sleep(RETRY).await;
                }
            },
        }
    }
}

/// Waits until the next round, which comes sooner where a lease is missing.
async fn pause(limits: &Limits) {
    for _ in 0..PAUSE.as_millis() / LOOK.as_millis() {
        sleep(LOOK).await;
        if limits.is_lacking() {
            return;
        }
    }
}

/// Tells every report; whether all of them were answered.
async fn round(limits: &Limits, (settings, link): (&SharedLimits, &Link), (script, gateway): (&Script, &str)) -> bool {
    let asked = clock::now();
    let now = Now { moment: asked, unix: clock::unix_seconds() };
    let reports = limits.reports(now);
    let mut fine = !reports.is_empty() || is_there(link).await;
    for some in reports.chunks(REPORTS_MAX) {
        let calls = some.iter().map(|report| async {
            match (fine, link) {
                (false, _) => None,
                (true, Link::One(connection)) => {
                    call(connection.clone(), report, (settings, now), (script, gateway)).await
                }
                (true, Link::Sharded(connection)) => {
                    call(connection.clone(), report, (settings, now), (script, gateway)).await
                }
            }
        });
        let answers = join_all(calls).await;
        for (report, answer) in some.iter().zip(answers) {
            match answer {
                Some(grant) => limits.granted(report, grant, asked),
                None => {
                    limits.untold(report);
                    fine = false;
                }
            }
        }
    }
    fine
}

/// Whether the server answers at all.
async fn is_there(link: &Link) -> bool {
    let ping = redis::cmd("PING");
    let answer = async {
        match link {
            Link::One(connection) => ping.query_async::<()>(&mut connection.clone()).await,
            Link::Sharded(connection) => ping.query_async::<()>(&mut connection.clone()).await,
        }
    };
    matches!(timeout(ANSWER_LIMIT, answer).await, Ok(Ok(())))
}

/// One report and its answer; nothing where there was none in time.
async fn call(
    mut connection: impl ConnectionLike,
    report: &Report,
    (settings, now): (&SharedLimits, Now),
    (script, gateway): (&Script, &str),
) -> Option<Grant> {
    let (first, second) = report.name();
    let rule = &report.rule;
    let (part, period, kept) = match rule.window {
        Window::Sliding(per) => (micros(per).div_ceil(u64::from(PARTS)).max(1), 0, per + per / PARTS),
        Window::Calendar(period) => {
            let number = period.number(now.unix);
            (0, number, Duration::from_secs(period.end(number).saturating_sub(now.unix)))
        }
        Window::Held => return None,
    };
    let mut invocation = script.prepare_invoke();
    invocation
        .key(format!("{}:{first:016x}{second:016x}:{period}", settings.prefix))
        .arg(part)
        .arg(rule.max)
        .arg(report.spent)
        .arg(report.mine)
        .arg(report.wanted)
        .arg(report.largest)
        .arg(settings.gateways)
        .arg(gateway)
        .arg(micros(GOOD + OPEN))
        .arg(u64::try_from((kept + KEPT).as_millis()).unwrap_or(u64::MAX));
    let answer: RedisResult<(u64, u64, u64)> =
        match timeout(ANSWER_LIMIT, invocation.invoke_async(&mut connection)).await {
            Ok(answer) => answer,
            Err(_elapsed) => return None,
        };
    let (balance, left, back) = answer.inspect_err(|error| log::debug!("shared limits: {error}")).ok()?;
    Some(Grant { balance, left, back: Duration::from_micros(back), good: GOOD })
}

fn micros(length: Duration) -> u64 {
    u64::try_from(length.as_micros()).unwrap_or(u64::MAX)
}

async fn connect(settings: &SharedLimits) -> RedisResult<Link> {
    let infos: Vec<ConnectionInfo> = settings.urls.iter().map(|url| info(url, settings)).collect::<RedisResult<_>>()?;
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_LIMIT))
        .set_response_timeout(Some(ANSWER_LIMIT));
    match &settings.mode {
        RedisMode::Single => {
            let first = infos.into_iter().next().ok_or((redis::ErrorKind::InvalidClientConfig, "no address"))?;
            let client = Client::open(first)?;
            Ok(Link::One(client.get_multiplexed_async_connection_with_config(&config).await?))
        }
        RedisMode::Sharded => {
            let client = ClusterClient::builder(infos)
                .connection_timeout(CONNECT_LIMIT)
                .response_timeout(ANSWER_LIMIT)
                .retries(1)
                .build()?;
            Ok(Link::Sharded(client.get_async_connection().await?))
        }
        RedisMode::Sentinel { master } => {
            let addresses = infos.into_iter().map(|info| info.addr().clone());
            let mut builder = SentinelClientBuilder::new(addresses, master, SentinelServerType::Master)?;
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
