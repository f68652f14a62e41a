//! The nouns of the house: validated names, outcomes and endings, instants, token usage.
//!
//! Pure data. Nothing here does I/O, reads a clock, draws a random number or logs.

mod ability;
mod api_key;
mod caller;
mod client_certificate;
mod consumed;
mod cutoff;
mod denial;
mod ending;
mod failure;
mod id_flaw;
mod moment;
mod name;
mod network;
mod outcome;
mod quota;
mod secret;
mod throttle;
mod token_flaw;
mod unproven;
mod usage;
mod zones;

pub use ability::{Abilities, Ability};
pub use api_key::{ApiKey, KEY_PREFIX, KeyHash, KeyHashError, is_key_id, make_key};
pub use caller::{Caller, Claims, Proof};
pub use client_certificate::{ClientCertificate, Presented};
pub use consumed::Consumed;
pub use cutoff::Cutoff;
pub use denial::{Denial, Fault, Quantity};
pub use ending::Ending;
pub use failure::Failure;
pub use id_flaw::IdFlaw;
pub use moment::Moment;
pub use name::{
    BackendId, BackendName, ConsumerName, DeploymentName, IdentityName, IssuerName, KeyName, LimitName, ListenerName,
    NameError, PlanName, PoolName, QuotaName, Region, RouteName, RuleName, ZoneName,
};
pub use network::{Network, NetworkError, NetworkSet};
pub use outcome::Outcome;
pub use quota::{Budgets, Cost, Quota, Told};
pub use secret::Secret;
pub use throttle::Throttle;
pub use token_flaw::TokenFlaw;
pub use unproven::Unproven;
pub use usage::Usage;
pub use zones::{ZONES_MAX, Zones};
