//! Payloads made smaller before they are sealed.
//!
//! A message and its facts are a few thousand bytes, most of which every message has: names of segments, resources, code
//! systems. Compressed alone, each payload would have to say all of that again. So there is a dictionary, a file of
//! `schemas/dictionaries` that is part of this program and, like every version of the stored form, is never changed: a
//! better one gets the next number beside it. It was made of generated people's messages by the example `train_dictionary`.

use std::{cell::RefCell, sync::LazyLock};

use weft_model::proto::event::Compression;
use zstd::{
    bulk::{Compressor, Decompressor},
    dict::{DecoderDictionary, EncoderDictionary},
};

/// Payloads below this never shrink by more than a compressed frame costs.
const BYTES_MIN: usize = 128;
/// No payload is this large; a frame that claims to be is damaged.
const BYTES_MAX: u64 = 1 << 28;
const LEVEL: i32 = 1;

static DICTIONARY: &[u8] = include_bytes!("../../../schemas/dictionaries/event-1.zdict");
static ENCODER: LazyLock<EncoderDictionary<'static>> = LazyLock::new(|| EncoderDictionary::copy(DICTIONARY, LEVEL));
static DECODER: LazyLock<DecoderDictionary<'static>> = LazyLock::new(|| DecoderDictionary::copy(DICTIONARY));

thread_local! {
    // Making a context costs more than compressing a message.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static WITHOUT: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
    static WITH: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// `payload` as it will be sealed: compressed where that makes it smaller.
pub(crate) fn compress(payload: Vec<u8>) -> (Vec<u8>, Compression) {
    match smaller(&payload) {
        Some(smaller) => (smaller, Compression::ZstdEvent1),
        None => (payload, Compression::None),
    }
}

/// Leaves the payload of what is compressed in `to`; `None` where the bytes are not what [`compress`] makes.
pub(crate) fn decompress(stored: &[u8], compression: Compression, to: &mut Vec<u8>) -> Option<()> {
    match compression {
        Compression::Zstd => WITHOUT.with_borrow_mut(|kept| larger(made(kept, Decompressor::new)?, stored, to)),
        Compression::ZstdEvent1 => WITH.with_borrow_mut(|kept| {
            larger(made(kept, || Decompressor::with_prepared_dictionary(&DECODER))?, stored, to)
        }),
        Compression::None | Compression::Unspecified => None,
    }
}

fn smaller(payload: &[u8]) -> Option<Vec<u8>> {
    if payload.len() < BYTES_MIN {
        return None;
    }
    COMPRESSOR.with_borrow_mut(|kept| {
        let compressor = made(kept, || Compressor::with_prepared_dictionary(&ENCODER))?;
        compressor.compress(payload).ok().filter(|smaller| smaller.len() < payload.len())
    })
}

fn larger(decompressor: &mut Decompressor<'static>, frame: &[u8], to: &mut Vec<u8>) -> Option<()> {
    let bytes = zstd::decompressed_size(frame).filter(|bytes| *bytes <= BYTES_MAX)?;
    to.clear();
    to.reserve(usize::try_from(bytes).ok()?);
    decompressor.decompress_to_buffer(frame, to).ok().map(|_| ())
}

/// What is kept, made the first time.
fn made<T>(kept: &mut Option<T>, make: impl FnOnce() -> std::io::Result<T>) -> Option<&mut T> {
    if kept.is_none() {
        *kept = make().ok();
    }
    kept.as_mut()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: usize) -> Vec<u8> {
        format!(
            "MSH|^~\\&|PAS|RYJ|WEFT|NWL|20240501||ADT^A01|{number}|P|2.4\rPID|1||{number}^^^RYJ^MR||Smith^Ann\r\
             {{\"resourceType\":\"Encounter\",\"id\":\"{number}\",\"status\":\"in-progress\"}}"
        )
        .into_bytes()
    }

    fn again(stored: &[u8], compression: Compression) -> Option<Vec<u8>> {
        let mut payload = Vec::new();
        decompress(stored, compression, &mut payload)?;
        Some(payload)
    }

    #[test]
    fn every_payload_comes_back() {
        let next = |n: &u64| Some(n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        let random: Vec<u8> = std::iter::successors(Some(1), next).map(|n| (n >> 56) as u8).take(4000).collect();
        for (payload, wanted) in [
            (Vec::new(), Compression::None),
            (vec![b'x'; BYTES_MIN - 1], Compression::None),
            (vec![b'x'; BYTES_MIN], Compression::ZstdEvent1),
            (message(1), Compression::ZstdEvent1),
            (random, Compression::None),
        ] {
            let (stored, compression) = compress(payload.clone());
            assert_eq!(compression, wanted, "{} bytes", payload.len());
            assert!(stored.len() <= payload.len());
            let whole = if compression == Compression::None { Some(stored) } else { again(&stored, compression) };
            assert_eq!(whole, Some(payload));
        }
    }

    #[test]
    fn the_dictionary_makes_less_of_a_message_than_zstd_alone() {
        let alone = zstd::bulk::compress(&message(1), LEVEL).unwrap();
        let (stored, _) = compress(message(1));
        assert!(stored.len() < alone.len(), "{} bytes beside {}", stored.len(), alone.len());
    }

    #[test]
    fn frames_of_the_first_schema_are_read() {
        let frame = zstd::bulk::compress(&message(2), LEVEL).unwrap();
        assert_eq!(again(&frame, Compression::Zstd), Some(message(2)));
    }

    #[test]
    fn what_is_no_frame_is_told() {
        let (stored, _) = compress(message(3));
        let mut cut = stored.clone();
        cut.truncate(stored.len() / 2);
        for (damaged, compression) in [
            (cut, Compression::ZstdEvent1),
            (stored.clone(), Compression::Zstd),
            (b"no frame at all".to_vec(), Compression::ZstdEvent1),
            (stored, Compression::Unspecified),
        ] {
            assert_eq!(again(&damaged, compression), None, "{compression:?}");
        }
    }
}
