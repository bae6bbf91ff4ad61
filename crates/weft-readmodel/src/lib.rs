//! The read model: what the log comes to, kept in SQLite or PostgreSQL so that it can be asked.
//!
//! ```text
//!  log ──► follow ──► batch ──────► apply ─────────────────────────────► store ──► queries, as of any cut
//!          read,      what an       one transaction: load what is        SQLite or
//!          open       event says    touched, fold, write, cursors        PostgreSQL
//! ```
//!
//! It is a function of the streams feed, identity and control, and only of the order within each: how they interleave, and
//! how they are cut into batches, changes nothing. Every noun has a file with its fold, which is pure, and its SQL beside
//! it. An event that cannot be applied parks its source record; nothing is skipped.

mod apply;
mod batch;
mod bulk;
mod current;
mod cursor;
mod digest;
mod encounters;
mod entries;
mod error;
mod feeds;
mod fill;
mod follow;
mod lease;
mod links;
mod listeners;
mod location;
mod merges;
mod model;
mod names;
mod of_digest;
mod parked;
mod place;
mod postgres;
mod project;
mod quarantine;
mod queries;
mod rebuild;
mod records;
mod redrives;
mod repeats;
mod reviews;
mod rulings;
mod sql;
mod sqlite;

pub use batch::Batch;
pub use digest::{Difference, TableDigest};
pub use error::{ApplyError, OpenModelError, ProjectError, QueryError, StoreError};
pub use feeds::{Feed, Health};
pub use lease::{LEASE_SECONDS, Lead, Leases};
pub use listeners::{Listeners, Listening, ListeningState};
pub use location::Location;
pub use model::{ReadModel, VERSION};
pub use postgres::Inspection;
pub use project::{ProjectOptions, project};
pub use queries::{
    Decision, Demographic, Entry, Explained, Found, Kept, LinkingRecord, LinkingSnapshot, PageKey, PageKeyError,
    Person, ReviewKey, ReviewKeyError, ReviewPage, TimelineChanges, TimelinePage, Waiting, Weight,
};
pub use rebuild::{RebuildReport, rebuild, replace};
pub use repeats::Repeats;
