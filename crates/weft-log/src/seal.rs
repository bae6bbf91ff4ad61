//! From a header and a payload to the stored envelope, and back.

use std::{mem, sync::Arc};

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce};
use bytes::Bytes;
use prost::Message;
use weft_model::{
    DecodeError, Event, Payload, Position, SCHEMA_VERSION, Verdict,
    proto::event::{Compression, Envelope, Header, Redrives},
};

use crate::{
    OpenError, Stored, Vault, VaultError,
    batch::{FirstReceived, NewMessage},
    compress::{compress, decompress},
    envelope::{EnvelopeRef, PartRef},
    error::Cause,
    merkle::leaf_hash,
    names::Names,
    opened::Opened,
};

const TAG_BYTES: usize = 16;

/// Never used under one key for two events: drawn at random for each.
pub(crate) type NonceBytes = [u8; 12];

/// An event in its stored form.
#[derive(Debug, Clone)]
pub(crate) struct Sealed {
    /// The encoded envelope.
    pub(crate) bytes: Bytes,
    pub(crate) leaf: [u8; 32],
    /// What it says, where whoever sealed it gave it whole.
    pub(crate) opened: Option<Opened>,
}

/// An event that lacks only its key.
#[derive(Debug)]
pub(crate) struct Unsealed {
    /// Encoded.
    header: Vec<u8>,
    /// The payload, compressed where that makes it smaller.
    plain: Vec<u8>,
    compression: Compression,
    /// Of this event alone. Sealed again it comes to the same bytes, or has another key.
    nonce: NonceBytes,
    /// The event as it is, and the encoded length of its payload, where it is kept for whoever follows.
    event: Option<(Arc<Event>, usize)>,
}

impl Unsealed {
    /// Does what takes longest: encodes and compresses. Keeps the event where `keep` says so.
    pub(crate) fn new(header: Header, payload: Payload, nonce: NonceBytes, keep: bool) -> Self {
        let (encoded, encoded_header) = (payload.encode(), header.encode_to_vec());
        let bytes = encoded.len();
        let event = keep.then(|| (Arc::new(Event { header, payload }), bytes));
        let (plain, compression) = compress(encoded);
        Self { header: encoded_header, plain, compression, nonce, event }
    }

    /// Bytes of the payload as it will be sealed; the header is a few hundred more.
    pub(crate) fn bytes(&self) -> usize {
        self.plain.len()
    }

    /// Seals with the key in `slot`.
    pub(crate) fn seal(&self, vault: &Vault, slot: u64) -> Result<Sealed, Cause> {
        let key = vault.key(slot).map_err(Cause::new)?;
        let mut associated = Vec::new();
        associate(&mut associated, &self.header);
        let (nonce, associated) = (Nonce::assume_unique_for_key(self.nonce), Aad::from(&associated));
        let mut envelope = self.unencrypted(slot);
        let refused = || Cause::new("payload cannot be sealed");
        let start = envelope.len() - self.plain.len();
        let payload = envelope.get_mut(start..).ok_or_else(refused)?;
        let tag = key.seal_in_place_separate_tag(nonce, associated, payload).map_err(|_| refused())?;
        envelope.extend_from_slice(tag.as_ref());
        let opened = |(event, bytes): &(Arc<Event>, usize)| Opened { event: Arc::clone(event), slot, bytes: *bytes };
        Ok(Sealed { opened: self.event.as_ref().map(opened), ..Sealed::new(envelope) })
    }

    /// The envelope up to the payload, which is to be encrypted there, and its tag appended.
    fn unencrypted(&self, key_slot: u64) -> Vec<u8> {
        let compression = self.compression.into();
        PartRef { key_slot, compression, nonce: &self.nonce, ciphertext: &self.plain }.write(&self.header, TAG_BYTES)
    }
}

