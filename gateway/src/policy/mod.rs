//! Every decision, pure: time and chance are arguments, parameters are plain structs that `config` fills.

pub mod budget;
pub mod eject;
pub mod failover;
pub mod health;
pub mod route;
pub mod select;
