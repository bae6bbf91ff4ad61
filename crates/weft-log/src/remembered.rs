//! The newest checkpoint that was signed, remembered apart from the log.
//!
//! A log that is put back to an earlier state is whole: every cut in it is signed and every root fits. Only what lies
//! elsewhere knows that it was longer. So this file belongs beside the keys, is never part of a backup of the log, and is
//! never restored with one.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};

/// The file with the newest checkpoint.
#[derive(Debug, Clone)]
pub struct Remembered {
    path: PathBuf,
}

impl Remembered {
    /// The file at `path`. Nothing is opened yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The checkpoint; None where none is remembered.
    ///
    /// # Errors
    /// That of the file system.
    pub fn read(&self) -> io::Result<Option<String>> {
        match fs::read_to_string(&self.path) {
            Ok(checkpoint) => Ok(Some(checkpoint)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Remembers this one instead. Written beside and renamed: there is always a whole one.
    pub(crate) fn write(&self, checkpoint: &str) -> io::Result<()> {
        let beside = self.path.with_added_extension("new");
        let mut file = File::create(&beside)?;
        file.write_all(checkpoint.as_bytes())?;
        file.sync_data()?;
        fs::rename(&beside, &self.path)
    }
}
