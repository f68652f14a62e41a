//! [`admit`]: whether a request may begin, waits or is shed when the process is near its ceilings. Batch goes before
//! interactive, memory shrinks before it refuses. Pure: what is going on, and the draw, are arguments.

use std::time::Duration;

/// Ceilings of the process.
#[derive(Clone, Debug, PartialEq)]
pub struct Ceilings {
    /// Requests in flight.
    pub in_flight_max: usize,
    /// Of these, how many there may be when a batch request begins.
    pub batch_max: usize,
    /// Requests that wait for their turn.
    pub queue_max: usize,
    /// Longest wait.
    pub queue_timeout: Duration,
    /// Resident memory; not looked at when absent.
    pub memory: Option<MemoryCeiling>,
}

/// Ceilings of resident memory, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryCeiling {
    /// From here on: no keep-alive, a smaller queue, no batch.
    pub shrink: u64,
    /// From here on: nothing new.
    pub refuse: u64,
}

/// Who goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Somebody waits for the answer.
    Interactive,
    /// Nobody does: it is shed first and never queues.
    Batch,
}

/// How short memory is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pressure {
    /// Enough.
    #[default]
    Calm,
    /// We take less and keep less.
    Tight,
    /// We take nothing new.
    Full,
}

/// What is going on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Requests in flight.
    pub in_flight: usize,
    /// Requests that wait.
    pub waiting: usize,
    /// Memory.
    pub pressure: Pressure,
}

/// How much of what is going on is one consumer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Its requests that have arrived and not ended, the one in question included.
    pub own: usize,
    /// Consumers that have any.
    pub active: usize,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It begins while there are fewer than this in flight.
    Begin {
        /// The ceiling that holds for it.
        below: usize,
    },
    /// It waits while fewer than this do.
    Wait {
        /// The ceiling of the queue.
        below: usize,
    },
    /// It is refused.
    Shed(Reason),
}

/// Why a request is shed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Too many in flight, and no room in the queue.
    InFlight,
    /// It waited as long as it may.
    Waited,
    /// Memory.
    Memory,
    /// Its consumer has its share, and others wait for theirs.
    Share,
}

/// The queue while memory is tight, as a share of its size.
const TIGHT_QUEUE: usize = 4;

/// What becomes of a request of `class`.
#[must_use]
pub const fn admit(ceilings: &Ceilings, load: Load, class: Class) -> Turn {
    let (below, queue) = match (load.pressure, class) {
        (Pressure::Full, _) | (Pressure::Tight, Class::Batch) => return Turn::Shed(Reason::Memory),
        (_, Class::Batch) => (ceilings.batch_max, 0),
        (Pressure::Tight, Class::Interactive) => (ceilings.in_flight_max, ceilings.queue_max / TIGHT_QUEUE),
        (Pressure::Calm, Class::Interactive) => (ceilings.in_flight_max, ceilings.queue_max),
    };
    if load.in_flight < below {
        Turn::Begin { below }
    } else if load.waiting < queue {
        Turn::Wait { below: queue }
    } else {
        Turn::Shed(Reason::InFlight)
    }
}

/// Whether a consumer has more than its share: an equal part of the ceiling for everybody who is here. It is asked only where the
/// process has no place left or others wait for one. Who is alone may have all places and half of the queue: the other half is
/// for whoever comes next.
#[must_use]
pub const fn is_beyond_share(ceilings: &Ceilings, load: Load, share: Share) -> bool {
    if load.in_flight < ceilings.in_flight_max && load.waiting == 0 {
        return false;
    }
    let part = match share.active {
        0 | 1 => ceilings.in_flight_max.saturating_add(ceilings.queue_max / 2),
        active => ceilings.in_flight_max / active,
    };
    share.own > if part == 0 { 1 } else { part }
}

/// How short memory is when `resident` bytes are held.
#[must_use]
pub const fn pressure(ceiling: MemoryCeiling, resident: u64) -> Pressure {
    if resident >= ceiling.refuse {
        Pressure::Full
    } else if resident >= ceiling.shrink {
        Pressure::Tight
    } else {
        Pressure::Calm
    }
}

/// When a shed client is to come back: 1 to 3 s, spread by `draw` (0 to 1), so that they do not come back together.
#[must_use]
pub fn retry_after(draw: f64) -> Duration {
    Duration::from_secs(1) + Duration::from_secs(2).mul_f64(draw.clamp(0.0, 1.0))
}

impl Class {
    /// Both, for tables.
    pub const ALL: [Self; 2] = [Self::Interactive, Self::Batch];

    /// Label in metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Batch => "batch",
        }
    }
}

impl Reason {
    /// Label in metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::InFlight => "in_flight",
            Self::Waited => "waited",
            Self::Memory => "memory",
            Self::Share => "share",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ceilings() -> Ceilings {
        let memory = Some(MemoryCeiling { shrink: 85, refuse: 95 });
        Ceilings { in_flight_max: 10, batch_max: 8, queue_max: 4, queue_timeout: Duration::from_millis(250), memory }
    }

