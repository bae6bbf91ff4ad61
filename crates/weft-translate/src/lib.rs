//! Messages to facts: pure functions from bytes and a feed's profile.

#![allow(dead_code, reason = "the reader stands before those who call it")]

mod context;
mod facts;
pub mod hl7v2;
mod identifiers;
mod issue;
mod profile;

pub use profile::Profile;
