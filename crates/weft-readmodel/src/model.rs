//! The read model as its users see it: applied to by one, asked by many.

use std::sync::{Arc, PoisonError, RwLock};

use sqlx::PgPool;
use tokio::{
    sync::{Mutex, watch},
    task::JoinSet,
};
use weft_model::{Cut, Partition, Stream};

use crate::{
    apply::{self, Conditions},
    batch::Batch,
    bulk::{self, Multi},
    cursor::{self, Cursors},
    error::{ApplyError, OpenModelError, QueryError, StoreError},
    location::Location,
    place::Sizes,
    postgres::{self, Inspection},
    sql::{self, Column, Pool, Session, Tx},
    sqlite::{self, FileWriter},
};

/// Version of the projection: of the schema and of every fold. A store of another version is rebuilt, never migrated.
pub const VERSION: i64 = 3;

/// What the linker's place in the identity stream is kept under: feed partitions count from 0.
const IDENTITY_PLACE: i64 = -1;

/// The read model. Cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct ReadModel {
    location: Location,
    writer: Mutex<Writer>,
    readers: Pool,
    known: Arc<Known>,
    /// Where others write too: learns how far they have come. Ends with the read model.
    learning: JoinSet<()>,
}

/// The connection that writes.
#[derive(Debug)]
pub(crate) enum Writer {
    Sqlite(FileWriter),
    /// Connections, for one that breaks is made again.
    Postgres(PgPool),
}

/// What has been projected, as far as this process has heard.
#[derive(Debug)]
pub(crate) struct Known {
    cut: RwLock<Cut>,
    changes: watch::Sender<u64>,
}

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Survives the death of the process; the death of the machine loses the last moments, which are read again.
    Live,
    /// Survives nothing: for a file that is being rebuilt, and is thrown away if that ends early.
    Rebuild,
}

impl ReadModel {
    /// Opens the read model at `location`, or makes it.
    ///
    /// # Errors
    /// [`OpenModelError::Version`] where another version wrote it: rebuild.
    pub async fn open(location: impl Into<Location>) -> Result<Self, OpenModelError> {
        Self::open_as(location.into(), Mode::Live).await
    }

    /// Looks at the database of a read model, and makes nothing; `None` where `location` is a file.
    ///
    /// # Errors
    /// [`OpenModelError`] where the database cannot be asked, or holds another program's tables.
    pub async fn inspect(location: &Location) -> Result<Option<Inspection>, OpenModelError> {
        match location {
            Location::Sqlite(_) => Ok(None),
            Location::Postgres { url, schema } => postgres::inspect(url, schema, location).await.map(Some),
        }
    }

    /// Takes the read model at `location` away, if there is one, and whatever it holds: it is a function of the log, and can
    /// be made again from there.
    ///
    /// # Errors
    /// [`OpenModelError::Store`].
    pub async fn remove(location: &Location) -> Result<(), OpenModelError> {
        match location {
            Location::Sqlite(path) => {
                let failed = |error| StoreError::Unavailable(sqlx::Error::Io(error));
                let failed = |error| OpenModelError::Store { location: location.clone(), source: failed(error) };
                sqlite::remove(path).map_err(failed)
            }
            Location::Postgres { url, schema } => postgres::remove(url, schema, location).await,
        }
    }

    pub(crate) async fn open_as(location: Location, mode: Mode) -> Result<Self, OpenModelError> {
        let (mut writer, readers) = match &location {
            Location::Sqlite(path) => {
                let writer = FileWriter::open(path, mode).await?;
                (Writer::Sqlite(writer), Pool::Sqlite(sqlite::readers(path)))
            }
            Location::Postgres { url, schema } => {
                let store = postgres::open(url, schema, &location).await?;
                (Writer::Postgres(store.writer), Pool::Postgres(store.readers))
            }
        };
        let failed = |source| OpenModelError::Store { location: location.clone(), source };
        let mut tx = writer.begin().await.map_err(failed)?;
        let cursors = Cursors::load(&mut tx.session()).await.map_err(failed)?;
        tx.commit().await.map_err(failed)?;
        let known = Arc::new(Known { cut: RwLock::new(cursors.cut()), changes: watch::Sender::new(0) });
        let mut learning = JoinSet::new();
        if let (Pool::Postgres(pool), Location::Postgres { schema, .. }) = (&readers, &location) {
            learning.spawn(postgres::learn(pool.clone(), schema.clone(), known.clone()));
        }
        Ok(Self { location, writer: Mutex::new(writer), readers, known, learning })
    }

