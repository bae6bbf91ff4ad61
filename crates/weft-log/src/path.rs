//! The hashes that lead from a leaf to the root of its tree: a proof, made from the inner nodes that are kept and from leaves.
//!
//! A path needs a hash for each level, and most of them are of small subtrees; asking for each would be dozens of reads.
//! But its subtrees of fewer than 256 leaves lie in two blocks of 256: the leaf's own and the last one of the tree. The same
//! holds at each height that is kept. So blocks are what is read, each once: two of leaves, and two of each height.

use std::{
    collections::{HashMap, hash_map::Entry},
    ops::Range,
    path::Path,
};

use weft_model::Partition;

use crate::{
    CutError, Evidence, Taken,
    cut::leaves_before,
    merkle::{Hash, Tree, root_of},
    nodes::{FANOUT, Nodes, Under},
    notary::{CUT_NODES, cut_leaves, node_name},
    proof::{self, Subtree},
};

/// Leaves read at once where no inner nodes are kept.
const LEAVES: u64 = 4096;

/// What a path must lead from and to.
pub(crate) struct Wanted {
    pub(crate) leaf: Hash,
    pub(crate) index: u64,
    pub(crate) size: u64,
    pub(crate) root: Hash,
}

/// The leaves of a tree.
#[derive(Clone, Copy)]
pub(crate) enum Leaves<'a> {
    /// Those of a partition.
    Of(Partition),
    /// The cuts up to this one, which is the last leaf.
    CutsUpTo(&'a Taken),
}

/// The path to a leaf; None where the log does not lead to the root. `nodes`: where inner nodes are kept. They may be wrong,
/// so what does not lead to the root is made again from the leaves.
pub(crate) async fn path(
    log: &dyn Evidence,
    leaves: Leaves<'_>,
    wanted: &Wanted,
    nodes: Option<&Path>,
) -> Result<Option<Vec<Hash>>, CutError> {
    let Wanted { leaf, index, size, root } = wanted;
    let Some(ranges) = proof::inclusion(*index, *size) else { return Ok(None) };
    let kept = nodes.map(|dir| Nodes::new(dir, &leaves.name()));
    for nodes in [kept.as_ref(), None] {
        let mut source = Source { log, leaves, size: *size, nodes, blocks: HashMap::new() };
        let mut path = Vec::with_capacity(ranges.len());
        for range in &ranges {
            path.push(source.range(range.clone()).await?);
        }
        if proof::verify_inclusion(*leaf, *index, *size, &path, root) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

impl Leaves<'_> {
    fn name(self) -> String {
        match self {
            Self::Of(partition) => node_name(partition),
            Self::CutsUpTo(_) => CUT_NODES.to_owned(),
        }
    }

    /// Leaf hashes of `count` leaves from number `from` on; fewer where they are not there.
    async fn read(self, log: &dyn Evidence, from: u64, count: u64) -> Result<Vec<Hash>, CutError> {
        match self {
            Self::Of(partition) => Ok(log.leaves(partition.at(from), count).await?),
            // The last block, which a path needs: next to each other in the log, and found without a search.
            Self::CutsUpTo(last) if from + count == last.tick + 1 => {
                let mut leaves = leaves_before(log, last, count.saturating_sub(1)).await?;
                leaves.push(last.leaf());
                Ok(leaves)
            }
            Self::CutsUpTo(_) => cut_leaves(log, from, count).await,
        }
    }
}

/// Where the hashes of a path come from.
struct Source<'a> {
    log: &'a dyn Evidence,
    leaves: Leaves<'a>,
    /// Leaves of the tree.
    size: u64,
    nodes: Option<&'a Nodes>,
    /// What was read, by height and number of the block; the last one of a height may be shorter.
    blocks: HashMap<(u32, u64), Vec<Hash>>,
}

impl Source<'_> {
    async fn range(&mut self, range: Range<u64>) -> Result<Hash, CutError> {
        let mut peaks = Vec::new();
        for subtree in proof::subtrees(range) {
            peaks.push(self.subtree(subtree).await?);
        }
        Ok(root_of(&peaks))
    }

    async fn subtree(&mut self, subtree: Subtree) -> Result<Hash, CutError> {
        let mut tree = Tree::default();
        if let Some(nodes) = self.nodes {
            let under = Under::subtree(subtree);
            let hashes = self.under(nodes, under).await?;
            if hashes.len() as u64 == under.count {
                hashes.iter().for_each(|hash| tree.push(*hash));
                return Ok(tree.root());
            }
        }
        let all = Under::leaves(subtree);
        while tree.size() < all.count {
            let count = (all.count - tree.size()).min(LEAVES);
            let leaves = self.leaves.read(self.log, all.from + tree.size(), count).await?;
            if leaves.is_empty() {
                break;
            }
            leaves.into_iter().for_each(|leaf| tree.push(leaf));
        }
        Ok(tree.root())
    }

    /// The hashes that a subtree is made of: all in one block, for their number is a power of two below 256.
    async fn under(&mut self, nodes: &Nodes, under: Under) -> Result<&[Hash], CutError> {
        let number = under.from / FANOUT;
        let from = number * FANOUT;
        let block = match self.blocks.entry((under.height, number)) {
            Entry::Occupied(read) => read.into_mut(),
            Entry::Vacant(unread) => unread.insert(match under.height {
                0 => self.leaves.read(self.log, from, FANOUT.min(self.size - from)).await?,
                // A file that cannot be read is as good as one that is not there.
                height => nodes.read(height, from, FANOUT).unwrap_or_default(),
            }),
        };
        let start = usize::try_from(under.from - from).unwrap_or(usize::MAX);
        let end = start.saturating_add(usize::try_from(under.count).unwrap_or(usize::MAX));
        Ok(block.get(start..end).unwrap_or_default())
    }
}
