//! Runs a scenario over many seeds, and says how to replay the one that fails.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Seeds of one run.
const SEEDS: u64 = 256;

/// Runs `scenario` over all seeds, or over `SIM_SEED` alone; `test` is the scenario's path for the replay command.
pub(crate) fn each(test: &str, scenario: impl Fn(u64)) {
    #[allow(clippy::disallowed_methods, reason = "the one switch of the simulation")]
    let only = std::env::var("SIM_SEED").ok().and_then(|text| text.parse().ok());
    let (from, to) = only.map_or((0, SEEDS), |seed| (seed, seed + 1));
    for seed in from..to {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| scenario(seed))) {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
            panic!("seed {seed}: {text}\nreplay: SIM_SEED={seed} cargo test -p tidegate-tests --test sim {test}");
        }
    }
}