#[cfg(feature = "suite")]
impl Unsealed {
    /// As many bytes as sealing makes, and no seal: to measure what sealing costs.
    pub(crate) fn bare(&self) -> Sealed {
        let mut bytes = self.unencrypted(0);
        bytes.extend_from_slice(&[0; TAG_BYTES]);
        Sealed { bytes: bytes.into(), leaf: [0; 32], opened: None }
    }
}

impl Sealed {
    /// An event whose payload is stored in the clear.
    pub(crate) fn clear(header: &Header, payload: Vec<u8>) -> Self {
        let envelope = Envelope { header: header.encode_to_vec(), parts: Vec::new(), clear: payload };
        Self::new(envelope.encode_to_vec())
    }

    /// `envelope` is encoded.
    fn new(envelope: Vec<u8>) -> Self {
        Self { leaf: leaf_hash(&envelope), bytes: envelope.into(), opened: None }
    }

    /// The event as it was decided: with a header of another verdict, or one that names the event before. The header is
    /// authenticated with the payload, so both are sealed anew.
    pub(crate) fn decided(
        self,
        vault: &Vault,
        message: &NewMessage,
        first_received: &FirstReceived,
    ) -> Result<Self, Cause> {
        if message.verdict != Verdict::Conflict && message.first.is_none() {
            return Ok(self);
        }
        self.with_header(vault, |header, names| {
            header.set_verdict(message.verdict);
            if let Some(first) = message.first {
                // Damage of the event before is told by whoever reads it; it is no reason to refuse the message.
                let received_us = first_received.get(&first.position).copied().unwrap_or(header.received_us);
                header.event_id = names.redriven_id(&first.event_id.0).to_vec();
                header.redrives = Some(Redrives {
                    event_id: first.event_id.to_vec(),
                    position: Some(first.position.to_proto()),
                    received_us,
                    resent: !first.from_log,
                });
            }
        })
    }

    /// The same payload under another header.
    fn with_header(&self, vault: &Vault, change: impl FnOnce(&mut Header, &Names)) -> Result<Self, Cause> {
        let envelope = EnvelopeRef::read(&self.bytes).ok_or_else(|| Cause::new("own envelope does not decode"))?;
        let mut header = Header::decode(envelope.header).map_err(Cause::new)?;
        let part = envelope.part.ok_or_else(|| Cause::new("envelope without a part"))?;
        let key = vault.key(part.key_slot).map_err(Cause::new)?;
        let mut scratch = Scratch::default();
        decrypt(&key, &part, envelope.header, &mut scratch).ok_or_else(|| Cause::new("own seal does not open"))?;
        let compression = Compression::try_from(part.compression).map_err(Cause::new)?;
        change(&mut header, &Names::new(vault));
        let (header, plain, nonce) = (header.encode_to_vec(), scratch.plain, new_nonce(vault));
        let unsealed = Unsealed { header, plain, compression, nonce, event: None };
        unsealed.seal(vault, part.key_slot)
    }
}

/// For as many events; asked for together they cost little more than one.
pub(crate) fn new_nonces(vault: &Vault, count: usize) -> Vec<NonceBytes> {
    let mut nonces = vec![NonceBytes::default(); count];
    vault.random().fill(nonces.as_flattened_mut());
    nonces
}

fn new_nonce(vault: &Vault) -> NonceBytes {
    let mut nonce = NonceBytes::default();
    vault.random().fill(&mut nonce);
    nonce
}

