//! Any mutation of a message is translated: never a panic, always the bytes, always a verdict, always an answer.

use bytes::Bytes;
use proptest::prelude::*;
use weft_model::Verdict;
use weft_translate::{Outcome, Profile, translate};

use crate::samples;

/// One change to the bytes of a message. Positions are fractions of its length.
#[derive(Debug, Clone)]
enum Mutation {
    Flip(u16, u8),
    Set(u16, u8),
    Cut(u16),
    Drop(u16, u8),
    Insert(u16, Vec<u8>),
    /// Puts a part of another message here.
    Splice(u16, usize, u16, u8),
    /// Repeats a part.
    Repeat(u16, u8, u8),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let marks = prop::collection::vec(prop::sample::select(b"|^~\\&\r\n\"MSHPID0123 \0\xff\xc3\xa9+-".to_vec()), 1..6);
    prop_oneof![
        (any::<u16>(), any::<u8>()).prop_map(|(at, bits)| Mutation::Flip(at, bits)),
        (any::<u16>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        any::<u16>().prop_map(Mutation::Cut),
        (any::<u16>(), any::<u8>()).prop_map(|(at, count)| Mutation::Drop(at, count)),
        (any::<u16>(), marks).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        (any::<u16>(), any::<usize>(), any::<u16>(), any::<u8>())
            .prop_map(|(at, other, from, count)| Mutation::Splice(at, other, from, count)),
        (any::<u16>(), any::<u8>(), 1u8..4).prop_map(|(at, count, times)| Mutation::Repeat(at, count, times)),
    ]
}

impl Mutation {
    fn apply(&self, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
        let place = |at: u16, length: usize| usize::from(at) * length / 65536;
        match self {
            Self::Flip(at, bits) => {
                let at = place(*at, bytes.len());
                bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= bits);
            }
            Self::Set(at, value) => {
                let at = place(*at, bytes.len());
                bytes.get_mut(at).into_iter().for_each(|byte| *byte = *value);
            }
            Self::Cut(at) => bytes.truncate(place(*at, bytes.len())),
            Self::Drop(at, count) => {
                let from = place(*at, bytes.len());
                bytes.drain(from..bytes.len().min(from + usize::from(*count)));
            }
            Self::Insert(at, inserted) => {
                let at = place(*at, bytes.len());
                bytes.splice(at..at, inserted.iter().copied());
            }
            Self::Splice(at, other, from, count) => {
                let other = &others[other % others.len()];
                let from = place(*from, other.len());
                let part = other[from..other.len().min(from + usize::from(*count))].to_vec();
                let at = place(*at, bytes.len());
                bytes.splice(at..at, part);
            }
            Self::Repeat(at, count, times) => {
                let from = place(*at, bytes.len());
                let part = bytes[from..bytes.len().min(from + usize::from(*count))].repeat(usize::from(*times));
                bytes.splice(from..from, part);
            }
        }
    }
}

fn messages() -> Vec<Vec<u8>> {
    let mut messages: Vec<Vec<u8>> = samples::all().into_iter().map(|(_, bytes)| bytes).collect();
    messages.push(samples::wire(samples::ADMISSION).into_bytes());
    messages
}

/// What must hold of any bytes.
fn check(bytes: Vec<u8>, profile: &Profile) {
    let raw = Bytes::from(bytes);
    let translation = translate(raw.clone(), profile, 7);
    let message = &translation.message;
    assert_eq!(message.raw, raw);
    assert!(matches!(translation.verdict, Verdict::Accepted | Verdict::Quarantined));
    assert_eq!(translation.verdict == Verdict::Quarantined, !message.reason.is_empty());
    assert!(translation.control_id.chars().count() <= 199);
    if translation.verdict == Verdict::Accepted {
        assert!(message.record.is_some());
        assert!(!translation.control_id.is_empty());
    }
    for verdict in [translation.verdict, Verdict::Duplicate, Verdict::Conflict] {
        let outcome = Outcome::Stored { verdict, stored: translation.verdict };
        let reply = translation.acknowledge(profile, outcome, 1_714_555_805_250_000, "W1");
        assert!(reply.starts_with(b"MSH") && reply.ends_with(b"\r"));
        assert!(reply.windows(4).any(|part| part == b"\rMSA"));
    }
}

proptest! {
    #[test]
    fn of_samples(first in any::<prop::sample::Index>(), mutations in prop::collection::vec(mutation(), 1..8)) {
        thread_local! {
            static MESSAGES: Vec<Vec<u8>> = messages();
            static PROFILES: [Profile; 2] = [
                samples::profile("", ""),
                samples::profile("character_set = \"8859-1\"", "[identifiers]\nlocal = { authority = \"RYJ\" }"),
            ];
        }
        MESSAGES.with(|messages| {
            let mut bytes = first.get(messages).clone();
            mutations.iter().for_each(|mutation| mutation.apply(&mut bytes, messages));
            PROFILES.with(|profiles| profiles.iter().for_each(|profile| check(bytes.clone(), profile)));
        });
    }

    #[test]
    fn of_nothing(bytes in prop::collection::vec(any::<u8>(), 0..300), headed in any::<bool>()) {
        let header: &[u8] = if headed { b"MSH|^~\\&|" } else { b"" };
        check([header, &bytes].concat(), &samples::profile("", ""));
    }
}

#[test]
fn every_prefix_of_a_message() {
    let profile = samples::profile("", "");
    let message = samples::wire(samples::ADMISSION).into_bytes();
    (0..message.len()).for_each(|end| check(message[..end].to_vec(), &profile));
}

/// A hostile message must not cost the square of its length.
#[test]
fn messages_of_very_many_parts() {
    let profile = samples::profile("", "");
    let mut message = b"MSH|^~\\&|A|B|C|D|20250505||ADT^A01|1|P|2.4\rPID|1||1\r".to_vec();
    (0..200_000u32).for_each(|i| message.extend(format!("Z{:02}|\r", i % 97).bytes()));
    check(message, &profile);
    for segment in ["OBX|1|NM|K||4.1\r", "OBR|1\r", "NK1|1|A^B\r", "DG1|1||I10\r", "AL1|1||X\r", "NTE|1||x\r"] {
        for kind in ["ADT^A01", "ORU^R01"] {
            let mut message = format!("MSH|^~\\&|A|B|C|D|20250505||{kind}|1|P|2.4\rPID|1||1\r").into_bytes();
            message.extend(segment.repeat(20_000).bytes());
            check(message, &profile);
        }
    }
    // One field of very many parts.
    for part in ["~", "^", "&", "1~", "\\F\\"] {
        let message = format!("MSH|^~\\&|A|B|C|D|20250505||ADT^A01|1|P|2.4\rPID|1||1~{}\r", part.repeat(100_000));
        check(message.into_bytes(), &profile);
    }
}
