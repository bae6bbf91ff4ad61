//! One partition: every event by itself, and all of them against the roots in the cuts.

use std::{iter::Peekable, ops::Range, slice::Iter, sync::Arc};

use futures::{StreamExt, TryStreamExt, stream};
use weft_model::{Partition, Position};

use super::{
    VerifyError,
    damage::{Damage, DamageKind, Place},
    event::{self, Opening},
    read::{self, Page, PageRange, ranges},
};
use crate::{
    Evidence, Indexed, ReadLimit, Stored,
    cut::Root,
    header,
    merkle::{Hash, Tree},
    seal::Scratch,
};

/// Events between two cuts that are looked up in the log's index one by one, to say which of them is out of place.
const LOOKUPS_MAX: u64 = 1 << 16;
const UNCOMPARED: &str = "later cuts of this partition cannot be compared";

/// What a walk over a partition came to.
#[derive(Default)]
pub(super) struct Walked {
    /// Events that are there.
    pub(super) events: u64,
    pub(super) opened: u64,
    pub(super) shredded: u64,
    pub(super) damages: Vec<Damage>,
}

/// A page whose events were each checked.
struct CheckedPage {
    range: PageRange,
    /// For each offset of the range the leaf hash, and the other one where it is not clear which is right; None where
    /// there is no event.
    leaves: Vec<Option<(Hash, Option<Hash>)>>,
    opened: u64,
    shredded: u64,
    damages: Vec<Damage>,
}

/// Walks over the first `size` events of `partition`, whose roots are known at the sizes of `roots`.
pub(super) async fn walk(
    evidence: &Arc<dyn Evidence>,
    partition: Partition,
    size: u64,
    roots: &[(Root, u64)],
    opening: Option<&Arc<Opening>>,
    workers: usize,
) -> Result<Walked, VerifyError> {
    let pages = stream::iter(ranges(partition, size)).map(|range| {
        let (evidence, opening) = (Arc::clone(evidence), opening.cloned());
        // A task of its own: reading and checking go on while the caller is at the tree.
        tokio::spawn(async move {
            let page = read::page(&*evidence, range).await?;
            #[cfg(feature = "kafka")]
            if let Some(opening) = &opening {
                // Keys that lie in a database are fetched for the whole page.
                opening
                    .vault
                    .load(page.events.iter().filter_map(|stored| crate::seal::key_slot(&stored.bytes)))
                    .await?;
            }
            Ok::<_, VerifyError>(tokio::task::spawn_blocking(move || check(page, opening.as_deref())).await?)
        })
    });
    let mut pages = pages.buffered(workers);
    let mut walk = Walk {
        partition,
        tree: Some(Tree::default()),
        segment: Segment::default(),
        roots: roots.iter().peekable(),
        walked: Walked::default(),
    };
    while let Some(page) = pages.try_next().await? {
        walk.add(&**evidence, page?).await?;
    }
    Ok(walk.walked)
}

fn check(page: Page, opening: Option<&Opening>) -> CheckedPage {
    let Page { range, events, damages } = page;
    let length = usize::try_from(range.offsets.end - range.offsets.start).unwrap_or(0);
    let mut checked = CheckedPage { leaves: vec![None; length], opened: 0, shredded: 0, damages, range };
    let mut scratch = Scratch::default();
    for stored in &events {
        let found = event::check(stored, opening, &mut scratch);
        checked.opened += u64::from(found.opened);
        checked.shredded += u64::from(found.shredded);
        checked.damages.extend(found.damage);
        let at = usize::try_from(stored.position.offset - checked.range.offsets.start).unwrap_or(usize::MAX);
        if let Some(leaf) = checked.leaves.get_mut(at) {
            *leaf = Some((found.leaf, found.doubtful));
        }
    }
    checked
}

struct Walk<'r> {
    partition: Partition,
    /// None once it cannot be continued: an event is missing, or a root was wrong and nobody knows why.
    tree: Option<Tree>,
    segment: Segment,
    /// Those that are still to come.
    roots: Peekable<Iter<'r, (Root, u64)>>,
    walked: Walked,
}

