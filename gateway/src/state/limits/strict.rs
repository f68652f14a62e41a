//! Limits that are asked of the server at every admission. The request path leaves its questions at the [`Line`] and waits a
//! moment; who answers is not known here. What is answered too late is given back.

use super::Limits;
use super::key::Key;
use crate::policy::limit::Rule;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;

/// Questions that wait for being taken up; who finds no room decides alone.
const WAITING_MAX: usize = 1024;

/// What one admission wants of one bucket.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// Index of the limit.
    pub limit: usize,
    /// The ceiling of the whole.
    pub rule: Rule,
    /// How much is wanted.
    pub amount: u64,
    /// What this gateway has counted in the window and told.
    pub mine: u64,
    pub(super) key: Key,
}

/// What the server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// It has counted the amount.
    pub given: bool,
    /// What is left of the whole.
    pub left: u64,
    /// When there may be enough.
    pub back: Duration,
}

/// Questions of one admission.
#[derive(Debug)]
pub struct Asked {
    /// What is wanted.
    pub questions: Vec<Question>,
    /// Takes the verdicts, in the order of the questions; none where there was no answer.
    pub reply: oneshot::Sender<Vec<Option<Verdict>>>,
}

/// Where the request path leaves its questions.
#[derive(Debug)]
pub struct Line {
    asking: Sender<Asked>,
    answering: Mutex<Option<Receiver<Asked>>>,
    is_open: AtomicBool,
}

impl Default for Line {
    fn default() -> Self {
        let (asking, answering) = channel(WAITING_MAX);
        Self { asking, answering: Mutex::new(Some(answering)), is_open: AtomicBool::new(false) }
    }
}

impl Line {
    /// The other end; the first caller gets it.
    #[must_use]
    pub fn answering(&self) -> Option<Receiver<Asked>> {
        self.answering.lock().take()
    }

    /// Whether anybody can be asked.
    pub fn open(&self, is_open: bool) {
        self.is_open.store(is_open, Ordering::Relaxed);
    }

    /// Leaves questions; nothing where nobody can be asked now.
    #[must_use]
    pub fn ask(&self, questions: Vec<Question>) -> Option<oneshot::Receiver<Vec<Option<Verdict>>>> {
        if !self.is_open.load(Ordering::Relaxed) {
            return None;
        }
        let (reply, answers) = oneshot::channel();
        self.asking.try_send(Asked { questions, reply }).ok()?;
        Some(answers)
    }
}

impl Question {
    /// The bucket's name, 128 bits.
    #[must_use]
    pub const fn name(&self) -> (u64, u64) {
        (self.key.0, self.key.1)
    }
}

impl Limits {
    /// Where strict limits are asked.
    #[must_use]
    pub const fn line(&self) -> &Line {
        &self.line
    }
}
