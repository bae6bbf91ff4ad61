//! Inclusion and consistency proofs of RFC 9162: which hashes a proof is made of, and how it is checked.
//!
//! Making a proof needs the hashes of whole ranges of leaves, which only whoever stores them can give; so this module says
//! which ranges ([`inclusion`], [`consistency`]) and which perfect subtrees a range is made of ([`subtrees`]), and the
//! caller fetches them. That is why it is not the `ct-merkle` crate: that one keeps every leaf in memory, and a partition
//! has millions. Pure.

use std::ops::Range;

use crate::merkle::{Hash, node_hash};

/// A perfect subtree: leaves `index << level` up to `(index + 1) << level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subtree {
    /// Binary logarithm of the number of its leaves.
    pub level: u32,
    /// Number of subtrees of its size before it.
    pub index: u64,
}

/// The ranges of leaves whose hashes prove that leaf `index` is in a tree of `size` leaves, the leaf's sibling first.
/// None where `index` is not below `size`.
#[must_use]
pub fn inclusion(index: u64, size: u64) -> Option<Vec<Range<u64>>> {
    if index >= size {
        return None;
    }
    let (mut start, mut end, mut path) = (0, size, Vec::new());
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            path.push(middle..end);
            end = middle;
        } else {
            path.push(start..middle);
            start = middle;
        }
    }
    path.reverse();
    Some(path)
}

/// The ranges of leaves whose hashes prove that a tree of `size` leaves begins with the one of `old` leaves. None where
/// `old` is 0 or larger than `size`: then there is nothing to prove, or it is not so.
#[must_use]
pub fn consistency(old: u64, size: u64) -> Option<Vec<Range<u64>>> {
    if old == 0 || old > size {
        return None;
    }
    let (mut start, mut end, mut path, mut whole) = (0, size, Vec::new(), true);
    while old < end {
        let middle = start + split(end - start);
        if old <= middle {
            path.push(middle..end);
            end = middle;
        } else {
            path.push(start..middle);
            (start, whole) = (middle, false);
        }
    }
    // The verifier knows the old root itself.
    if !whole {
        path.push(start..end);
    }
    path.reverse();
    Some(path)
}

/// The perfect subtrees that make up a range of [`inclusion`] or [`consistency`], left to right: their hashes fold into
/// the range's from the right.
#[must_use]
pub fn subtrees(range: Range<u64>) -> Vec<Subtree> {
    let (mut start, mut parts) = (range.start, Vec::new());
    while start < range.end {
        let level = start.trailing_zeros().min((range.end - start).ilog2());
        parts.push(Subtree { level, index: start >> level });
        start += 1 << level;
    }
    parts
}

/// True where `proof` shows that the leaf hash `leaf` is number `index` of a tree of `size` leaves with this root.
#[must_use]
pub fn verify_inclusion(leaf: Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut last, mut hash) = (index, size - 1, leaf);
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            // The right edge climbs until it has a sibling on its right.
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    last == 0 && hash == *root
}

/// True where `proof` shows that the tree of `size` leaves with root `root` begins with that of `old` leaves with root
/// `old_root`.
#[must_use]
pub fn verify_consistency(old: u64, size: u64, proof: &[Hash], old_root: &Hash, root: &Hash) -> bool {
    if old == 0 || old >= size {
        return old == size && proof.is_empty() && old_root == root;
    }
    let mut proof = proof.iter();
    let first = if old.is_power_of_two() { Some(old_root) } else { proof.next() };
    let Some(first) = first else { return false };
    let (mut node, mut last) = (old - 1, size - 1);
    while node & 1 == 1 {
        (node, last) = (node >> 1, last >> 1);
    }
    let (mut old_hash, mut hash) = (*first, *first);
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            old_hash = node_hash(sibling, &old_hash);
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    last == 0 && old_hash == *old_root && hash == *root
}

