//! The replay session: replays a request body byte for byte to any attempt, keeps the deadlines to the first byte and
//! between bytes, and holds an answer until its beginning says whether it may be relayed.
//!
//! It is a role of the `wrapper` around Pingora's downstream session (`gateway/decisions/0002`), because Pingora's own retry
//! buffer is a fixed 64 KiB. It never decides a failover: it raises the errors of `deadline` and `hold`, and `classify` says
//! what they mean.

use super::cork::{Cork, others_first};
use super::deadline::{Clock, Passed, now};
use super::h2_writer::H2Writer;
use super::hedge::race::{Came, HEDGE_WON, Race, Seed};
use super::hold::{Hold, Watch};
use super::pace::Pace;
use super::wrapper::{Desk, Order, Role};
use crate::openai::rewrite::Segments;
use bytes::{Bytes, BytesMut};
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora::{Error, Result};

/// Pieces of a body below this leave together.
const STEP: usize = 64 * 1024;

/// A request whose body has been read.
#[derive(Default)]
pub(super) struct Replay {
    body: Segments,
    cursor: usize,
    clock: Clock,
    hold: Hold,
    pace: Pace,
    /// On the backend's socket until the body is there.
    cork: Option<Cork>,
    /// Writes the answer over HTTP/2 once its gate has opened in silence.
    writer: Option<Box<H2Writer>>,
    /// What a second attempt begins with, until one has begun or the answer has.
    seed: Option<Box<Seed>>,
    /// The second attempt. It outlives the first.
    race: Option<Box<Race>>,
}

/// What wakes a session that waits for its backend.
enum Event {
    Passed(Passed),
    Came(Came),
}

impl Replay {
    /// The next bytes for the backend. A rewritten body is in up to three pieces: the small ones leave together, since
    /// every step is a system call; a large one leaves whole.
    ///
    /// There must be at most three steps. Pingora's pipe to the backend holds four: when it is full as the last step goes
    /// in, Pingora asks this session for nothing until the backend answers, so that no deadline passes and no client's
    /// leaving is noticed.
    fn next_step(&mut self) -> Option<Bytes> {
        let mut step = self.body.chunk_at(self.cursor, usize::MAX)?;
        let mut end = self.cursor + step.len();
        if step.len() < STEP && end < self.body.len() {
            let mut whole = BytesMut::with_capacity(STEP.min(self.body.len() - self.cursor));
            whole.extend_from_slice(&step);
            while whole.len() < STEP
                && let Some(more) = self.body.chunk_at(end, STEP - whole.len())
            {
                end += more.len();
                whole.extend_from_slice(&more);
            }
            step = whole.freeze();
        }
        self.cursor = end;
        Some(step)
    }

    /// The gate's time is up while the backend is silent. This future is dropped when the backend speaks: both writers go on
    /// where they were, in front of what comes next.
    async fn let_go(&mut self, inner: &mut ServerSession) -> Result<()> {
        let tasks = self.hold.let_go();
        match inner {
            ServerSession::H1(session) => {
                tasks.into_iter().for_each(|task| session.send_proxy_task(task));
                session.write_proxy_tasks().await.map(drop)
            }
            ServerSession::H2(session) => {
                for task in tasks {
                    match (task, &mut self.writer) {
                        (HttpTask::Header(header, end), _) => {
                            session.write_response_header(header, end)?;
                            self.writer = H2Writer::take(session).map(Box::new);
                        }
                        (HttpTask::Body(Some(part), _), Some(writer)) => writer.queue(part),
                        _ => {}
                    }
                }
                match &mut self.writer {
                    Some(writer) => Box::pin(writer.flush()).await,
                    None => Ok(()),
                }
            }
            other => Box::pin(other.response_duplex_vec(tasks)).await.map(drop),
        }
    }

    /// The body is with the kernel, or the answer is here without it.
    fn uncork(&mut self) {
        if let Some(cork) = self.cork.take() {
            cork.pull();
        }
    }

    /// Something is about to be relayed: there is no other answer any more.
    fn settle(&mut self) {
        self.seed = None;
        self.clock.hedge = None;
        if let Some(race) = self.race.take() {
            race.lose();
        }
    }

    /// What came of the second attempt: the error that ends this one, or nothing where it goes on alone.
    fn raced(&mut self, desk: &Desk, came: Came) -> Result<()> {
        let Some(race) = self.race.take() else { return Ok(()) };
        match came {
            Came::Begun(header) => {
                race.win(&desk.hedge, header);
                let mut error = Error::new(HEDGE_WON);
                error.as_down();
                Err(error)
            }
            Came::Over => {
                race.fail();
                // The gate may have been kept shut for it.
                self.clock.hold = self.hold.until();
                Ok(())
            }
        }
    }

