//! What translation makes of messages: stories of every event, agreement with what other converters make of the same
//! messages, and what holds for every message there is.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests fail by panicking and say what they skip"
)]

mod common;
mod merges;
mod people;
mod properties;
mod results;
mod samples;
mod unlinks;
mod visits;
mod witnesses;
