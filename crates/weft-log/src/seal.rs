//! From a header and a payload to the stored envelope, and back.

use std::sync::Arc;

use aws_lc_rs::aead::{Aad, Nonce};
use bytes::Bytes;
use prost::Message;
use weft_model::{
    DecodeError, Event, Payload, Position, SCHEMA_VERSION, Verdict,
    proto::event::{Compression, Envelope, Header, SealedPart},
};

use crate::{
    OpenError, Stored, Vault, VaultError,
    compress::{compress, decompress},
    error::Cause,
    merkle::leaf_hash,
    opened::Opened,
};

const NONCE_BYTES: usize = 12;

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
    header: Header,
    /// The payload, compressed where that makes it smaller.
    plain: Vec<u8>,
    compression: Compression,
    /// The payload once more, and its encoded length.
    payload: Option<(Payload, usize)>,
}

impl Unsealed {
    /// Does what takes longest: encodes and compresses.
    pub(crate) fn new(header: Header, payload: Payload) -> Self {
        let encoded = payload.encode();
        let bytes = encoded.len();
        let (plain, compression) = compress(encoded);
        Self { header, plain, compression, payload: Some((payload, bytes)) }
    }

    /// Bytes of the payload as it will be sealed; the header is a few hundred more.
    pub(crate) fn bytes(&self) -> usize {
        self.plain.len()
    }

    /// Seals with the key in `slot`.
    pub(crate) fn seal(self, vault: &Vault, slot: u64) -> Result<Sealed, Cause> {
        let Self { header, plain: mut ciphertext, compression, payload } = self;
        let opened = |header| {
            let (payload, bytes) = payload?;
            Some(Opened { event: Arc::new(Event { header, payload }), slot, bytes })
        };
        let (header, opened) = (header.encode_to_vec(), opened(header));
        let mut nonce = [0; NONCE_BYTES];
        vault.random().fill(&mut nonce);
        let key = vault.key(slot).map_err(Cause::new)?;
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), associated(&header, 0), &mut ciphertext)
            .map_err(|_| Cause::new("payload cannot be sealed"))?;
        let part = SealedPart { key_slot: slot, compression: compression.into(), nonce: nonce.to_vec(), ciphertext };
        let sealed = Sealed::new(&Envelope { header, parts: vec![part], clear: Vec::new() });
        Ok(Sealed { opened, ..sealed })
    }
}

impl Sealed {
    /// An event whose payload is stored in the clear.
    pub(crate) fn clear(header: &Header, payload: Vec<u8>) -> Self {
        Self::new(&Envelope { header: header.encode_to_vec(), parts: Vec::new(), clear: payload })
    }

    fn new(envelope: &Envelope) -> Self {
        let bytes = Bytes::from(envelope.encode_to_vec());
        Self { leaf: leaf_hash(&bytes), bytes, opened: None }
    }

    /// The same event under another verdict: the header is authenticated with the payload, so both are sealed anew.
    pub(crate) fn with_verdict(&self, vault: &Vault, verdict: Verdict) -> Result<Self, Cause> {
        let envelope = Envelope::decode(self.bytes.clone()).map_err(Cause::new)?;
        let mut header = Header::decode(&*envelope.header).map_err(Cause::new)?;
        let part = envelope.parts.into_iter().next().ok_or_else(|| Cause::new("envelope without a part"))?;
        let (compression, slot) = (part.compression(), part.key_slot);
        let plain = decrypt(vault, part, &envelope.header).map_err(|e| match e {
            DecryptError::Vault(e) => Cause::new(e),
            DecryptError::Seal => Cause::new("own seal does not open"),
        })?;
        header.set_verdict(verdict);
        Unsealed { header, plain, compression, payload: None }.seal(vault, slot)
    }
}

/// Opens a stored event.
pub(crate) fn open(vault: &Vault, stored: &Stored) -> Result<Event, OpenError> {
    let position = stored.position;
    let corrupt = |what| OpenError::Corrupt { position, what };
    let envelope = Envelope::decode(stored.bytes.clone()).map_err(|_| corrupt("envelope does not decode"))?;
    let header = Header::decode(&*envelope.header).map_err(|_| corrupt("header does not decode"))?;
    if header.schema > SCHEMA_VERSION {
        return Err(OpenError::Decode { position, source: DecodeError::NewerSchema(header.schema) });
    }
    if !envelope.clear.is_empty() {
        return clear(position, header, envelope.clear.into());
    }
    let payload = plain(vault, stored, envelope)?;
    let payload = Payload::decode(&header, payload).map_err(|source| OpenError::Decode { position, source })?;
    Ok(Event { header, payload })
}

/// The encoded payload of a sealed envelope.
pub(crate) fn plain(vault: &Vault, stored: &Stored, envelope: Envelope) -> Result<Bytes, OpenError> {
    let position = stored.position;
    let corrupt = |what| OpenError::Corrupt { position, what };
    let part = envelope.parts.into_iter().next().ok_or(corrupt("payload is missing"))?;
    let compression = part.compression();
    let plain = decrypt(vault, part, &envelope.header).map_err(|e| match e {
        DecryptError::Vault(VaultError::Shredded { .. }) => OpenError::Shredded { position },
        DecryptError::Vault(e) => OpenError::Vault(e),
        DecryptError::Seal => corrupt("seal does not fit"),
    })?;
    Ok(decompress(plain, compression).ok_or(corrupt("payload does not decompress"))?.into())
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
    let envelope = Envelope::decode(stored.bytes.clone()).map_err(|_| corrupt("envelope does not decode"))?;
    Header::decode(&*envelope.header).map_err(|_| corrupt("header does not decode"))
}

/// The key slots that an envelope's payload is sealed with, read without the rest. Fields are numbered as in
/// weft.event.v1.Envelope and SealedPart.
#[cfg(feature = "kafka")]
pub(crate) fn key_slots(envelope: &Bytes) -> Vec<u64> {
    #[derive(prost::Message)]
    struct Parts {
        #[prost(message, repeated, tag = "2")]
        parts: Vec<Part>,
    }
    #[derive(prost::Message)]
    struct Part {
        #[prost(uint64, tag = "1")]
        key_slot: u64,
    }
    let parts = Parts::decode(envelope.clone()).map(|envelope| envelope.parts);
    parts.unwrap_or_default().into_iter().map(|part| part.key_slot).collect()
}

enum DecryptError {
    Vault(VaultError),
    Seal,
}

/// The plain, perhaps compressed payload of the first part.
fn decrypt(vault: &Vault, part: SealedPart, header: &[u8]) -> Result<Vec<u8>, DecryptError> {
    let key = vault.key(part.key_slot).map_err(DecryptError::Vault)?;
    let nonce = Nonce::try_assume_unique_for_key(&part.nonce).map_err(|_| DecryptError::Seal)?;
    let mut plain = part.ciphertext;
    let bytes = key.open_in_place(nonce, associated(header, 0), &mut plain).map_err(|_| DecryptError::Seal)?.len();
    plain.truncate(bytes);
    Ok(plain)
}

/// Header bytes, then the part's index: neither can be exchanged under the seal.
fn associated(header: &[u8], index: u32) -> Aad<Vec<u8>> {
    Aad::from([header, &index.to_be_bytes()].concat())
}
