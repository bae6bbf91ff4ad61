//! What one event can be checked for by itself.

use std::{collections::HashMap, sync::Arc};

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use prost::Message;
use weft_model::{
    EventKind, Pseudonym,
    proto::event::{Envelope, Header},
};

use super::damage::{Damage, DamageKind, Place};
use crate::{
    Stored, Vault, VaultError,
    envelope::{ContentRef, EnvelopeRef, HeaderRef},
    merkle::{Hash, leaf_hash},
    names::Names,
    seal::{self, Scratch},
};

/// Larger events are not searched for the one byte that was changed.
const SEARCH_BYTES_MAX: usize = 64 << 10;
/// Bytes of a leaf hash that agree although others do not: by chance, never so many.
const LEAF_BYTES_ALIKE: usize = 8;

/// What opening events needs.
pub(super) struct Opening {
    pub(super) vault: Arc<Vault>,
    pub(super) names: Names,
    /// The key table, where the backend has one.
    pub(super) slots: Option<HashMap<Pseudonym, u64>>,
}

/// What checking one event came to.
#[derive(Default)]
pub(super) struct Checked {
    /// The leaf hash that the cut was probably taken of.
    pub(super) leaf: Hash,
    /// The hash of the bytes, where it is not clear whether they or the leaf were changed.
    pub(super) doubtful: Option<Hash>,
    pub(super) damage: Option<Damage>,
    pub(super) opened: bool,
    pub(super) shredded: bool,
}

/// Checks an event; opens it, in `scratch`, where `opening` is given.
pub(super) fn check(stored: &Stored, opening: Option<&Opening>, scratch: &mut Scratch) -> Checked {
    let hash = leaf_hash(&stored.bytes);
    if hash != stored.leaf {
        return mismatch(stored, hash);
    }
    let mut checked = Checked { leaf: hash, ..Checked::default() };
    let read = EnvelopeRef::read(&stored.bytes).and_then(|read| Some((read, HeaderRef::read(read.header)?)));
    let Some((envelope, header)) = read else {
        let what = "the event cannot be decoded";
        checked.damage = Some(Damage::new(DamageKind::EventUnreadable, stored.position, what));
        return checked;
    };
    match opening {
        Some(_) if !envelope.clear.is_empty() => checked.opened = true,
        Some(opening) => open(stored, &envelope, &header, opening, scratch, &mut checked),
        None => {}
    }
    checked
}

/// Opens an event, which must be the one that its header says.
fn open(
    stored: &Stored,
    envelope: &EnvelopeRef<'_>,
    header: &HeaderRef<'_>,
    opening: &Opening,
    scratch: &mut Scratch,
    checked: &mut Checked,
) {
    let broken = |what: &str| {
        let what = format!("event at {} is damaged: {what}", stored.position);
        Some(Damage::new(DamageKind::SealBroken, stored.position, what))
    };
    let Some(part) = envelope.part else {
        checked.damage = broken("payload is missing");
        return;
    };
    checked.damage = key_row(stored, part.key_slot, header, opening);
    match opening.vault.key(part.key_slot).map(|key| seal::plain(&key, &part, envelope.header, scratch)) {
        Ok(Ok(plain)) => {
            checked.opened = true;
            let damage = checked.damage.take();
            checked.damage = damage.or_else(|| content(stored, header, plain, &opening.names));
        }
        Ok(Err(what)) => checked.damage = broken(what),
        Err(VaultError::Shredded { .. }) => checked.shredded = true,
        Err(error) => checked.damage = checked.damage.take().or_else(|| unusable_key(&error)),
    }
}

/// The event as it was before one byte of it was changed; None where that is not what happened.
pub(super) fn mended(stored: &Stored) -> Option<Bytes> {
    changed_byte(stored).map(|(_, bytes)| bytes)
}

/// Why a key cannot be used. A vault that cannot be read at all is told of when it is opened.
pub(super) fn unusable_key(error: &VaultError) -> Option<Damage> {
    let damage = |kind, slot, what: &str| Some(Damage::new(kind, Place::KeySlot(slot), what));
    match error {
        VaultError::Damaged { slot } => {
            damage(DamageKind::KeyDamaged, *slot, "the key is not the one that was made: restore the vault")
        }
        VaultError::Absent { slot } => {
            damage(DamageKind::KeyMissing, *slot, "the vault is older than the log: restore a newer one")
        }
        _ => None,
    }
}

fn decode(bytes: &Bytes) -> Option<(Envelope, Header)> {
    let envelope = Envelope::decode(bytes.clone()).ok()?;
    let header = Header::decode(&*envelope.header).ok()?;
    Some((envelope, header))
}

