//! Which record follows which since a merge: the retired one the survivor, and whoever followed it with it.

use crate::map::Map;

/// Ties between slots. A slot follows one at most; nobody follows itself, through however many ties.
#[derive(Default)]
pub(crate) struct Ties {
    /// Retired -> survivor.
    follows: Map<u32, u32>,
    followers: Map<u32, List>,
}

impl Ties {
    /// The slot that this one follows.
    pub(crate) fn survivor(&self, slot: u32) -> Option<u32> {
        self.follows.get(&slot).copied()
    }

    /// The slot that this one follows in the end, through any number of ties.
    pub(crate) fn head(&self, slot: u32) -> Option<u32> {
        self.above(slot).last()
    }

    /// This slot, and all that follow it through any number of ties.
    pub(crate) fn with_followers(&self, slot: u32) -> Vec<u32> {
        let mut all = vec![slot];
        let mut at = 0;
        while let Some(slot) = all.get(at) {
            all.extend_from_slice(self.followers.get(slot).map_or(&[], List::as_slice));
            at += 1;
        }
        all
    }

    /// `retired` follows `survivor` from now on. True where the survivor itself followed `retired`: it takes that place.
    pub(crate) fn merge(&mut self, retired: u32, survivor: u32) -> bool {
        let turned = self.above(survivor).any(|above| above == retired);
        let above = self.untie(retired);
        if turned {
            self.untie(survivor);
            if let Some(above) = above {
                self.tie(survivor, above);
            }
        }
        self.tie(retired, survivor);
        turned
    }

    /// Takes a tie away and says where it led.
    pub(crate) fn untie(&mut self, retired: u32) -> Option<u32> {
        let survivor = self.follows.remove(&retired)?;
        if self.followers.get_mut(&survivor).is_some_and(|list| list.remove(retired)) {
            self.followers.remove(&survivor);
        }
        Some(survivor)
    }

    fn tie(&mut self, retired: u32, survivor: u32) {
        self.follows.insert(retired, survivor);
        self.followers.entry(survivor).and_modify(|list| list.add(retired)).or_insert(List::One(retired));
    }

    /// What a slot follows, nearest first.
    fn above(&self, slot: u32) -> impl Iterator<Item = u32> {
        std::iter::successors(self.survivor(slot), |slot| self.survivor(*slot))
    }
}

/// Slots that follow one: nearly always one.
enum List {
    One(u32),
    Many(Vec<u32>),
}

impl List {
    fn as_slice(&self) -> &[u32] {
        match self {
            Self::One(slot) => std::slice::from_ref(slot),
            Self::Many(slots) => slots,
        }
    }

    fn add(&mut self, slot: u32) {
        match self {
            Self::One(first) => *self = Self::Many(vec![*first, slot]),
            Self::Many(slots) => slots.push(slot),
        }
    }

    /// True where nothing is left.
    fn remove(&mut self, slot: u32) -> bool {
        match self {
            Self::One(only) => *only == slot,
            Self::Many(slots) => {
                slots.retain(|held| *held != slot);
                slots.is_empty()
            }
        }
    }
}
