//! Probe results to health: thresholds both ways. Never sends a probe.

/// Parameters of a backend's probe machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Successes in a row that make an unhealthy backend healthy.
    pub healthy_after: u32,
    /// Failures in a row that make a healthy backend unhealthy.
    pub unhealthy_after: u32,
}

/// Health of one backend as its probes see it. Starts healthy: until a probe says otherwise, traffic may flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    healthy: bool,
    against: u32,
}

/// A change of health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthChange {
    /// Enough probes in a row succeeded.
    BecameHealthy,
    /// Enough probes in a row failed.
    BecameUnhealthy,
}

impl Default for Health {
    fn default() -> Self {
        Self { healthy: true, against: 0 }
    }
}

impl Health {
    /// Whether probes let traffic through.
    #[must_use]
    pub const fn is_healthy(self) -> bool {
        self.healthy
    }

    /// Takes one probe's result in.
    pub fn observe(&mut self, ok: bool, thresholds: Thresholds) -> Option<HealthChange> {
        if ok == self.healthy {
            self.against = 0;
            return None;
        }
        self.against = self.against.saturating_add(1);
        let needed = if self.healthy { thresholds.unhealthy_after } else { thresholds.healthy_after };
        if self.against < needed.max(1) {
            return None;
        }
        *self = Self { healthy: ok, against: 0 };
        Some(if ok { HealthChange::BecameHealthy } else { HealthChange::BecameUnhealthy })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_results_in_a_row_change_health() {
        let thresholds = Thresholds { healthy_after: 2, unhealthy_after: 3 };
        let mut health = Health::default();
        let script = [
            (false, None),
            (false, None),
            (true, None),
            (false, None),
            (false, None),
            (false, Some(HealthChange::BecameUnhealthy)),
            (true, None),
            (false, None),
            (true, None),
            (true, Some(HealthChange::BecameHealthy)),
        ];
        for (step, (ok, change)) in script.into_iter().enumerate() {
            assert_eq!(health.observe(ok, thresholds), change, "step {step}");
        }
        assert!(health.is_healthy());
    }
}