/// Opens a stored event.
pub(crate) fn open(vault: &Vault, stored: &Stored) -> Result<Event, OpenError> {
    let position = stored.position;
    let corrupt = |what| OpenError::Corrupt { position, what };
    let envelope = EnvelopeRef::read(&stored.bytes).ok_or(corrupt("envelope does not decode"))?;
    let header = Header::decode(envelope.header).map_err(|_| corrupt("header does not decode"))?;
    if header.schema > SCHEMA_VERSION {
        return Err(OpenError::Decode { position, source: DecodeError::NewerSchema(header.schema) });
    }
    if !envelope.clear.is_empty() {
        return clear(position, header, stored.bytes.slice_ref(envelope.clear));
    }
    let part = envelope.part.ok_or(corrupt("payload is missing"))?;
    let key = vault.key(part.key_slot).map_err(|error| match error {
        VaultError::Shredded { .. } => OpenError::Shredded { position },
        error => OpenError::Vault(error),
    })?;
    let mut scratch = Scratch::default();
    plain(&key, &part, envelope.header, &mut scratch).map_err(corrupt)?;
    let payload = Payload::decode(&header, scratch.plain.into());
    Ok(Event { header, payload: payload.map_err(|source| OpenError::Decode { position, source })? })
}

/// What opening works in. Whoever opens many events one after the other keeps it: each then costs no allocation.
#[derive(Default)]
pub(crate) struct Scratch {
    associated: Vec<u8>,
    compressed: Vec<u8>,
    plain: Vec<u8>,
}

/// The encoded payload of a part; where there is none, why.
pub(crate) fn plain<'s>(
    key: &LessSafeKey,
    part: &PartRef<'_>,
    header: &[u8],
    scratch: &'s mut Scratch,
) -> Result<&'s [u8], &'static str> {
    decrypt(key, part, header, scratch).ok_or("seal does not fit")?;
    match Compression::try_from(part.compression) {
        Ok(Compression::None) => {}
        Ok(compression) => {
            mem::swap(&mut scratch.plain, &mut scratch.compressed);
            decompress(&scratch.compressed, compression, &mut scratch.plain).ok_or("payload does not decompress")?;
        }
        Err(_) => return Err("compression is unknown"),
    }
    Ok(&scratch.plain)
}

/// An event whose payload is in the clear: only kinds that speak of no person are, and no other is believed.
fn clear(position: Position, header: Header, payload: Bytes) -> Result<Event, OpenError> {
    let payload = Payload::decode(&header, payload).map_err(|source| OpenError::Decode { position, source })?;
    if !payload.is_clear() {
        return Err(OpenError::Corrupt { position, what: "payload is not sealed" });
    }
    Ok(Event { header, payload })
}

/// The clear header of a stored event: no key is needed.
///
/// # Errors
/// [`OpenError::Corrupt`].
pub fn header(stored: &Stored) -> Result<Header, OpenError> {
    let position: Position = stored.position;
    let corrupt = |what| OpenError::Corrupt { position, what };
    let envelope = EnvelopeRef::read(&stored.bytes).ok_or(corrupt("envelope does not decode"))?;
    Header::decode(envelope.header).map_err(|_| corrupt("header does not decode"))
}

/// The slot of the key that an envelope's payload is sealed with, where it is.
#[cfg(feature = "kafka")]
pub(crate) fn key_slot(envelope: &Bytes) -> Option<u64> {
    Some(EnvelopeRef::read(envelope)?.part?.key_slot)
}

/// Leaves the plain, perhaps compressed payload of the first part in `scratch`; None where the seal does not fit.
fn decrypt(key: &LessSafeKey, part: &PartRef<'_>, header: &[u8], scratch: &mut Scratch) -> Option<()> {
    let nonce = Nonce::try_assume_unique_for_key(part.nonce).ok()?;
    let (ciphertext, tag) = part.ciphertext.split_at_checked(part.ciphertext.len().checked_sub(TAG_BYTES)?)?;
    let Scratch { associated, plain, .. } = scratch;
    associate(associated, header);
    plain.resize(ciphertext.len(), 0);
    key.open_separate_gather(nonce, Aad::from(associated), ciphertext, tag, plain).ok()
}

/// Header bytes, then the part's index, which is that of the first: neither can be exchanged under the seal.
fn associate(associated: &mut Vec<u8>, header: &[u8]) {
    associated.clear();
    associated.extend_from_slice(header);
    associated.extend_from_slice(&0u32.to_be_bytes());
}
