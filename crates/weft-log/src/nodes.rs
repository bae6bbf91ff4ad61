//! The inner nodes of a growing tree, kept so that a restart and a proof need few leaves.
//!
//! ```text
//!  feed-0.8      hash number i: root of the 256 leaves from 256 i on          32 bytes each, one for 256 events
//!  feed-0.16     hash number i: root of the 65,536 leaves from 65,536 i on
//!  feed-0.24 ...
//! ```
//!
//! A cache, never evidence: a file that is missing, torn or wrong is found out by the signed root that its hashes must
//! lead to, and is made again from the leaves. So it is neither synced nor checked otherwise.

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use crate::merkle::{Hash, Tree, root_of};

/// Levels of the tree between two files, and leaves (or hashes) below one hash of a file.
const FILE_LEVELS: u32 = 8;
pub(crate) const FANOUT: u64 = 1 << FILE_LEVELS;
const HASH_BYTES: u64 = 32;

/// The files of one tree.
#[derive(Debug, Clone)]
pub struct Nodes {
    dir: PathBuf,
    name: String,
}

/// A tree that grows leaf by leaf, and tells which hashes are ready to be kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Grower {
    size: u64,
    /// At place n: the subtrees of 256^n leaves that are not yet 256, left to right.
    heights: Vec<Tree>,
}

/// A hash of the file of `height` (1: of 256 leaves, 2: of 65,536 ...).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) height: u32,
    pub(crate) index: u64,
    pub(crate) hash: Hash,
}

impl Nodes {
    /// The files called `name` in `dir`. Nothing is opened yet.
    #[must_use]
    pub fn new(dir: &Path, name: &str) -> Self {
        Self { dir: dir.to_owned(), name: name.to_owned() }
    }

    /// Hashes of `height` from number `from` on: fewer than `count`, or none, where they are not kept.
    pub(crate) fn read(&self, height: u32, from: u64, count: u64) -> io::Result<Vec<Hash>> {
        let file = match File::open(self.path(height)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let kept = file.metadata()?.len() / HASH_BYTES;
        let count = count.min(kept.saturating_sub(from));
        let mut bytes = vec![0; usize::try_from(count * HASH_BYTES).unwrap_or(0)];
        file.read_exact_at(&mut bytes, from * HASH_BYTES)?;
        Ok(bytes.as_chunks().0.to_vec())
    }

    /// Keeps hashes, each at its own place.
    pub(crate) fn write(&self, ready: &[Ready]) -> io::Result<()> {
        let Some(highest) = ready.iter().map(|ready| ready.height).max() else { return Ok(()) };
        fs::create_dir_all(&self.dir)?;
        for height in 1..=highest {
            let mut file = None;
            for Ready { index, hash, .. } in ready.iter().filter(|ready| ready.height == height) {
                let file = match &file {
                    Some(file) => file,
                    None => {
                        let options = File::options().create(true).truncate(false).write(true).clone();
                        file.insert(options.open(self.path(height))?)
                    }
                };
                file.write_all_at(hash, index * HASH_BYTES)?;
            }
        }
        Ok(())
    }

    fn path(&self, height: u32) -> PathBuf {
        self.dir.join(format!("{}.{}", self.name, height * FILE_LEVELS))
    }
}

impl Grower {
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf; what becomes ready is added to `ready`.
    pub(crate) fn push(&mut self, leaf: Hash, ready: &mut Vec<Ready>) {
        self.size += 1;
        let (mut hash, mut height) = (leaf, 0u32);
        loop {
            let at = height as usize;
            if self.heights.len() <= at {
                self.heights.push(Tree::default());
            }
            let Some(tree) = self.heights.get_mut(at) else { return };
            tree.push(hash);
            if tree.size() < FANOUT {
                return;
            }
            hash = tree.root();
            *tree = Tree::default();
            height += 1;
            ready.push(Ready { height, index: (self.size >> (FILE_LEVELS * height)) - 1, hash });
        }
    }

    pub(crate) fn root(&self) -> Hash {
        let peaks: Vec<Hash> = self.heights.iter().rev().flat_map(Tree::peaks).copied().collect();
        root_of(&peaks)
    }

    /// How many of the last leaves of a tree of `size` leaves are below no kept hash.
    pub(crate) fn loose_leaves(size: u64) -> u64 {
        size % FANOUT
    }

