//! One random draw, stretched into several. Never a source of randomness itself: the first number is an argument.

/// A sequence of numbers derived from one draw by splitmix64 steps.
#[derive(Clone, Copy, Debug)]
pub struct Chance(u64);

impl Chance {
    /// Starts from one uniformly drawn number.
    #[must_use]
    pub const fn new(draw: u64) -> Self {
        Self(draw)
    }

    /// The next number, uniform over all of `u64`.
    pub const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// The next share: uniform in `0.0..1.0`.
    pub const fn share(&mut self) -> f64 {
        // 53 bits fit a double exactly, so 1.0 itself is never reached.
        (self.number() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_cover_the_unit_interval_evenly() {
        let mut chance = Chance::new(7);
        let mut sum = 0.0;
        for _ in 0..10_000 {
            let share = chance.share();
            assert!((0.0..1.0).contains(&share));
            sum += share;
        }
        assert!((sum / 10_000.0 - 0.5).abs() < 0.02);
    }
}
