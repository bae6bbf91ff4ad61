//! Reading HL7 version 2 messages: an index of segments and fields over the text, looked into on demand.
//!
//! [`Message::index`] walks the text once and remembers where each segment and field begins. A field is split into
//! repetitions and components only when it is asked for; separators (`parse_msh`) and subcomponents are read by
//! `hl7-parser`, and a test holds this reading equal to that crate's whole tree on every sample message. Form is read
//! leniently: any line ends, a byte order mark, blanks around the message and between segments, line breaks inside a
//! field. What deviates is noted in [`Message::issues`].

mod character_set;
mod escape;
mod field;
mod index;
mod segment;
mod time;

pub(crate) use character_set::{CharacterSet, decode, offset_in_raw};
pub use field::{Field, Repetition, Repetitions};
pub use index::Message;
pub(crate) use index::Separators;
pub use segment::Segment;
