//! The chain of cuts: each follows the one before, is signed, and is the last leaf of the tree that its checkpoint names.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::{StreamExt, TryStreamExt, stream};
use weft_model::Partition;

use super::{
    VerifyError,
    damage::{Damage, DamageKind, Place},
    event::mended,
    read::ranges,
};
use crate::{
    Evidence, NoteError, PublicKey, Stored, Taken, TreeHead,
    cut::{CUTS, Root},
    merkle::{Hash, Tree, leaf_hash},
};

/// What the cuts say.
#[derive(Default)]
pub(super) struct Cuts {
    /// Number of cuts.
    pub(super) count: u64,
    /// The newest one.
    pub(super) newest: Option<Taken>,
    /// For each partition the sizes at which its root is known, ascending, each with the cut that says so first.
    pub(super) roots: BTreeMap<Partition, Vec<(Root, u64)>>,
    /// Root of the tree of cuts at the sizes that were asked for.
    pub(super) heads: BTreeMap<u64, Hash>,
    pub(super) damages: Vec<Damage>,
}

/// A cut, and what its signature is worth.
struct Signed {
    cut: Taken,
    head: Result<TreeHead, NoteError>,
}

/// Walks over all cuts below `end`. `sizes`: at which sizes of the tree of cuts its root is wanted.
pub(super) async fn walk(
    evidence: &Arc<dyn Evidence>,
    end: u64,
    key: &PublicKey,
    sizes: &[u64],
    workers: usize,
) -> Result<Cuts, VerifyError> {
    let mut walk = Walk { cuts: Cuts::default(), tree: Some(Tree::default()), seen: BTreeSet::new() };
    let pages = stream::iter(ranges(CUTS, end)).map(|range| {
        let (evidence, key) = (Arc::clone(evidence), key.clone());
        async move {
            let page = super::read::page(&*evidence, range).await?;
            let signed =
                tokio::task::spawn_blocking(move || page.events.iter().filter_map(|e| read(e, &key)).collect());
            Ok::<Vec<_>, VerifyError>(signed.await?)
        }
    });
    let mut pages = pages.buffered(workers);
    while let Some(page) = pages.try_next().await? {
        for signed in page {
            walk.add(signed, sizes);
        }
    }
    Ok(walk.cuts)
}

/// The cut in an event, if it is one. One changed byte does not end the chain: it is told of where events are checked.
fn read(stored: &Stored, key: &PublicKey) -> Option<Result<Signed, Damage>> {
    let bytes = if leaf_hash(&stored.bytes) == stored.leaf { None } else { mended(stored) };
    let stored = Stored { bytes: bytes.unwrap_or_else(|| stored.bytes.clone()), ..stored.clone() };
    match Taken::read(&stored) {
        Ok(cut) => cut.map(|cut| Ok(Signed { head: TreeHead::verify(&cut.checkpoint, key), cut })),
        // Whatever it was, it is told of where events are checked.
        Err(_) if leaf_hash(&stored.bytes) != stored.leaf => None,
        Err(error) => Some(Err(Damage::new(DamageKind::CutChanged, stored.position, error.to_string()))),
    }
}

struct Walk {
    cuts: Cuts,
    /// None once a cut is missing: the tree cannot go on without its leaf.
    tree: Option<Tree>,
    /// Ticks that a cut was seen of.
    seen: BTreeSet<u64>,
}

impl Walk {
    fn add(&mut self, signed: Result<Signed, Damage>, sizes: &[u64]) {
        let signed = match signed {
            Ok(signed) => signed,
            Err(damage) => return self.cuts.damages.push(damage),
        };
        let cut = &signed.cut;
        if !self.seen.insert(cut.tick) {
            // Where several nodes write there may be a second one for a tick; the first counts. But the notary's it must be.
            self.cuts.damages.extend(signed.head.err().map(|error| unsigned(cut, &error)));
            return;
        }
        self.follows(cut);
        self.is_signed(&signed);
        // Where a cut is missing there is no tree any more, but the notary's word for it.
        let signed_root = signed.head.as_ref().ok().map(|head| head.root);
        if let Some(root) = self.tree.as_ref().map(Tree::root).or(signed_root)
            && sizes.contains(&(cut.tick + 1))
        {
            self.cuts.heads.insert(cut.tick + 1, root);
        }
        for (partition, root) in &cut.partitions {
            // Of nothing there is nothing to compare.
            let roots = self.cuts.roots.entry(*partition).or_default();
            if roots.last().map_or(0, |(last, _)| last.size) < root.size {
                roots.push((*root, cut.tick));
            }
        }
        self.cuts.count = self.cuts.count.max(cut.tick + 1);
        self.cuts.newest = Some(signed.cut);
    }

    fn follows(&mut self, cut: &Taken) {
        let before = self.cuts.newest.as_ref();
        let expected = before.map_or(0, |before| before.tick + 1);
        let mut broken = |what: String| {
            self.cuts.damages.push(Damage::new(DamageKind::CutChain, Place::Cut(cut.tick), what));
        };
        if cut.tick != expected {
            broken(format!("the cut before it at {} should have been cut {expected}", cut.position));
            self.tree = None;
        } else if cut.previous != before.map(Taken::leaf) {
            broken("it does not carry the hash of the cut before it".to_owned());
        }
        if before.is_some_and(|before| before.recorded_us >= cut.recorded_us) {
            broken("it was not taken after the cut before it".to_owned());
        }
        for (partition, root) in &cut.partitions {
            let last = before.and_then(|before| before.partitions.get(partition));
            if last.is_some_and(|last| last.size > root.size || (last.size == root.size && last.root != root.root)) {
                broken(format!("{partition} is not a continuation of what the cut before it says"));
            }
            if root.size == 0 && root.root != Tree::default().root() {
                broken(format!("{partition} has the root of something and is said to be empty"));
            }
        }
        if cut.partitions.get(&CUTS).is_some_and(|root| root.size > cut.position.offset) {
            broken("it covers itself".to_owned());
        }
    }

    fn is_signed(&mut self, signed: &Signed) {
        let cut = &signed.cut;
        if let Some(tree) = &mut self.tree {
            tree.push(cut.leaf());
        }
        match &signed.head {
            Err(error) => self.cuts.damages.push(unsigned(cut, error)),
            Ok(head) => {
                let root = self.tree.as_ref().map(Tree::root);
                if head.size != cut.tick + 1 || root.is_some_and(|root| root != head.root) {
                    let what = format!("its checkpoint at {} is of other cuts than those before it", cut.position);
                    self.cuts.damages.push(Damage::new(DamageKind::CutChain, Place::Cut(cut.tick), what));
                }
            }
        }
    }
}

fn unsigned(cut: &Taken, error: &NoteError) -> Damage {
    let what = format!("its checkpoint at {} is not the notary's: {error}", cut.position);
    Damage::new(DamageKind::CutSignature, Place::Cut(cut.tick), what)
}
