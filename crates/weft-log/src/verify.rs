//! Whether a log is what it was when it was signed.
//!
//! Everything is made anew from the stored bytes: leaf hashes, the tree of every partition and the tree of the cuts. What
//! the log believes of itself (its indexes, its counts, its nodes) is only asked to say more precisely what is wrong.
//! Reads through [`Evidence`], which is less than the writer has, and stops at nothing: damage is named, and the rest is
//! checked all the same.
//!
//! Without `deep`, no key is needed but the public one. With it, every event is opened whose key is there, and must be
//! what its header says.
//!
//! What this cannot find: that the newest events were lost together with every trace of them, where no checkpoint is
//! remembered elsewhere; and what never was in the log.

mod cuts;
mod damage;
mod event;
mod partition;
mod read;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    thread,
};

use weft_model::{Partition, Pseudonym};

use crate::{
    Evidence, Extent, PublicKey, ReadError, Taken, TreeHead, Vault, VaultError,
    cut::{CUTS, Root},
    names::Names,
};
use cuts::Cuts;
pub use damage::{Damage, DamageKind, Place};
use event::{Opening, unusable_key};

/// Damages that are listed; more are counted.
const DAMAGES_MAX: usize = 1000;
/// Rows of the key table that are read at once: fewer than the keys that a vault remembers.
const KEY_ROWS: usize = 1 << 14;

/// What to verify with.
pub struct VerifyOptions {
    /// Whose signatures are believed.
    pub key: PublicKey,
    /// Opens every event; None: only hashes them.
    pub deep: Option<Arc<Vault>>,
    /// Checkpoints from elsewhere that the log must contain, each with what to call it.
    pub checkpoints: Vec<(String, String)>,
}

/// What a log came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Each partition, ascending.
    pub partitions: Vec<VerifiedPartition>,
    /// Number of cuts.
    pub cuts: u64,
    /// The newest cut.
    pub newest: Option<Taken>,
    /// Events that were opened and are what their headers say.
    pub opened: u64,
    /// Events whose key was destroyed, on purpose.
    pub shredded: u64,
    /// What is wrong, in the order of partitions and offsets; empty for a log that is whole.
    pub damages: Vec<Damage>,
    /// Damages beyond those.
    pub more_damages: u64,
}

/// What a partition came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedPartition {
    /// The partition.
    pub partition: Partition,
    /// Events that are there.
    pub events: u64,
    /// Events that the newest cut covers: those beyond are only proven to be what their own hashes say.
    pub covered: u64,
}

