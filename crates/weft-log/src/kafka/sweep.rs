//! Settles rows whose outcome nobody asks for again: their node died, or never heard from the brokers.
//!
//! A row without a place is settled when it is so old that its event cannot come any more: it is looked for in its
//! partition, from the size that the partition had before it was produced. Found: the first copy is its place, and it is
//! counted. Not found: it was never stored, nobody was told that it was, and the row is taken away. So inbox, counts and log
//! say the same again, whatever crashed.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use sqlx::PgConnection;
use tokio::{task::JoinHandle, time::sleep};
use weft_model::{EventId, Partition, Stream};

use super::{
    client::Client,
    inbox::{Delivered, Inbox, cause, stream_number, stream_of},
    read::first_copies,
    write::DECIDE_WITHIN,
};
use crate::{
    batch::{NewMessage, verdict_of},
    error::Cause,
    log::Shared,
    storage::MessageKey,
};

/// How often a node looks; only one looks at a time.
const EVERY: Duration = Duration::from_secs(20);
/// `WfSw` in ASCII: whoever sweeps holds this lock.
const LOCK: i32 = 0x5766_5377;

/// How old a row must be, so that its event has been delivered or never will be: deciding, producing, and as much again for
/// machines that stall.
pub(super) fn settled_after(deliver_within: Duration) -> Duration {
    2 * (DECIDE_WITHIN + deliver_within) + Duration::from_secs(10)
}

pub(super) fn start(client: Client, inbox: Inbox, shared: Arc<Shared>, deliver_within: Duration) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            match settle(&client, &inbox, &shared, settled_after(deliver_within)).await {
                Ok(0) => {}
                Ok(events) => tracing::info!(events, "settled events of which the outcome was not known"),
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "log not swept"),
            }
            sleep(EVERY).await;
        }
    })
}

/// A row without a place.
struct Unsettled {
    partition: Partition,
    event_id: EventId,
    message: Option<NewMessage>,
    /// The partition had at least so many events before.
    after: u64,
}

/// Settles what is older than that; returns how many rows. Nothing where another node is at it.
pub(super) async fn settle(
    client: &Client,
    inbox: &Inbox,
    shared: &Shared,
    older_than: Duration,
) -> Result<u64, Cause> {
    let mut transaction = inbox.pool.begin().await.map_err(cause)?;
    let ours: bool = sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1, hashtext(current_schema()))")
        .bind(LOCK)
        .fetch_one(&mut *transaction)
        .await
        .map_err(cause)?;
    if !ours {
        return Ok(0);
    }
    let age_s = older_than.as_secs().cast_signed();
    let unsettled = unsettled(&mut transaction, age_s).await?;
    let mut by_partition: BTreeMap<Partition, Vec<Unsettled>> = BTreeMap::new();
    let events = unsettled.len() as u64;
    for row in unsettled {
        by_partition.entry(row.partition).or_default().push(row);
    }
    for (partition, rows) in by_partition {
        settle_partition(client, inbox, shared, partition, rows, age_s).await?;
    }
    sqlx::query("UPDATE log SET swept = now() - $1 * interval '1 second'")
        .bind(age_s as f64)
        .execute(&mut *transaction)
        .await
        .map_err(cause)?;
    transaction.commit().await.map_err(cause)?;
    Ok(events)
}

/// Rows without a place that are older than that, and younger than those that were settled before.
async fn unsettled(connection: &mut PgConnection, age_s: i64) -> Result<Vec<Unsettled>, Cause> {
    type Message = (i32, Vec<u8>, i16, i16, i32, i64, Vec<u8>);
    let messages: Vec<Message> = sqlx::query_as(
        "SELECT feed, control_id, nth, verdict, partition, place, event_id FROM inbox
         WHERE since >= (SELECT swept FROM log) AND since < now() - $1 * interval '1 second' AND place < 0",
    )
    .bind(age_s as f64)
    .fetch_all(&mut *connection)
    .await
    .map_err(cause)?;
    let names: Vec<(Vec<u8>, i16, i64)> = sqlx::query_as(
        "SELECT event_id, stream, place FROM event_name
         WHERE since >= (SELECT swept FROM log) AND since < now() - $1 * interval '1 second' AND place < 0",
    )
    .bind(age_s as f64)
    .fetch_all(&mut *connection)
    .await
    .map_err(cause)?;
    let mut rows = Vec::with_capacity(messages.len() + names.len());
    for (feed, control_id, nth, verdict, partition, place, event_id) in messages {
        let key = MessageKey { feed: feed.cast_unsigned(), control_id };
        let nth = usize::try_from(nth).map_err(Cause::new)?;
        rows.push(Unsettled {
            partition: Stream::Feed.partition(partition.cast_unsigned()),
            event_id: EventId::from_bytes(&event_id).map_err(Cause::new)?,
            message: Some(NewMessage { key, verdict: verdict_of(verdict.into()), nth, first: None }),
            after: after(place),
        });
    }
    for (event_id, stream, place) in names {
        let stream = stream_of(stream).ok_or_else(|| Cause::new("stream number"))?;
        let event_id = EventId::from_bytes(&event_id).map_err(Cause::new)?;
        rows.push(Unsettled { partition: stream.partition(0), event_id, message: None, after: after(place) });
    }
    Ok(rows)
}

