//! Limits that several gateways share, over Redis or Valkey: leases are granted, renewed and returned here. The request path
//! only spends what was granted, and keeps to its fair share where nothing is: a server that is slow, away or empty costs
//! no request and no time. Strict limits alone are asked about at every admission ([`strict`]).

mod link;
mod rests;
mod strict;

use super::Shared;
use crate::config::snapshot::SharedLimits;
use crate::policy::limit::sliding::PARTS;
use crate::policy::limit::{Now, Rule, Window};
use crate::state::{Grant, Limits, Report};
use crate::telemetry::clock;
use futures::future::{join, join_all};
use link::Link;
use redis::{Script, ScriptInvocation};
use rests::Rests;
use std::sync::Arc;
use std::time::Duration;
use strict::Current;
use tokio::time::sleep;

/// Pause between two rounds of reports.
const PAUSE: Duration = Duration::from_millis(50);
/// How soon a missing lease is asked for.
const LOOK: Duration = Duration::from_millis(5);
/// Pause before another try to connect, and between looks at a configuration that shares nothing.
const RETRY: Duration = Duration::from_millis(250);
/// How long a grant is good, from when it was asked for.
const GOOD: Duration = Duration::from_secs(1);
/// How much longer it counts as open at the server.
const OPEN: Duration = Duration::from_secs(1);
/// Reports on their way at the same time.
const REPORTS_MAX: usize = 256;
/// How long the server keeps a bucket in which nothing counts any more.
const KEPT: Duration = Duration::from_secs(60);

/// Who speaks to the server, and by which script.
struct Teller {
    script: Script,
    gateway: String,
}

/// Grants, renews, returns and answers, for ever.
pub(super) async fn keep(shared: &Shared) {
    let script = Script::new(include_str!("shared_limits.lua"));
    let teller = Teller { script, gateway: format!("{:016x}", fastrand::u64(..)) };
    let current = Current::default();
    join(lease(shared, &teller, &current), strict::answer(shared, &teller, &current)).await;
}

/// Keeps the connection, and the leases and rests with it.
async fn lease(shared: &Shared, teller: &Teller, current: &Current) {
    let mut rests = Rests::default();
    loop {
        let fleet = shared.fleets.load_full();
        let Some(settings) = &fleet.snapshot.shared_limits else {
            fleet.limits.share(0);
            connect(&fleet.limits, current, None);
            sleep(RETRY).await;
            continue;
        };
        fleet.limits.share(settings.gateways);
        let connected = current.load_full().filter(|connected| connected.0 == *settings);
        match connected {
            Some(connected) => {
                let link = &connected.1;
                let round = round(&fleet.limits, (settings, link), teller);
                let (ok, ()) = join(round, rests.exchange(shared, &fleet, settings, link)).await;
                shared.metrics.limits.synced(ok);
                if !ok {
                    connect(&fleet.limits, current, None);
                }
                pause(&fleet.limits).await;
            }
            None => match Link::open(settings).await {
                Some(link) => {
                    log::info!("shared limits: connected");
                    connect(&fleet.limits, current, Some((settings.clone(), link)));
                    rests = Rests::default();
                }
                None => {
                    connect(&fleet.limits, current, None);
                    shared.metrics.limits.synced(false);
                    sleep(RETRY).await;
                }
            },
        }
    }
}

/// Strict limits may ask as long as there is a connection.
fn connect(limits: &Limits, current: &Current, connection: Option<(SharedLimits, Link)>) {
    limits.line().open(connection.is_some());
    current.store(connection.map(Arc::new));
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
async fn round(limits: &Limits, (settings, link): (&SharedLimits, &Link), teller: &Teller) -> bool {
    let asked = clock::now();
    let now = Now { moment: asked, unix: clock::unix_seconds() };
    let reports = limits.reports(now);
    let mut fine = !reports.is_empty() || link.is_there().await;
    for some in reports.chunks(REPORTS_MAX) {
        let calls = some
            .iter()
            .map(|report| async { if fine { call(link, report, (settings, now), teller).await } else { None } });
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

/// One report and its answer; nothing where there was none in time.
async fn call(link: &Link, report: &Report, (settings, now): (&SharedLimits, Now), teller: &Teller) -> Option<Grant> {
    let mut invocation = invocation(report.name(), &report.rule, settings, teller, now)?;
    invocation.arg(report.spent).arg(report.mine).arg(report.wanted).arg(report.largest).arg(0);
    let (balance, left, back): (u64, u64, u64) = link.run(&invocation).await?;
    Some(Grant { balance, left, back: Duration::from_micros(back), good: GOOD })
}

/// What every call says of its bucket: key, sub-window, ceiling, gateways, who asks, how long it is kept. None for a ceiling
/// that nobody shares.
fn invocation<'t>(
    (first, second): (u64, u64),
    rule: &Rule,
    settings: &SharedLimits,
    teller: &'t Teller,
    now: Now,
) -> Option<ScriptInvocation<'t>> {
    let (part, period, kept) = match rule.window {
        Window::Sliding(per) => (micros(per).div_ceil(u64::from(PARTS)).max(1), 0, per + per / PARTS),
        Window::Calendar(period) => {
            let number = period.number(now.unix);
            (0, number, Duration::from_secs(period.end(number).saturating_sub(now.unix)))
        }
        Window::Held => return None,
    };
    let mut invocation = teller.script.prepare_invoke();
    invocation
        .key(format!("{}:{first:016x}{second:016x}:{period}", settings.prefix))
        .arg(part)
        .arg(rule.max)
        .arg(settings.gateways)
        .arg(&teller.gateway)
        .arg(micros(GOOD + OPEN))
        .arg(u64::try_from((kept + KEPT).as_millis()).unwrap_or(u64::MAX));
    Some(invocation)
}

fn micros(length: Duration) -> u64 {
    u64::try_from(length.as_micros()).unwrap_or(u64::MAX)
}
