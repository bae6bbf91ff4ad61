//! Sample messages written by others, where the checkout has them beside it.

use std::path::{Path, PathBuf};

/// Path of a sample set. `None` where it is absent, which is said, and which fails under `WEFT_REQUIRE_SHARED=1`.
///
/// # Panics
/// Where the set is required and absent.
#[must_use]
#[allow(clippy::panic, clippy::print_stderr, reason = "a test that cannot find its data must not pass for run")]
pub fn shared(set: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(set);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var("WEFT_REQUIRE_SHARED").as_deref() != Ok("1"), "sample set {set} is absent");
    eprintln!("sample set {set} is absent: this test checks nothing");
    None
}

/// The 1,013 messages of simhospital: segments end in CR, messages are apart by an extra LF.
#[must_use]
pub fn simhospital() -> Option<Vec<Vec<u8>>> {
    let bytes = std::fs::read(shared("hl7v2/simhospital")?.join("messages.out")).ok()?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let messages = text.split('\n').map(str::trim).filter(|m| m.starts_with("MSH"));
    Some(messages.map(|m| format!("{m}\r").into_bytes()).collect())
}
