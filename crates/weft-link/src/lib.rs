//! Decides which person a source record belongs to, and says why.
//!
//! Pure: demographics go in, a decision comes out; the caller appends it to the log and never asks again for the same
//! event. The path is always the same, whatever model decides:
//!
//! ```text
//! Demographics ─normalise─► Features ─keys─► candidates (Index) ─compare─► rows of integer weights ─decide─► Decision
//! ```
//!
//! - [`Features`]: what is compared, brought to one spelling by [`NORMALISER`]. Fillers (`Baby`, 01/01/1900, ZZ99, an
//!   NHS number of ten equal digits) count as absent.
//! - [`Index`]: every record that has been heard of, the person it is linked to, and the keys by which others find it.
//! - [`labelled`]: scoring all this on sets of which it is known who is who.
//! - [`Register`]: the index, and what stewards and senders have decided, which outranks every score: the fold of the
//!   identity stream. [`Register::rule`] decides under it.
//! - [`decide`]: compares with the records of every candidate person. Each comparison is a waterfall of [`Evidence`] rows
//!   whose weights sum exactly to the score; a rule that forbids a link is a row too, heavy enough to outweigh all others.
//!   So a person agrees exactly where its score reaches [`Model::threshold`].
//!
//! Integers only, no clock, no chance, and no result depends on the order of candidates or of a hash table.
//!
//! A score is the binary logarithm, in hundredths, of how much likelier the agreement is for one person than for two: the
//! weights of Fellegi and Sunter, read from a file ([`Model`]), with the rarity of the names and the number of records known.
//! It has to be a better explanation than coincidence, and than a member of the household, a twin, or a parent or child of
//! the same name.
//!
//! A record is linked by an NHS number whose cross-check passes (the first step of the Master Person Service), or by any
//! agreement that reaches the threshold and leads the second person by a margin; what comes near is for people to review. One
//! that agrees with two persons joins them where the mean score between their records allows it.

mod compare;
mod decide;
mod features;
mod field;
mod frequencies;
mod heads;
mod index;
mod keys;
pub mod labelled;
mod map;
mod model;
mod names;
mod nicknames;
mod normalise;
mod phonetic;
mod places;
mod postings;
mod recent;
mod register;
mod rule;
mod rules;
mod setting;
mod ties;
mod waiting;

pub use compare::Row;
pub use decide::{Decision, Join, OTHERS_MAX, Outcome, Review, decide, first_person};
pub use features::{Features, NORMALISER, Options};
pub use field::{Field, Level};
pub use frequencies::FREQUENCIES;
pub use index::{BLOCK_RECORDS_MAX, Candidate, Index, LookedAt};
pub use model::{Model, ModelError, Rivals};
pub use register::Register;
pub use setting::Setting;
pub use waiting::{TOGETHER, Waiting};
pub use weft_model::proto::event::{Evidence, LinkMethod};
