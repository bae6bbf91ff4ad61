//! Rebuilding: the whole read model from the log, beside the live one, as fast as two cores go.
//!
//! A file is built without a journal and made durable at the end; a rebuild that ends early leaves none. Once it is
//! compared with the live one at the same cut, it is put in its place: a file by renaming it, a schema by [`replace`].

use std::{
    fs,
    time::{Duration, Instant},
};

use sqlx::PgConnection;
use weft_log::{ReadLimit, SharedLog};
use weft_model::Cut;

use crate::{
    apply::Conditions,
    batch::Batch,
    cursor,
    error::{OpenModelError, ProjectError, StoreError},
    fill::{self, Limits},
    follow::{Follow, Patience},
    location::Location,
    model::{Mode, ReadModel, Writer},
    postgres,
    repeats::Repeats,
    sqlite,
};

/// Events applied in one transaction: the more, the closer together rows of a record are written.
pub(crate) const EVENTS_MAX: usize = 16_384;
pub(crate) const PAGE: ReadLimit = ReadLimit { events: 1024, bytes: 8 << 20 };

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

/// Builds a read model at `target` from the events of `log`, up to `upto` or to what the log holds now. In a database, what a
/// rebuild left that was killed is dropped first; one that is at work is not.
///
/// # Errors
/// [`ProjectError`]; there is no read model at `target` then.
pub async fn rebuild(
    log: SharedLog,
    target: impl Into<Location>,
    upto: Option<&Cut>,
    repeats: Repeats,
) -> Result<RebuildReport, ProjectError> {
    let target = target.into();
    let _claim = make_way(&target).await?;
    let report = build(log, &target, upto, repeats, fill::sqlite::LIMITS).await;
    if report.is_err() {
        // Whatever there is of it is no read model; the error says why there is none.
        let _ = ReadModel::remove(&target).await;
    }
    report
}

async fn build(
    log: SharedLog,
    target: &Location,
    upto: Option<&Cut>,
    repeats: Repeats,
    limits: Limits,
) -> Result<RebuildReport, ProjectError> {
    let start = Instant::now();
    let model = ReadModel::open_as(target.clone(), Mode::Rebuild).await?;
    let partitions = cursor::followed(log.partitions());
    model.follow(&partitions).await?;
    let mut ends = Cut::default();
    for partition in partitions {
        let size = log.size(partition).await?;
        ends.0.insert(partition, upto.map_or(size, |cut| size.min(cut.size(partition))));
    }
    match &mut *model.writer().lock().await {
        Writer::Postgres(pool) => fill::postgres::fill(pool, &log, &ends, repeats).await?,
        Writer::Sqlite(writer) => fill::sqlite::fill(&mut writer.conn, &log, &ends, repeats, limits).await?,
    }
    catch_up(&log, &model, &ends, repeats).await?;
    let known_at = model.applied().await?;
    finish(model, target).await?;
    Ok(RebuildReport { events: known_at.0.values().sum(), took: start.elapsed(), known_at })
}

/// Applies what is missing in `model` up to the sizes that `ends` names.
async fn catch_up(log: &SharedLog, model: &ReadModel, ends: &Cut, repeats: Repeats) -> Result<(), ProjectError> {
    let conditions = Conditions { repeats, epochs: None };
    let applied = model.applied().await?;
    for (partition, end) in &ends.0 {
        let from = applied.0.get(partition).copied().unwrap_or(0);
        let mut follow = Follow::start(log.clone(), partition.at(from), PAGE, Patience::ReadTo(*end));
        let mut batches = Vec::new();
        while let Some(batch) = follow.next().await? {
            batches.push(batch);
            if batches.iter().map(Batch::len).sum::<usize>() >= EVENTS_MAX {
                model.apply_on(&std::mem::take(&mut batches), &conditions).await?;
            }
        }
        model.apply_on(&batches, &conditions).await?;
    }
    Ok(())
}

/// Puts the read model that was rebuilt at `rebuilt` in the place of the live one at `live`, in one transaction, while that
/// goes on being projected and asked. First it is caught up with; where it is overtaken meanwhile, once more. Both are
/// schemas of one PostgreSQL database: a file is put in its place by renaming it while no node runs.
///
/// # Errors
/// [`ProjectError`]; the live one is untouched then.
pub async fn replace(
    log: SharedLog,
    rebuilt: &Location,
    live: &Location,
    repeats: Repeats,
) -> Result<Cut, ProjectError> {
    let (old, new) = (ReadModel::open(live).await?, ReadModel::open(rebuilt).await?);
    loop {
        let ends = old.applied().await?;
        new.follow(&ends.0.keys().copied().collect::<Vec<_>>()).await?;
        catch_up(&log, &new, &ends, repeats).await?;
        let cut = new.known_at();
        if postgres::replace(rebuilt, live, &cut).await? {
            old.close().await?;
            new.close().await?;
            return Ok(cut);
        }
    }
}

