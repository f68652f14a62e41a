//! Live memory that survives a reload: what is known of every backend, by our own [`BackendId`](crate::domain::BackendId).
//!
//! Decides nothing itself (that is `policy`), reads no clock, draws no number, logs nothing: moments and draws are
//! arguments, changes are return values.

mod addresses;
mod backend;
mod cells;
mod challenges;
mod connections;
mod failures;
mod gauges;
mod headroom;
mod hedging;
mod keys;
mod limits;
mod load;
mod memory;
mod own_token;
mod pool;
mod proof;
mod rates;
mod registry;
mod report;
mod rests;
mod roster;
mod secrets;
mod shared_name;
mod shares;
mod ticket;
mod tokens;

pub use addresses::Addresses;
pub use backend::BackendState;
pub use challenges::{Answer, Challenges};
pub use connections::{Connections, Seat};
pub use failures::Failures;
pub use gauges::{Gauges, Presence};
pub use hedging::{Hedging, Unhedged};
pub use keys::{Held, IssuerKeys, Wait};
pub use limits::{
    Asked, Chain, ChainKey, Charge, Grant, Limits, Line, Question, Quotas, QuotasError, Refused, Report, Reserved,
    Told, Verdict,
};
pub use load::{Floor, Place, Slot};
pub use memory::{BodyMemory, Reservation};
pub use own_token::{Bearer, HeldToken, REFUSAL_PAUSE};
pub use pool::{Pick, PoolState};
pub use proof::Now;
pub use rates::Rates;
pub use registry::{Fleet, Registry};
pub use report::{BackendReport, QuotaReport};
pub use rests::Stopped;
pub use roster::{Budget, Tried, Wanted};
pub use secrets::{Kept, Secrets};
pub use shared_name::SharedName;
pub use shares::{Shares, Stay, Tally};
pub use ticket::Ticket;
pub use tokens::Tokens;
