//! Signed notes (C2SP signed-note v1.0.0) with Ed25519, and the keys that sign them.
//!
//! ```text
//!  text, ending in a newline
//!
//!  — NAME base64(key id, 4 bytes | signature, 64 bytes)
//! ```
//!
//! Keys are written as Go's `note` package writes them, so that other programs of transparency logs read them:
//!
//! ```text
//!  NAME+key id in hexadecimal+base64(1 | public key)                 what auditors are given
//!  PRIVATE+KEY+NAME+key id in hexadecimal+base64(1 | seed)           keys/notary.key, readable by its owner only
//! ```
//!
//! Ed25519 is that of aws-lc-rs, which seals the events already: one library of cryptography is enough.

use std::{fmt, str::FromStr};

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use weft_model::{Random, hex};

/// The signature type of Ed25519.
const ED25519_TYPE: u8 = 1;
const KEY_BYTES: usize = 32;
const ID_BYTES: usize = 4;
/// Signature lines that are looked at; the specification asks for 16 at least.
const SIGNATURES_MAX: usize = 32;
const PRIVATE: &str = "PRIVATE+KEY+";
const SIGNATURE_LINE: &str = "\u{2014} ";

/// Why a note or a key is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not a text, an empty line, and signature lines.
    #[error("not a signed note")]
    NotANote,
    /// None of its signatures is by the key that was asked for.
    #[error("note is not signed by this key")]
    OtherKey,
    /// A signature in the key's name that the key did not make.
    #[error("signature is not that of the key it names")]
    BadSignature,
    /// Not a key as this module writes them.
    #[error("not a note key (NAME+ID+KEY, as `weft init` prints it)")]
    NotAKey,
}

/// What signs notes.
pub struct SigningKey {
    seed: [u8; KEY_BYTES],
    pair: Ed25519KeyPair,
    public: PublicKey,
}

/// What tells whether a note is signed by its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    name: String,
    id: [u8; ID_BYTES],
    key: [u8; KEY_BYTES],
}

impl SigningKey {
    /// A new key. `name` says whose it is: neither spaces nor `+`, best a URL without its scheme.
    ///
    /// # Errors
    /// [`NoteError::NotAKey`] where the name is none.
    pub fn generate(name: &str, random: &dyn Random) -> Result<Self, NoteError> {
        let mut seed = [0; KEY_BYTES];
        random.fill(&mut seed);
        Self::from_seed(name, seed)
    }

    fn from_seed(name: &str, seed: [u8; KEY_BYTES]) -> Result<Self, NoteError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| NoteError::NotAKey)?;
        let key = pair.public_key().as_ref().try_into().map_err(|_| NoteError::NotAKey)?;
        Ok(Self { public: PublicKey::new(name, key)?, seed, pair })
    }

    /// The key that checks its signatures.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The key as it is kept. Whoever reads it signs in its name.
    #[must_use]
    pub fn to_secret_text(&self) -> String {
        let PublicKey { name, id, .. } = &self.public;
        format!("{PRIVATE}{name}+{}+{}", hex(id), encode_key(&self.seed))
    }

    /// The signed note of `text`, which ends in a newline.
    #[must_use]
    pub fn sign(&self, text: &str) -> String {
        let signature = self.pair.sign(text.as_bytes());
        let line = BASE64_STANDARD.encode([&self.public.id, signature.as_ref()].concat());
        format!("{text}\n{SIGNATURE_LINE}{} {line}\n", self.public.name)
    }
}

impl FromStr for SigningKey {
    type Err = NoteError;
    fn from_str(text: &str) -> Result<Self, NoteError> {
        let (name, id, seed) = split_key(text.trim().strip_prefix(PRIVATE).ok_or(NoteError::NotAKey)?)?;
        let key = Self::from_seed(name, seed)?;
        if key.public.id == id { Ok(key) } else { Err(NoteError::NotAKey) }
    }
}

/// Never the seed.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public).finish_non_exhaustive()
    }
}

impl PublicKey {
    fn new(name: &str, key: [u8; KEY_BYTES]) -> Result<Self, NoteError> {
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+') {
            return Err(NoteError::NotAKey);
        }
        let mut id = [0; ID_BYTES];
        let hash = digest(&SHA256, &[name.as_bytes(), &[b'\n', ED25519_TYPE], &key].concat());
        for (to, from) in id.iter_mut().zip(hash.as_ref()) {
            *to = *from;
        }
        Ok(Self { name: name.to_owned(), id, key })
    }

    /// Whose key it is: of a checkpoint also the log's origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text of `note`, once it is certain that this key signed it. Signatures of others are ignored.
    ///
    /// # Errors
    /// [`NoteError`].
    pub fn verify<'n>(&self, note: &'n str) -> Result<&'n str, NoteError> {
        let (text, signatures) = split_note(note)?;
        let mut signed = false;
        for line in signatures.lines().take(SIGNATURES_MAX) {
            let line = line.strip_prefix(SIGNATURE_LINE).ok_or(NoteError::NotANote)?;
            let (name, encoded) = line.split_once(' ').ok_or(NoteError::NotANote)?;
            let bytes = BASE64_STANDARD.decode(encoded).map_err(|_| NoteError::NotANote)?;
            let (id, signature) = bytes.split_at_checked(ID_BYTES).ok_or(NoteError::NotANote)?;
            if name == self.name && id == self.id {
                let key = UnparsedPublicKey::new(&ED25519, &self.key);
                key.verify(text.as_bytes(), signature).map_err(|_| NoteError::BadSignature)?;
                signed = true;
            }
        }
        if signed { Ok(text) } else { Err(NoteError::OtherKey) }
    }
}

