//! Affinity: requests with the same key go to the same backend, so that its prompt cache knows their beginning. Among equals only:
//! whoever calls passes those that selection would draw from, and a backend that is crowded gives its requests to the next one.
//!
//! Rendezvous hashing, weighted: every backend draws a number from the key and its own name, and the largest wins. When a backend
//! goes, its keys alone move; when it comes back, they return. Shares of many keys are the weights.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// In flight above its share of all, a backend may have so much more.
const SPREAD: f64 = 1.25;
/// Below this many in flight nobody is crowded, whatever the others have.
const QUIET: f64 = 8.0;

/// What affinity knows about one backend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// Hash of its name: the same in every gateway.
    pub seed: u64,
    /// Its weight, above zero.
    pub weight: f64,
    /// Attempts in flight, and what its recent failures weigh.
    pub load: f64,
}

/// Where a key goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home {
    /// Index of the place.
    pub index: usize,
    /// It is the first choice of the key; else that one is crowded.
    pub first: bool,
}

/// The place of `key` among `places`; none where there is none.
#[must_use]
pub fn home(places: impl Iterator<Item = (usize, Place)> + Clone, key: u64) -> Option<Home> {
    let (mut load, mut weight) = (1.0, 0.0);
    for (_, place) in places.clone() {
        load += place.load;
        weight += place.weight;
    }
    let (mut first, mut best) = (None, None);
    for (index, place) in places {
        let score = place.score(key);
        let better = |known: Option<(f64, usize)>| known.is_none_or(|(known, _)| score > known);
        if better(first) {
            first = Some((score, index));
        }
        let most = (SPREAD * load * place.weight / weight).max(QUIET);
        if place.load < most && better(best) {
            best = Some((score, index));
        }
    }
    let (_, first) = first?;
    let index = best.map_or(first, |(_, index)| index);
    Some(Home { index, first: index == first })
}

impl Place {
    /// Larger is better: `weight / -ln(u)` of a number that is uniform over keys.
    fn score(&self, key: u64) -> f64 {
        let uniform = ((mixed(key ^ self.seed) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        self.weight / -uniform.ln()
    }
}

/// Hash of some bytes, after those that made `seed`: fast, and the same in every gateway. Whoever knows it can make keys that meet, and
/// has his own requests in one place for it.
#[must_use]
pub fn hash(seed: u64, bytes: &[u8]) -> u64 {
    xxh3_64_with_seed(bytes, seed)
}

/// The last steps of splitmix64.
const fn mixed(word: u64) -> u64 {
    let z = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};
    use std::collections::HashSet;

    fn places(weights: &[f64]) -> Vec<Place> {
        let place = |(index, weight): (usize, &f64)| {
            let seed = hash(0, format!("backend-{index}").as_bytes());
            Place { seed, weight: *weight, load: 0.0 }
        };
        weights.iter().enumerate().map(place).collect()
    }

    fn of(places: &[Place], key: u64) -> Option<Home> {
        home(places.iter().copied().enumerate(), key)
    }

    /// Share of ten thousand keys that each place has.
    fn shares(places: &[Place]) -> Vec<f64> {
        let mut counts = vec![0.0; places.len()];
        for number in 0..10_000_u64 {
            counts[of(places, hash(0, &number.to_le_bytes())).unwrap().index] += 1e-4;
        }
        counts
    }

    #[test]
    fn many_keys_share_by_weight() {
        for (share, want) in shares(&places(&[50.0, 25.0, 25.0])).iter().zip([0.5, 0.25, 0.25]) {
            assert!((share - want).abs() < 0.02, "{share} for {want}");
        }
    }

    #[test]
    fn when_a_backend_goes_only_its_own_keys_move() {
        let all = places(&[1.0, 1.0, 1.0]);
        for number in 0..1000_u64 {
            let key = hash(7, &number.to_le_bytes());
            let before = of(&all, key).unwrap();
            assert!(before.first);
            let left = all.iter().copied().enumerate().filter(|(index, _)| *index != 1);
            let after = home(left, key).unwrap();
            assert!(before.index == 1 || before == after, "{key}");
        }
    }

    #[test]
    fn a_crowded_backend_gives_its_keys_to_the_next_one() {
        for (loads, want) in [
            ([0.0, 0.0], true),
            // Few in flight crowd nobody.
            ([7.0, 0.0], true),
            ([8.0, 0.0], false),
            ([100.0, 80.0], true),
            ([100.0, 40.0], false),
            ([1000.0, 1000.0], true),
        ] {
            let mut two = places(&[1.0, 1.0]);
            let key = (0..).find(|key| of(&two, *key).unwrap().index == 0).unwrap();
            two[0].load = loads[0];
            two[1].load = loads[1];
            let home = of(&two, key).unwrap();
            assert_eq!((home.first, home.index == 0), (want, want), "{loads:?}");
        }
        assert_eq!(of(&[], 1), None);
    }

    #[test]
    fn a_hash_depends_on_every_byte_and_on_the_length() {
        let mut seen = HashSet::new();
        let text = [b'a'; 40];
        for length in 0..=40 {
            assert!(seen.insert(hash(0, &text[..length])), "{length}");
        }
        for place in 0..40 {
            let mut other = text;
            other[place] = b'b';
            assert!(seen.insert(hash(0, &other)), "{place}");
        }
        assert!(seen.insert(hash(1, &text)) && seen.insert(hash(0, &[0])) && seen.insert(hash(0, &[0, 0])));
    }

    proptest! {
        #[test]
        fn nobody_gets_more_than_its_bound_while_another_has_room(
            loads in prop::collection::vec((1..1000_u32, 0..200_u32), 1..64),
            key in any::<u64>(),
        ) {
            let weights: Vec<f64> = loads.iter().map(|(weight, _)| f64::from(*weight)).collect();
            let mut list = places(&weights);
            for (place, (_, load)) in list.iter_mut().zip(&loads) {
                place.load = f64::from(*load);
            }
            let home = of(&list, key).unwrap();
            let (load, weight) = (1.0 + list.iter().map(|p| p.load).sum::<f64>(), weights.iter().sum::<f64>());
            let most = |place: &Place| (SPREAD * load * place.weight / weight).max(QUIET);
            // The bounds sum up to more than is there: somebody always has room.
            prop_assert!(list[home.index].load < most(&list[home.index]));
            prop_assert_eq!(of(&list, key), Some(home));
        }

        #[test]
        fn any_bytes_are_hashed(bytes in prop::collection::vec(any::<u8>(), 0..100), seed in any::<u64>()) {
            prop_assert_eq!(hash(seed, &bytes), hash(seed, &bytes.clone()));
        }
    }
}
