//! [`Race`]: a second attempt under way, as the session of the first sees it. It is a subrequest of Pingora's
//! (`gateway/decisions/0018`): what comes out of its channel has passed every filter, its gate and its meter.

use crate::domain::Moment;
use crate::state::{Fleet, Ticket, Unhedged, Wanted};
use crate::telemetry::clock;
use http::{Method, header};
use parking_lot::Mutex;
use pingora::ErrorType;
use pingora::http::RequestHeader;
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora_proxy::{SubrequestSpawner, subrequest};
use std::any::Any;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender};

/// The second attempt's answer began first.
pub(in crate::proxy) const HEDGE_WON: ErrorType = ErrorType::Custom("hedge_won");
/// The client left while only the second attempt was waited for.
pub(in crate::proxy) const CLIENT_LEFT: ErrorType = ErrorType::Custom("client_left");

/// What stations 1 to 6 have decided, handed over unread; and what a second attempt came to, handed back.
pub(in crate::proxy) type Parcel = Box<dyn Any + Send + Sync>;

/// What a second attempt begins with.
pub(in crate::proxy) struct Seed {
    /// From the start of the first attempt.
    pub(in crate::proxy) after: Duration,
    pub(in crate::proxy) fleet: Arc<Fleet>,
    pub(in crate::proxy) pool: usize,
    pub(in crate::proxy) wanted: Wanted,
    pub(in crate::proxy) spawner: SubrequestSpawner,
    pub(in crate::proxy) given: Parcel,
}

/// What it has as it begins.
pub(in crate::proxy) struct Begun {
    pub(in crate::proxy) ticket: Ticket,
    pub(in crate::proxy) hedged: Arc<Hedged>,
    pub(in crate::proxy) given: Parcel,
}

/// How a race stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::proxy) enum Standing {
    /// Neither has begun.
    Running,
    /// The second attempt's answer began first.
    Won,
    /// The first one's did.
    Lost,
    /// The second attempt came to nothing.
    Failed,
    /// The request has ended without either.
    Abandoned,
}

impl Standing {
    const ALL: [Self; 5] = [Self::Running, Self::Won, Self::Lost, Self::Failed, Self::Abandoned];
}

/// A second attempt, as both sides know it.
pub(in crate::proxy) struct Hedged {
    pub(in crate::proxy) backend: usize,
    pub(in crate::proxy) started: Moment,
    standing: AtomicU8,
    report: Mutex<Option<Parcel>>,
}

impl Hedged {
    fn new(backend: usize, started: Moment) -> Self {
        Self { backend, started, standing: AtomicU8::new(Standing::Running as u8), report: Mutex::new(None) }
    }

    /// How it stands.
    pub(in crate::proxy) fn standing(&self) -> Standing {
        let now = self.standing.load(Ordering::Acquire);
        Standing::ALL.into_iter().find(|one| *one as u8 == now).unwrap_or(Standing::Abandoned)
    }