impl FromStr for PublicKey {
    type Err = NoteError;
    fn from_str(text: &str) -> Result<Self, NoteError> {
        let (name, id, key) = split_key(text.trim())?;
        let key = Self::new(name, key)?;
        if key.id == id { Ok(key) } else { Err(NoteError::NotAKey) }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}+{}", self.name, hex(&self.id), encode_key(&self.key))
    }
}

/// The text of a note, believed by nobody yet, and its signature lines.
pub(crate) fn split_note(note: &str) -> Result<(&str, &str), NoteError> {
    if note.chars().any(|c| c.is_control() && c != '\n') || !note.ends_with('\n') {
        return Err(NoteError::NotANote);
    }
    // The text may have empty lines: the last one ends it.
    let (text, signatures) = note.rsplit_once("\n\n").ok_or(NoteError::NotANote)?;
    let text_with_newline = note.get(..text.len() + 1).ok_or(NoteError::NotANote)?;
    if signatures.is_empty() { Err(NoteError::NotANote) } else { Ok((text_with_newline, signatures)) }
}

/// Name, id and 32 bytes of a key's text.
fn split_key(text: &str) -> Result<(&str, [u8; ID_BYTES], [u8; KEY_BYTES]), NoteError> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(NoteError::NotAKey);
    };
    let id = u32::from_str_radix(id, 16).ok().filter(|_| id.len() == 2 * ID_BYTES).ok_or(NoteError::NotAKey)?;
    let bytes = BASE64_STANDARD.decode(key).map_err(|_| NoteError::NotAKey)?;
    match bytes.split_first() {
        Some((&ED25519_TYPE, key)) => Ok((name, id.to_be_bytes(), key.try_into().map_err(|_| NoteError::NotAKey)?)),
        _ => Err(NoteError::NotAKey),
    }
}

fn encode_key(key: &[u8; KEY_BYTES]) -> String {
    BASE64_STANDARD.encode([&[ED25519_TYPE][..], key].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys and note of the tests of Go's golang.org/x/mod/sumdb/note.
    const GO_SECRET: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    const GO_PUBLIC: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const GO_TEXT: &str =
        "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
    const GO_SIGNATURE: &str = "\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    fn signer(seed: u8) -> SigningKey {
        SigningKey::from_seed("example.nhs.uk/weft", [seed; 32]).unwrap()
    }

    #[test]
    fn what_go_signs_is_verified_and_signed_alike() {
        let key: SigningKey = GO_SECRET.parse().unwrap();
        assert_eq!(key.public().to_string(), GO_PUBLIC);
        let note = key.sign(GO_TEXT);
        assert_eq!(note, format!("{GO_TEXT}\n{GO_SIGNATURE}"));
        assert_eq!(GO_PUBLIC.parse::<PublicKey>().unwrap().verify(&note), Ok(GO_TEXT));
    }

    #[test]
    fn keys_read_what_they_write() {
        let key = signer(7);
        let again: SigningKey = key.to_secret_text().parse().unwrap();
        assert_eq!(again.public(), key.public());
        assert_eq!(key.public().to_string().parse::<PublicKey>().as_ref(), Ok(key.public()));
        assert!(!format!("{key:?}").contains("seed"));
        for name in ["", "two words", "a+b", "line\nbreak"] {
            assert_eq!(SigningKey::from_seed(name, [1; 32]).err(), Some(NoteError::NotAKey), "{name:?}");
        }
        for wrong in ["", "a+b+c", "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"] {
            assert_eq!(wrong.parse::<PublicKey>(), Err(NoteError::NotAKey), "{wrong}");
        }
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let (key, text) = (signer(7), "line one\n\nline three\n");
        let note = key.sign(text);
        assert_eq!(key.public().verify(&note), Ok(text));
        for at in 0..note.len() {
            let mut changed = note.clone().into_bytes();
            changed[at] ^= 1;
            // What is no UTF-8 any more is no note.
            if let Ok(changed) = String::from_utf8(changed) {
                assert!(key.public().verify(&changed).is_err(), "byte {at}");
            }
        }
    }

    #[test]
    fn signatures_of_others_are_ignored() {
        let (key, other, text) = (signer(7), signer(8), "text\n");
        let both = key.sign(text) + other.sign(text).rsplit("\n\n").next().unwrap();
        assert_eq!(key.public().verify(&both), Ok(text));
        assert_eq!(other.public().verify(&both), Ok(text));
        assert_eq!(signer(9).public().verify(&both), Err(NoteError::OtherKey));
        assert_eq!(key.public().verify("text\n\nno signature\n"), Err(NoteError::NotANote));
        assert_eq!(key.public().verify("text\n"), Err(NoteError::NotANote));
    }
}
