//! How full a provisioned deployment is, as far as we can know: what its header tells, else what we sent it in the last minute against
//! what it took before it last refused. It is an estimate to look at; nothing is decided by it but what a 429 says.
//!
//! Azure lets a bucket leak all the time, and refuses above its brim until the time that it tells. Charges fade here with a time
//! constant of a minute, so that a steady load of a deployment's whole throughput shows as 1.

use crate::domain::Moment;
use std::time::Duration;

/// Time constant of the fading.
const MINUTE: Duration = Duration::from_secs(60);
/// What a header tells is believed for so long.
const TOLD_KEPT: Duration = Duration::from_secs(60);
/// Fewer tokens than these in the last minute teach nothing of a deployment's size.
const CHARGED_MIN: f64 = 1000.0;
/// Nobody is fuller.
const MOST: f64 = 10.0;

/// The model of one deployment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Provisioned {
    /// Tokens charged, faded to `at`.
    charged: f64,
    at: Moment,
    /// Tokens a minute that it carries: configured, or what it had taken when it last refused.
    configured: Option<f64>,
    learned: Option<f64>,
    /// It refuses until then.
    full_until: Moment,
    /// What a header told, and when.
    told: Option<(f64, Moment)>,
}

impl Provisioned {
    /// Takes its configured throughput in.
    pub fn configure(&mut self, tokens_per_minute: Option<u64>) {
        self.configured = tokens_per_minute.map(|tokens| tokens as f64);
    }

    /// An attempt starts: its prompt, and the ceiling of its answer.
    pub fn charge(&mut self, tokens: u64, now: Moment) {
        self.fade(now);
        self.charged += tokens as f64;
    }

    /// It has used `used` of what it was charged: what was cached or never said is given back.
    pub fn correct(&mut self, charged: u64, used: u64, now: Moment) {
        self.fade(now);
        self.charged = (self.charged + used as f64 - charged as f64).max(0.0);
    }

    /// It refused, for `rest`.
    pub fn refused(&mut self, rest: Duration, now: Moment) {
        self.fade(now);
        if self.charged >= CHARGED_MIN {
            self.learned = Some(self.charged);
        }
        self.full_until = self.full_until.max(now.after(rest));
    }

    /// Its header told how full it is.
    pub fn tell(&mut self, share: f64, now: Moment) {
        self.told = Some((share.clamp(0.0, MOST), now));
    }

    /// Whether anything but what we sent is known: a deployment of another type neither refuses like this nor tells.
    #[must_use]
    pub fn is_seen(&self) -> bool {
        self.told.is_some() || self.full_until > Moment::ZERO
    }

    /// How full it is: 1 is the whole. Above that it refuses. `None` where nothing is known of it.
    #[must_use]
    pub fn utilization(&self, now: Moment) -> Option<f64> {
        let left = now.until(self.full_until).as_secs_f64() / MINUTE.as_secs_f64();
        let told = self.told.filter(|(_, at)| now.since(*at) < TOLD_KEPT).map(|(share, _)| share);
        let estimate = self.learned.or(self.configured).map(|whole| self.faded(now) / whole.max(1.0));
        let share = told.or(estimate).map(|share| share.clamp(0.0, MOST));
        // It told when its bucket is down to the brim again.
        if left > 0.0 { Some(share.unwrap_or(1.0).max(left.exp()).min(MOST)) } else { share }
    }

    fn faded(&self, now: Moment) -> f64 {
        self.charged * (-now.since(self.at).as_secs_f64() / MINUTE.as_secs_f64()).exp()
    }

    fn fade(&mut self, now: Moment) {
        self.charged = self.faded(now);
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop, prop_assert, proptest};

    fn at(second: u64) -> Moment {
        Moment::from_micros(second * 1_000_000)
    }

    /// After ten minutes of so many tokens a second.
    fn loaded(tokens: u64) -> Provisioned {
        let mut model = Provisioned::default();
        for second in 0..600 {
            model.charge(tokens, at(second));
        }
        model
    }

    fn percent(model: &Provisioned, second: u64) -> Option<u64> {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small share")]
        model.utilization(at(second)).map(|share| (share * 100.0).round() as u64)
    }

    #[test]
    fn nothing_is_said_of_what_is_not_known() {
        assert_eq!(percent(&Provisioned::default(), 5), None);
        assert_eq!(percent(&loaded(100), 600), None);
    }

    #[test]
    fn a_steady_load_shows_as_its_share_of_the_throughput() {
        for (tokens, share) in [(100, 100), (50, 50), (10, 10), (130, 130)] {
            let mut model = loaded(tokens);
            model.configure(Some(6000));
            let seen = percent(&model, 600).unwrap_or(0);
            assert!(seen.abs_diff(share) <= 2, "{tokens} a second: {seen} %");
        }
    }

    #[test]
    fn a_refusal_tells_the_size_and_is_over_when_it_said() {
        let mut model = loaded(100);
        model.refused(Duration::from_secs(6), at(600));
        assert!(percent(&model, 600).is_some_and(|share| share > 100));
        assert!(percent(&model, 605).is_some_and(|share| share > 100));
        assert!(percent(&model, 606).is_some_and(|share| share <= 100));
        // Half the load half an hour later is half of what it took.
        for second in 2400..3000 {
            model.charge(50, at(second));
        }
        assert!(percent(&model, 3000).is_some_and(|share| share.abs_diff(50) <= 2));
    }

    #[test]
    fn what_was_never_used_is_given_back() {
        let mut model = Provisioned::default();
        model.configure(Some(1000));
        model.charge(900, at(1));
        model.correct(900, 100, at(1));
        assert_eq!(percent(&model, 1), Some(10));
        model.correct(900, 0, at(1));
        assert_eq!(percent(&model, 1), Some(0));
    }

    #[test]
    fn a_header_goes_before_the_estimate_while_it_is_fresh() {
        let mut model = loaded(100);
        model.configure(Some(6000));
        model.tell(0.42, at(600));
        assert_eq!(percent(&model, 601), Some(42));
        assert!(percent(&model, 700).is_some_and(|share| share < 30), "faded");
    }

    proptest! {
        #[test]
        fn no_history_leads_out_of_its_bounds(
            steps in prop::collection::vec((0..5_u8, any::<u64>(), any::<u32>()), 0..40),
        ) {
            let mut model = Provisioned::default();
            for (what, tokens, second) in steps {
                let now = at(u64::from(second));
                match what {
                    0 => model.charge(tokens, now),
                    1 => model.correct(tokens, tokens / 2, now),
                    2 => model.refused(Duration::from_millis(tokens >> 20), now),
                    3 => model.tell(f64::from(second) / 1e6, now),
                    _ => model.configure(Some(tokens)),
                }
                prop_assert!(model.utilization(now).is_none_or(|share| (0.0..=MOST).contains(&share)));
            }
        }
    }
}
