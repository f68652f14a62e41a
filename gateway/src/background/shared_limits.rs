//! Limits that several gateways share, over Redis or Valkey: leases are granted, renewed and returned here. The request path
//! only spends what was granted, and keeps to its fair share where nothing is: a server that is slow, away or empty costs
//! no request and no time.

mod link;
mod rests;

use super::Shared;
use crate::config::snapshot::SharedLimits;
use crate::policy::limit::sliding::PARTS;
use crate::policy::limit::{Now, Window};
use crate::state::{Grant, Limits, Report};
use crate::telemetry::clock;
use futures::future::{join, join_all};
use link::Link;
use redis::Script;
use rests::Rests;
use std::time::Duration;
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

/// Grants, renews and returns, for ever.
pub(super) async fn keep(shared: &Shared) {
    let script = Script::new(include_str!("shared_limits.lua"));
    let gateway = format!("{:016x}", fastrand::u64(..));
    let mut link: Option<(SharedLimits, Link)> = None;
    let mut rests = Rests::default();
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
                let round = round(&fleet.limits, (settings, &connected), (&script, &gateway));
                let (ok, ()) = join(round, rests.exchange(shared, &fleet, settings, &connected)).await;
                shared.metrics.limits.synced(ok);
                link = ok.then_some((made_for, connected));
                pause(&fleet.limits).await;
            }
            None => match Link::open(settings).await {
                Some(connected) => {
                    log::info!("shared limits: connected");
                    link = Some((settings.clone(), connected));
                    rests = Rests::default();
                }
                None => {
                    shared.metrics.limits.synced(false);
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
    let mut fine = !reports.is_empty() || link.is_there().await;
    for some in reports.chunks(REPORTS_MAX) {
        let calls = some.iter().map(|report| async {
            if fine { call(link, report, (settings, now), (script, gateway)).await } else { None }
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

/// One report and its answer; nothing where there was none in time.
async fn call(
    link: &Link,
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
    let (balance, left, back): (u64, u64, u64) = link.run(&invocation).await?;
    Some(Grant { balance, left, back: Duration::from_micros(back), good: GOOD })
}

fn micros(length: Duration) -> u64 {
    u64::try_from(length.as_micros()).unwrap_or(u64::MAX)
}