/// Why nothing can be said about a log.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The keys cannot be read.
    #[error(transparent)]
    Keys(#[from] VaultError),
    /// A task of the verification itself failed.
    #[error("a part of the verification failed")]
    Task(#[from] tokio::task::JoinError),
}

/// Verifies a log.
///
/// # Errors
/// [`VerifyError`]; damage is no error but in the report.
pub async fn verify(evidence: Arc<dyn Evidence>, options: VerifyOptions) -> Result<VerifyReport, VerifyError> {
    let workers = 1 + thread::available_parallelism().map_or(1, usize::from);
    let extents = evidence.extents().await?;
    let end = extents.iter().find(|extent| extent.partition == CUTS).and_then(|extent| extent.size).unwrap_or(0);
    let mut report = VerifyReport::default();
    let remembered = remembered(&mut report, &options);
    let sizes: Vec<u64> = remembered.iter().map(|(_, head)| head.size).collect();
    let cuts = cuts::walk(&evidence, end, &options.key, &sizes, workers).await?;
    contains_remembered(&mut report, &cuts, &remembered);
    let opening = match &options.deep {
        Some(vault) => Some(Arc::new(opening(&*evidence, vault, &mut report).await?)),
        None => None,
    };
    let none = Vec::new();
    for extent in all_extents(extents, &cuts) {
        let roots = cuts.roots.get(&extent.partition).unwrap_or(&none);
        let size = ends(&mut report, extent, roots.last());
        let walked = partition::walk(&evidence, extent.partition, size, roots, opening.as_ref(), workers).await?;
        report.opened += walked.opened;
        report.shredded += walked.shredded;
        let covered = roots.last().map_or(0, |(root, _)| root.size).min(size);
        report.partitions.push(VerifiedPartition { partition: extent.partition, events: walked.events, covered });
        report.add(walked.damages);
    }
    report.add(cuts.damages);
    report.cuts = cuts.count;
    report.newest = cuts.newest;
    Ok(report.tidied())
}

/// The heads of the checkpoints that were given.
fn remembered(report: &mut VerifyReport, options: &VerifyOptions) -> Vec<(String, TreeHead)> {
    let mut heads = Vec::new();
    for (name, checkpoint) in &options.checkpoints {
        match TreeHead::verify(checkpoint, &options.key) {
            Ok(head) => heads.push((name.clone(), head)),
            Err(error) => report.add([Damage::new(
                DamageKind::CheckpointUnreadable,
                Place::Log,
                format!("the checkpoint {name} is not one that the notary signed: {error}"),
            )]),
        }
    }
    heads
}

fn contains_remembered(report: &mut VerifyReport, cuts: &Cuts, remembered: &[(String, TreeHead)]) {
    for (name, head) in remembered.iter().filter(|(_, head)| head.size > 0) {
        let tick = head.size - 1;
        let damage = if head.size > cuts.count {
            let what = format!(
                "it has {} cuts, and {} were signed, says the checkpoint {name}: it was put back to an earlier state, or \
                 its end is lost",
                cuts.count, head.size
            );
            Some(Damage::new(DamageKind::RolledBack, Place::Log, what))
        } else {
            let same = cuts.heads.get(&head.size).is_some_and(|root| *root == head.root);
            let what = format!("the cuts up to this one are not those of the checkpoint {name}");
            (!same).then(|| Damage::new(DamageKind::OtherHistory, Place::Cut(tick), what))
        };
        report.add(damage);
    }
}

/// Every partition that the log should have, and those that only its cuts still know of.
fn all_extents(extents: Vec<Extent>, cuts: &Cuts) -> Vec<Extent> {
    let mut all: BTreeMap<Partition, Extent> = extents.into_iter().map(|extent| (extent.partition, extent)).collect();
    for partition in cuts.roots.keys() {
        let gone = Extent { partition: *partition, size: None, counted: None };
        all.entry(*partition).or_insert(gone);
    }
    all.into_values().collect()
}

/// The size of a partition, once it is told where it should end.
fn ends(report: &mut VerifyReport, extent: Extent, last: Option<&(Root, u64)>) -> u64 {
    let partition = extent.partition;
    let Some(size) = extent.size else {
        let what = "the whole partition is gone";
        report.add([Damage::new(DamageKind::PartitionMissing, Place::Partition(partition), what)]);
        return 0;
    };
    let covered = last.map_or(0, |(root, _)| root.size);
    let counted = extent.counted.unwrap_or(size);
    if size < covered.max(counted) {
        let what = match last {
            Some((root, tick)) if root.size > size => format!("cut {tick} was taken of them, and they are gone"),
            _ => "the log has counted them, and they are gone".to_owned(),
        };
        let place = Place::Events(partition, size, covered.max(counted));
        report.add([Damage::new(DamageKind::Truncated, place, what)]);
    } else if counted < size {
        let what = format!("{size} events are there, and {counted} are counted");
        report.add([Damage::new(DamageKind::CountDiffers, Place::Partition(partition), what)]);
    }
    size
}

/// What opening needs; says which keys that events were sealed with cannot be used.
async fn opening(
    evidence: &dyn Evidence,
    vault: &Arc<Vault>,
    report: &mut VerifyReport,
) -> Result<Opening, VerifyError> {
    let names = Names::new(vault);
    let (mut slots, mut next): (Option<HashMap<Pseudonym, u64>>, u64) = (None, 0);
    while let Some(rows) = evidence.key_slots(next, KEY_ROWS).await? {
        let table = slots.get_or_insert_default();
        let Some(last) = rows.last() else { break };
        next = last.slot + 1;
        // A pseudonym of another length is found missing where its record's events are.
        let whole = rows.iter().filter_map(|row| Some((Pseudonym::from_bytes(&row.record).ok()?, row.slot)));
        table.extend(whole);
        #[cfg(feature = "kafka")]
        vault.load(rows.iter().map(|row| row.slot)).await?;
        let vault = Arc::clone(vault);
        let unusable = move || rows.iter().filter_map(|row| unusable_key(&vault.key(row.slot).err()?)).collect();
        let unusable: Vec<Damage> = tokio::task::spawn_blocking(unusable).await?;
        report.add(unusable);
    }
    Ok(Opening { vault: Arc::clone(vault), names, slots })
}

impl VerifyReport {
    fn add(&mut self, damages: impl IntoIterator<Item = Damage>) {
        for damage in damages {
            if self.damages.len() < DAMAGES_MAX {
                self.damages.push(damage);
            } else {
                self.more_damages += 1;
            }
        }
    }

    /// Each thing once, where it is: a key is missed by every event that it sealed.
    fn tidied(mut self) -> Self {
        self.damages.sort_by_key(|damage| damage.place);
        let mut told = HashSet::new();
        self.damages.retain(|damage| told.insert((damage.kind, damage.place)));
        self
    }
}
