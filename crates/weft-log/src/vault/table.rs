//! The slots of a log that many nodes share: the table `key_slot` of its database. A key is made when its record is new, in
//! the transaction of the record's first event.

use sqlx::PgPool;

use super::{SLOT_BYTES, Slot, VaultError};

/// The table of slots.
pub(crate) struct KeyTable(PgPool);

impl KeyTable {
    pub(crate) fn new(pool: PgPool) -> Self {
        Self(pool)
    }

    /// Stores a key of the whole log, unless there is one already.
    pub(super) async fn insert_new(&self, slot: u64, wrapped: &Slot) -> Result<(), VaultError> {
        sqlx::query("INSERT INTO key_slot (slot, wrapped) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(slot.cast_signed())
            .bind(&wrapped[..])
            .execute(&self.0)
            .await
            .map(|_| ())
            .map_err(database)
    }

    /// Those of these slots that there are.
    pub(super) async fn read(&self, slots: &[u64]) -> Result<Vec<(u64, Slot)>, VaultError> {
        let wanted: Vec<i64> = slots.iter().map(|slot| slot.cast_signed()).collect();
        let rows: Vec<(i64, Option<Vec<u8>>)> =
            sqlx::query_as("SELECT slot, wrapped FROM key_slot WHERE slot = ANY($1)")
                .bind(wanted)
                .fetch_all(&self.0)
                .await
                .map_err(database)?;
        let slot = |(slot, wrapped): (i64, Option<Vec<u8>>)| {
            let slot = slot.cast_unsigned();
            // A destroyed key is one of zeros, as in the file.
            let wrapped = wrapped.unwrap_or_else(|| vec![0; SLOT_BYTES]);
            Ok((slot, wrapped.try_into().map_err(|_| VaultError::Damaged { slot })?))
        };
        rows.into_iter().map(slot).collect()
    }

    pub(super) async fn destroy(&self, slot: u64) -> Result<(), VaultError> {
        let done = sqlx::query("UPDATE key_slot SET wrapped = NULL WHERE slot = $1")
            .bind(slot.cast_signed())
            .execute(&self.0)
            .await
            .map_err(database)?;
        if done.rows_affected() == 0 { Err(VaultError::Absent { slot }) } else { Ok(()) }
    }
}

fn database(error: sqlx::Error) -> VaultError {
    VaultError::Database(error.into())
}
