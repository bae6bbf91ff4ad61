//! An envelope, read where it lies and encrypted where it is to lie: no event is copied to look at it, or to seal it.
//!
//! The fields are those of weft.event.v1; what nobody asks for is passed over. Everything that is written reads the same
//! here and by the generated types, and is written the same, which is tested.

use prost::encoding::{
    self, DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, encoded_len_varint, skip_field,
};

/// An Envelope.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct EnvelopeRef<'a> {
    pub(crate) header: &'a [u8],
    /// The first part, which is the only one today.
    pub(crate) part: Option<PartRef<'a>>,
    pub(crate) clear: &'a [u8],
}

/// A SealedPart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PartRef<'a> {
    pub(crate) key_slot: u64,
    pub(crate) compression: i32,
    pub(crate) nonce: &'a [u8],
    pub(crate) ciphertext: &'a [u8],
}

/// What says which event a Header is of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct HeaderRef<'a> {
    pub(crate) event_id: &'a [u8],
    pub(crate) kind: i32,
    pub(crate) feed: &'a str,
    pub(crate) control_id: &'a str,
    pub(crate) source_record: &'a [u8],
    /// Event id of what it was kept as, of a message that was accepted later.
    pub(crate) redrives: Option<&'a [u8]>,
}

/// The parts of a MessageReceived that its identity is made of. Everything else of it is under the same seal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ContentRef<'a> {
    pub(crate) raw: &'a [u8],
    pub(crate) record: Option<RecordRef<'a>>,
}

/// A SourceRecordId.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RecordRef<'a> {
    pub(crate) organisation: &'a [u8],
    pub(crate) system: &'a [u8],
    pub(crate) value: &'a [u8],
}

impl<'a> EnvelopeRef<'a> {
    /// None where the bytes are no envelope.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut envelope = Self::default();
        fields(bytes, |tag, value| {
            match tag {
                1 => envelope.header = value.bytes()?,
                2 if envelope.part.is_none() => envelope.part = Some(PartRef::read(value.bytes()?)?),
                3 => envelope.clear = value.bytes()?,
                _ => {}
            }
            Some(())
        })?;
        Some(envelope)
    }
}

/// What a part has before its ciphertext, at most: three keys and numbers, and a nonce.
const PART_START_BYTES_MAX: usize = 48;

impl<'a> PartRef<'a> {
    /// The encoded envelope of an event with this one part, up to the end of the ciphertext as far as it is there: `more` bytes
    /// of it are still to be appended, and then the envelope is whole.
    pub(crate) fn write(&self, header: &[u8], more: usize) -> Vec<u8> {
        let ciphertext = self.ciphertext.len() + more;
        let mut start = Vec::with_capacity(PART_START_BYTES_MAX);
        if self.key_slot != 0 {
            encoding::uint64::encode(1, &self.key_slot, &mut start);
        }
        if self.compression != 0 {
            encoding::int32::encode(2, &self.compression, &mut start);
        }
        if !self.nonce.is_empty() {
            key_and_length(3, self.nonce.len(), &mut start);
            start.extend_from_slice(self.nonce);
        }
        if ciphertext != 0 {
            key_and_length(4, ciphertext, &mut start);
        }
        let part = start.len() + ciphertext;
        let keys_and_lengths = 2 + encoded_len_varint(header.len() as u64) + encoded_len_varint(part as u64);
        let mut envelope = Vec::with_capacity(keys_and_lengths + header.len() + part);
        if !header.is_empty() {
            key_and_length(1, header.len(), &mut envelope);
            envelope.extend_from_slice(header);
        }
        key_and_length(2, part, &mut envelope);
        envelope.extend_from_slice(&start);
        envelope.extend_from_slice(self.ciphertext);
        envelope
    }

    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut part = Self::default();
        fields(bytes, |tag, value| {
            match tag {
                1 => part.key_slot = value.number()?,
                // An enum is the low 32 bits.
                2 => part.compression = value.number()? as i32,
                3 => part.nonce = value.bytes()?,
                4 => part.ciphertext = value.bytes()?,
                _ => {}
            }
            Some(())
        })?;
        Some(part)
    }
}

impl<'a> HeaderRef<'a> {
    /// None where the bytes are no header.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut header = Self::default();
        fields(bytes, |tag, value| {
            match tag {
                2 => header.event_id = value.bytes()?,
                3 => header.kind = value.number()? as i32,
                4 => header.feed = std::str::from_utf8(value.bytes()?).ok()?,
                5 => header.control_id = std::str::from_utf8(value.bytes()?).ok()?,
                8 => header.source_record = value.bytes()?,
                11 => header.redrives = Some(redriven(value.bytes()?)?),
                _ => {}
            }
            Some(())
        })?;
        Some(header)
    }
}

impl<'a> ContentRef<'a> {
    /// None where the bytes are no message.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut content = Self::default();
        fields(bytes, |tag, value| {
            match tag {
                1 => content.raw = value.bytes()?,
                6 => content.record = Some(RecordRef::read(value.bytes()?)?),
                _ => {}
            }
            Some(())
        })?;
        Some(content)
    }
}

impl<'a> RecordRef<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut record = Self::default();
        fields(bytes, |tag, value| {
            match tag {
                1 => record.organisation = value.bytes()?,
                2 => record.system = value.bytes()?,
                3 => record.value = value.bytes()?,
                _ => {}
            }
            Some(())
        })?;
        Some(record)
    }
}

/// The event id in a Redrives.
fn redriven(bytes: &[u8]) -> Option<&[u8]> {
    let mut event_id = &[][..];
    fields(bytes, |tag, value| {
        if tag == 1 {
            event_id = value.bytes()?;
        }
        Some(())
    })?;
    Some(event_id)
}

