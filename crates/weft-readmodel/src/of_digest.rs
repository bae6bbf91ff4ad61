//! Maps whose keys are digests already: some of their bytes are the hash.
//!
//! What is keyed so is keyed with a secret first (a pseudonym, or a digest of one): nobody who sends messages can choose
//! keys that meet.

use std::hash::{BuildHasher, Hasher};

/// For maps whose keys are identifiers of 16 bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct OfDigest;

#[derive(Debug, Default)]
pub(crate) struct LastBytes(u64);

impl BuildHasher for OfDigest {
    type Hasher = LastBytes;

    fn build_hasher(&self) -> LastBytes {
        LastBytes::default()
    }
}

impl Hasher for LastBytes {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last_chunk() {
            self.0 = u64::from_le_bytes(*last);
        }
    }

    fn write_u128(&mut self, number: u128) {
        self.0 = number as u64;
    }

    /// The length that an array is told with: it says nothing.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use weft_model::Pseudonym;

    use super::*;

    #[test]
    fn the_last_bytes_are_the_hash() {
        let mut bytes = [7; 16];
        bytes[8..].copy_from_slice(&9u64.to_le_bytes());
        assert_eq!(OfDigest.hash_one(Pseudonym(bytes)), 9);
        assert_eq!(OfDigest.hash_one(1u128 << 100 | 9), 9);
    }
}