/// Makes way at `target`; in a database, nobody else does for as long as what is returned lives.
async fn make_way(target: &Location) -> Result<Option<PgConnection>, ProjectError> {
    let (claim, is_free) = match target {
        Location::Sqlite(path) => (None, !path.exists()),
        Location::Postgres { url, schema } => {
            let claim = postgres::claim(url, schema, target).await?;
            let claim = claim.ok_or_else(|| ProjectError::Rebuilding(target.clone()))?;
            (Some(claim), postgres::make_way(url, schema, target).await?)
        }
    };
    if is_free { Ok(claim) } else { Err(ProjectError::Exists(target.clone())) }
}

/// Makes what was built a live one, and durable.
async fn finish(model: ReadModel, target: &Location) -> Result<(), ProjectError> {
    if let Writer::Sqlite(writer) = &mut *model.writer().lock().await {
        sqlite::go_live(&mut writer.conn).await?;
    }
    model.close().await?;
    if let Location::Sqlite(path) = target {
        let synced = fs::File::open(path).and_then(|file| file.sync_all());
        let failed = |error| StoreError::Unavailable(sqlx::Error::Io(error));
        synced.map_err(|error| OpenModelError::Store { location: target.clone(), source: failed(error) })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use weft_log::{Draft, MemoryLog, Same, Vault};
    use weft_model::{
        Payload, Random, Verdict,
        proto::event::{Demographics, Fact, Line, LineKind, MessageReceived, Name, Precision, SourceRecordId, When},
    };

    use super::*;

    #[derive(Debug)]
    struct Counted(std::sync::atomic::AtomicU8);

    impl Random for Counted {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill_with(|| self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        }
    }

    /// Message `n`: the record `n % 5` says something of the fact `n % 7` again, moves the patient of the visit `n % 3`, and
    /// calls its person by one of two names.
    fn message(n: i64) -> Draft {
        let name = Name { family: if n / 900 % 2 == 0 { "Ash" } else { "Elm" }.to_owned(), ..Name::default() };
        let birth = Some(When { precision: Precision::Day.into(), ..When::instant(0) });
        let demographics = Demographics { names: vec![name], birth, ..Demographics::default() };
        let movement = Fact {
            resource_type: "Encounter".to_owned(),
            id: n.to_string(),
            resource: r#"{"resourceType":"Encounter","status":"in-progress"}"#.into(),
            occurred: Some(When::instant(n)),
            line: Some(Line { kind: LineKind::Encounter.into(), encounter: (n % 3).to_string(), ..Line::default() }),
            ..Fact::default()
        };
        let fact = Fact {
            resource_type: "Observation".to_owned(),
            id: (n % 7).to_string(),
            resource: format!(r#"{{"resourceType":"Observation","value":{n}}}"#).into(),
            occurred: Some(When::instant(n % 7)),
            recorded: Some(When::instant(n)),
            line: Some(Line { kind: LineKind::Observation.into(), title: n.to_string(), ..Line::default() }),
            ..Fact::default()
        };
        let record = SourceRecordId { value: (n % 5).to_string(), ..SourceRecordId::default() };
        Draft {
            same: Same::Message,
            feed: "pas".to_owned(),
            control_id: n.to_string(),
            message_type: "ORU^R01".to_owned(),
            verdict: Verdict::Accepted,
            received_us: n,
            cause: None,
            payload: Payload::MessageReceived(MessageReceived {
                record: Some(record),
                demographics: Some(demographics),
                facts: vec![fact, movement],
                sent: Some(When::instant(n)),
                ..MessageReceived::default()
            }),
        }
    }

    #[tokio::test]
    async fn how_much_is_held_makes_no_difference() {
        let dir = tempfile::tempdir().unwrap();
        let random = Arc::new(Counted(0.into()));
        Vault::create(dir.path(), &*random).unwrap();
        let vault = Vault::open(dir.path(), random).unwrap();
        let log: SharedLog = Arc::new(MemoryLog::new(Arc::new(vault)));
        // More than a page, so that there is more than a round.
        log.append((0..3000).map(message).collect()).await.unwrap();
        let mut digests = Vec::new();
        for (name, limits) in [
            ("all", fill::sqlite::LIMITS),
            ("rounds", Limits { events: 1, facts: usize::MAX }),
            ("first-round", Limits { events: 1, facts: 30 }),
            ("nothing", Limits { events: 1, facts: 0 }),
        ] {
            let target = Location::from(dir.path().join(name).as_path());
            let report = build(log.clone(), &target, None, Repeats::Never, limits).await.unwrap();
            assert_eq!(report.events, 3000, "{name}");
            let model = ReadModel::open(&target).await.unwrap();
            digests.push(model.digest(None).await.unwrap());
            model.close().await.unwrap();
        }
        assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
        let rows: u64 = digests[0].iter().map(|table| table.rows).sum();
        assert!(rows > 3000, "{rows} rows");
    }
}
