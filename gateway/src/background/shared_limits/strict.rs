//! Strict limits: the server decides about every admission. The request path waits a few milliseconds for the verdict; one
//! that comes later is given back.

use super::link::Link;
use super::{Shared, Teller, invocation};
use crate::config::snapshot::SharedLimits;
use crate::policy::limit::Now;
use crate::state::{Asked, Limits, Question, Verdict};
use crate::telemetry::clock;
use arc_swap::ArcSwapOption;
use futures::future::join_all;
use futures::stream::{FuturesUnordered, StreamExt};
use std::time::Duration;

/// Admissions that are asked about at the same time.
const ADMISSIONS_MAX: usize = 1024;

/// The connection in use.
pub(super) type Current = ArcSwapOption<(SharedLimits, Link)>;

/// Answers, for ever.
pub(super) async fn answer(shared: &Shared, teller: &Teller, current: &Current) {
    let fleet = shared.fleets.load_full();
    let limits = &fleet.limits;
    let Some(mut asking) = limits.line().answering() else { return std::future::pending().await };
    let mut admissions = FuturesUnordered::new();
    loop {
        tokio::select! {
            asked = asking.recv(), if admissions.len() < ADMISSIONS_MAX => {
                let (Some(asked), Some(connected)) = (asked, current.load_full()) else { continue };
                admissions.push(async move {
                    let (settings, link) = &*connected;
                    decide(limits, asked, (settings, link), teller).await;
                });
            }
            Some(()) = admissions.next() => {}
        }
    }
}

/// Asks for everything that one admission wants. What nobody waits for any more is given back.
async fn decide(limits: &Limits, asked: Asked, (settings, link): (&SharedLimits, &Link), teller: &Teller) {
    let now = Now { moment: clock::now(), unix: clock::unix_seconds() };
    let ask = |question| async move { ask(question, (settings, link), teller, now).await };
    let verdicts = join_all(asked.questions.iter().map(ask)).await;
    let Err(verdicts) = asked.reply.send(verdicts) else { return };
    for (question, verdict) in asked.questions.iter().zip(verdicts) {
        if verdict.is_some_and(|verdict| verdict.given) {
            limits.too_late(question);
        }
    }
}

async fn ask(
    question: &Question,
    (settings, link): (&SharedLimits, &Link),
    teller: &Teller,
    now: Now,
) -> Option<Verdict> {
    let mut invocation = invocation(question.name(), &question.rule, settings, teller, now)?;
    invocation.arg(0).arg(question.mine).arg(0).arg(0).arg(question.amount);
    let (given, left, back): (u64, u64, u64) = link.run(&invocation).await?;
    Some(Verdict { given: given > 0, left, back: Duration::from_micros(back) })
}
