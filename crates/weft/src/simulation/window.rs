//! The log as one component sees it for one turn: up to where it was when the turn began, and with faults.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use weft_log::{
    AppendError, Draft, EventLog, Notary, OpenError, ReadError, ReadLimit, Receipt, SharedLog, Statistics, Stored,
};
use weft_model::{Event, Partition, Position, Pseudonym, SourceRecordId};

/// What goes wrong, at which call (1: the next) of `append` and `read` together, or of `append` alone.
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
    /// Whether a read is a call at which something may go wrong.
    reads_fail: bool,
    /// Cancelled when the component is to die.
    pub(super) dead: CancellationToken,
    /// Takes a cut once so many appends have been stored, while the component waits for its receipts.
    cut_after: Mutex<Option<(u64, Notary)>>,
    /// What appends have come to, in their order: what the log itself said, whatever the component was told.
    stored: Mutex<Vec<(Draft, Receipt)>>,
}

impl Window {
    pub(super) fn new(log: SharedLog, sizes: HashMap<Partition, u64>, fault: Option<Fault>) -> Self {
        let (dead, cut_after, stored) = (CancellationToken::new(), Mutex::new(None), Mutex::new(Vec::new()));
        Self { log, sizes, fault: Mutex::new(fault), reads_fail: true, dead, cut_after, stored }
    }

    /// The whole log, as a connector sees it. What it reads it reads beside its appends; it is at these that it dies.
    pub(super) fn of_connector(log: SharedLog) -> Self {
        Self { reads_fail: false, ..Self::new(log, HashMap::new(), None) }
    }

    /// Sets that a cut is taken in the midst of what the component does.
    pub(super) fn cut_after(&self, appends: u64, notary: Notary) {
        *self.cut_after.lock().unwrap_or_else(PoisonError::into_inner) = Some((appends, notary));
    }

    /// The notary whose cut is due.
    fn due(&self) -> Option<Notary> {
        let mut planned = self.cut_after.lock().unwrap_or_else(PoisonError::into_inner);
        let (appends, _) = planned.as_mut()?;
        *appends = appends.saturating_sub(1);
        if *appends > 0 { None } else { planned.take().map(|(_, notary)| notary) }
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
        if let Some(notary) = self.due() {
            notary.cut_now().await.expect("a cut while events arrive");
        }
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
        if self.reads_fail && matches!(self.fault(), Some(Kind::DieBefore | Kind::DieAfter)) {
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