    /// What may be written now. Nothing more is held once the answer has begun.
    async fn sift(&mut self, inner: &mut ServerSession, desk: &Desk, tasks: Vec<HttpTask>) -> Result<Vec<HttpTask>> {
        if let (Hold::Late, ServerSession::H1(session)) = (&self.hold, inner) {
            session.write_proxy_tasks().await?;
        }
        if let Some(turn) = desk.turned() {
            self.hold.turn(turn)?;
        }
        let tasks = self.hold.sift(tasks, now()).inspect_err(|_error| desk.tell(self.hold.about()))?;
        self.clock.hold = self.hold.until();
        if matches!(self.hold, Hold::Off) {
            desk.open();
        }
        Ok(tasks)
    }
}

impl Role for Replay {
    const UPGRADES: bool = false;

    fn obey(&mut self, order: Order) {
        self.clock = Clock::new(order.first_byte, order.idle, order.total);
        self.clock.started = Some(order.placed);
        self.hold = Hold::new(order.watch);
        self.pace = Pace::new(order.pace);
        self.seed = order.hedge;
        self.body = order.body;
        self.cork = order.cork;
        self.cursor = 0;
    }

    /// Rewinds the body.
    fn start(&mut self) {
        self.cursor = 0;
        if let Some(started) = self.clock.started {
            self.pace.start(started);
            self.clock.hedge = self.seed.as_ref().map(|seed| started + seed.after);
        }
    }

    fn is_body_done(&mut self, _inner: &mut ServerSession) -> bool {
        self.cursor >= self.body.len()
    }

    fn is_body_empty(&self) -> bool {
        self.body.is_empty()
    }

    fn writer(&mut self) -> Option<&mut H2Writer> {
        self.writer.as_deref_mut()
    }

    fn written(&self) -> usize {
        self.writer.as_ref().map_or(0, |writer| writer.sent())
    }

    async fn read(&mut self, inner: &mut ServerSession, desk: &Desk, no_body_expected: bool) -> Result<Option<Bytes>> {
        if !no_body_expected && self.cursor < self.body.len() {
            return Ok(self.next_step());
        }
        if self.cork.is_some() {
            others_first().await;
            self.uncork();
        }
        let waits = desk.hedge.waits();
        loop {
            if waits && self.race.is_none() {
                return Ok(None);
            }
            let left = async {
                match &mut self.writer {
                    Some(writer) => Err(writer.given_up().await),
                    None => inner.read_body_or_idle(true).await,
                }
            };
            let event = tokio::select! {
                biased;
                read = left => return read,
                passed = self.clock.passed(), if !waits => Event::Passed(passed),
                came = Race::came(&mut self.race), if self.race.is_some() => Event::Came(came),
            };
            match event {
                Event::Came(came) => self.raced(desk, came)?,
                Event::Passed(Passed::Deadline(error)) => return Err(error),
                Event::Passed(Passed::Hedge) => {
                    self.race = self.seed.take().and_then(|seed| seed.sow(inner, &desk.hedge))
                }
                // What is let go is relayed: not while another answer may come.
                Event::Passed(Passed::Hold) if self.race.is_some() && self.hold.trouble().is_none() => {}
                Event::Passed(Passed::Hold) => match self.hold.trouble() {
                    Some(error) => return Err(error),
                    None => {
                        self.settle();
                        self.let_go(inner).await?;
                    }
                },
            }
        }
    }

    async fn respond(&mut self, inner: &mut ServerSession, desk: &Desk, tasks: Vec<HttpTask>) -> Result<bool> {
        self.uncork();
        let answering = |t: &HttpTask| !matches!(t, HttpTask::Header(h, _) if h.status.is_informational());
        if tasks.iter().any(answering) {
            let now = now();
            self.clock.progress = Some(now);
            if self.pace.is_on() {
                self.pace.see(&tasks, now);
                if let (Some(began), Some(started)) = (self.pace.began(), self.clock.started) {
                    desk.hedge.measured(began.saturating_duration_since(started));
                }
                self.clock.pace = self.pace.due();
            }
        }
        if desk.takes_a_look() {
            self.hold = Hold::new(Watch { trouble: true, ..Watch::default() });
        }
        let tasks = if matches!(self.hold, Hold::Off) { tasks } else { self.sift(inner, desk, tasks).await? };
        if tasks.is_empty() {
            return Ok(false);
        }
        if (self.seed.is_some() || self.race.is_some()) && tasks.iter().any(answering) {
            self.settle();
        }
        let ended = match (&mut self.writer, inner) {
            (Some(writer), _) => Box::pin(writer.respond(tasks)).await?,
            // Each chunk's future lies in a box of its own: with the other protocols in it, it would be half as large again.
            (None, ServerSession::H1(session)) => session.response_duplex_vec(tasks).await?,
            (None, other) => Box::pin(other.response_duplex_vec(tasks)).await?,
        };
        if let Some(before) = self.clock.progress.filter(|_| self.pace.is_on()) {
            self.pace.excuse(now().saturating_duration_since(before));
            self.clock.pace = self.pace.due();
        }
        Ok(ended)
    }
}
