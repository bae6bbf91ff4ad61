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
//! - [`Register`]: the index, and what stewards and senders have decided, which outranks every score: the fold of the
//!   identity stream. [`Register::rule`] decides under it.
//! - [`decide`]: compares with the records of every candidate person. Each comparison is a waterfall of [`Evidence`] rows
//!   whose weights sum exactly to the score; a rule that forbids a link is a row too, heavy enough to outweigh all others.
//!   So a person agrees exactly where its score reaches [`Model::threshold`].
//!
//! Integers only, no clock, no chance, and no result depends on the order of candidates or of a hash table.
//!
//! The first model, `rules/1`, links by an NHS number whose cross-check on birth date and names passes (the first step of
//! the Master Person Service), else by exact agreement of family name, given name, birth date, sex and postcode. A record
//! that is linked stays where it is: it moves only where its person holds no record that its NHS number agrees with, and
//! exactly one other person does.

mod compare;
mod decide;
mod features;
mod index;
mod model;
mod normalise;
mod register;
mod rule;

pub use decide::{Decision, Outcome, Review, decide, first_person};
pub use features::{Features, NORMALISER, Options};
pub use index::{BLOCK_RECORDS_MAX, Candidate, Index};
pub use model::Model;
pub use register::Register;
pub use weft_model::proto::event::{Evidence, LinkMethod};
