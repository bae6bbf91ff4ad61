//! Reading a partition ahead of what is applied: one task reads pages, others open them and make batches of them, in
//! order, while the caller is at SQL.

use std::time::Duration;

use tokio::{
    sync::mpsc,
    task::{JoinHandle, JoinSet, coop::consume_budget},
    time::{Instant, sleep_until},
};
use tracing::warn;
use weft_log::{OpenError, ReadError, ReadLimit, SharedLog, Stored};
use weft_model::Position;

use crate::{batch::Batch, error::ProjectError};

/// Pages that are open or being opened before the caller takes them.
const PAGES_AHEAD: usize = 2;
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// When followed partitions are read under load: at most so often, and all at the same moments, so that what they bring
/// is applied together. A commit writes every database page that it touches, and the events of a fifth of a second share
/// many of them, those of several partitions too. A full page is followed by the next at once, and the first event after a
/// silence does not wait.
const READ_EVERY: Duration = Duration::from_millis(200);

type Opening = JoinHandle<Result<Batch, ProjectError>>;

/// What is being read of one partition. Ends reading when it is dropped.
pub(crate) struct Follow {
    opening: mpsc::Receiver<Opening>,
    /// Taken from the channel, and not finished yet: kept here, so that waiting for it may be cancelled.
    current: Option<Opening>,
    reader: JoinSet<Result<(), ProjectError>>,
}

/// What to do where the log cannot be read now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Ask again, more and more seldom, for ever; and wait for more where the partition ends. Partitions that are followed
    /// since the same moment are read together.
    Follow { since: Instant },
    /// Give up; and end at this offset.
    ReadTo(u64),
}

impl Follow {
    /// Starts reading at `from`.
    pub(crate) fn start(log: SharedLog, from: Position, limit: ReadLimit, patience: Patience) -> Self {
        let (sender, opening) = mpsc::channel(PAGES_AHEAD);
        let mut reader = JoinSet::new();
        reader.spawn(read(log, from, limit, patience, sender));
        Self { opening, current: None, reader }
    }

    /// The next batch; `None` after the last. May be cancelled without losing one.
    pub(crate) async fn next(&mut self) -> Result<Option<Batch>, ProjectError> {
        if self.current.is_none() {
            self.current = self.opening.recv().await;
        }
        if self.current.is_some() {
            return self.current().await;
        }
        // The reader has ended: at its end, or with an error.
        match self.reader.join_next().await {
            Some(ended) => ended?.map(|()| None),
            None => Ok(None),
        }
    }

    /// The next batch, where one is on its way.
    pub(crate) async fn next_waiting(&mut self) -> Result<Option<Batch>, ProjectError> {
        if self.current.is_none() {
            self.current = self.opening.try_recv().ok();
        }
        self.current().await
    }

    async fn current(&mut self) -> Result<Option<Batch>, ProjectError> {
        let Some(opening) = &mut self.current else { return Ok(None) };
        let batch = opening.await;
        self.current = None;
        batch?.map(Some)
    }
}

impl Patience {
    fn follows(self) -> bool {
        matches!(self, Self::Follow { .. })
    }

    /// The next of the moments at which followed partitions are read.
    fn next_read(self) -> Instant {
        let now = Instant::now();
        match self {
            Self::Follow { since } => {
                let into = (now - since).as_micros() % READ_EVERY.as_micros();
                now + READ_EVERY - Duration::from_micros(u64::try_from(into).unwrap_or_default())
            }
            Self::ReadTo(_) => now,
        }
    }
}

async fn read(
    log: SharedLog,
    from: Position,
    limit: ReadLimit,
    patience: Patience,
    opening: mpsc::Sender<Opening>,
) -> Result<(), ProjectError> {
    let mut next = from;
    let mut pause = PAUSE_MIN;
    let mut not_before = Instant::now();
    loop {
        let page = match page(&log, next, limit, patience, not_before).await {
            Ok(page) => page,
            Err(ReadError::Unavailable(error)) if patience.follows() => {
                warn!(partition = %next.partition, %error, "log cannot be read now");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        pause = PAUSE_MIN;
        let Some(last) = page.last() else { return Ok(()) };
        let first = next;
        next.offset = last.position.offset + 1;
        not_before = if page.len() < limit.events { patience.next_read() } else { Instant::now() };
        let task = tokio::spawn(open(log.clone(), first, page, patience));
        if opening.send(task).await.is_err() {
            return Ok(());
        }
    }
}

/// The events at `next`, a followed partition's not before that time; none where reading is at its end.
async fn page(
    log: &SharedLog,
    next: Position,
    limit: ReadLimit,
    patience: Patience,
    not_before: Instant,
) -> Result<Vec<Stored>, ReadError> {
    match patience {
        Patience::Follow { .. } => {
            log.wait(next.partition, next.offset).await?;
            sleep_until(not_before).await;
            log.read(next, limit).await
        }
        Patience::ReadTo(end) if next.offset >= end => Ok(Vec::new()),
        Patience::ReadTo(end) => {
            let mut page = log.read(next, limit).await?;
            page.retain(|stored| stored.position.offset < end);
            Ok(page)
        }
    }
}

async fn open(log: SharedLog, from: Position, page: Vec<Stored>, patience: Patience) -> Result<Batch, ProjectError> {
    let mut batch = Batch::starting(from.partition, from.offset);
    for stored in &page {
        // A whole page takes long, and nothing in it waits: other tasks have their turn.
        consume_budget().await;
        let (mut pause, mut told) = (PAUSE_MIN, String::new());
        loop {
            match log.open(stored).await {
                Ok(event) => batch.push(&event),
                Err(OpenError::Shredded { .. }) => batch.push_shredded(&weft_log::header(stored)?),
                Err(OpenError::Vault(error)) if patience.follows() => {
                    let reason = error.to_string();
                    // A key that stays damaged is said once.
                    if reason != told {
                        warn!(position = %stored.position, reason, "event cannot be opened now");
                        told = reason;
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            break;
        }
    }
    Ok(batch)
}
