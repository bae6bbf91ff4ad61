//! Identifiers, parsed once at the door.

use std::{fmt, str::FromStr};

/// What is wrong with an identifier. Never repeats the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not 32 hexadecimal digits (hyphens are skipped), or not 16 bytes.
    #[error("not an identifier of 32 hexadecimal digits")]
    NotAnId,
    /// Not 3 to 10 ASCII letters and digits.
    #[error("not an ODS code of 3 to 10 letters and digits")]
    NotAnOdsCode,
}

macro_rules! id16 {
    ($(#[$doc:meta])* $name:ident, $hyphens:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// Reads the 16 bytes as stored.
            ///
            /// # Errors
            /// [`IdError::NotAnId`] where there are not 16.
            pub fn from_bytes(bytes: &[u8]) -> Result<Self, IdError> {
                bytes.try_into().map(Self).map_err(|_| IdError::NotAnId)
            }

            /// The 16 bytes, for a protobuf field.
            #[must_use]
            pub fn to_vec(&self) -> Vec<u8> {
                self.0.to_vec()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let digits = digits(&self.0);
                let mut rest = std::str::from_utf8(&digits).map_err(|_| fmt::Error)?;
                for group in if $hyphens { [8, 4, 4, 4].as_slice() } else { &[] } {
                    let (digits, after) = rest.split_at(*group);
                    f.write_str(digits)?;
                    f.write_str("-")?;
                    rest = after;
                }
                f.write_str(rest)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let mut bytes = [0u8; 16];
                let mut digits = text.bytes().filter(|b| *b != b'-');
                for byte in &mut bytes {
                    let (high, low) = (digits.next().and_then(hex), digits.next().and_then(hex));
                    *byte = match (high, low) {
                        (Some(high), Some(low)) => high << 4 | low,
                        _ => return Err(IdError::NotAnId),
                    };
                }
                if digits.next().is_some() { Err(IdError::NotAnId) } else { Ok(Self(bytes)) }
            }
        }
    };
}

id16!(
    /// Deterministic identifier of an event: 32 hexadecimal digits.
    EventId, false
);
id16!(
    /// Identifier of a person, made from the pseudonym of its first record: written as a UUID.
    PersonId, true
);
id16!(
    /// Keyed pseudonym of a source record: what the clear header of an event says instead of an identifier.
    Pseudonym, false
);

impl PersonId {
    /// The person that a record starts when nobody agrees with it: the record's pseudonym with the version and variant bits
    /// of a UUID of version 8. A pseudonym is a keyed digest, so the 122 bits left name a person without a clock or chance.
    #[must_use]
    pub fn started_by(record: Pseudonym) -> Self {
        let mut bytes = record.0;
        let [_, _, _, _, _, _, version, _, variant, ..] = &mut bytes;
        *version = *version & 0x0f | 0x80;
        *variant = *variant & 0x3f | 0x80;
        Self(bytes)
    }

    /// The person that a record starts when it is taken away from others, who may keep the identifier that it started: one
    /// that no other record starts, and no other decision. `decided_at` is the offset that the decision was made at.
    #[must_use]
    pub fn split_off(record: Pseudonym, decided_at: u64) -> Self {
        let mut bytes = record.0;
        // The last bytes, so that the identifier differs from what the record itself starts also where offsets are small.
        for (byte, salt) in bytes.iter_mut().rev().zip((decided_at + 1).to_le_bytes()) {
            *byte ^= salt;
        }
        Self::started_by(Pseudonym(bytes))
    }
}

/// Hexadecimal, in one go: identifiers are written into every line of a timeline.
fn digits(bytes: &[u8; 16]) -> [u8; 32] {
    let mut digits = [0; 32];
    for (two, byte) in digits.as_chunks_mut().0.iter_mut().zip(bytes) {
        *two = crate::hex::digits(*byte);
    }
    digits
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

/// Code of an organisation in the NHS Organisation Data Service: 3 to 10 letters and digits, upper case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OdsCode(String);

impl OdsCode {
    /// Reads a code, in either case, surrounding space allowed.
    ///
    /// # Errors
    /// [`IdError::NotAnOdsCode`].
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let text = text.trim();
        let good = (3..=10).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
        if good { Ok(Self(text.to_ascii_uppercase())) } else { Err(IdError::NotAnOdsCode) }
    }

    /// The code.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OdsCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_what_they_write() {
        let person = PersonId([0xab; 16]);
        assert_eq!(person.to_string(), "abababab-abab-abab-abab-abababababab");
        assert_eq!(person.to_string().parse(), Ok(person));
        assert_eq!(EventId([1; 16]).to_string(), "01".repeat(16));
        assert_eq!(Pseudonym([0x9f; 16]).to_string(), "9f".repeat(16));
        for wrong in ["", "ab", "zz", &"a".repeat(33)] {
            assert_eq!(wrong.parse::<EventId>(), Err(IdError::NotAnId), "{wrong}");
        }
    }

    #[test]
    fn a_record_starts_one_person_and_every_split_another() {
        let record = Pseudonym([0xff; 16]);
        let first = PersonId::started_by(record);
        assert_eq!(first.to_string(), "ffffffff-ffff-8fff-bfff-ffffffffffff");
        let splits: Vec<PersonId> = (0..300).map(|at| PersonId::split_off(record, at)).collect();
        assert!(!splits.contains(&first));
        assert_eq!(splits.iter().collect::<std::collections::BTreeSet<_>>().len(), splits.len());
    }

    #[test]
    fn ods_codes_are_upper_case_and_plain() {
        assert_eq!(OdsCode::parse(" ryj ").map(|c| c.to_string()), Ok("RYJ".to_owned()));
        for wrong in ["", "RY", "RYJ-1", "RYJ0123456789"] {
            assert_eq!(OdsCode::parse(wrong), Err(IdError::NotAnOdsCode), "{wrong}");
        }
    }
}