    fn turn(in_flight: usize, waiting: usize, pressure: Pressure, class: Class) -> Turn {
        admit(&ceilings(), Load { in_flight, waiting, pressure }, class)
    }

    #[test]
    fn batch_goes_before_interactive() {
        use Pressure::{Calm, Full, Tight};
        for (in_flight, waiting, pressure, interactive, batch) in [
            (0, 0, Calm, Turn::Begin { below: 10 }, Turn::Begin { below: 8 }),
            (8, 0, Calm, Turn::Begin { below: 10 }, Turn::Shed(Reason::InFlight)),
            (10, 0, Calm, Turn::Wait { below: 4 }, Turn::Shed(Reason::InFlight)),
            (10, 4, Calm, Turn::Shed(Reason::InFlight), Turn::Shed(Reason::InFlight)),
            (0, 0, Tight, Turn::Begin { below: 10 }, Turn::Shed(Reason::Memory)),
            (10, 0, Tight, Turn::Wait { below: 1 }, Turn::Shed(Reason::Memory)),
            (10, 1, Tight, Turn::Shed(Reason::InFlight), Turn::Shed(Reason::Memory)),
            (0, 0, Full, Turn::Shed(Reason::Memory), Turn::Shed(Reason::Memory)),
        ] {
            assert_eq!(turn(in_flight, waiting, pressure, Class::Interactive), interactive, "{in_flight} {waiting}");
            assert_eq!(turn(in_flight, waiting, pressure, Class::Batch), batch, "{in_flight} {waiting}");
        }
    }

    #[test]
    fn a_consumer_beyond_its_share_gives_way_when_others_wait() {
        for (in_flight, waiting, own, active, beyond) in [
            (9, 0, 9, 2, false),
            (10, 0, 12, 1, false),
            (10, 2, 13, 1, true),
            (10, 0, 6, 2, true),
            (10, 0, 5, 2, false),
            (9, 1, 6, 2, true),
            (10, 4, 1, 20, false),
            (10, 4, 2, 20, true),
        ] {
            let load = Load { in_flight, waiting, pressure: Pressure::Calm };
            assert_eq!(
                is_beyond_share(&ceilings(), load, Share { own, active }),
                beyond,
                "{own} of {in_flight}, {active}"
            );
        }
    }

    #[test]
    fn memory_shrinks_before_it_refuses() {
        let ceiling = MemoryCeiling { shrink: 85, refuse: 95 };
        let pressures = [84, 85, 94, 95].map(|resident| pressure(ceiling, resident));
        assert_eq!(pressures, [Pressure::Calm, Pressure::Tight, Pressure::Tight, Pressure::Full]);
    }

    proptest! {
        #[test]
        fn clients_come_back_within_one_to_three_seconds(draw in -1.0..2.0) {
            let wait = retry_after(draw);
            prop_assert!((Duration::from_secs(1)..=Duration::from_secs(3)).contains(&wait));
        }

        /// Whatever comes and goes, the ceilings hold, and what is in is out in the end.
        #[test]
        fn the_queue_keeps_its_bounds_and_drains(steps in prop::collection::vec((0..4_u8, any::<bool>(), 0..100_u64), 0..400)) {
            let ceilings = ceilings();
            let mut load = Load::default();
            for (step, batch, resident) in steps {
                let class = if batch { Class::Batch } else { Class::Interactive };
                match step {
                    // A request arrives.
                    0 | 1 => match admit(&ceilings, load, class) {
                        Turn::Begin { below } => {
                            prop_assert!(load.in_flight < below && below <= ceilings.in_flight_max);
                            load.in_flight += 1;
                        }
                        Turn::Wait { below } => {
                            prop_assert!(load.waiting < below && below <= ceilings.queue_max && !batch);
                            load.waiting += 1;
                        }
                        Turn::Shed(_) => {}
                    },
                    // One ends, and one that waited takes its place.
                    2 => {
                        load.in_flight = load.in_flight.saturating_sub(1);
                        if load.waiting > 0 && load.in_flight < ceilings.in_flight_max {
                            load.waiting -= 1;
                            load.in_flight += 1;
                        }
                    }
                    _ => load.pressure = pressure(MemoryCeiling { shrink: 85, refuse: 95 }, resident),
                }
                prop_assert!(load.in_flight <= ceilings.in_flight_max && load.waiting <= ceilings.queue_max);
            }
            load.pressure = Pressure::Calm;
            while load.in_flight + load.waiting > 0 {
                // Waits end by their timeout, requests by themselves; then the next may begin at once.
                load.waiting = 0;
                load.in_flight = load.in_flight.saturating_sub(1);
                let begins = matches!(admit(&ceilings, load, Class::Interactive), Turn::Begin { .. });
                prop_assert!(begins);
            }
        }
    }
}
