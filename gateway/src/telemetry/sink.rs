//! Where access log lines wait and who writes them: one buffer with a ceiling and one thread of its own. A request only
//! copies its line into the buffer; a disk that is slow, full or gone costs lines, which are counted, never a request.

use parking_lot::{Condvar, Mutex};
use prometheus::IntCounter;
use std::io::{self, Write};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Most bytes that wait for the writer: some ten thousand lines.
const PENDING_SIZE_MAX: usize = 8 * 1024 * 1024;
/// The writer gathers lines for this long before it writes: one system call and one wake-up for many requests.
const GATHER: Duration = Duration::from_millis(200);
/// With this many bytes waiting the writer does not go on gathering.
const GATHER_SIZE_MAX: usize = 256 * 1024;
/// Most bytes of a buffer that is kept for reuse.
const KEPT_SIZE_MAX: usize = 1024 * 1024;

/// The buffer and its writer.
#[derive(Debug)]
pub(super) struct Sink {
    shared: Arc<Shared>,
    dropped: IntCounter,
}

#[derive(Default)]
struct Shared {
    pending: Mutex<Pending>,
    /// Something is pending, or the writer shall end.
    work: Condvar,
    /// `Pending::settled` has grown.
    settled: Condvar,
}

#[derive(Default)]
struct Pending {
    bytes: Vec<u8>,
    /// Lines in `bytes`.
    lines: u64,
    /// Lines ever taken, and those of them that are written or lost.
    taken: u64,
    settled: u64,
    /// Where to write from here on.
    destination: Option<Box<dyn Write + Send>>,
    /// Write now, do not gather.
    hurry: bool,
    /// Write what is pending and end.
    closing: bool,
}

impl Sink {
    /// Starts the writer.
    pub(super) fn start(
        destination: Box<dyn Write + Send>,
        written: IntCounter,
        dropped: IntCounter,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let writer = Writer { destination, torn: false, failing: false, written, dropped: dropped.clone() };
        let of_writer = Arc::clone(&shared);
        thread::Builder::new().name("access-log".into()).spawn(move || writer.run(&of_writer))?;
        Ok(Self { shared, dropped })
    }

    /// Takes one line, line break included.
    pub(super) fn push(&self, line: &[u8]) {
        let mut pending = self.shared.pending.lock();
        if pending.bytes.len().saturating_add(line.len()) > PENDING_SIZE_MAX {
            drop(pending);
            self.dropped.inc();
            return;
        }
        let before = pending.bytes.len();
        pending.bytes.extend_from_slice(line);
        pending.lines += 1;
        pending.taken += 1;
        let after = pending.bytes.len();
        drop(pending);
        // Only the line that gives the writer a reason to move pays for waking it.
        if before == 0 || (before <= GATHER_SIZE_MAX && after > GATHER_SIZE_MAX) {
            self.shared.work.notify_one();
        }
    }

    /// Lines from here on, and those still pending, go to `destination`.
    pub(super) fn redirect(&self, destination: Box<dyn Write + Send>) {
        self.shared.pending.lock().destination = Some(destination);
        self.shared.work.notify_one();
    }

    /// Waits until every line taken so far is written or lost; gives up after `limit`, when the destination is stuck.
    pub(super) fn flush(&self, limit: Duration) {
        let mut pending = self.shared.pending.lock();
        pending.hurry = true;
        self.shared.work.notify_one();
        let goal = pending.taken;
        self.shared.settled.wait_while_for(&mut pending, |pending| pending.settled < goal, limit);
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.pending.lock().closing = true;
        self.shared.work.notify_one();
    }
}

/// The thread's own side.
struct Writer {
    destination: Box<dyn Write + Send>,
    /// The last write failed, perhaps inside a line: the next one begins with a line break.
    torn: bool,
    /// The failure was reported.
    failing: bool,
    written: IntCounter,
    dropped: IntCounter,
}

impl Writer {
    fn run(mut self, shared: &Shared) {
        let mut batch = Vec::new();
        loop {
            let (lines, last) = self.gather(shared, &mut batch);
            self.write(&batch, lines);
            shared.pending.lock().settled += lines;
            shared.settled.notify_all();
            if last {
                return;
            }
            if batch.capacity() > KEPT_SIZE_MAX {
                batch = Vec::new();
            }
            batch.clear();
        }
    }

    /// Waits for lines, swaps them into `batch` and says how many they are and whether they are the last.
    fn gather(&mut self, shared: &Shared, batch: &mut Vec<u8>) -> (u64, bool) {
        let mut pending = shared.pending.lock();
        shared.work.wait_while(&mut pending, |p| p.bytes.is_empty() && !p.closing && p.destination.is_none());
        let roomy =
            |p: &mut Pending| p.bytes.len() <= GATHER_SIZE_MAX && !p.hurry && !p.closing && p.destination.is_none();
        shared.work.wait_while_for(&mut pending, roomy, GATHER);
        if let Some(destination) = pending.destination.take() {
            self.destination = destination;
            self.torn = false;
        }
        pending.hurry = false;
        std::mem::swap(&mut pending.bytes, batch);
        (std::mem::take(&mut pending.lines), pending.closing)
    }

    fn write(&mut self, batch: &[u8], lines: u64) {
        if batch.is_empty() {
            return;
        }
        let break_first: &[u8] = if self.torn { b"\n" } else { b"" };
        let result = (self.destination.write_all(break_first))
            .and_then(|()| self.destination.write_all(batch))
            .and_then(|()| self.destination.flush());
        match result {
            Ok(()) => {
                self.written.inc_by(lines);
                if self.failing {
                    log::info!("access log can be written again");
                }
            }
            Err(ref error) => {
                self.dropped.inc_by(lines);
                if !self.failing {
                    log::error!("access log cannot be written, lines are dropped: {error}");
                }
            }
        }
        self.torn = result.is_err();
        self.failing = result.is_err();
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pending = self.pending.lock();
        write!(f, "{} bytes in {} lines pending", pending.bytes.len(), pending.lines)
    }
}