/// What stands before the bytes of a field.
fn key_and_length(tag: u32, length: usize, to: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, to);
    encode_varint(length as u64, to);
}

/// The value of a field, of the two kinds that these messages have.
#[derive(Clone, Copy)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    fn number(self) -> Option<u64> {
        if let Self::Number(number) = self { Some(number) } else { None }
    }

    fn bytes(self) -> Option<&'a [u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }
}

/// Calls `take` for every field of a message; None where the bytes are none, or where `take` says so.
fn fields<'a>(mut rest: &'a [u8], mut take: impl FnMut(u32, Value<'a>) -> Option<()>) -> Option<()> {
    while !rest.is_empty() {
        let (tag, wire_type) = decode_key(&mut rest).ok()?;
        let value = match wire_type {
            WireType::Varint => Value::Number(decode_varint(&mut rest).ok()?),
            WireType::LengthDelimited => {
                let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
                let (bytes, after) = rest.split_at_checked(length)?;
                rest = after;
                Value::Bytes(bytes)
            }
            other => {
                skip_field(other, tag, &mut rest, DecodeContext::default()).ok()?;
                continue;
            }
        };
        take(tag, value)?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use prost::Message;
    use weft_model::{
        SourceRecordId,
        proto::event::{Envelope, Header, MessageReceived, Redrives, SealedPart},
    };

    use super::*;

    fn part() -> impl Strategy<Value = SealedPart> {
        (any::<u64>(), -1..4i32, vec(any::<u8>(), 0..14), vec(any::<u8>(), 0..300)).prop_map(
            |(key_slot, compression, nonce, ciphertext)| SealedPart { key_slot, compression, nonce, ciphertext },
        )
    }

    proptest! {
        #[test]
        fn an_envelope_reads_as_it_does_by_the_generated_type(
            (header, clear) in (vec(any::<u8>(), 0..200), vec(any::<u8>(), 0..200)),
            parts in vec(part(), 0..3),
        ) {
            let whole = Envelope { header, parts, clear };
            let bytes = whole.encode_to_vec();
            let read = EnvelopeRef::read(&bytes).unwrap();
            prop_assert_eq!((read.header, read.clear), (&whole.header[..], &whole.clear[..]));
            let first = whole.parts.first().map(|part| PartRef {
                key_slot: part.key_slot,
                compression: part.compression,
                nonce: &part.nonce,
                ciphertext: &part.ciphertext,
            });
            prop_assert_eq!(read.part, first);
        }

        #[test]
        fn an_envelope_is_written_as_by_the_generated_type(
            header in vec(any::<u8>(), 0..200), part in part(), cut in any::<prop::sample::Index>(),
        ) {
            let (there, still_to_come) = part.ciphertext.split_at(cut.index(part.ciphertext.len() + 1));
            let start = PartRef {
                key_slot: part.key_slot, compression: part.compression, nonce: &part.nonce, ciphertext: there,
            };
            let mut written = start.write(&header, still_to_come.len());
            let capacity = written.capacity();
            written.extend_from_slice(still_to_come);
            prop_assert_eq!(written.capacity(), capacity);
            let whole = Envelope { header, parts: std::vec![part.clone()], clear: Vec::new() };
            prop_assert_eq!(written, whole.encode_to_vec());
        }

        #[test]
        fn a_header_and_a_message_too(
            (feed, control_id, message_type) in (".{0,20}", ".{0,20}", ".{0,20}"),
            (event_id, source_record) in (vec(any::<u8>(), 0..17), vec(any::<u8>(), 0..17)),
            (kind, schema, received_us) in (-1..70i32, any::<u32>(), any::<i64>()),
            redriven in proptest::option::of(vec(any::<u8>(), 0..17)),
            (raw, record) in (vec(any::<u8>(), 0..200), proptest::option::of((".{0,9}", ".{0,9}", ".{0,9}"))),
        ) {
            let redrives = redriven.map(|event_id| Redrives { event_id, received_us, resent: true, ..Redrives::default() });
            let whole = Header {
                schema, event_id, kind, feed, control_id, received_us, source_record, message_type, redrives,
                ..Header::default()
            };
            let bytes = whole.encode_to_vec();
            let read = HeaderRef { event_id: &whole.event_id, kind, feed: &whole.feed, control_id: &whole.control_id,
                source_record: &whole.source_record, redrives: whole.redrives.as_ref().map(|first| &first.event_id[..]) };
            prop_assert_eq!(HeaderRef::read(&bytes), Some(read));

            let record = record.map(|(organisation, system, value)| SourceRecordId { organisation, system, value });
            let message = MessageReceived { raw: raw.into(), record, version: "2.4".into(), ..MessageReceived::default() };
            let bytes = message.encode_to_vec();
            let record = message.record.as_ref().map(|record| RecordRef {
                organisation: record.organisation.as_bytes(),
                system: record.system.as_bytes(),
                value: record.value.as_bytes(),
            });
            prop_assert_eq!(ContentRef::read(&bytes), Some(ContentRef { raw: &message.raw, record }));
        }

        /// Bytes that the generated type does not take may be taken here, but never another way round.
        #[test]
        fn what_the_generated_type_reads_is_read(bytes in vec(any::<u8>(), 0..60)) {
            if Envelope::decode(&bytes[..]).is_ok() {
                prop_assert!(EnvelopeRef::read(&bytes).is_some());
            }
            if Header::decode(&bytes[..]).is_ok() {
                prop_assert!(HeaderRef::read(&bytes).is_some());
            }
        }
    }
}
