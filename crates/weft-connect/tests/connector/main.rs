//! The connector over real sockets: what senders do, what they are told, and what is in the log afterwards.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking, their helpers too"
)]

mod feeds;
mod frames;
mod load;
mod site;
mod store;
mod tls;
