//! The access log: one JSON line per request, printed from one struct. Holds no prompt, no answer and no secret: there is
//! no field for one, and what an operator may not see is cut out of the query before it gets here.

mod line;

pub use line::dotted;

use super::clock::Timestamp;
use super::metrics::Metrics;
use super::sink::Sink;
use crate::config::snapshot;
use crate::domain::Usage;
use std::borrow::Cow;
use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Longest `user_agent`, `request_id`, `trace_id`, `host` or `deployment` that is logged, bytes; and longest `path`.
const FIELD_LENGTH_MAX: usize = 128;
const PATH_LENGTH_MAX: usize = 1024;
/// Most rules that are named.
const NAMES_MAX: usize = 16;

/// Everything the log says about one request, borrowed from the request where it can be.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// When the request ended.
    pub time: Timestamp,
    /// Its id, as in `x-request-id`.
    pub request_id: Cow<'a, str>,
    /// Trace id of the `traceparent` that is passed on.
    pub trace_id: Option<Cow<'a, str>>,
    /// Address of the client; behind trusted hops the one that they tell, without a port where they tell none.
    pub client: Option<SocketAddr>,
    /// Subject of the client's certificate, where the listener asks for one.
    pub client_subject: Option<Cow<'a, str>>,
    /// SHA-256 of that certificate, hex.
    pub client_fingerprint: Option<Cow<'a, str>>,
    /// Consumer that the request came from, where clients are asked who they are.
    pub consumer: Option<Cow<'a, str>>,
    /// The consumer's plan.
    pub plan: Option<Cow<'a, str>>,
    /// How the consumer was proved: the label of a `Proof`.
    pub proof: Option<&'static str>,
    /// Why the client was not who it would have to be: the label of an `Unproven`. `consumer` is then whose key it was, where
    /// that is known.
    pub unproven: Option<&'static str>,
    /// Country of the client, where it was looked up for residency; `ZZ` where it is not known.
    pub country: Option<Cow<'a, str>>,
    /// Zones that bound where the request might be processed.
    pub residency: Vec<&'a str>,
    /// The trusted hop that the request came from, where it did not come from the client itself.
    pub peer: Option<SocketAddr>,
    /// Where it connected.
    pub listener: Option<Cow<'a, str>>,
    /// `HTTP/1.1` or `HTTP/2`.
    pub protocol: &'static str,
    /// Method.
    pub method: Cow<'a, str>,
    /// Host or authority as sent.
    pub host: Option<Cow<'a, str>>,
    /// Path and query; credentials in the query are cut out beforehand by `openai::operation::scrub_query`.
    pub path: Cow<'a, str>,
    /// Rules that the request met, in order.
    pub rules: Vec<&'a str>,
    /// Route, when one was found.
    pub route: Option<Cow<'a, str>>,
    /// Pool, when a route was found.
    pub pool: Option<Cow<'a, str>>,
    /// What the client asked for, such as `chat_completions`.
    pub operation: Option<&'static str>,
    /// Deployment or model as the client named it.
    pub deployment: Option<Cow<'a, str>>,
    /// What the client calls it, where that is an alias.
    pub alias: Option<Cow<'a, str>>,
    /// The client asked for a streamed answer.
    pub stream: bool,
    /// Its ids led to one resource.
    pub pinned: bool,
    /// Why an id of it was not taken: the label of an `IdFlaw`.
    pub id_flaw: Option<&'static str>,
    /// Status sent to the client; absent when none was.
    pub status: Option<u16>,
    /// What the request came to: the label of an `Ending`.
    pub ending: &'static str,
    /// Stable code of our denial or fault.
    pub code: Option<&'static str>,
    /// The usage limit that refused.
    pub limit: Option<Cow<'a, str>>,
    /// `region/backend` whose answer was relayed.
    pub served_by: Option<Cow<'a, str>>,
    /// Where the answer was processed: a region, `eu`, `us` or `global`; absent where the backend does not state it.
    pub processing: Option<Cow<'a, str>>,
    /// Every attempt, in order.
    pub attempts: Vec<AttemptRecord<'a>>,
    /// What became of its hedge, where its time had come.
    pub hedge: Option<&'static str>,
    /// What the web application firewall found, bounded.
    pub waf: Vec<WafRecord<'a>>,
    /// Bytes of the request body.
    pub bytes_in: u64,
    /// Bytes of the response body sent.
    pub bytes_out: u64,
    /// Tokens as the backend reported them, or as they were counted.
    pub tokens: Option<TokensRecord>,
    /// What they cost, in billionths of the currency of `prices`.
    pub cost: Option<u64>,
    /// From arrival to the first byte of the answer.
    pub first_byte: Option<Duration>,
    /// From arrival to the end.
    pub total: Duration,
    /// `User-Agent`, cut.
    pub user_agent: Option<Cow<'a, str>>,
    /// `x-stainless-retry-count`: which retry of the client's SDK this is; zero is the first try.
    pub sdk_retry_count: u32,
    /// Configuration that the request was pinned to.
    pub generation: u64,
}

