//! Chance that is the same for the same seed, on every machine and for ever.

/// xoshiro256++, its state filled by splitmix64.
#[derive(Debug, Clone)]
pub(crate) struct Rng([u64; 4]);

impl Rng {
    /// A stream of its own for every seed and path: what is drawn for one person or feed never shifts another's draws.
    pub(crate) fn of(seed: u64, path: &[u64]) -> Self {
        let mut state = seed;
        for step in path {
            state = splitmix(&mut state.clone()) ^ step.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        Self(std::array::from_fn(|_| splitmix(&mut state)))
    }

    pub(crate) fn next(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// From 0 to `limit - 1`; 0 for a limit of 0.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(limit);
        u64::try_from(wide >> 64).unwrap_or_default()
    }

    /// From `from` to `to`, both included.
    pub(crate) fn within(&mut self, from: i64, to: i64) -> i64 {
        let span = u64::try_from(to.saturating_sub(from).saturating_add(1)).unwrap_or_default();
        from.saturating_add(i64::try_from(self.below(span)).unwrap_or_default())
    }

    /// True this many times in a thousand.
    pub(crate) fn permille(&mut self, times: u32) -> bool {
        self.below(1000) < u64::from(times)
    }

    /// One of them, each as likely. `fallback` where there is none.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T], fallback: T) -> T {
        self.index(from.len()).and_then(|i| from.get(i)).copied().unwrap_or(fallback)
    }

    /// A text out of a list, the first ones much more often: as names are spread.
    pub(crate) fn pick_common(&mut self, from: &[&'static str]) -> &'static str {
        let (one, other) = (self.index(from.len()), self.index(from.len()));
        one.min(other).and_then(|i| from.get(i)).copied().unwrap_or_default()
    }

    /// A place in a list of weights, drawn by weight.
    pub(crate) fn weighted(&mut self, weights: impl Iterator<Item = u32> + Clone) -> usize {
        let mut left = self.below(weights.clone().map(u64::from).sum());
        for (i, weight) in weights.enumerate() {
            match left.checked_sub(u64::from(weight)) {
                Some(rest) => left = rest,
                None => return i,
            }
        }
        0
    }

    fn index(&mut self, len: usize) -> Option<usize> {
        usize::try_from(self.below(len as u64)).ok()
    }
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_and_path_draw_the_same() {
        let draw = |seed, path: &[u64]| Rng::of(seed, path).next();
        assert_eq!(draw(1, &[2, 3]), draw(1, &[2, 3]));
        assert_ne!(draw(1, &[2, 3]), draw(1, &[3, 2]));
        assert_ne!(draw(1, &[2]), draw(2, &[2]));
    }

    #[test]
    fn draws_stay_in_range_and_are_spread() {
        let mut rng = Rng::of(7, &[]);
        let mut seen = [0u32; 5];
        for _ in 0..5000 {
            seen[usize::try_from(rng.within(-2, 2) + 2).unwrap()] += 1;
        }
        assert!(seen.iter().all(|n| (850..1150).contains(n)), "{seen:?}");
        assert_eq!((rng.below(0), rng.below(1), rng.within(3, 3)), (0, 0, 3));
        let heavy = (0..1000).filter(|_| rng.weighted([1, 9].into_iter()) == 1).count();
        assert!((850..950).contains(&heavy), "{heavy}");
    }
}
