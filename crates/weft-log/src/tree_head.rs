//! The head of a Merkle log as C2SP tlog-checkpoint v1.0.0 writes it: whose log, how many leaves, which root.

use base64::{Engine, prelude::BASE64_STANDARD};

use crate::{
    merkle::Hash,
    note::{NoteError, PublicKey, SigningKey, split_note},
};

/// What a checkpoint says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeHead {
    /// Which log: the name of the key that signs it.
    pub origin: String,
    /// Number of leaves.
    pub size: u64,
    /// RFC 9162 root.
    pub root: Hash,
}

impl TreeHead {
    /// The checkpoint: a signed note.
    pub(crate) fn sign(size: u64, root: Hash, key: &SigningKey) -> String {
        key.sign(&format!("{}\n{size}\n{}\n", key.public().name(), BASE64_STANDARD.encode(root)))
    }

    /// Reads a checkpoint, once it is certain that `key` signed it for its own log.
    ///
    /// # Errors
    /// [`NoteError`].
    pub fn verify(checkpoint: &str, key: &PublicKey) -> Result<Self, NoteError> {
        let head = Self::read(key.verify(checkpoint)?)?;
        if head.origin == key.name() { Ok(head) } else { Err(NoteError::OtherKey) }
    }

    /// Reads a checkpoint without believing it: who trusts what it lies in need not check it again.
    pub(crate) fn unverified(checkpoint: &str) -> Result<Self, NoteError> {
        Self::read(split_note(checkpoint)?.0)
    }

    /// Extension lines are let through: they are signed, and say nothing here.
    fn read(text: &str) -> Result<Self, NoteError> {
        let mut lines = text.lines();
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(NoteError::NotANote);
        };
        let size = decimal(size).ok_or(NoteError::NotANote)?;
        let root = read_hash(root).ok_or(NoteError::NotANote)?;
        if origin.is_empty() { Err(NoteError::NotANote) } else { Ok(Self { origin: origin.to_owned(), size, root }) }
    }
}

/// A number in the one way that it may be written.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// A hash in base64.
pub(crate) fn read_hash(text: &str) -> Option<Hash> {
    BASE64_STANDARD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz".parse().unwrap()
    }

    #[test]
    fn a_checkpoint_is_three_lines_and_a_signature() {
        let checkpoint = TreeHead::sign(42, [7; 32], &key());
        let text = "PeterNeumann\n42\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n\n\u{2014} PeterNeumann x08go";
        assert!(checkpoint.starts_with(text), "{checkpoint}");
        let head = TreeHead::verify(&checkpoint, key().public()).unwrap();
        assert_eq!(head, TreeHead { origin: "PeterNeumann".into(), size: 42, root: [7; 32] });
        assert_eq!(TreeHead::unverified(&checkpoint), Ok(head));
    }

    #[test]
    fn what_is_signed_but_no_head_is_refused() {
        let root = BASE64_STANDARD.encode([7; 32]);
        for wrong in ["", "PeterNeumann\n", "PeterNeumann\n042\nroot\n", "PeterNeumann\n1\nAAAA\n"] {
            assert_eq!(TreeHead::verify(&key().sign(wrong), key().public()), Err(NoteError::NotANote), "{wrong:?}");
        }
        let of_another_log = key().sign(&format!("elsewhere\n1\n{root}\n"));
        assert_eq!(TreeHead::verify(&of_another_log, key().public()), Err(NoteError::OtherKey));
        let extended = key().sign(&format!("PeterNeumann\n1\n{root}\nextension\n"));
        assert!(TreeHead::verify(&extended, key().public()).is_ok());
    }
}