async fn settle_partition(
    client: &Client,
    inbox: &Inbox,
    shared: &Shared,
    partition: Partition,
    rows: Vec<Unsettled>,
    age_s: i64,
) -> Result<(), Cause> {
    let size = client.size(partition).await?;
    shared.tail.note(partition, size);
    let from = rows.iter().map(|row| row.after).min().unwrap_or(size);
    let mut wanted: HashMap<[u8; 16], Unsettled> = rows.into_iter().map(|row| (row.event_id.0, row)).collect();
    let is_wanted = |key: &[u8]| <[u8; 16]>::try_from(key).is_ok_and(|id| wanted.contains_key(&id));
    let found = first_copies(client, partition.at(from), size, &is_wanted).await?;
    let mut delivered = Vec::with_capacity(found.len());
    for (id, (position, bytes)) in found {
        let row = <[u8; 16]>::try_from(id).ok().and_then(|id| wanted.remove(&id));
        if let Some(Unsettled { event_id, message, .. }) = row {
            delivered.push(Delivered { event_id, message, position, bytes, verdict: None });
        }
    }
    if !delivered.is_empty() {
        inbox.complete_durably(&delivered).await?;
    }
    forget(inbox, wanted.into_values().collect(), age_s).await
}

/// Takes rows away whose events were never stored. One that others under its control id came after stays: they are
/// conflicts with it, and when it is sent again it is stored under its own verdict.
async fn forget(inbox: &Inbox, rows: Vec<Unsettled>, age_s: i64) -> Result<(), Cause> {
    let (messages, names): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.message.is_some());
    let messages: Vec<&NewMessage> = messages.iter().filter_map(|row| row.message.as_ref()).collect();
    sqlx::query(
        "DELETE FROM inbox USING UNNEST($1::integer[], $2::bytea[], $3::smallint[]) AS lost (feed, control_id, nth)
         WHERE inbox.feed = lost.feed AND inbox.control_id = lost.control_id AND inbox.nth = lost.nth
           AND inbox.place < 0 AND inbox.since < now() - $4 * interval '1 second'
           AND NOT EXISTS (SELECT 1 FROM inbox AS other WHERE other.feed = lost.feed
             AND other.control_id = lost.control_id AND other.nth > lost.nth)",
    )
    .bind(messages.iter().map(|message| message.key.feed.cast_signed()).collect::<Vec<i32>>())
    .bind(messages.iter().map(|message| &*message.key.control_id).collect::<Vec<&[u8]>>())
    .bind(messages.iter().map(|message| message.nth as i16).collect::<Vec<i16>>())
    .bind(age_s as f64)
    .execute(&inbox.pool)
    .await
    .map_err(cause)?;
    sqlx::query(
        "DELETE FROM event_name USING UNNEST($1::bytea[], $2::smallint[]) AS lost (event_id, stream)
         WHERE event_name.event_id = lost.event_id AND event_name.stream = lost.stream
           AND event_name.place < 0 AND event_name.since < now() - $3 * interval '1 second'",
    )
    .bind(names.iter().map(|row| &row.event_id.0[..]).collect::<Vec<&[u8]>>())
    .bind(names.iter().map(|row| stream_number(row.partition.stream)).collect::<Vec<i16>>())
    .bind(age_s as f64)
    .execute(&inbox.pool)
    .await
    .map_err(cause)?;
    Ok(())
}

/// What a place that is not known says of its partition.
fn after(place: i64) -> u64 {
    (-1 - place).max(0).cast_unsigned()
}
