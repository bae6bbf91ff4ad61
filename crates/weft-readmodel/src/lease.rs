//! Leases: who does what, where several processes work on one read model.
//!
//! A lease is held by one owner until it runs out, and renewed long before. Each time that it changes hands its epoch grows.
//! Whatever an owner commits names the epoch in which it owned: for the partitions of a projector the epoch stands in the
//! cursor, which is moved only where it is still the same, so that an owner that was taken for dead and wakes up changes
//! nothing. Time is the database's alone.
//!
//! On SQLite there is one process: it holds every lease, in epoch 0.

use std::{collections::BTreeMap, time::Duration};

use sqlx::{AssertSqlSafe, PgConnection, PgPool};
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use weft_model::Partition;

use crate::{ReadModel, error::StoreError, location::Location, model::Writer, postgres, sql::Session};

/// So long a lease is held without being renewed: nobody else goes on before.
pub const LEASE_SECONDS: u32 = 5;
/// So often it is renewed.
pub(crate) const RENEW_EVERY: Duration = Duration::from_secs(1);

/// Takes and renews leases in the name of one owner.
#[derive(Debug, Clone)]
pub struct Leases {
    /// None on SQLite.
    store: Option<Store>,
    owner: String,
}

/// Where leases are, and what else is known of living processes.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pool: PgPool,
    /// Of the read model; the leases are in a schema beside it, for they outlive a rebuild.
    schema: String,
}

/// What is held: names of leases, and in which epoch.
pub(crate) type Held = BTreeMap<Partition, i64>;

/// The lead in one task, until it is dropped or lost.
#[derive(Debug)]
pub struct Lead {
    epoch: i64,
    lost: CancellationToken,
    /// Renews; ends with the lead.
    _renewing: JoinSet<()>,
}

impl Lead {
    /// Grows each time that the lead changes hands.
    #[must_use]
    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Resolves when another may lead: stop, or take the lead again with [`Leases::try_lead`].
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

impl Leases {
    /// Leases on the work around `model`. `owner` is a name that no other process has.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open(model: &ReadModel, owner: &str) -> Result<Self, StoreError> {
        let owner = owner.to_owned();
        let store = match (&*model.writer().lock().await, model.location()) {
            (Writer::Postgres(pool), Location::Postgres { schema, .. }) => {
                Some(Store { pool: pool.clone(), schema: schema.clone() })
            }
            _ => None,
        };
        if let Some(store) = &store {
            store.create().await?;
        }
        Ok(Self { store, owner })
    }

    /// Waits until this process may lead in `task`, a word such as `link` or `notary`; `None` where `shutdown` came first.
    ///
    /// # Errors
    /// [`StoreError`] where the store is damaged; while it is unavailable nobody leads.
    pub async fn lead(&self, task: &str, shutdown: &CancellationToken) -> Result<Option<Lead>, StoreError> {
        loop {
            match self.try_lead(task).await {
                Ok(Some(lead)) => return Ok(Some(lead)),
                Ok(None) => {}
                Err(StoreError::Unavailable(error)) => warn!(task, %error, "lead cannot be taken now"),
                Err(error) => return Err(error),
            }
            tokio::select! {
                () = shutdown.cancelled() => return Ok(None),
                () = sleep(RENEW_EVERY) => {}
            }
        }
    }

    /// Takes the lead in `task`; `None` where another has it. Its epoch is one more than that of the last lead: whoever held that
    /// one, and gets this, knows that nobody led between.
    ///
    /// # Errors
    /// [`StoreError`]; while the store is unavailable nobody can take it.
    pub async fn try_lead(&self, task: &str) -> Result<Option<Lead>, StoreError> {
        let lost = CancellationToken::new();
        let mut renewing = JoinSet::new();
        let Some(store) = &self.store else {
            return Ok(Some(Lead { epoch: 0, lost, _renewing: renewing }));
        };
        let Some(epoch) = store.take(&self.owner, task).await? else { return Ok(None) };
        info!(task, epoch, "leading");
        renewing.spawn(renew(store.clone(), self.owner.clone(), task.to_owned(), epoch, lost.clone()));
        Ok(Some(Lead { epoch, lost, _renewing: renewing }))
    }

