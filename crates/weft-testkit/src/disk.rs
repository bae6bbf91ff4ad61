//! A disk that can be made to stall, for processes that are started on it.

use std::{path::PathBuf, process::Command};

use anyhow::bail;

/// Built once a test, by the C compiler that the project needs anyway.
pub struct StallingDisk {
    dir: tempfile::TempDir,
}

impl StallingDisk {
    /// A disk that does not stall yet.
    ///
    /// # Errors
    /// When `cc` cannot build it.
    pub fn new() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/stall.c");
        let mut cc = Command::new("cc");
        let built = cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(dir.path().join("stall.so")).args([source, "-ldl"]);
        let output = built.output()?;
        if !output.status.success() {
            bail!("cc: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(Self { dir })
    }

    /// What a process must be started with, to be on this disk.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let library = self.dir.path().join("stall.so").display().to_string();
        vec![("LD_PRELOAD".to_owned(), library), ("WEFT_STALL".to_owned(), self.file().display().to_string())]
    }

    /// From now on nothing becomes durable, and nobody is told.
    ///
    /// # Errors
    /// When the sign cannot be given.
    pub fn stall(&self) -> anyhow::Result<()> {
        Ok(std::fs::write(self.file(), "")?)
    }

    /// What waits becomes durable.
    ///
    /// # Errors
    /// When the sign cannot be taken away.
    pub fn resume(&self) -> anyhow::Result<()> {
        Ok(std::fs::remove_file(self.file())?)
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("stalled")
    }
}
