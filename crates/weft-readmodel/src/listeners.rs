//! Listeners: which process listens for which feed where, told by each of them for as long as it lives.
//!
//! This is no part of the read model, for it is no function of the log: it lies beside the leases, and what is not told again
//! runs out as they do. Time is the database's alone.

use sqlx::AssertSqlSafe;

use crate::{
    ReadModel,
    error::StoreError,
    lease::{Leases, Store},
};

/// What one process's listener of a feed is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    /// Feed identifier.
    pub feed: String,
    /// Whether it listens.
    pub state: ListeningState,
    /// Where: `127.0.0.1:40123`. Empty where it does not.
    pub address: String,
    /// Open connections.
    pub connections: u32,
    /// Why it does not listen. Empty where it does, or was paused.
    pub problem: String,
}

/// Whether a feed is listened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListeningState {
    /// It is.
    Listening,
    /// It is not, as was asked.
    Paused,
    /// It cannot be.
    Failed,
}

/// Tells of the listeners of one process, and asks for those of the others.
#[derive(Debug, Clone)]
pub struct Listeners {
    store: Store,
    owner: String,
}

impl Listeners {
    /// Listeners around `model`; None on SQLite, where there is one process. `owner` is a name that no other process has.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open(model: &ReadModel, owner: &str) -> Result<Option<Self>, StoreError> {
        let store = Leases::open(model, owner).await?.into_store();
        Ok(store.map(|store| Self { store, owner: owner.to_owned() }))
    }

    /// Says what this process's listeners are doing: these, and no others.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn tell(&self, listeners: &[Listening]) -> Result<(), StoreError> {
        let others =
            self.store.text("DELETE FROM {lease}.listener WHERE owner = $1 AND feed <> ALL ($2) OR until < now()");
        let these = self.store.text(
            "INSERT INTO {lease}.listener (owner, feed, state, address, connections, problem, until)
             SELECT $1, *, clock_timestamp() + interval '{seconds} seconds'
             FROM UNNEST($2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[])
             ON CONFLICT (owner, feed) DO UPDATE SET state = excluded.state, address = excluded.address,
                 connections = excluded.connections, problem = excluded.problem, until = excluded.until",
        );
        let feeds: Vec<&str> = listeners.iter().map(|listening| listening.feed.as_str()).collect();
        let mut tx = self.store.pool().begin().await?;
        sqlx::query(AssertSqlSafe(others)).bind(&self.owner).bind(&feeds).execute(&mut *tx).await?;
        sqlx::query(AssertSqlSafe(these))
            .bind(&self.owner)
            .bind(&feeds)
            .bind(listeners.iter().map(|listening| listening.state.name()).collect::<Vec<_>>())
            .bind(listeners.iter().map(|listening| listening.address.as_str()).collect::<Vec<_>>())
            .bind(listeners.iter().map(|listening| i64::from(listening.connections)).collect::<Vec<_>>())
            .bind(listeners.iter().map(|listening| listening.problem.as_str()).collect::<Vec<_>>())
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// Says that they are gone.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn leave(&self) -> Result<(), StoreError> {
        let sql = self.store.text("DELETE FROM {lease}.listener WHERE owner = $1");
        sqlx::query(AssertSqlSafe(sql)).bind(&self.owner).execute(self.store.pool()).await?;
        Ok(())
    }

    /// What the listeners of all other processes are doing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn heard(&self) -> Result<Vec<Listening>, StoreError> {
        let sql = self.store.text(
            "SELECT feed, state, address, connections, problem FROM {lease}.listener
             WHERE owner <> $1 AND until > clock_timestamp() ORDER BY feed, address, owner",
        );
        let rows: Vec<(String, String, String, i64, String)> =
            sqlx::query_as(AssertSqlSafe(sql)).bind(&self.owner).fetch_all(self.store.pool()).await?;
        let listening = |(feed, state, address, connections, problem): (String, String, _, i64, _)| {
            let unreadable = |column| StoreError::Unreadable { table: "listener", column };
            let state = ListeningState::named(&state).ok_or_else(|| unreadable("state"))?;
            let connections = u32::try_from(connections).map_err(|_| unreadable("connections"))?;
            Ok(Listening { feed, state, address, connections, problem })
        };
        rows.into_iter().map(listening).collect()
    }
}

impl ListeningState {
    const ALL: [Self; 3] = [Self::Listening, Self::Paused, Self::Failed];

    fn name(self) -> &'static str {
        match self {
            Self::Listening => "listening",
            Self::Paused => "paused",
            Self::Failed => "failed",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}