    /// Gives the lead in `task` back, so that another need not wait until it runs out.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn give_back(&self, task: &str, lead: Lead) -> Result<(), StoreError> {
        let epoch = lead.epoch;
        drop(lead);
        match &self.store {
            Some(store) => store.release(&self.owner, &[(task.to_owned(), epoch)]).await,
            None => Ok(()),
        }
    }

    /// Where they are; None on SQLite.
    pub(crate) fn into_store(self) -> Option<Store> {
        self.store
    }

    /// True where partitions are shared with other processes.
    pub(crate) fn shared(&self) -> bool {
        self.store.is_some()
    }

    /// Renews what is held of `partitions`, takes what is free of a fair share, and gives back what is more than that.
    /// What is held afterwards.
    pub(crate) async fn share(&self, partitions: &[Partition], held: &Held) -> Result<Held, StoreError> {
        match &self.store {
            Some(store) => store.share(&self.owner, partitions, held).await,
            None => Ok(partitions.iter().map(|partition| (*partition, 0)).collect()),
        }
    }

    /// Gives back partitions at the end.
    pub(crate) async fn leave(&self, held: &Held) -> Result<(), StoreError> {
        let Some(store) = &self.store else { return Ok(()) };
        store.release(&self.owner, &named(held)).await?;
        let sql = store.text("DELETE FROM {lease}.member WHERE owner = $1");
        sqlx::query(AssertSqlSafe(sql)).bind(&self.owner).execute(&store.pool).await?;
        Ok(())
    }
}

fn name(partition: Partition) -> String {
    format!("project/{partition}")
}

fn named(held: &Held) -> Vec<(String, i64)> {
    held.iter().map(|(partition, epoch)| (name(*partition), *epoch)).collect()
}

/// Renews a lead until it is lost. Where the database does not answer for so long that the lease has run out by this
/// process's own reckoning, it is lost too.
async fn renew(store: Store, owner: String, task: String, epoch: i64, lost: CancellationToken) {
    let held = [(task.clone(), epoch)];
    let mut failures = 0;
    while failures < LEASE_SECONDS - 1 {
        sleep(RENEW_EVERY).await;
        match tokio::time::timeout(RENEW_EVERY, store.renew(&owner, &held)).await {
            Ok(Ok(renewed)) if renewed.is_empty() => break,
            Ok(Ok(_)) => failures = 0,
            Ok(Err(error)) => {
                warn!(task, %error, "lead cannot be renewed now");
                failures += 1;
            }
            // The second that was waited counts too.
            Err(_) => failures += 2,
        }
    }
    warn!(task, epoch, "lead lost");
    lost.cancel();
}

impl Store {
    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// A text that names the schema of the leases as `{lease}`.
    pub(crate) fn text(&self, sql: &str) -> String {
        sql.replace("{lease}", &format!("{}_lease", self.schema)).replace("{seconds}", &LEASE_SECONDS.to_string())
    }

    async fn create(&self) -> Result<(), StoreError> {
        let sql = self.text(
            "CREATE SCHEMA IF NOT EXISTS {lease};
             CREATE TABLE IF NOT EXISTS {lease}.lease (
                 name text PRIMARY KEY,
                 owner text,
                 epoch bigint NOT NULL,
                 until timestamptz NOT NULL
             ) WITH (fillfactor = 50);
             CREATE TABLE IF NOT EXISTS {lease}.member (
                 owner text PRIMARY KEY,
                 until timestamptz NOT NULL
             ) WITH (fillfactor = 50);
             CREATE TABLE IF NOT EXISTS {lease}.listener (
                 owner text NOT NULL,
                 feed text NOT NULL,
                 state text NOT NULL,
                 address text NOT NULL,
                 connections bigint NOT NULL,
                 problem text NOT NULL,
                 until timestamptz NOT NULL,
                 PRIMARY KEY (owner, feed)
             ) WITH (fillfactor = 50)",
        );
        let mut tx = self.pool.begin().await?;
        postgres::lock(&mut tx).await?;
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }

    /// Takes the lease `name`, where it is free or this owner's already.
    async fn take(&self, owner: &str, name: &str) -> Result<Option<i64>, StoreError> {
        let sql = self.text(
            "INSERT INTO {lease}.lease AS l (name, owner, epoch, until)
             VALUES ($2, $1, 1, clock_timestamp() + interval '{seconds} seconds')
             ON CONFLICT (name) DO UPDATE SET owner = $1, epoch = l.epoch + 1, until = excluded.until
             WHERE l.owner IS NULL OR l.owner = $1 OR l.until < clock_timestamp()
             RETURNING epoch",
        );
        Ok(sqlx::query_scalar(AssertSqlSafe(sql)).bind(owner).bind(name).fetch_optional(&self.pool).await?)
    }

