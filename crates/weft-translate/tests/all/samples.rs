//! Messages for the tests: those of others beside the project, and a few of our own.

use std::{
    fs,
    path::{Path, PathBuf},
};

use weft_translate::Profile;

/// An admission as ITK 2.4 has it, on synthetic people.
pub(crate) const ADMISSION: &str = include_str!("../../examples/admission.hl7");

/// The files of a shared set whose name ends so, sorted; `None` where the set is absent, which fails if
/// `WEFT_REQUIRE_SHARED=1`.
pub(crate) fn shared(set: &str, ending: &str) -> Option<Vec<(String, Vec<u8>)>> {
    let root = weft_testkit::shared(set)?;
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    let named = files.into_iter().filter(|path| path.to_string_lossy().ends_with(ending));
    Some(named.map(|path| (path.display().to_string(), fs::read(&path).unwrap())).collect())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { collect(&path, files) } else { files.push(path) }
    }
}

/// Every sample message: name and bytes.
pub(crate) fn all() -> Vec<(String, Vec<u8>)> {
    let mut messages = shared("hl7v2", ".hl7").unwrap_or_default();
    for (name, bytes) in shared("hl7v2/simhospital", ".out").unwrap_or_default() {
        let text = String::from_utf8(bytes).unwrap();
        let parts = text.split("\n\n").filter(|part| !part.trim().is_empty());
        messages.extend(parts.enumerate().map(|(i, part)| (format!("{name} #{i}"), part.as_bytes().to_vec())));
    }
    messages
}

/// A profile with these lines before and after its required keys.
pub(crate) fn profile(top: &str, tables: &str) -> Profile {
    let text = format!("feed = \"ryj-pas\"\norganisation = \"RYJ\"\n{top}\n[mllp]\nlisten = \"127.0.0.1:0\"\n{tables}");
    Profile::parse(&text).unwrap()
}

/// Segments, one a line, as the wire has them.
pub(crate) fn wire(text: &str) -> String {
    text.trim().replace('\n', "\r")
}
