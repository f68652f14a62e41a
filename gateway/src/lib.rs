//! Tidegate: an edge load balancer for multi-region Azure OpenAI.
//!
//! The rooms, lowest layer first: [`domain`] (nouns) · [`openai`] (the protocol) and [`policy`] (every decision), both
//! pure · [`config`] (YAML to snapshot) · [`state`] (live memory) and [`telemetry`] (signals) · [`proxy`],
//! [`background`] and [`simulator`] (I/O) · [`server`], [`cli`] and [`demo`] (wiring).
//! `gateway/ARCHITECTURE.md` has the picture; `tests/house` keeps it true.

pub mod background;
pub mod cli;
pub mod config;
pub mod demo;
pub mod domain;
pub mod openai;
pub mod policy;
pub mod proxy;
pub mod server;
pub mod simulator;
pub mod state;
pub mod telemetry;

#[cfg(test)]
#[path = "../fuzz/over_corpus.rs"]
mod over_corpus;
