//! The read model: what the log comes to, kept in SQLite so that it can be asked.
mod apply;
mod batch;
mod bulk;
mod cursor;
mod digest;
mod encounters;
mod entries;
mod error;
mod feeds;
mod follow;
mod links;
mod merges;
mod model;
mod names;
mod parked;
mod project;
mod quarantine;
mod queries;
mod rebuild;
mod records;

pub use batch::Batch;
pub use digest::{Difference, TableDigest};
pub use error::{ApplyError, OpenModelError, ProjectError, QueryError, StoreError};
pub use feeds::{Feed, Health};
pub use model::{ReadModel, VERSION};
pub use project::project;
pub use queries::{
    Demographic, Entry, Found, LinkingRecord, LinkingSnapshot, PageKey, PageKeyError, Person, TimelineChanges,
    TimelinePage,
};
pub use rebuild::{RebuildReport, rebuild};