/// What lies between the last root that was right and the next one.
#[derive(Default)]
struct Segment {
    before: Tree,
    leaves: Vec<(Hash, Option<Hash>)>,
}

impl Walk<'_> {
    async fn add(&mut self, evidence: &dyn Evidence, page: CheckedPage) -> Result<(), VerifyError> {
        let CheckedPage { range, leaves, opened, shredded, damages } = page;
        self.walked.opened += opened;
        self.walked.shredded += shredded;
        let unreadable: Vec<Range<u64>> = damages.iter().filter_map(unreadable).collect();
        self.walked.damages.extend(damages);
        for (offset, leaf) in range.offsets.zip(leaves) {
            match leaf {
                Some(leaf) => {
                    self.walked.events += 1;
                    self.push(evidence, leaf).await?;
                }
                None => {
                    self.tree = None;
                    if !unreadable.iter().any(|stretch| stretch.contains(&offset)) {
                        self.missing(offset);
                    }
                }
            }
        }
        Ok(())
    }

    async fn push(&mut self, evidence: &dyn Evidence, leaf: (Hash, Option<Hash>)) -> Result<(), VerifyError> {
        let (Some(tree), Some((root, tick))) = (&mut self.tree, self.roots.peek().copied()) else { return Ok(()) };
        tree.push(leaf.0);
        self.segment.leaves.push(leaf);
        if tree.size() < root.size {
            return Ok(());
        }
        if tree.root() != root.root {
            self.tree = self.explain(evidence, *root, *tick).await?;
        }
        if let Some(tree) = &self.tree {
            self.segment.before.clone_from(tree);
        }
        self.segment.leaves.clear();
        self.roots.next();
        Ok(())
    }

    /// Adds an event that is not there to those just before it.
    fn missing(&mut self, offset: u64) {
        if let Some(Damage { kind: DamageKind::EventMissing, place: Place::Events(_, _, to), .. }) =
            self.walked.damages.last_mut()
            && *to == offset
        {
            *to = offset + 1;
            return;
        }
        let place = self.partition.at(offset);
        let what = format!("there is no event here; {UNCOMPARED}");
        self.walked.damages.push(Damage::new(DamageKind::EventMissing, place, what));
    }

    /// Why the root is another one. Returns the tree as the cut has it, where that can be told.
    async fn explain(&mut self, evidence: &dyn Evidence, root: Root, tick: u64) -> Result<Option<Tree>, VerifyError> {
        // Where a leaf hash does not fit its event, the root says which of them is the one that was stored.
        let other: Vec<Hash> = self.segment.leaves.iter().map(|(leaf, other)| other.unwrap_or(*leaf)).collect();
        let tree = self.segment.before.clone();
        if let Some(tree) = grown(tree, &other, root) {
            self.leaf_was_changed();
            return Ok(Some(tree));
        }
        let start = self.segment.before.size();
        let place = Place::Events(self.partition, start, root.size);
        let misplaced = self.misplaced(evidence, start..root.size).await?;
        if misplaced.is_empty() {
            let what = format!("these are not the events that cut {tick} was taken of; {UNCOMPARED}");
            self.walked.damages.push(Damage::new(DamageKind::RootDiffers, place, what));
            return Ok(None);
        }
        let tree = self.put_back(&misplaced, start, root);
        let tail = if tree.is_some() { String::new() } else { format!("; {UNCOMPARED}") };
        for (here, indexed) in misplaced {
            let (kind, what) = match indexed {
                Some(there) => (DamageKind::OrderSwapped, format!("this event was stored at {there}{tail}")),
                None => (DamageKind::EventReplaced, format!("the log's index does not know this event{tail}")),
            };
            self.walked.damages.push(Damage::new(kind, self.partition.at(here), what));
        }
        Ok(tree)
    }

    /// Bytes that are right after all: it was their leaf hash that was changed, and wholly.
    fn leaf_was_changed(&mut self) {
        let start = self.segment.before.size();
        let doubtful = self.segment.leaves.iter().zip(start..).filter(|((_, other), _)| other.is_some());
        let places: Vec<Place> = doubtful.map(|(_, offset)| self.partition.at(offset).into()).collect();
        for damage in self.walked.damages.iter_mut().filter(|damage| places.contains(&damage.place)) {
            damage.kind = DamageKind::LeafChanged;
            "the stored leaf hash was changed; the event itself is whole".clone_into(&mut damage.what);
        }
    }

    /// The events of these offsets that the log's index has elsewhere, or not at all.
    async fn misplaced(
        &self,
        evidence: &dyn Evidence,
        offsets: Range<u64>,
    ) -> Result<Vec<(u64, Option<Position>)>, VerifyError> {
        let mut misplaced = Vec::new();
        if offsets.end - offsets.start > LOOKUPS_MAX {
            return Ok(misplaced);
        }
        let mut next = offsets.start;
        while next < offsets.end {
            let events = usize::try_from(offsets.end - next).unwrap_or(usize::MAX).min(ReadLimit::PAGE.events);
            let page = evidence.read(self.partition.at(next), ReadLimit { events, ..ReadLimit::PAGE }).await?;
            let Some(last) = page.last() else { break };
            next = last.position.offset + 1;
            for stored in &page {
                let Some(indexed) = look_up(evidence, stored).await? else { return Ok(Vec::new()) };
                if indexed != Some(stored.position) && !is_repeat(evidence, stored, indexed).await? {
                    misplaced.push((stored.position.offset, indexed));
                }
            }
        }
        Ok(misplaced)
    }

    /// The tree with every event where the index has it, if that is what the cut was taken of.
    fn put_back(&self, misplaced: &[(u64, Option<Position>)], start: u64, root: Root) -> Option<Tree> {
        let at = |offset: u64| usize::try_from(offset.checked_sub(start)?).ok();
        let mut leaves: Vec<Hash> = self.segment.leaves.iter().map(|(leaf, _)| *leaf).collect();
        for (here, indexed) in misplaced {
            let there = (*indexed)?;
            if there.partition != self.partition {
                return None;
            }
            let leaf = self.segment.leaves.get(at(*here)?)?.0;
            *leaves.get_mut(at(there.offset)?)? = leaf;
        }
        grown(self.segment.before.clone(), &leaves, root)
    }
}

