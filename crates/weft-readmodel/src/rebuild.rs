//! Rebuilding: the whole read model from the log, in a file beside the live one, as fast as two cores go.
//!
//! The file is built without a journal and made durable at the end; a rebuild that ends early leaves none. Once it is
//! compared with the live file at the same cut, the caller puts it in its place by renaming it.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use weft_log::{ReadLimit, SharedLog};
use weft_model::Cut;

use crate::{
    batch::Batch,
    cursor,
    error::{OpenModelError, ProjectError, StoreError},
    follow::{Follow, Patience},
    location::Location,
    model::{Mode, ReadModel, Writer},
    sqlite,
};

/// Events applied in one transaction: the more, the closer together rows of a record are written.
const EVENTS_MAX: usize = 16_384;
const PAGE: ReadLimit = ReadLimit { events: 1024, bytes: 8 << 20 };

/// What a rebuild came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RebuildReport {
    /// Events applied, of all streams.
    pub events: u64,
    /// How long it took, with the file durable.
    pub took: Duration,
    /// What the file holds.
    pub known_at: Cut,
}

impl RebuildReport {
    /// Events applied in a second.
    #[must_use]
    pub fn events_per_second(&self) -> f64 {
        self.events as f64 / self.took.as_secs_f64().max(f64::EPSILON)
    }
}

/// Builds a read model at `path` from the events of `log`, up to `upto` or to what the log holds now.
///
/// # Errors
/// [`ProjectError`]; there is no file then.
pub async fn rebuild(log: SharedLog, path: &Path, upto: Option<&Cut>) -> Result<RebuildReport, ProjectError> {
    if path.exists() {
        return Err(ProjectError::Exists(path.into()));
    }
    let report = build(log, path, upto).await;
    if report.is_err() {
        // Whatever there is of it is no read model; the error says why there is none.
        let _ = fs::remove_file(path);
    }
    report
}

async fn build(log: SharedLog, path: &Path, upto: Option<&Cut>) -> Result<RebuildReport, ProjectError> {
    let start = Instant::now();
    let model = ReadModel::open_as(path.into(), Mode::Rebuild).await?;
    let partitions = cursor::followed(log.partitions());
    model.follow(&partitions).await?;
    for partition in partitions {
        let mut end = log.size(partition).await?;
        end = upto.map_or(end, |cut| end.min(cut.size(partition)));
        let mut follow = Follow::start(log.clone(), partition.at(0), PAGE, Patience::ReadTo(end));
        let mut batches = Vec::new();
        while let Some(batch) = follow.next().await? {
            batches.push(batch);
            if batches.iter().map(Batch::len).sum::<usize>() >= EVENTS_MAX {
                model.apply(std::mem::take(&mut batches)).await?;
            }
        }
        model.apply(batches).await?;
    }
    let known_at = model.known_at();
    finish(model, path).await?;
    Ok(RebuildReport { events: known_at.0.values().sum(), took: start.elapsed(), known_at })
}

/// Makes the file a live one, and durable.
async fn finish(model: ReadModel, path: &Path) -> Result<(), ProjectError> {
    if let Writer::Sqlite(writer) = &mut *model.writer().lock().await {
        sqlite::go_live(writer).await?;
    }
    model.close().await?;
    let synced = fs::File::open(path).and_then(|file| file.sync_all());
    let failed = |error| StoreError::Unavailable(sqlx::Error::Io(error));
    synced.map_err(|error| OpenModelError::Store { location: Location::from(path), source: failed(error) })?;
    Ok(())
}
