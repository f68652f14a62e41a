//! Responses kept for GET and DELETE by id, as the Responses API does by default; the oldest are forgotten first.

use std::collections::{HashMap, VecDeque};

/// Responses kept.
const STORED_MAX: usize = 1024;

#[derive(Debug, Default)]
pub(crate) struct Stored {
    order: VecDeque<String>,
    bodies: HashMap<String, String>,
}

impl Stored {
    pub(crate) fn insert(&mut self, id: &str, body: String) {
        while self.order.len() >= STORED_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.bodies.remove(&oldest);
            }
        }
        self.order.push_back(id.to_owned());
        self.bodies.insert(id.to_owned(), body);
    }

    pub(crate) fn get(&self, id: &str) -> Option<String> {
        self.bodies.get(id).cloned()
    }

    pub(crate) fn contains(&self, id: &str) -> bool {
        self.bodies.contains_key(id)
    }

    pub(crate) fn remove(&mut self, id: &str) -> bool {
        self.bodies.remove(id).is_some()
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
