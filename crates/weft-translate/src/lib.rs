//! Messages to facts: pure functions from bytes and a feed's profile to what a message says and what its sender is told.
//!
//! [`Profile::parse`] checks and compiles a registration file once. [`translate`] makes of any bytes a [`Translation`]:
//! facts where they can be read, issues with their places where not, and always the bytes themselves. When the log has
//! said what became of it, [`Translation::acknowledge`] writes the answer. No clock, no network, no panic: a broken
//! message is data.

mod acknowledge;
mod context;
mod facts;
mod header;
pub mod hl7v2;
mod identifiers;
mod issue;
mod profile;
mod route;
mod translation;

pub use acknowledge::refuse;
pub use profile::{Listener, Profile, Tls};
pub use translation::{Outcome, Translation, translate};
