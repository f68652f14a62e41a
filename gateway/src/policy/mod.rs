//! Every decision, pure: time and chance are arguments, parameters are plain structs that `config` fills.

pub mod affinity;
pub mod budget;
pub mod chance;
pub mod cors;
pub mod distance;
pub mod eject;
pub mod failover;
pub mod framing;
pub mod headroom;
pub mod health;
pub mod hops;
pub mod latency;
pub mod limit;
pub mod overload;
pub mod price;
pub mod renewal;
pub mod residency;
pub mod route;
pub mod rules;
pub mod scope;
pub mod screen;
pub mod seal;
pub mod select;
pub mod throttle;
pub mod token;
pub mod trace;
mod window;
