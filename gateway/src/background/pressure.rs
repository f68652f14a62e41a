//! Looks at resident memory once a second, where it has a ceiling, and says how short it is; and sees to it that an idle
//! process gives back what a burst has taken. It refuses nothing itself.

use super::Shared;
use crate::policy::overload::{self, Pressure};
use crate::telemetry::process;
use std::time::Duration;

/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// Looks between two reminders to the allocator.
const REMINDER: u32 = 5;
/// More than the allocator serves from a thread's own pages (512 KiB), and little, since this much may stay.
const REMINDER_SIZE: usize = 1 << 20;

/// Keeps the pressure up to date, for ever.
pub(super) async fn keep(shared: &Shared) {
    let mut looks = 0_u32;
    loop {
        looks = looks.wrapping_add(1);
        if looks.is_multiple_of(REMINDER) {
            remind();
        }
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

/// mimalloc returns freed memory a second later, but only when something large is freed after that: in a process that has
/// become idle, never. This is something large; it is not touched, so that it costs no memory.
fn remind() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(REMINDER_SIZE)));
}