    /// The race is decided; the first word counts.
    fn decide(&self, standing: Standing) {
        let (running, decided) = (Standing::Running as u8, standing as u8);
        let _ = self.standing.compare_exchange(running, decided, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Its pipeline has ended.
    pub(in crate::proxy) fn tell(&self, report: Parcel) {
        *self.report.lock() = Some(report);
    }

    /// What it came to, once that is known.
    pub(in crate::proxy) fn told(&self) -> Option<Parcel> {
        self.report.lock().take()
    }
}

/// What became of the chance to hedge.
#[derive(Clone)]
pub(in crate::proxy) enum Fate {
    /// Its time came, and it was not to be.
    Unhedged(Unhedged),
    /// It began.
    Hedged(Arc<Hedged>),
}

/// What won, and its header.
pub(in crate::proxy) struct Winner {
    pub(in crate::proxy) race: Race,
    pub(in crate::proxy) header: HttpTask,
}

/// The place where the context of a request and its session meet about the hedge.
#[derive(Default)]
pub(in crate::proxy) struct Slot {
    fate: Mutex<Option<Fate>>,
    winner: Mutex<Option<Box<Winner>>>,
    waits: AtomicBool,
    /// µs from the attempt's start to the beginning of its answer; 0 while not measured.
    began: AtomicU64,
}

impl Slot {
    /// What became of it.
    pub(in crate::proxy) fn fate(&self) -> Option<Fate> {
        self.fate.lock().clone()
    }

    pub(in crate::proxy) fn winner(&self) -> Option<Box<Winner>> {
        self.winner.lock().take()
    }

    /// Nothing but the second attempt is waited for.
    pub(in crate::proxy) fn wait(&self, waits: bool) {
        self.waits.store(waits, Ordering::Relaxed);
    }

    /// Whether that is so.
    pub(in crate::proxy) fn waits(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }

    /// The answer of the attempt began after `time`.
    pub(in crate::proxy) fn measured(&self, time: Duration) {
        self.began.store(u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
    }

    /// The same, once.
    pub(in crate::proxy) fn took(&self) -> Option<Duration> {
        Some(self.began.swap(0, Ordering::Relaxed)).filter(|micros| *micros > 0).map(Duration::from_micros)
    }
}

/// A second attempt under way. Dropping it gives the attempt up at once, as if its client had left.
pub(in crate::proxy) struct Race {
    /// Its client, as it sees it: open while its answer is waited for.
    client: Option<Sender<HttpTask>>,
    answer: Receiver<HttpTask>,
    hedged: Arc<Hedged>,
}

/// What a second attempt has come to.
pub(in crate::proxy) enum Came {
    /// Its answer begins, with this header.
    Begun(HttpTask),
    /// There will be none.
    Over,
}

impl Seed {
    /// Begins the second attempt, if the budget and the backends allow one.
    pub(in crate::proxy) fn sow(self, client: &mut ServerSession, slot: &Slot) -> Option<Box<Race>> {
        let Self { fleet, pool, wanted, spawner, given, .. } = self;
        let now = clock::now();
        let ticket = match fleet.pools.get(pool)?.hedging().open(&wanted, now, fastrand::u64(..)) {
            Ok(ticket) => ticket,
            Err(why) => {
                *slot.fate.lock() = Some(Fate::Unhedged(why));
                return None;
            }
        };
        let standing_in = standing_in()?;
        let hedged = Arc::new(Hedged::new(ticket.index(), now));
        *slot.fate.lock() = Some(Fate::Hedged(Arc::clone(&hedged)));
        let begun = Begun { ticket, hedged: Arc::clone(&hedged), given };
        let ctx = subrequest::Ctx::builder().user_ctx(Box::new(Some(begun))).build();
        // Pingora has a subrequest parse its client's header, as HTTP/1.1 alone: this one stands in for HTTP/2's. Either is
        // replaced by what the stations have made of it (`take_over`).
        let own = mem::replace(client.req_header_mut(), standing_in);
        let (prepared, handle) = spawner.create_subrequest(client, ctx);
        *client.req_header_mut() = own;
        drop(tokio::spawn(prepared.run()));
        Some(Box::new(Race { client: Some(handle.tx), answer: handle.rx, hedged }))
    }
}

/// A request that parses.
fn standing_in() -> Option<RequestHeader> {
    let mut request = RequestHeader::build(Method::POST, b"/", Some(1)).ok()?;
    request.insert_header(header::HOST, "hedge").ok()?;
    Some(request)
}

impl Race {
    /// What becomes of it; nothing where there is none. May be dropped and asked again.
    pub(in crate::proxy) async fn came(race: &mut Option<Box<Self>>) -> Came {
        let Some(race) = race else { return std::future::pending().await };
        loop {
            match race.next().await {
                Some(HttpTask::Header(header, _)) if header.status.is_informational() => {}
                Some(HttpTask::Header(header, end)) if header.status.is_success() => {
                    return Came::Begun(HttpTask::Header(header, end));
                }
                _ => return Came::Over,
            }
        }
    }

    /// The next of its answer; `None` once its pipeline has ended.
    pub(in crate::proxy) async fn next(&mut self) -> Option<HttpTask> {
        self.answer.recv().await
    }

    /// Waits until its pipeline has ended: what was relayed was `whole`, or its client has left.
    pub(in crate::proxy) async fn part(mut self, whole: bool) {
        self.client = self.client.take().filter(|_| whole);
        while self.next().await.is_some() {}
    }

    /// Its answer is the one.
    pub(in crate::proxy) fn win(self, slot: &Slot, header: HttpTask) {
        self.hedged.decide(Standing::Won);
        *slot.winner.lock() = Some(Box::new(Winner { race: self, header }));
    }

    /// The other's is.
    pub(in crate::proxy) fn lose(self) {
        self.hedged.decide(Standing::Lost);
    }

    /// It has come to nothing.
    pub(in crate::proxy) fn fail(self) {
        self.hedged.decide(Standing::Failed);
    }
}

impl Drop for Race {
    fn drop(&mut self) {
        self.hedged.decide(Standing::Abandoned);
    }
}
