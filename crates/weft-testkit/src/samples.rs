//! Sample messages written by others, where the checkout has them beside it.

use std::path::{Path, PathBuf};

use crate::needs::{Need, not_run};

/// Path of a sample set. `None` where it is absent: then the test does not run.
///
/// # Panics
/// Where the set is required and absent.
#[must_use]
pub fn shared(set: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(set);
    if path.exists() {
        return Some(path);
    }
    not_run(Need::Shared, &format!("sample set {set}"));
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
