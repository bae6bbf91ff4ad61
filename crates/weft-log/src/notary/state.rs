//! What the notary holds between two cuts.

use std::collections::BTreeMap;

use prost::Message;
use weft_model::{
    EventKind, Partition, Payload, Stream, Verdict,
    proto::event::{CutTaken, CutVector},
};

use super::{Notary, NotaryError, Stopped, not_kept};
use crate::{
    Draft, Evidence, ReadLimit, Same, SharedLog,
    cut::{self, CUTS, Root, Taken, partition_root},
    evidence::LogEvidence,
    header,
    merkle::{Hash, leaf_hash},
    nodes::{Grower, Nodes},
    tree_head::TreeHead,
};

/// The name of the tree of cuts among the kept nodes.
pub(crate) const CUT_NODES: &str = "cuts";

pub(super) struct State {
    /// The newest cut in the log.
    newest: Option<Newest>,
    cuts: Kept,
    partitions: BTreeMap<Partition, Kept>,
    newest_decision: Option<u64>,
}

struct Newest {
    leaf: Hash,
    recorded_us: i64,
    offset: u64,
}

/// A tree, and where its nodes are kept.
struct Kept {
    tree: Grower,
    nodes: Nodes,
}

impl State {
    /// As the newest cut in the log left it.
    pub(super) async fn resume(notary: &Notary) -> Result<Self, Stopped> {
        let log = LogEvidence(notary.log.clone());
        let newest = check(notary).await?;
        let mut partitions = BTreeMap::new();
        for partition in notary.log.partitions() {
            let root = newest.as_ref().and_then(|cut| cut.partitions.get(&partition)).copied();
            let kept = Kept::new(notary, &node_name(partition));
            let tree = match (&newest, root) {
                (Some(cut), Some(root)) => kept.partition_at(&notary.log, partition, root, cut.tick).await?,
                _ => kept,
            };
            partitions.insert(partition, tree);
        }
        let kept = Kept::new(notary, CUT_NODES);
        let cuts = match &newest {
            Some(newest) => kept.cuts_at(&log, newest, notary).await?,
            None => kept,
        };
        let newest_decision = newest.as_ref().and_then(|cut| cut.newest_decision);
        let newest =
            newest.map(|cut| Newest { leaf: cut.leaf(), recorded_us: cut.recorded_us, offset: cut.position.offset });
        Ok(Self { newest, cuts, partitions, newest_decision })
    }

    /// Number of cuts in the log.
    pub(super) fn cuts(&self) -> u64 {
        self.cuts.tree.size()
    }

    /// For each partition, how many of its events are covered or are the newest cut itself.
    pub(super) fn seen(&self) -> impl Iterator<Item = (Partition, u64)> {
        self.partitions.iter().map(|(partition, kept)| {
            let size = kept.tree.size();
            let own = *partition == CUTS && self.newest.as_ref().is_some_and(|newest| newest.offset == size);
            (*partition, size + u64::from(own))
        })
    }

    /// Takes a cut where there is anything to cover; returns its tick.
    pub(super) async fn take(&mut self, notary: &Notary) -> Result<Option<u64>, Stopped> {
        let tick = self.cuts();
        if !self.absorb(notary).await? {
            return Ok(None);
        }
        let now = notary.clock.now_us();
        let recorded_us = self.newest.as_ref().map_or(now, |newest| now.max(newest.recorded_us + 1));
        let vector = CutVector {
            tick,
            previous: self.newest.as_ref().map(|newest| newest.leaf.to_vec()).unwrap_or_default(),
            recorded_us,
            partitions: self.partitions.iter().map(|(p, kept)| partition_root(*p, kept.root())).collect(),
            newest_decision: self.newest_decision,
        };
        let vector = vector.encode_to_vec();
        let leaf = leaf_hash(&vector);
        self.cuts.push([leaf]);
        let checkpoint = TreeHead::sign(tick + 1, self.cuts.tree.root(), &notary.key);
        let draft = draft(tick, recorded_us, CutTaken { vector, checkpoint: checkpoint.clone() });
        let receipts = notary.log.append(vec![draft]).await?;
        match receipts.first() {
            Some(receipt) if receipt.verdict == Verdict::Accepted => {
                self.newest = Some(Newest { leaf, recorded_us, offset: receipt.position.offset });
                notary.remember(&checkpoint);
                Ok(Some(tick))
            }
            _ => Err(Stopped::Overtaken),
        }
    }