/// Bytes and leaf hash do not fit: finds out which of them was changed, and where.
fn mismatch(stored: &Stored, hash: Hash) -> Checked {
    let damage = |kind, what: String| Some(Damage::new(kind, stored.position, what));
    let alike = hash.iter().zip(&stored.leaf).filter(|(a, b)| a == b).count();
    if alike >= LEAF_BYTES_ALIKE {
        let what = "the stored leaf hash was changed; the event itself is whole".to_owned();
        return Checked { leaf: hash, damage: damage(DamageKind::LeafChanged, what), ..Checked::default() };
    }
    if let Some((at, bytes)) = changed_byte(stored) {
        let kind = part_of(&bytes, at);
        let what = format!("byte {at} of {} was changed", stored.bytes.len());
        return Checked { leaf: stored.leaf, damage: damage(kind, what), ..Checked::default() };
    }
    let what = "the bytes do not have their leaf hash".to_owned();
    let damage = damage(DamageKind::EventChanged, what);
    Checked { leaf: stored.leaf, doubtful: Some(hash), damage, ..Checked::default() }
}

/// The one byte that was changed, and the bytes as they were: the leaf hash says when it is right again. Single bits come
/// first, for that is what a failing disk or memory changes.
fn changed_byte(stored: &Stored) -> Option<(usize, Bytes)> {
    if stored.bytes.len() > SEARCH_BYTES_MAX {
        return None;
    }
    let bits = (0..8).map(|bit| 1u8 << bit);
    let others = (1..=u8::MAX).filter(|change| change.count_ones() > 1);
    search(stored, bits).or_else(|| search(stored, others))
}

fn search(stored: &Stored, changes: impl Iterator<Item = u8> + Clone) -> Option<(usize, Bytes)> {
    let mut before = Context::new(&SHA256);
    before.update(&[0]);
    for (at, byte) in stored.bytes.iter().enumerate() {
        let rest = stored.bytes.get(at + 1..)?;
        for change in changes.clone() {
            // What lies before the byte is hashed once.
            let mut context = before.clone();
            context.update(&[byte ^ change]);
            context.update(rest);
            if context.finish().as_ref() == stored.leaf {
                let mut bytes = stored.bytes.to_vec();
                *bytes.get_mut(at)? ^= change;
                return Some((at, bytes.into()));
            }
        }
        before.update(&[*byte]);
    }
    None
}

/// What the byte at `at` of an envelope belongs to. The header is its first field: a tag, a length, the header.
fn part_of(envelope: &Bytes, at: usize) -> DamageKind {
    let Some((decoded, header)) = decode(envelope) else { return DamageKind::EventChanged };
    if header.kind() == EventKind::CutTaken {
        return DamageKind::CutChanged;
    }
    let header_bytes = 1 + prost::length_delimiter_len(decoded.header.len()) + decoded.header.len();
    if at < header_bytes { DamageKind::HeaderChanged } else { DamageKind::PayloadChanged }
}

/// The record's key must be the one that the table says: with another one, erasing it would erase the wrong events.
fn key_row(stored: &Stored, used: u64, header: &HeaderRef<'_>, opening: &Opening) -> Option<Damage> {
    let (record, slots) = (Pseudonym::from_bytes(header.source_record).ok()?, opening.slots.as_ref()?);
    if slots.get(&record) == Some(&used) {
        return None;
    }
    let what = format!("{} is sealed with this key, and the table gives it to another record", stored.position);
    Some(Damage::new(DamageKind::KeyTableChanged, Place::KeySlot(used), what))
}

/// An opened message must be the one whose identity is in the header.
fn content(stored: &Stored, header: &HeaderRef<'_>, plain: &[u8], names: &Names) -> Option<Damage> {
    let differs = |what: &str| Some(Damage::new(DamageKind::ContentDiffers, stored.position, what));
    if header.kind != i32::from(EventKind::MessageReceived) {
        return None;
    }
    let Some(content) = ContentRef::read(plain) else { return differs("the payload cannot be decoded") };
    let mut event_id = names.message_id(header.kind, header.feed, header.control_id, content.raw);
    if let Some(first) = header.redrives {
        if event_id.0 != *first {
            return differs("the event before is not that of the feed, the control id and the content");
        }
        event_id = names.redriven_id(first);
    }
    if event_id.0 != *header.event_id {
        return differs("the event id is not that of the feed, the control id and the content");
    }
    let named = content.record.map(|r| names.pseudonym_of(r.organisation, r.system, r.value));
    if named != Pseudonym::from_bytes(header.source_record).ok() {
        return differs("the pseudonym is not that of the record in the payload");
    }
    None
}
