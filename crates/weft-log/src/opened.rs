//! The newest events as they were appended: who follows the log in the process that writes it need not open them again.
//!
//! This is a cache and no more. What is found here was sealed into exactly the bytes that are asked about, for they have the
//! same leaf hash; the key of a shredded event is asked for all the same; and whatever is not here is opened from its bytes.
//! Where nobody asks, as in a process that only receives, nothing is kept: to free an event long after it was made costs more
//! than to free it at once.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use weft_model::Event;

use crate::{Vault, merkle::Hash};

/// Followers that keep up are a few hundred milliseconds behind.
const EVENTS_MAX: usize = 4096;
/// Bound of the events' payloads, as encoded.
const BYTES_MAX: usize = 32 << 20;

/// An event and what it was sealed with.
#[derive(Debug, Clone)]
pub(crate) struct Opened {
    pub(crate) event: Arc<Event>,
    /// Slot of its key.
    pub(crate) slot: u64,
    /// Of its payload, as encoded.
    pub(crate) bytes: usize,
}

/// What is remembered.
#[derive(Default)]
pub(crate) struct OpenedEvents {
    kept: Mutex<Kept>,
    /// Events that were sealed since one was asked for.
    unasked: AtomicUsize,
}

#[derive(Default)]
struct Kept {
    by_leaf: HashMap<Hash, Opened>,
    /// The oldest first.
    order: VecDeque<Hash>,
    bytes: usize,
}

impl OpenedEvents {
    /// Whether an event that is sealed now is to be kept: not where nobody has asked for one while as many were sealed as are
    /// kept at most.
    pub(crate) fn wanted(&self) -> bool {
        let unasked = self.unasked.fetch_add(1, Ordering::Relaxed);
        if unasked == EVENTS_MAX {
            *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Kept::default();
        }
        unasked < EVENTS_MAX
    }

    /// Remembers events, and forgets the oldest.
    pub(crate) fn keep(&self, events: impl IntoIterator<Item = (Hash, Opened)>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for (leaf, opened) in events {
            kept.bytes += opened.bytes;
            kept.order.push_back(leaf);
            // Nonces are random: no two events have one leaf.
            kept.by_leaf.insert(leaf, opened);
        }
        while kept.order.len() > EVENTS_MAX || kept.bytes > BYTES_MAX {
            let Some(oldest) = kept.order.pop_front() else { break };
            kept.bytes -= kept.by_leaf.remove(&oldest).map_or(0, |opened| opened.bytes);
        }
    }

    /// The event with this leaf, where it is remembered and its key is there.
    pub(crate) fn find(&self, leaf: &Hash, vault: &Vault) -> Option<Arc<Event>> {
        self.unasked.store(0, Ordering::Relaxed);
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Opened { event, slot, .. } = kept.by_leaf.get(leaf)?;
        vault.key(*slot).is_ok().then(|| Arc::clone(event))
    }
}

#[cfg(test)]
mod tests {
    use weft_model::{Payload, Random, proto::event::Header};

    use super::*;

    struct Fixed;

    impl Random for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(7);
        }
    }

    fn opened(bytes: usize) -> Opened {
        let event = Event { header: Header::default(), payload: Payload::Disclosed(Default::default()) };
        Opened { event: Arc::new(event), slot: 0, bytes }
    }

    /// Events and bytes.
    fn held(events: &OpenedEvents) -> (usize, usize) {
        let kept = events.kept.lock().unwrap();
        assert_eq!(kept.by_leaf.len(), kept.order.len());
        (kept.order.len(), kept.bytes)
    }

    fn leaf(n: usize) -> Hash {
        std::array::from_fn(|at| n.to_be_bytes().get(at).copied().unwrap_or(0))
    }

    #[test]
    fn nothing_is_kept_where_nobody_asks() {
        let dir = tempfile::tempdir().unwrap();
        Vault::create(dir.path(), &Fixed).unwrap();
        let vault = Vault::open(dir.path(), Arc::new(Fixed)).unwrap();
        let events = OpenedEvents::default();
        assert!((0..EVENTS_MAX).all(|_| events.wanted()));
        events.keep([(leaf(1), opened(10))]);
        assert!(!events.wanted());
        assert_eq!(held(&events), (0, 0));
        assert!(events.find(&leaf(1), &vault).is_none());
        assert!(events.wanted());
        events.keep([(leaf(2), opened(10))]);
        assert!(events.find(&leaf(2), &vault).is_some());
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let events = OpenedEvents::default();
        events.keep((0..2 * EVENTS_MAX).map(|n| (leaf(n), opened(10))));
        assert_eq!(held(&events), (EVENTS_MAX, 10 * EVENTS_MAX));
        assert_eq!(events.kept.lock().unwrap().order.front(), Some(&leaf(EVENTS_MAX)));
        events.keep([(leaf(9 * EVENTS_MAX), opened(BYTES_MAX))]);
        assert_eq!(held(&events), (1, BYTES_MAX));
        events.keep([(leaf(10 * EVENTS_MAX), opened(BYTES_MAX + 1))]);
        assert_eq!(held(&events), (0, 0));
    }
}