    /// Adds what was stored since the last cut; true where it is more than cuts.
    async fn absorb(&mut self, notary: &Notary) -> Result<bool, Stopped> {
        let mut order: Vec<Partition> = self.partitions.keys().copied().collect();
        order.sort_by_key(|partition| effects_first(partition.stream));
        let mut sizes = Vec::with_capacity(order.len());
        for partition in order {
            sizes.push((partition, notary.log.size(partition).await?));
        }
        let mut news = false;
        for (partition, size) in sizes {
            while let Some(page) = self.next_page(&notary.log, partition, size).await? {
                for stored in &page {
                    news |= self.is_news(partition, stored)?;
                }
                if let Some(kept) = self.partitions.get_mut(&partition) {
                    kept.push(page.iter().map(|stored| stored.leaf));
                }
            }
        }
        Ok(news)
    }

    async fn next_page(
        &self,
        log: &SharedLog,
        partition: Partition,
        end: u64,
    ) -> Result<Option<Vec<crate::Stored>>, Stopped> {
        let next = self.partitions.get(&partition).map_or(end, |kept| kept.tree.size());
        if next >= end {
            return Ok(None);
        }
        let events = usize::try_from(end - next).unwrap_or(usize::MAX).min(ReadLimit::PAGE.events);
        let page = log.read(partition.at(next), ReadLimit { events, ..ReadLimit::PAGE }).await?;
        Ok(Some(page).filter(|page| !page.is_empty()))
    }

    /// False for a cut, which alone makes no other necessary. A cut that is not the newest known is another notary's.
    fn is_news(&mut self, partition: Partition, stored: &crate::Stored) -> Result<bool, Stopped> {
        if partition != CUTS {
            return Ok(true);
        }
        let corrupt = |what| crate::ReadError::Corrupt { position: stored.position, what };
        let header = header(stored).map_err(|_| corrupt("header does not decode"))?;
        let offset = stored.position.offset;
        if header.kind() != EventKind::CutTaken {
            self.newest_decision = Some(offset);
            return Ok(true);
        }
        match Taken::read(stored)? {
            Some(cut) if cut.tick >= self.cuts() => Err(Stopped::Overtaken),
            _ => Ok(false),
        }
    }
}

impl Kept {
    fn new(notary: &Notary, name: &str) -> Self {
        Self { tree: Grower::default(), nodes: Nodes::new(&notary.nodes, name) }
    }

    fn root(&self) -> Root {
        Root { size: self.tree.size(), root: self.tree.root() }
    }

    fn push(&mut self, leaves: impl IntoIterator<Item = Hash>) {
        let mut ready = Vec::new();
        leaves.into_iter().for_each(|leaf| self.tree.push(leaf, &mut ready));
        if let Err(error) = self.nodes.write(&ready) {
            not_kept(&error);
        }
    }

    /// The kept tree of `size` leaves, if it has this root.
    fn resumed(&self, root: Root, loose: &[Hash]) -> Option<Grower> {
        match Grower::resume(&self.nodes, root.size, loose) {
            Ok(resumed) => resumed.filter(|tree| tree.root() == root.root),
            Err(error) => {
                not_kept(&error);
                None
            }
        }
    }

    /// The tree of a partition as it was at its newest cut.
    async fn partition_at(
        mut self,
        log: &SharedLog,
        partition: Partition,
        root: Root,
        tick: u64,
    ) -> Result<Self, Stopped> {
        let changed = || NotaryError::Changed { partition, tick };
        if log.size(partition).await? < root.size {
            return Err(changed().into());
        }
        let evidence = LogEvidence(log.clone());
        let loose = Grower::loose_leaves(root.size);
        let leaves = evidence.leaves(partition.at(root.size - loose), loose).await?;
        if let Some(tree) = self.resumed(root, &leaves) {
            return Ok(Self { tree, ..self });
        }
        while self.tree.size() < root.size {
            let next = self.tree.size();
            let leaves = evidence.leaves(partition.at(next), (root.size - next).min(1024)).await?;
            if leaves.is_empty() {
                return Err(changed().into());
            }
            self.push(leaves);
        }
        if self.tree.root() == root.root { Ok(self) } else { Err(changed().into()) }
    }

