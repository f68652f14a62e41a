//! An open-loop load: requests leave at their time whatever became of the ones before, and every outcome is kept.

use crate::ask::Ask;
use crate::client::Client;
use crate::sse::End;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::{JoinHandle, JoinSet};

/// A load to be put on.
#[derive(Debug)]
pub struct Load {
    client: Arc<Client>,
    rate: u32,
    duration: Duration,
    mix: Vec<Ask>,
}

/// What became of one request.
#[derive(Clone, Debug, Default)]
pub struct Shot {
    /// When it left, from the start of the load.
    pub at: Duration,
    /// Status; 0 when no answer came.
    pub status: u16,
    /// What went wrong on the way: no answer, a cut body, a stream without `[DONE]` or with an error event.
    pub error: Option<String>,
    /// `x-served-by`.
    pub served_by: String,
    /// `x-tidegate-attempts`.
    pub attempts: String,
    /// To the response header.
    pub head: Duration,
    /// To the end.
    pub total: Duration,
    /// It was a stream.
    pub streamed: bool,
    /// Its events are not one answer's, whole and in order.
    pub garbled: bool,
    /// `retry-after-ms` of the answer.
    pub retry_after_ms: Option<u64>,
}

impl Shot {
    /// A whole 200.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.status == 200 && self.error.is_none()
    }
}

/// All shots of a load.
#[derive(Clone, Debug)]
pub struct Report {
    /// In the order of their end.
    pub shots: Vec<Shot>,
}

/// A load under way.
#[derive(Debug)]
pub struct LoadRun {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Report>,
}

impl Load {
    /// `rate` requests per second for `duration`, taking the requests of `mix` in turn.
    #[must_use]
    pub fn new(client: Client, rate: u32, duration: Duration, mix: &[Ask]) -> Self {
        Self { client: Arc::new(client), rate, duration, mix: mix.to_vec() }
    }

    /// Runs it to its end.
    pub async fn run(self) -> Report {
        self.shoot(Arc::default()).await
    }

    /// Runs it in the background, until its end or until told to stop.
    #[must_use]
    pub fn start(self) -> LoadRun {
        let stop = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(self.shoot(Arc::clone(&stop)));
        LoadRun { stop, task }
    }

    async fn shoot(self, stop: Arc<AtomicBool>) -> Report {
        let started = Instant::now();
        let mut shots = JoinSet::new();
        let mut report = Report { shots: Vec::new() };
        for number in 0_u32.. {
            let at = Duration::from_secs_f64(f64::from(number) / f64::from(self.rate));
            if at >= self.duration || stop.load(Ordering::Relaxed) {
                break;
            }
            tokio::time::sleep_until((started + at).into()).await;
            let ask = self.mix[number as usize % self.mix.len()].again();
            let client = Arc::clone(&self.client);
            shots.spawn(async move { Shot { at, ..shoot(&client, &ask).await } });
            while let Some(done) = shots.try_join_next() {
                report.shots.push(done.expect("a shot does not panic"));
            }
        }
        while let Some(done) = shots.join_next().await {
            report.shots.push(done.expect("a shot does not panic"));
        }
        report
    }
}

impl LoadRun {
    /// Sends no more; waits for what is under way.
    ///
    /// # Panics
    /// When the load panicked.
    pub async fn stop(self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("the load ends well")
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When the load panicked.
    pub async fn end(self) -> Report {
        self.task.await.expect("the load ends well")
    }
}

async fn shoot(client: &Client, ask: &Ask) -> Shot {
    let started = Instant::now();
    let failed = |error: &anyhow::Error| Shot {
        error: Some(format!("{error:#}")),
        total: started.elapsed(),
        streamed: ask.streams,
        ..Shot::default()
    };
    if !ask.streams {
        let answer = match client.try_ask(ask).await {
            Ok(answer) => answer,
            Err(error) => return failed(&error),
        };
        return Shot {
            status: answer.status,
            error: answer.cut.clone(),
            served_by: answer.header("x-served-by").to_owned(),
            attempts: answer.header("x-tidegate-attempts").to_owned(),
            retry_after_ms: answer.header("retry-after-ms").parse().ok(),
            head: answer.head,
            total: answer.total,
            ..Shot::default()
        };
    }
    let opened = match client.try_open(ask).await {
        Ok(opened) => opened,
        Err(error) => return failed(&error),
    };
    let mut shot = Shot {
        status: opened.status,
        served_by: opened.header("x-served-by").to_owned(),
        attempts: opened.header("x-tidegate-attempts").to_owned(),
        retry_after_ms: opened.header("retry-after-ms").parse().ok(),
        head: opened.head,
        streamed: true,
        ..Shot::default()
    };
    let (events, end) = opened.events().rest().await;
    shot.total = started.elapsed();
    shot.garbled = crate::sse::is_garbled(&events);
    shot.error = if let End::Cut(why) = end {
        Some(why)
    } else if events.iter().any(crate::sse::Event::is_error) {
        Some("an error event".to_owned())
    } else if !events.last().is_some_and(crate::sse::Event::is_done) {
        Some("no [DONE]".to_owned())
    } else {
        None
    };
    shot
}

impl Report {
    /// Shots that are no whole 200.
    #[must_use]
    pub fn failed(&self) -> Vec<&Shot> {
        self.shots.iter().filter(|shot| !shot.is_ok()).collect()
    }

    /// Shots that left in this part of the load.
    #[must_use]
    pub fn between(&self, from: Duration, to: Duration) -> Self {
        Self { shots: self.shots.iter().filter(|shot| (from..to).contains(&shot.at)).cloned().collect() }
    }

    /// The time to the header below which `share` (0 to 1) of the shots stay.
    ///
    /// # Panics
    /// When there is no shot.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "small")]
    pub fn head(&self, share: f64) -> Duration {
        let mut heads: Vec<Duration> = self.shots.iter().map(|shot| shot.head).collect();
        heads.sort_unstable();
        heads[((heads.len() - 1) as f64 * share).round() as usize]
    }

    /// How many shots each backend served; `-` for none.
    #[must_use]
    pub fn by_backend(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for shot in &self.shots {
            let name = if shot.served_by.is_empty() { "-" } else { &shot.served_by };
            *counts.entry(name.to_owned()).or_default() += 1;
        }
        counts
    }

    /// Shots served by this backend (`region/name`).
    #[must_use]
    pub fn served_by(&self, backend: &str) -> usize {
        self.shots.iter().filter(|shot| shot.served_by == backend).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed = self.failed();
        writeln!(f, "{} shots, {} failed, by backend {:?}", self.shots.len(), failed.len(), self.by_backend())?;
        if !self.shots.is_empty() {
            writeln!(f, "head p50 {:?}, p99 {:?}, max {:?}", self.head(0.5), self.head(0.99), self.head(1.0))?;
        }
        failed.iter().take(5).try_for_each(|shot| writeln!(f, "  {shot:?}"))
    }
}
