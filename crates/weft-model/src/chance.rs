//! Time and chance are arguments: whatever needs them takes one of these.

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Microseconds since 1970-01-01T00:00:00Z. May step backwards when the machine's clock is set.
    fn now_us(&self) -> i64;
}

/// Gives random bytes fit for keys.
pub trait Random: Send + Sync {
    /// Fills `bytes`. A machine that cannot give randomness cannot seal anything: implementations end the process.
    fn fill(&self, bytes: &mut [u8]);
}
