//! The read model: what the log comes to, kept in SQLite so that it can be asked.
mod apply;
mod batch;
mod bulk;
mod cursor;
mod encounters;
mod entries;
mod error;
mod feeds;
mod links;
mod merges;
mod model;
mod names;
mod parked;
mod quarantine;
mod records;

pub use batch::Batch;
pub use error::{ApplyError, OpenModelError, ProjectError, QueryError, StoreError};
pub use feeds::{Feed, Health};
pub use model::{ReadModel, VERSION};
