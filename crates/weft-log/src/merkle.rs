//! The Merkle tree of RFC 9162 over the leaf hashes of a partition, as far as its root: enough to say that two copies of
//! a partition hold the same events. Proofs are in [`proof`](crate::proof).

use aws_lc_rs::digest::{Context, Digest, SHA256, digest};

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// A tree that grows at its right edge. Holds one hash per set bit of its size.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    /// Roots of the perfect subtrees, largest first.
    peaks: Vec<Hash>,
}

impl Tree {
    /// Number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds the leaf with this leaf hash.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The root; of no leaves, the hash of nothing.
    #[must_use]
    pub fn root(&self) -> Hash {
        root_of(&self.peaks)
    }

    /// Roots of the perfect subtrees that it is made of, largest first.
    #[must_use]
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }
}

/// The root above subtrees that lie side by side, each at least as large as the next.
pub(crate) fn root_of(peaks: &[Hash]) -> Hash {
    let folded = peaks.iter().rev().copied().reduce(|right, left| node_hash(&left, &right));
    folded.unwrap_or_else(|| to_hash(&digest(&SHA256, &[])))
}

/// Hash of a leaf: SHA-256 of a zero byte and the leaf's bytes.
#[must_use]
pub fn leaf_hash(bytes: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&[0]);
    context.update(bytes);
    to_hash(&context.finish())
}

/// Hash of an inner node: SHA-256 of a one byte and the hashes below it.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    // In one piece: a context costs nearly as much as hashing these few bytes.
    let mut bytes = [1; 1 + 32 + 32];
    bytes[1..33].copy_from_slice(left);
    bytes[33..].copy_from_slice(right);
    to_hash(&digest(&SHA256, &bytes))
}

fn to_hash(digest: &Digest) -> Hash {
    let mut hash = [0; 32];
    for (to, from) in hash.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(hash: Hash) -> String {
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The tree of certificate-transparency's own tests.
    #[test]
    fn known_answers_of_rfc_6962() {
        let leaves: [&[u8]; 8] = [
            &[],
            &[0x00],
            &[0x10],
            &[0x20, 0x21],
            &[0x30, 0x31],
            &[0x40, 0x41, 0x42, 0x43],
            &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
            &[0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f],
        ];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut tree = Tree::default();
        assert_eq!(hex(tree.root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        for (leaf, root) in leaves.iter().zip(roots) {
            tree.push(leaf_hash(leaf));
            assert_eq!(hex(tree.root()), root, "{} leaves", tree.size());
        }
    }
}
