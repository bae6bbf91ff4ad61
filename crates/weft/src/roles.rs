//! The parts that a node is made of. On an embedded log one process plays all of them; on Kafka and PostgreSQL each may run
//! as a process of its own, many at a time.

use std::collections::BTreeSet;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::commands::{Exit, failure};

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Listens for the feeds' messages, stores and acknowledges them
    Connect,
    /// Decides which records are the same person; one leads, the others wait
    Link,
    /// Keeps the read model up with the log; partitions are shared among projectors
    Project,
    /// Answers over gRPC
    Api,
    /// Signs what the log holds, about once a second; one leads, the others wait
    Notary,
}

/// The roles of one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Roles(BTreeSet<Role>);

impl Roles {
    /// Every role.
    pub(crate) fn all() -> Self {
        Self(Role::value_variants().iter().copied().collect())
    }

    /// These; all of them where none is named.
    pub(crate) fn of(named: &[Role]) -> Self {
        if named.is_empty() { Self::all() } else { Self(named.iter().copied().collect()) }
    }

    pub(crate) fn has(&self, role: Role) -> bool {
        self.0.contains(&role)
    }

    pub(crate) fn to_vec(&self) -> Vec<Role> {
        self.0.iter().copied().collect()
    }

    /// Refuses roles apart on an embedded log: it has one writer, and so one process plays every role.
    pub(crate) fn fit_embedded(&self) -> anyhow::Result<()> {
        if *self == Self::all() {
            return Ok(());
        }
        Err(failure(Exit::Usage, "on an embedded log one process plays every role: leave --role out"))
    }
}
