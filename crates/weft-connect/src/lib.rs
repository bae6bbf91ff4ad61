//! MLLP.
pub mod frame;
