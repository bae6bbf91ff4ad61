//! Where the list of each key begins: an open-addressed table in one piece. A key is looked for from its home on, one place
//! after the other, so that touching the home ahead of time brings all that a search will need.

/// No key's place: no list begins there.
const FREE: u32 = u32::MAX;

/// Places of the smallest table that holds anything; a power of two, as all sizes are.
const PLACES_MIN: usize = 16;

#[derive(Clone, Copy)]
struct Place {
    /// In two halves, which need no gap after the head: twelve bytes, of which there are tens of millions.
    key: [u32; 2],
    head: u32,
}

const EMPTY: Place = Place { key: [0; 2], head: FREE };

/// Numbers but [`u32::MAX`] by key. A key is a digest already.
#[derive(Default)]
pub(crate) struct Heads {
    places: Vec<Place>,
    used: usize,
}

impl Heads {
    pub(crate) fn len(&self) -> usize {
        self.used
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u32)> {
        self.places.iter().filter(|place| place.head != FREE).map(|place| (join(place.key), place.head))
    }

    #[inline]
    pub(crate) fn get(&self, key: u64) -> Option<u32> {
        let place = self.places.get(self.seek(split(key)))?;
        (place.head != FREE).then_some(place.head)
    }

    /// What is at a key's home, whosever it is: it is the reading that counts, not what is read.
    #[inline]
    pub(crate) fn touch(&self, key: u64) -> u32 {
        self.places.get(self.home(split(key))).map_or(0, |place| place.head)
    }

    /// Puts what `change` makes of a key's head in its place; `None` is no head.
    pub(crate) fn update(&mut self, key: u64, change: impl FnOnce(Option<u32>) -> Option<u32>) {
        if self.places.len() * 2 <= self.used * 3 {
            self.grow();
        }
        let key = split(key);
        let at = self.seek(key);
        let Some(place) = self.places.get_mut(at) else { return };
        let held = (place.head != FREE).then_some(place.head);
        match (held, change(held)) {
            (None, Some(head)) => {
                *place = Place { key, head };
                self.used += 1;
            }
            (Some(_), Some(head)) => place.head = head,
            (Some(_), None) => self.vacate(at),
            (None, None) => {}
        }
    }

    /// The place that a key has, or the one that it would take. There are free ones: a third at least.
    #[inline]
    fn seek(&self, key: [u32; 2]) -> usize {
        let mut at = self.home(key);
        while self.places.get(at).is_some_and(|place| place.head != FREE && place.key != key) {
            at = self.after(at);
        }
        at
    }

    /// The upper bits of a product, which hang on all bits of the key.
    #[inline]
    fn home(&self, key: [u32; 2]) -> usize {
        let key = join(key);
        let mixed = (key ^ key >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let bits = self.places.len().trailing_zeros();
        (mixed >> (64 - bits.clamp(1, 63))) as usize
    }

    #[inline]
    fn after(&self, at: usize) -> usize {
        self.ahead(at, usize::MAX)
    }

    /// How far `at` is ahead of `of`, going round at the end.
    #[inline]
    fn ahead(&self, at: usize, of: usize) -> usize {
        at.wrapping_sub(of) & self.places.len().wrapping_sub(1)
    }

    fn grow(&mut self) {
        let size = (self.places.len() * 2).max(PLACES_MIN);
        let old = std::mem::replace(&mut self.places, vec![EMPTY; size]);
        for held in old.into_iter().filter(|place| place.head != FREE) {
            let at = self.seek(held.key);
            self.set(at, held);
        }
    }

    /// Frees a place, and moves up those after it that would not be found any more.
    fn vacate(&mut self, mut hole: usize) {
        self.used -= 1;
        let mut at = self.after(hole);
        while let Some(next) = self.places.get(at).copied().filter(|next| next.head != FREE) {
            if self.ahead(at, self.home(next.key)) >= self.ahead(at, hole) {
                self.set(hole, next);
                hole = at;
            }
            at = self.after(at);
        }
        self.set(hole, EMPTY);
    }

    fn set(&mut self, at: usize, place: Place) {
        if let Some(to) = self.places.get_mut(at) {
            *to = place;
        }
    }
}

#[inline]
fn split(key: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = key.to_le_bytes();
    [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])]
}

#[inline]
fn join([low, high]: [u32; 2]) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Few keys in small tables, which have most homes in common and go round at the end.
        #[test]
        fn holds_what_a_map_holds(steps in proptest::collection::vec((0u64..40, proptest::option::of(0u32..9)), 0..400)) {
            let (mut heads, mut plain) = (Heads::default(), BTreeMap::new());
            for (key, head) in steps {
                heads.update(key, |held| {
                    assert_eq!(held, plain.get(&key).copied());
                    head
                });
                match head {
                    Some(head) => plain.insert(key, head),
                    None => plain.remove(&key),
                };
                prop_assert!((0..40).all(|key| heads.get(key) == plain.get(&key).copied()));
            }
            prop_assert_eq!(heads.iter().collect::<BTreeMap<_, _>>(), plain.clone());
            prop_assert_eq!(heads.len(), plain.len());
        }
    }
}