/// One attempt.
#[derive(Clone, Debug)]
pub struct AttemptRecord<'a> {
    /// Backend asked.
    pub backend: Cow<'a, str>,
    /// Its region.
    pub region: Cow<'a, str>,
    /// What it came to: the label of an `Outcome`.
    pub outcome: &'static str,
    /// Status that it answered with.
    pub status: Option<u16>,
    /// What its 429 was about: the label of a `Throttle`.
    pub throttle: Option<&'static str>,
    /// What its 5xx said: the label of a `Failure`.
    pub failure: Option<&'static str>,
    /// What Azure itself has spilled over.
    pub azure: Option<AzureRecord<'a>>,
    /// From the attempt's start to its outcome.
    pub took: Duration,
    /// It was a hedge beside another.
    pub hedge: bool,
}

/// Azure's own spillover.
#[derive(Clone, Debug)]
pub struct AzureRecord<'a> {
    /// The deployment that was full.
    pub from: Option<Cow<'a, str>>,
    /// The deployment that has answered.
    pub deployment: Option<Cow<'a, str>>,
    /// Why spilling over has failed as well.
    pub error: Option<Cow<'a, str>>,
}

/// One rule of the web application firewall that matched.
#[derive(Clone, Debug)]
pub struct WafRecord<'a> {
    /// Rule id or name.
    pub rule: Cow<'a, str>,
    /// Part of the request, such as `RequestHeader:user-agent`.
    pub variable: Cow<'a, str>,
    /// Matched data, cut and without secrets.
    pub data: Cow<'a, str>,
    /// What the rule does.
    pub action: &'static str,
    /// What it adds to the score.
    pub score: u32,
    /// `prevent` where it was acted on, else `detect`.
    pub mode: &'static str,
}

/// Tokens of one answer.
#[derive(Clone, Copy, Debug)]
pub struct TokensRecord {
    /// Prompt tokens, cached ones included.
    pub prompt: u64,
    /// Completion tokens, reasoning ones included.
    pub completion: u64,
    /// Prompt tokens served from the prompt cache.
    pub cached: u64,
    /// Completion tokens spent on reasoning.
    pub reasoning: u64,
    /// The backend did not tell them: they were counted here.
    pub counted: bool,
}

impl From<Usage> for TokensRecord {
    fn from(usage: Usage) -> Self {
        let Usage { prompt, completion, cached, reasoning } = usage;
        Self { prompt, completion, cached, reasoning, counted: false }
    }
}

/// The open log; clones share it. Cheap to call from any thread; `Sink` says what happens when the disk is slow or full.
#[derive(Clone, Debug)]
pub struct AccessLog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    enabled: AtomicBool,
    sink: Sink,
}

thread_local! {
    /// Where a thread prints its lines, to spare an allocation per request.
    static SCRATCH: RefCell<line::Scratch> = RefCell::new(line::Scratch::new());
}

/// How long [`AccessLog::flush`] waits for the disk.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

impl AccessLog {
    /// Opens the log that the configuration names and starts its writer.
    ///
    /// # Errors
    /// The file cannot be opened, or no thread can be started.
    pub fn start(target: &snapshot::AccessLog, metrics: &Metrics) -> io::Result<Self> {
        let (written, dropped) = (metrics.access_log_lines.clone(), metrics.access_log_dropped.clone());
        let sink = Sink::start(destination(target)?, written, dropped)?;
        Ok(Self(Arc::new(Inner { enabled: AtomicBool::new(*target != snapshot::AccessLog::Off), sink })))
    }

    /// Whether lines go anywhere: a caller can spare making the record.
    #[must_use]
    pub fn enabled(&self) -> bool {
        self.0.enabled.load(Ordering::Relaxed)
    }

    /// Writes one line. Never blocks on the disk: a line that finds no room is dropped and counted.
    pub fn log(&self, record: &Record<'_>) {
        if !self.enabled() {
            return;
        }
        SCRATCH.with_borrow_mut(|scratch| {
            line::print(record, scratch);
            self.0.sink.push(&scratch.line);
        });
    }

    /// Opens the target anew: after the file was moved away, or when a reload names another. On error the old one stays.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn reopen(&self, target: &snapshot::AccessLog) -> io::Result<()> {
        self.0.sink.redirect(destination(target)?);
        self.0.enabled.store(*target != snapshot::AccessLog::Off, Ordering::Relaxed);
        Ok(())
    }

    /// Waits until the lines logged so far are written, for two seconds at most. For the end of the process.
    pub fn flush(&self) {
        self.0.sink.flush(FLUSH_LIMIT);
    }
}

/// The longest beginning of `text` that is no longer than `length_max` bytes and ends between characters.
fn cut(text: &str, length_max: usize) -> &str {
    (0..=length_max.min(text.len())).rev().find_map(|end| text.get(..end)).unwrap_or_default()
}

fn destination(target: &snapshot::AccessLog) -> io::Result<Box<dyn Write + Send>> {
    Ok(match target {
        snapshot::AccessLog::Off => Box::new(io::sink()),
        snapshot::AccessLog::Stdout => Box::new(io::stdout()),
        snapshot::AccessLog::File(path) => Box::new(append(path)?),
    })
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

#[cfg(test)]
mod tests;
