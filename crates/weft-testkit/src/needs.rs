//! What a test needs from outside, and what happens where that is absent: the test says so by name, `tests/run` counts it,
//! and where the need is declared met (`WEFT_REQUIRE_SHARED=1`, `WEFT_REQUIRE_SERVICES=1`) it fails.

use std::{collections::BTreeSet, io::Write, sync::Mutex};

/// Something that is not part of the checkout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Sample data in `../shared/data`.
    Shared,
    /// A PostgreSQL server or a Kafka broker.
    Service,
}

/// Says that the calling test does not run, for `what` is absent. The test then returns.
///
/// # Panics
/// Where the need is declared met: a test that must run and cannot has failed.
#[allow(clippy::panic, reason = "a test that cannot have what it needs must not pass for run")]
pub fn not_run(need: Need, what: &str) {
    let variable = match need {
        Need::Shared => "WEFT_REQUIRE_SHARED",
        Need::Service => "WEFT_REQUIRE_SERVICES",
    };
    assert!(std::env::var(variable).as_deref() != Ok("1"), "{what} is absent, and {variable} is set");
    // libtest names the thread after its test. A test is told of once, however often it asks.
    static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    if TOLD.lock().is_ok_and(|mut told| told.insert(test.clone())) {
        // Written past the capture of libtest, which would hide what a passing test says.
        let _ = writeln!(std::io::stderr(), "NOT RUN: {test}: {what} is absent");
    }
}

/// Address of a PostgreSQL server, as a URL: `WEFT_TEST_POSTGRES`. `None` where the test does not run.
///
/// # Panics
/// Where services are required and there is none.
#[must_use]
pub fn postgres() -> Option<String> {
    service("WEFT_TEST_POSTGRES")
}

/// Addresses of Kafka brokers, `host:port,...`: `WEFT_TEST_KAFKA`. `None` where the test does not run.
///
/// # Panics
/// Where services are required and there is none.
#[must_use]
pub fn kafka() -> Option<String> {
    service("WEFT_TEST_KAFKA")
}

fn service(variable: &str) -> Option<String> {
    let address = std::env::var(variable).ok().filter(|address| !address.is_empty());
    if address.is_none() {
        not_run(Need::Service, variable);
    }
    address
}
