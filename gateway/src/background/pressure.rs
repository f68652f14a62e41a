//! Looks at resident memory once a second, where it has a ceiling, and says how short it is. It refuses nothing itself.

use super::Shared;
use crate::policy::overload::{self, Pressure};
use crate::telemetry::process;
use std::time::Duration;

/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// Keeps the pressure up to date, for ever.
pub(super) async fn keep(shared: &Shared) {
    loop {
        let ceiling = shared.fleets.load().snapshot.overload.ceilings.memory;
        let resident = ceiling.and_then(|ceiling| Some((ceiling, process::resident()?)));
        let pressure = resident.map_or(Pressure::Calm, |(ceiling, bytes)| overload::pressure(ceiling, bytes));
        if pressure != shared.floor.pressure() {
            log::warn!("memory: {pressure:?} ({} bytes resident)", resident.map_or(0, |(_, bytes)| bytes));
            shared.floor.press(pressure);
            shared.metrics.memory_pressure.set(pressure as i64);
        }
        tokio::time::sleep(PAUSE).await;
    }
}
