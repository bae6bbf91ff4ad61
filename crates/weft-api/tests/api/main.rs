//! The services as a caller sees them: every call goes over a socket to a node with a real log and a real read model.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails where it stands, in its helpers too"
)]

mod disclosures;
mod feeds;
mod node;
mod persons;
mod refusals;
mod serving;
mod stewards;
mod streams;
mod timelines;