    /// Follows `partitions` too, from their first events on: a batch of a partition that is not followed is refused.
    /// Partition 0 of feed, identity and control is always followed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn follow(&self, partitions: &[Partition]) -> Result<(), StoreError> {
        let followed = cursor::followed(partitions.to_vec());
        if followed.iter().all(|partition| self.known_at().0.contains_key(partition)) {
            return Ok(());
        }
        let mut writer = self.writer.lock().await;
        let mut tx = writer.begin().await?;
        let mut conn = tx.session();
        if let Session::Postgres(conn) = &mut conn {
            postgres::make_partitions(conn, &followed).await?;
        }
        cursor::follow(&mut conn, &followed).await?;
        let cursors = Cursors::load(&mut conn).await?;
        tx.commit().await?;
        self.known.learn(&cursors.cut());
        Ok(())
    }

    /// Applies events: their effects and the cursors of their partitions in one transaction, all or nothing.
    ///
    /// # Errors
    /// [`ApplyError::Gap`] where a batch does not start where the last one of its partition ended.
    pub async fn apply(&self, batches: Vec<Batch>) -> Result<(), ApplyError> {
        self.apply_on(&batches, &Conditions::default()).await
    }

    /// The same for events of a log that may hold one twice: a repeat is passed over.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub async fn apply_once(&self, batches: Vec<Batch>) -> Result<(), ApplyError> {
        let conditions = Conditions { repeats: crate::Repeats::Possible, ..Conditions::default() };
        self.apply_on(&batches, &conditions).await
    }

    pub(crate) async fn apply_on(&self, batches: &[Batch], conditions: &Conditions) -> Result<(), ApplyError> {
        let mut writer = self.writer.lock().await;
        let after = apply::apply(writer.begin().await?, batches, conditions).await?;
        self.known.learn(&after.cut());
        if let Writer::Sqlite(writer) = &mut *writer {
            writer.after_commit().await;
        }
        Ok(())
    }

    /// What has been projected: for each partition that the read model follows, how many of its events.
    #[must_use]
    pub fn known_at(&self) -> Cut {
        self.known.cut()
    }

    /// How far every partition has been applied, as the store says now.
    pub(crate) async fn applied(&self) -> Result<Cut, StoreError> {
        let mut writer = self.writer.lock().await;
        let mut tx = writer.begin().await?;
        let cut = Cursors::load(&mut tx.session()).await?.cut();
        tx.commit().await?;
        self.known.learn(&cut);
        Ok(cut)
    }

    /// Counts commits: ticks after each, when [`known_at`](Self::known_at) tells of it.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.known.changes.subscribe()
    }

    /// Where it is.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The linker's place in each partition of the feed stream, one past the last message that it has decided on, and in that
    /// of the identity stream, one past the last event that it has answered.
    ///
    /// # Errors
    /// [`QueryError::Store`].
    pub async fn linker_cursor(&self) -> Result<Cut, QueryError> {
        let mut conn = self.readers.acquire().await?;
        let mut cut = Cut::default();
        for row in conn.session().all("SELECT partition, next FROM linker", vec![]).await? {
            let partition = match sql::get::<i64>(&row, 0)? {
                IDENTITY_PLACE => Stream::Identity.partition(0),
                number => Stream::Feed.partition(
                    u32::try_from(number)
                        .map_err(|_| StoreError::Unreadable { table: "linker", column: "partition" })?,
                ),
            };
            cut.0.insert(partition, sql::get_u64(&row, 1)?);
        }
        Ok(cut)
    }

    /// Keeps the linker's place in the partitions that `place` names.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set_linker_cursor(&self, place: &Cut) -> Result<(), StoreError> {
        const PUT: Multi = Multi {
            sql: "INSERT INTO linker (partition, next) {rows} ON CONFLICT (partition) DO UPDATE SET next = excluded.next",
            columns: &[Column::Int, Column::Int],
        };
        let number = |partition: &Partition| match partition.stream {
            Stream::Feed => Some(i64::from(partition.number)),
            Stream::Identity => Some(IDENTITY_PLACE),
            _ => None,
        };
        let places = place.0.iter().filter_map(|(partition, next)| Some((number(partition)?, *next)));
        let places: Vec<(i64, u64)> = places.collect();
        let mut writer = self.writer.lock().await;
        let mut tx = writer.begin().await?;
        bulk::write(&mut tx.session(), &PUT, &places, |values, (number, next)| {
            values.put(*number).put(*next);
        })
        .await?;
        tx.commit().await
    }

    /// Closes the store; every later call fails as unavailable.
    ///
    /// # Errors
    /// [`StoreError`] where the last pages of a file could not be moved into it.
    pub async fn close(mut self) -> Result<(), StoreError> {
        self.learning.shutdown().await;
        self.readers.close().await;
        match self.writer.into_inner() {
            Writer::Sqlite(writer) => writer.close().await,
            Writer::Postgres(pool) => {
                pool.close().await;
                Ok(())
            }
        }
    }

    pub(crate) fn readers(&self) -> &Pool {
        &self.readers
    }

    pub(crate) fn writer(&self) -> &Mutex<Writer> {
        &self.writer
    }

    /// What a query sees that is asked as of `as_of`: the answer's cut (feed and identity), and its sizes.
    ///
    /// # Errors
    /// [`QueryError::Ahead`] where that has not been projected yet.
    pub(crate) fn visible(&self, as_of: Option<&Cut>) -> Result<(Cut, Sizes), QueryError> {
        let mut known = self.known_at();
        known.0.retain(|partition, _| partition.stream != Stream::Control);
        let mut seen = known.clone();
        for (partition, size) in &mut seen.0 {
            let asked = as_of.map_or(u64::MAX, |cut| cut.size(*partition));
            if asked != u64::MAX && asked > *size {
                return Err(QueryError::Ahead { asked: as_of.cloned().unwrap_or_default(), known });
            }
            *size = asked.min(*size);
        }
        let sizes = Sizes::of(&seen);
        Ok((seen, sizes))
    }
}

impl Writer {
    /// Begins a transaction that will write.
    pub(crate) async fn begin(&mut self) -> Result<Tx<'_>, StoreError> {
        Ok(match self {
            Self::Sqlite(writer) => Tx::Sqlite(writer.begin().await?),
            Self::Postgres(pool) => Tx::Postgres(pool.begin().await?),
        })
    }
}

impl Known {
    pub(crate) fn cut(&self) -> Cut {
        self.cut.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes in how far the cursors have come. They never go back, and news may arrive out of order.
    pub(crate) fn learn(&self, cut: &Cut) {
        {
            let mut known = self.cut.write().unwrap_or_else(PoisonError::into_inner);
            let before = known.clone();
            for (partition, size) in &cut.0 {
                let held = known.0.entry(*partition).or_insert(0);
                *held = (*held).max(*size);
            }
            if *known == before {
                return;
            }
        }
        self.changes.send_modify(|commits| *commits += 1);
    }
}
