//! The log as one component sees it for one turn: up to where it was when the turn began, and with faults.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use weft_log::{AppendError, Draft, EventLog, OpenError, ReadError, ReadLimit, Receipt, SharedLog, Statistics, Stored};
use weft_model::{Event, Partition, Position, Pseudonym, SourceRecordId};

/// What goes wrong, at which call (1: the next) of `append` and `read` together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) call: u64,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The component dies before the call has its effect.
    DieBefore,
    /// The component dies when the call has had its effect, and before it hears of it.
    DieAfter,
    /// An append is refused.
    Refuse,
    /// An append is refused though it was stored.
    RefuseAfter,
}

pub(super) struct Window {
    log: SharedLog,
    /// Sizes as the component sees them; a partition that is absent is seen whole.
    sizes: HashMap<Partition, u64>,
    fault: Mutex<Option<Fault>>,
    /// Cancelled when the component is to die.
    pub(super) dead: CancellationToken,
    /// What appends have come to, in their order: what the log itself said, whatever the component was told.
    stored: Mutex<Vec<(Draft, Receipt)>>,
}

impl Window {
    pub(super) fn new(log: SharedLog, sizes: HashMap<Partition, u64>, fault: Option<Fault>) -> Self {
        Self { log, sizes, fault: Mutex::new(fault), dead: CancellationToken::new(), stored: Mutex::new(Vec::new()) }
    }

    /// Sets what goes wrong from now on.
    pub(super) fn set_fault(&self, fault: Option<Fault>) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// Takes what was stored since it was asked last.
    pub(super) fn take_stored(&self) -> Vec<(Draft, Receipt)> {
        std::mem::take(&mut *self.stored.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts a call; what is to go wrong at it.
    fn fault(&self) -> Option<Kind> {
        let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        let planned = fault.as_mut()?;
        planned.call = planned.call.saturating_sub(1);
        if planned.call > 0 { None } else { fault.take().map(|fault| fault.kind) }
    }

    async fn die(&self) -> ! {
        self.dead.cancel();
        std::future::pending::<()>().await;
        unreachable!("pending for ever")
    }

    async fn store(&self, drafts: Vec<Draft>) -> Result<Vec<Receipt>, AppendError> {
        let receipts = self.log.append(drafts.clone()).await?;
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        stored.extend(drafts.into_iter().zip(receipts.iter().copied()));
        Ok(receipts)
    }

    fn seen(&self, partition: Partition, size: u64) -> u64 {
        self.sizes.get(&partition).map_or(size, |seen| size.min(*seen))
    }
}

#[async_trait]
impl EventLog for Window {
    async fn append(&self, drafts: Vec<Draft>) -> Result<Vec<Receipt>, AppendError> {
        let refused = || Err(AppendError::Unavailable("refused by the simulation".into()));
        match self.fault() {
            None => self.store(drafts).await,
            Some(Kind::DieBefore) => self.die().await,
            Some(Kind::Refuse) => refused(),
            Some(kind) => {
                self.store(drafts).await?;
                if kind == Kind::DieAfter { self.die().await } else { refused() }
            }
        }
    }

    async fn read(&self, from: Position, limit: ReadLimit) -> Result<Vec<Stored>, ReadError> {
        if matches!(self.fault(), Some(Kind::DieBefore | Kind::DieAfter)) {
            self.die().await;
        }
        let mut page = self.log.read(from, limit).await?;
        page.retain(|stored| stored.position.offset < self.seen(from.partition, u64::MAX));
        Ok(page)
    }

    async fn wait(&self, partition: Partition, offset: u64) -> Result<u64, ReadError> {
        if self.seen(partition, u64::MAX) <= offset {
            // The turn shows no more than this.
            return std::future::pending().await;
        }
        let size = self.log.wait(partition, offset).await?;
        Ok(self.seen(partition, size))
    }

    async fn size(&self, partition: Partition) -> Result<u64, ReadError> {
        let size = self.log.size(partition).await?;
        Ok(self.seen(partition, size))
    }

    fn partitions(&self) -> Vec<Partition> {
        self.log.partitions()
    }

    async fn open(&self, stored: &Stored) -> Result<Arc<Event>, OpenError> {
        self.log.open(stored).await
    }

    fn pseudonym(&self, record: &SourceRecordId) -> Pseudonym {
        self.log.pseudonym(record)
    }

    async fn statistics(&self) -> Result<Statistics, ReadError> {
        self.log.statistics().await
    }

    async fn close(&self) {}
}
