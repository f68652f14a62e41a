//! Ending well. SIGTERM: `/readyz` says 503 while we keep accepting for the pre-drain time, then the listeners close and
//! what is in flight may end until the drain deadline. SIGQUIT: the listeners go to a new process, then the same drain.
//! SIGINT: at once. A second SIGTERM or SIGINT during the drain ends it.
//!
//! Pingora sleeps its grace period in full; [`Drain`] ends the process as soon as nothing is in flight.

use crate::background::usage;
use crate::config::snapshot::Process;
use crate::proxy::Closing;
use crate::state::{Fleet, Gauges};
use crate::telemetry::{AccessLog, Metrics};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch, ShutdownWatch};
use pingora::services::background::BackgroundService;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

/// How often the drain looks at what is in flight.
const LOOK: Duration = Duration::from_millis(50);
/// Looks in a row that must find nothing in flight: the last bytes are then with the kernel.
const QUIET_LOOKS: u32 = 4;
/// Looks at WebSockets that close: two seconds.
const PART_LOOKS: u32 = 40;

/// Waits for the signal that ends the process.
pub struct Watch {
    /// Said by `/readyz`.
    pub draining: Arc<AtomicBool>,
    /// For `tidegate_draining`.
    pub metrics: Arc<Metrics>,
    /// Whose quotas are kept at an end without a drain.
    pub fleets: Arc<ArcSwap<Fleet>>,
    /// How long we go on accepting after SIGTERM.
    pub pre_drain: Duration,
}

#[async_trait]
impl ShutdownSignalWatch for Watch {
    async fn recv(&self) -> ShutdownSignal {
        let signal = self.wait().await;
        if matches!(signal, ShutdownSignal::FastShutdown) {
            usage::conclude(&self.fleets.load_full());
        }
        signal
    }
}

impl Watch {
    async fn wait(&self) -> ShutdownSignal {
        let (Ok(mut term), Ok(mut quit), Ok(mut int)) =
            (signal(SignalKind::terminate()), signal(SignalKind::quit()), signal(SignalKind::interrupt()))
        else {
            log::error!("signals cannot be watched; stopping");
            return ShutdownSignal::FastShutdown;
        };
        tokio::select! {
            _ = int.recv() => ShutdownSignal::FastShutdown,
            _ = quit.recv() => {
                log::warn!("SIGQUIT: handing the listeners to the new process");
                ShutdownSignal::GracefulUpgrade
            }
            _ = term.recv() => {
                self.draining.store(true, Ordering::Release);
                self.metrics.draining.set(1);
                log::warn!("SIGTERM: not ready any more; accepting for {:?}, then draining", self.pre_drain);
                tokio::select! {
                    () = sleep(self.pre_drain) => ShutdownSignal::GracefulTerminate,
                    _ = term.recv() => ShutdownSignal::GracefulTerminate,
                    _ = int.recv() => ShutdownSignal::FastShutdown,
                }
            }
        }
    }
}

/// Ends the process once the listeners are closed and nothing is in flight.
pub struct Drain {
    /// What is in flight.
    pub gauges: Gauges,
    /// Whose quotas are kept at the end.
    pub fleets: Arc<ArcSwap<Fleet>>,
    /// Flushed before the end.
    pub access_log: AccessLog,
    /// Limits.
    pub process: Process,
    /// Said by `/readyz`.
    pub draining: Arc<AtomicBool>,
    /// Says goodbye to WebSockets at the deadline.
    pub closing: Closing,
}

#[async_trait]
impl BackgroundService for Drain {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        while !*shutdown.borrow() {
            if shutdown.changed().await.is_err() {
                return;
            }
        }
        self.draining.store(true, Ordering::Release);
        let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
            return;
        };
        let left = tokio::select! {
            left = self.quiet() => left,
            () = hurry(&mut term, &mut int) => self.gauges.requests_in_flight(),
        };
        let left = if self.closing.tunnels() == 0 { left } else { self.part().await };
        if left == 0 {
            log::warn!("drained; stopping");
        } else {
            log::warn!("stopping with {left} requests in flight");
        }
        usage::conclude(&self.fleets.load_full());
        self.access_log.flush();
        std::process::exit(0);
    }
}

impl Drain {
    /// Closes the WebSockets and waits for a moment until they are gone; says what is left.
    async fn part(&self) -> usize {
        self.closing.begin();
        for _ in 0..PART_LOOKS {
            if self.closing.tunnels() == 0 {
                break;
            }
            sleep(LOOK).await;
        }
        // The last bytes are then with the kernel.
        sleep(LOOK).await;
        self.gauges.requests_in_flight()
    }

    /// Waits until nothing is in flight or the deadline; says what is left.
    async fn quiet(&self) -> usize {
        let looks = self.process.drain.as_millis() / LOOK.as_millis();
        let mut quiet = 0;
        for _ in 0..=looks {
            quiet = if self.gauges.requests_in_flight() == 0 { quiet + 1 } else { 0 };
            if quiet >= QUIET_LOOKS {
                return 0;
            }
            sleep(LOOK).await;
        }
        self.gauges.requests_in_flight()
    }
}

async fn hurry(term: &mut Signal, int: &mut Signal) {
    tokio::select! {
        _ = term.recv() => (),
        _ = int.recv() => (),
    }
}