    /// Renews leases; those that are still held.
    async fn renew(&self, owner: &str, held: &[(String, i64)]) -> Result<Vec<String>, StoreError> {
        let sql = self.text(
            "UPDATE {lease}.lease AS l SET until = clock_timestamp() + interval '{seconds} seconds'
             FROM UNNEST($2::text[], $3::bigint[]) AS k (name, epoch)
             WHERE l.name = k.name AND l.epoch = k.epoch AND l.owner = $1 RETURNING l.name",
        );
        let (names, epochs) = split(held);
        let query = sqlx::query_scalar(AssertSqlSafe(sql)).bind(owner).bind(names).bind(epochs);
        Ok(query.fetch_all(&self.pool).await?)
    }

    async fn release(&self, owner: &str, held: &[(String, i64)]) -> Result<(), StoreError> {
        let sql = self.text(
            "UPDATE {lease}.lease AS l SET owner = NULL FROM UNNEST($2::text[], $3::bigint[]) AS k (name, epoch)
             WHERE l.name = k.name AND l.epoch = k.epoch AND l.owner = $1",
        );
        let (names, epochs) = split(held);
        sqlx::query(AssertSqlSafe(sql)).bind(owner).bind(names).bind(epochs).execute(&self.pool).await?;
        Ok(())
    }

    async fn share(&self, owner: &str, partitions: &[Partition], held: &Held) -> Result<Held, StoreError> {
        let renewed = self.renew(owner, &named(held)).await?;
        let mut held = held.clone();
        held.retain(|partition, _| renewed.contains(&name(*partition)));
        let fair = partitions.len().div_ceil(self.members(owner).await?);
        if held.len() > fair {
            // Those that are given back are the last of the list, and those that are taken the first: they change hands
            // once.
            let kept: Held = held.iter().take(fair).map(|(partition, epoch)| (*partition, *epoch)).collect();
            let more: Held = held.into_iter().filter(|(partition, _)| !kept.contains_key(partition)).collect();
            self.release(owner, &named(&more)).await?;
            return Ok(kept);
        }
        for partition in partitions {
            if held.len() < fair
                && !held.contains_key(partition)
                && let Some(epoch) = self.take_partition(owner, *partition).await?
            {
                held.insert(*partition, epoch);
            }
        }
        Ok(held)
    }

    /// How many share the partitions, this one among them.
    async fn members(&self, owner: &str) -> Result<usize, StoreError> {
        let here = self.text(
            "INSERT INTO {lease}.member (owner, until) VALUES ($1, clock_timestamp() + interval '{seconds} seconds')
             ON CONFLICT (owner) DO UPDATE SET until = excluded.until",
        );
        let gone = self.text("DELETE FROM {lease}.member WHERE until < clock_timestamp()");
        let count = self.text("SELECT count(*) FROM {lease}.member");
        sqlx::query(AssertSqlSafe(here)).bind(owner).execute(&self.pool).await?;
        sqlx::query(AssertSqlSafe(gone)).execute(&self.pool).await?;
        let members: i64 = sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(&self.pool).await?;
        Ok(usize::try_from(members).unwrap_or(1).max(1))
    }

    /// Takes a partition that is free, and writes the new epoch into its cursor: from that commit on its last owner is
    /// fenced.
    async fn take_partition(&self, owner: &str, partition: Partition) -> Result<Option<i64>, StoreError> {
        let row = self.text(
            "INSERT INTO {lease}.lease (name, owner, epoch, until) VALUES ($1, NULL, 0, clock_timestamp())
             ON CONFLICT DO NOTHING",
        );
        let take = self.text(
            "UPDATE {lease}.lease SET owner = $1, epoch = epoch + 1,
                    until = clock_timestamp() + interval '{seconds} seconds'
             WHERE name = $2 AND (owner IS NULL OR owner = $1 OR until < clock_timestamp()) RETURNING epoch",
        );
        let name = name(partition);
        sqlx::query(AssertSqlSafe(row)).bind(&name).execute(&self.pool).await?;
        let mut tx = self.pool.begin().await?;
        let taken = sqlx::query_scalar(AssertSqlSafe(take)).bind(owner).bind(&name).fetch_optional(&mut *tx).await?;
        if let Some(epoch) = taken {
            fence(&mut tx, partition, epoch).await?;
            info!(%partition, epoch, "partition taken");
        }
        tx.commit().await?;
        Ok(taken)
    }
}

/// From the commit on, `partition` is moved by the owner of this epoch alone.
async fn fence(conn: &mut PgConnection, partition: Partition, epoch: i64) -> Result<(), StoreError> {
    const FENCE: &str = "UPDATE cursor SET epoch = $3 WHERE stream = $1 AND partition = $2";
    let given = vec![partition.stream.name().into(), partition.number.into(), epoch.into()];
    Session::Postgres(conn).execute(FENCE, given).await?;
    Ok(())
}

fn split(held: &[(String, i64)]) -> (Vec<String>, Vec<i64>) {
    held.iter().cloned().unzip()
}
