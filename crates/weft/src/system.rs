//! The one real clock and the one real source of randomness.

use weft_model::{Clock, Random};

/// The machine's clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SystemClock;

/// The machine's random source.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SystemRandom;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one real clock")]
    fn now_us(&self) -> i64 {
        jiff::Timestamp::now().as_microsecond()
    }
}

impl Random for SystemRandom {
    #[expect(clippy::disallowed_methods, reason = "the one real source of randomness")]
    fn fill(&self, bytes: &mut [u8]) {
        if aws_lc_rs::rand::fill(bytes).is_err() {
            // Without randomness nothing can be sealed, and going on would be worse than ending.
            std::process::abort();
        }
    }
}

/// A name that no other process has, for what one of several may hold.
pub(crate) fn process_name() -> String {
    let mut bytes = [0; 8];
    SystemRandom.fill(&mut bytes);
    format!("{}-{:016x}", std::process::id(), u64::from_be_bytes(bytes))
}
