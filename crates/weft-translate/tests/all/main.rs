//! Tests of translation through its public interface: samples of others, malformed and mutated messages,
//! acknowledgements and registration files.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests fail by panicking and say what they skip"
)]

mod acknowledgements;
mod hl7_parser_agrees;
mod malformed;
mod mutations;
mod profiles;
mod samples;
mod translations;