/// Leaves of the left part of a tree of `size` > 1 leaves: the largest power of two below `size`.
fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::merkle::{Tree, leaf_hash, root_of};

    fn leaves(size: u64) -> Vec<Hash> {
        (0..size).map(|n| leaf_hash(&n.to_be_bytes())).collect()
    }

    /// The root as RFC 9162 defines it, word for word.
    fn naive_root(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Tree::default().root(),
            [leaf] => *leaf,
            _ => {
                let mut k = 1;
                while k * 2 < leaves.len() {
                    k *= 2;
                }
                node_hash(&naive_root(&leaves[..k]), &naive_root(&leaves[k..]))
            }
        }
    }

    /// The proof as RFC 9162, 2.1.3.1 defines it.
    fn naive_inclusion(index: usize, leaves: &[Hash]) -> Vec<Hash> {
        if leaves.len() <= 1 {
            return Vec::new();
        }
        let k = split(leaves.len() as u64) as usize;
        let (left, right) = leaves.split_at(k);
        let (mut path, other) = if index < k {
            (naive_inclusion(index, left), naive_root(right))
        } else {
            (naive_inclusion(index - k, right), naive_root(left))
        };
        path.push(other);
        path
    }

    /// The proof as RFC 9162, 2.1.4.1 defines it.
    fn naive_consistency(old: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
        if old == leaves.len() {
            return if whole { Vec::new() } else { vec![naive_root(leaves)] };
        }
        let k = split(leaves.len() as u64) as usize;
        let (left, right) = leaves.split_at(k);
        let (mut path, other) = if old <= k {
            (naive_consistency(old, left, whole), naive_root(right))
        } else {
            (naive_consistency(old - k, right, false), naive_root(left))
        };
        path.push(other);
        path
    }

    /// A range by the subtrees that it is said to be made of.
    fn hash(leaves: &[Hash], range: &Range<u64>) -> Hash {
        let parts = subtrees(range.clone());
        assert_eq!(parts.iter().map(|part| 1u64 << part.level).sum::<u64>(), range.end - range.start);
        let hash = |part: &Subtree| {
            let start = (part.index << part.level) as usize;
            naive_root(&leaves[start..start + (1 << part.level)])
        };
        root_of(&parts.iter().map(hash).collect::<Vec<_>>())
    }

    fn fetch(leaves: &[Hash], ranges: &[Range<u64>]) -> Vec<Hash> {
        ranges.iter().map(|range| hash(leaves, range)).collect()
    }

    #[test]
    fn every_small_proof_is_the_rfc_s_and_holds() {
        for size in 1..40 {
            let leaves = leaves(size);
            let root = naive_root(&leaves);
            for index in 0..size {
                let proof = fetch(&leaves, &inclusion(index, size).unwrap());
                assert_eq!(proof, naive_inclusion(index as usize, &leaves), "{index} of {size}");
                assert!(verify_inclusion(leaves[index as usize], index, size, &proof, &root));
            }
            for old in 1..=size {
                let proof = fetch(&leaves, &consistency(old, size).unwrap());
                assert_eq!(proof, naive_consistency(old as usize, &leaves, true), "{old} to {size}");
                assert!(verify_consistency(old, size, &proof, &naive_root(&leaves[..old as usize]), &root));
            }
            assert_eq!(inclusion(size, size), None);
            assert_eq!((consistency(0, size), consistency(size + 1, size)), (None, None));
        }
    }

    /// The proofs in section 2.1.5 of the RFC: seven leaves d0 to d6, named by the ranges below them.
    #[test]
    fn known_answers_of_rfc_9162() {
        assert_eq!(inclusion(0, 7), Some(vec![1..2, 2..4, 4..7]));
        assert_eq!(inclusion(3, 7), Some(vec![2..3, 0..2, 4..7]));
        assert_eq!(inclusion(4, 7), Some(vec![5..6, 6..7, 0..4]));
        assert_eq!(inclusion(6, 7), Some(vec![4..6, 0..4]));
        assert_eq!(consistency(3, 7), Some(vec![2..3, 3..4, 0..2, 4..7]));
        assert_eq!(consistency(4, 7).as_deref(), Some([Range { start: 4, end: 7 }].as_slice()));
        assert_eq!(consistency(6, 7), Some(vec![4..6, 6..7, 0..4]));
    }

    proptest! {
        /// Random trees: the proof holds, and for nothing else.
        #[test]
        fn inclusion_holds_for_its_leaf_only(size in 1u64..600, at in any::<u64>(), flip in any::<u8>(), bit in 0u8..8) {
            let index = at % size;
            let leaves = leaves(size);
            let root = naive_root(&leaves);
            let proof = fetch(&leaves, &inclusion(index, size).unwrap());
            let leaf = leaves[index as usize];
            prop_assert!(verify_inclusion(leaf, index, size, &proof, &root));
            let other = (index + 1) % size;
            prop_assert!(size == 1 || !verify_inclusion(leaf, other, size, &proof, &root));
            prop_assert!(!verify_inclusion(leaf, index, size + size, &proof, &root));
            prop_assert!(!verify_inclusion(leaf_hash(b"other"), index, size, &proof, &root));
            let longer: Vec<Hash> = proof.iter().copied().chain([[0; 32]]).collect();
            prop_assert!(!verify_inclusion(leaf, index, size, &longer, &root));
            if let Some((_, shorter)) = proof.split_last() {
                prop_assert!(!verify_inclusion(leaf, index, size, shorter, &root));
                let mut changed = proof.clone();
                let hash = usize::from(flip) % changed.len();
                changed[hash][usize::from(flip) % 32] ^= 1 << bit;
                prop_assert!(!verify_inclusion(leaf, index, size, &changed, &root));
            }
        }

        #[test]
        fn consistency_holds_for_its_trees_only(size in 1u64..600, at in any::<u64>(), flip in any::<u8>(), bit in 0u8..8) {
            let old = 1 + at % size;
            let leaves = leaves(size);
            let (old_root, root) = (naive_root(&leaves[..old as usize]), naive_root(&leaves));
            let proof = fetch(&leaves, &consistency(old, size).unwrap());
            prop_assert!(verify_consistency(old, size, &proof, &old_root, &root));
            let other = naive_root(&leaves[1..]);
            prop_assert!(!verify_consistency(old, size, &proof, &other, &root));
            prop_assert!(!verify_consistency(old, size, &proof, &old_root, &other));
            let longer: Vec<Hash> = proof.iter().copied().chain([[0; 32]]).collect();
            prop_assert!(!verify_consistency(old, size, &longer, &old_root, &root));
            if !proof.is_empty() {
                let mut changed = proof.clone();
                let hash = usize::from(flip) % changed.len();
                changed[hash][usize::from(flip) % 32] ^= 1 << bit;
                prop_assert!(!verify_consistency(old, size, &changed, &old_root, &root));
            }
        }

        #[test]
        fn the_growing_tree_has_the_rfc_s_root(size in 0u64..700) {
            let leaves = leaves(size);
            let mut tree = Tree::default();
            leaves.iter().for_each(|leaf| tree.push(*leaf));
            prop_assert_eq!(tree.root(), naive_root(&leaves));
            prop_assert_eq!(tree.peaks().len() as u32, size.count_ones());
        }
    }
}