/// Where the index has an event; None where there is no index to ask.
async fn look_up(evidence: &dyn Evidence, stored: &Stored) -> Result<Option<Option<Position>>, VerifyError> {
    let Ok(header) = header(stored) else { return Ok(Some(None)) };
    Ok(match evidence.indexed(&header).await? {
        Indexed::At(position) => Some(Some(position)),
        Indexed::Absent => Some(None),
        Indexed::NotKept => None,
    })
}

/// Whether the event lies where the index has it too: what was delivered twice lies in the log twice, and is indexed once.
async fn is_repeat(evidence: &dyn Evidence, stored: &Stored, indexed: Option<Position>) -> Result<bool, VerifyError> {
    let Some(first) = indexed.filter(|first| *first < stored.position) else { return Ok(false) };
    let there = evidence.read(first, ReadLimit { events: 1, ..ReadLimit::PAGE }).await?;
    let id = |stored: &Stored| header(stored).ok().map(|header| header.event_id);
    Ok(there.first().is_some_and(|there| there.position == first && id(there) == id(stored)))
}

/// The tree with these leaves added, if it has this root.
fn grown(mut tree: Tree, leaves: &[Hash], root: Root) -> Option<Tree> {
    leaves.iter().for_each(|leaf| tree.push(*leaf));
    (tree.root() == root.root).then_some(tree)
}

fn unreadable(damage: &Damage) -> Option<Range<u64>> {
    match (damage.kind, damage.place) {
        (DamageKind::FileDamaged, Place::Events(_, from, to)) => Some(from..to),
        _ => None,
    }
}