    /// The tree of `size` leaves from what is kept and from its [loose leaves](Self::loose_leaves); None where too little
    /// is kept. Whether it is the right tree, its root says.
    pub(crate) fn resume(nodes: &Nodes, size: u64, loose: &[Hash]) -> io::Result<Option<Self>> {
        let mut grower = Self { size, heights: Vec::new() };
        for height in 0.. {
            let above = size.checked_shr(FILE_LEVELS * height).unwrap_or(0);
            if above == 0 {
                break;
            }
            let wanted = above % FANOUT;
            let hashes = match height {
                0 => loose.to_vec(),
                _ => nodes.read(height, above - wanted, wanted)?,
            };
            if hashes.len() as u64 != wanted {
                return Ok(None);
            }
            let mut tree = Tree::default();
            hashes.into_iter().for_each(|hash| tree.push(hash));
            grower.heights.push(tree);
        }
        Ok(Some(grower))
    }
}

/// Where the hash of a subtree comes from: the hashes of `height` from `from` on, `count` of them, folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Under {
    pub(crate) height: u32,
    pub(crate) from: u64,
    pub(crate) count: u64,
}

impl Under {
    /// The highest kept hashes below `subtree`; with `height` 0, leaves.
    pub(crate) fn subtree(subtree: crate::proof::Subtree) -> Self {
        let height = subtree.level / FILE_LEVELS;
        let levels = subtree.level % FILE_LEVELS;
        Self { height, from: subtree.index << levels, count: 1 << levels }
    }

    /// The same by leaves alone.
    pub(crate) fn leaves(subtree: crate::proof::Subtree) -> Self {
        Self { height: 0, from: subtree.index << subtree.level, count: 1 << subtree.level }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::merkle::leaf_hash;

    fn leaf(n: u64) -> Hash {
        leaf_hash(&n.to_be_bytes())
    }

    fn grow(nodes: &Nodes, grower: &mut Grower, to: u64) {
        let mut ready = Vec::new();
        (grower.size()..to).for_each(|n| grower.push(leaf(n), &mut ready));
        nodes.write(&ready).unwrap();
    }

    fn loose(size: u64) -> Vec<Hash> {
        (size - Grower::loose_leaves(size)..size).map(leaf).collect()
    }

    #[test]
    fn a_tree_of_three_heights_resumes_and_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let nodes = Nodes::new(&dir.path().join("made/when/needed"), "feed-0");
        let (mut grower, mut plain) = (Grower::default(), Tree::default());
        for size in [0, 1, 255, 256, 257, 65_535, 65_536, 65_537, 70_000, 131_072, 131_073] {
            grow(&nodes, &mut grower, size);
            (plain.size()..size).for_each(|n| plain.push(leaf(n)));
            assert_eq!(grower.root(), plain.root(), "{size}");
            let resumed = Grower::resume(&nodes, size, &loose(size)).unwrap().unwrap();
            assert_eq!((resumed.size(), resumed.root()), (size, plain.root()), "{size}");
            // What was kept beyond the size is not looked at.
            grower = resumed;
        }
        assert_eq!(nodes.read(2, 0, 9).unwrap().len(), 2);
        assert_eq!(nodes.read(3, 0, 9).unwrap(), Vec::<Hash>::new());
    }

    #[test]
    fn too_little_is_noticed_and_wrong_gives_another_root() {
        let dir = tempfile::tempdir().unwrap();
        let nodes = Nodes::new(dir.path(), "feed-0");
        let mut grower = Grower::default();
        grow(&nodes, &mut grower, 1000);
        let path = dir.path().join("feed-0.8");
        let good = fs::read(&path).unwrap();
        fs::write(&path, &good[..70]).unwrap();
        assert_eq!(Grower::resume(&nodes, 1000, &loose(1000)).unwrap(), None);
        let mut wrong = good;
        wrong[40] ^= 1;
        fs::write(&path, wrong).unwrap();
        let resumed = Grower::resume(&nodes, 1000, &loose(1000)).unwrap().unwrap();
        assert_ne!(resumed.root(), grower.root());
        fs::remove_file(&path).unwrap();
        assert_eq!(Grower::resume(&nodes, 1000, &loose(1000)).unwrap(), None);
    }

    proptest! {
        #[test]
        fn any_size_resumes_to_the_root_of_a_plain_tree(sizes in prop::collection::vec(0u64..400, 1..6)) {
            let dir = tempfile::tempdir().unwrap();
            let nodes = Nodes::new(dir.path(), "p");
            let (mut grower, mut plain) = (Grower::default(), Tree::default());
            for more in sizes {
                let size = plain.size() + more;
                grow(&nodes, &mut grower, size);
                (plain.size()..size).for_each(|n| plain.push(leaf(n)));
                grower = Grower::resume(&nodes, size, &loose(size)).unwrap().unwrap();
                prop_assert_eq!(grower.root(), plain.root());
            }
        }
    }
}
