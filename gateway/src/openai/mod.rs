//! The OpenAI protocol as Azure speaks it, parsing and printing.
//!
//! Pure: nothing here does I/O, reads a clock, draws a random number, locks or logs. It knows what bytes mean; what
//! to do about them is decided in `policy`.

pub mod affinity;
pub mod answer;
pub mod batch;
pub mod catalog;
pub mod estimate;
pub mod facts;
pub mod frames;
pub mod ids;
pub mod needs;
pub mod operation;
mod out;
pub mod page;
pub mod quota;
pub mod refusal;
pub mod rewrite;
pub mod spillover;
pub mod sse;
pub mod throttle;
pub mod trouble;
pub mod versions;

#[cfg(test)]
mod corpus;