    /// The tree of cuts that `newest` is the last leaf of.
    async fn cuts_at(mut self, log: &LogEvidence, newest: &Taken, notary: &Notary) -> Result<Self, Stopped> {
        let head = TreeHead::verify(&newest.checkpoint, notary.key.public()).map_err(NotaryError::OtherKey)?;
        let changed = || NotaryError::CutsChanged { tick: newest.tick };
        let root = Root { size: newest.tick + 1, root: head.root };
        if head.size != root.size {
            return Err(changed().into());
        }
        let loose = Grower::loose_leaves(root.size);
        let leaves = cut_leaves(log, root.size - loose, loose).await?;
        if let Some(tree) = self.resumed(root, &leaves) {
            return Ok(Self { tree, ..self });
        }
        while self.tree.size() < root.size {
            let next = self.tree.size();
            let leaves = cut_leaves(log, next, (root.size - next).min(4096)).await?;
            if leaves.is_empty() {
                return Err(changed().into());
            }
            self.push(leaves);
        }
        if self.tree.root() == root.root { Ok(self) } else { Err(changed().into()) }
    }
}

/// Leaf hashes of `count` cuts from `tick` on.
pub(crate) async fn cut_leaves(log: &dyn Evidence, tick: u64, count: u64) -> Result<Vec<Hash>, crate::CutError> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let cuts = cut::list(log, tick, usize::try_from(count).unwrap_or(usize::MAX)).await?;
    Ok(cuts.iter().map(Taken::leaf).collect())
}

/// The name of a partition's tree among the kept nodes.
pub(crate) fn node_name(partition: Partition) -> String {
    format!("{}-{}", partition.stream, partition.number)
}

/// The newest cut of a log that is the one that was signed before.
pub(super) async fn check(notary: &Notary) -> Result<Option<Taken>, Stopped> {
    let log = LogEvidence(notary.log.clone());
    let newest = cut::newest(&log).await?;
    check_remembered(notary, &log, newest.as_ref()).await?;
    Ok(newest)
}

/// Nothing is signed for a log with another past.
async fn check_remembered(notary: &Notary, log: &LogEvidence, newest: Option<&Taken>) -> Result<(), Stopped> {
    let Some(checkpoint) = notary.remembered.read().map_err(|error| notary.unremembered(error))? else {
        return Ok(());
    };
    let head = TreeHead::verify(&checkpoint, notary.key.public()).map_err(|error| notary.unremembered(error))?;
    let path = notary.remembered.path().to_owned();
    let cuts = newest.map_or(0, |cut| cut.tick + 1);
    let Some(tick) = head.size.checked_sub(1) else { return Ok(()) };
    if cuts < head.size {
        return Err(NotaryError::RolledBack { cuts, remembered: head.size, path }.into());
    }
    let then = cut::with_tick(log, tick).await?;
    match then.map(|cut| cut.head()) {
        Some(Ok(then)) if then.root == head.root => Ok(()),
        _ => Err(NotaryError::OtherHistory { tick, path }.into()),
    }
}

/// A cut that has an effect must have its cause: sizes are taken in this order.
fn effects_first(stream: Stream) -> u8 {
    match stream {
        Stream::Access => 0,
        Stream::Control => 1,
        Stream::Identity => 2,
        Stream::Feed => 3,
    }
}

fn draft(tick: u64, recorded_us: i64, taken: CutTaken) -> Draft {
    Draft {
        same: Same::Name([b"cut ".as_slice(), &tick.to_be_bytes()].concat()),
        feed: String::new(),
        control_id: String::new(),
        message_type: String::new(),
        verdict: Verdict::Unspecified,
        received_us: recorded_us,
        cause: None,
        payload: Payload::CutTaken(taken),
    }
}
