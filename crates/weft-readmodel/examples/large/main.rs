//! Whether the read model on PostgreSQL stands a large population: how fast it is filled, how large it becomes, what every
//! question costs then, and how fast it takes further events in.
//!
//! ```text
//! cargo run --release -p weft-readmodel --example large -- POSTGRES [PEOPLE] [MESSAGES_PER_PERSON]
//! ```
//!
//! PEOPLE have two source records each and MESSAGES_PER_PERSON messages (default 20,000 and 8), in eight partitions, the
//! messages of a record as far apart as they can be: its rows do not lie side by side because they came together. The
//! events are made when they are read, so that the fill is that of a rebuild without a log's own cost; they go the way
//! that a rebuild goes, into a schema `large` that is left there: where it is there already it is not filled again, and every
//! run adds 320,000 messages to it. 2,000,000 people with 8 messages each are 51 million lines, and take 40 GB.
//!
//! What must hold at any size is that answers are found by indexes alone: printed are the number of scans of whole tables, of
//! the pages that a question touches, how many of those were not in PostgreSQL's memory, and how many of the eight parts of
//! `entry` it looked into. Whom a question is about is chosen at random, so that at a large size little of it is in memory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark prints, and ends where it cannot go on"
)]

mod counts;
#[path = "../generated/mod.rs"]
mod generated;
mod live;
mod questions;
mod source;

use std::{sync::Arc, time::Instant};

use counts::Counts;
use questions::Question;
use source::Generated;
use sqlx::{Connection, PgConnection};
use weft_log::SharedLog;
use weft_readmodel::{Location, ReadModel, Repeats, rebuild};

const SCHEMA: &str = "large";
const PARTITIONS: u64 = 8;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().expect("the address of a PostgreSQL database");
    let mut number = |default| arguments.next().map_or(default, |a| a.parse::<u64>().unwrap());
    let (people, messages) = (number(20_000), number(8));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run(url, people.next_multiple_of(PARTITIONS), messages));
}

async fn run(url: String, people: u64, messages: u64) {
    let location = Location::Postgres { url: url.clone(), schema: SCHEMA.to_owned() };
    let there = ReadModel::inspect(&location).await.unwrap().is_some_and(|found| found.version.is_some());
    if !there {
        fill(&location, people * 2, messages.div_ceil(2)).await;
    }
    let mut watching = PgConnection::connect(&url).await.unwrap();
    if !there {
        // The planner knows enough already: it is for the numbers of rows.
        sqlx::raw_sql("ANALYZE").execute(&mut watching).await.unwrap();
    }
    let model = Arc::new(ReadModel::open(location).await.unwrap());
    if model.feeds().await.unwrap().is_empty() {
        live::set_aside(&model, people * 2).await;
    }
    sizes(&mut watching).await;
    for question in Question::ALL {
        questions::ask(&model, &mut watching, question, people, 1).await;
    }
    questions::ask(&model, &mut watching, Question::FirstPage, people, 16).await;
    live::compare(&url, &model, people * 2).await;
    let start = Instant::now();
    let snapshot = model.linking_snapshot(&model.known_at()).await.unwrap();
    println!("linker     reads {} records in {:.1} s", snapshot.records.len(), start.elapsed().as_secs_f64());
}

/// Rebuilds a read model of so many records, as from a log on Kafka, which may hold an event twice.
async fn fill(location: &Location, records: u64, messages: u64) {
    let log: SharedLog = Arc::new(Generated { records, messages });
    let report = rebuild(log, location, None, Repeats::Possible).await.unwrap();
    println!("filled     {} events at {:.0}/s, {records} records", report.events, report.events_per_second());
}

/// Rows and megabytes of the tables that grow with every message, all their parts together.
async fn sizes(watching: &mut PgConnection) {
    const SIZES: &str = "SELECT regexp_replace(relname::text, '_[0-9]+$', ''), sum(reltuples)::bigint,
             (sum(pg_relation_size(c.oid)) / 1048576)::bigint, (sum(pg_indexes_size(c.oid)) / 1048576)::bigint
         FROM pg_class AS c WHERE relkind = 'r' AND relnamespace = 'large'::regnamespace
         GROUP BY 1 HAVING sum(reltuples) > 100 ORDER BY 3 DESC";
    let rows: Vec<(String, i64, i64, i64)> = sqlx::query_as(SIZES).fetch_all(watching).await.unwrap();
    for (table, rows, table_mb, indexes_mb) in rows {
        println!("{table:<16} {rows:>11} rows, {table_mb:>6} MB, indexes {indexes_mb:>6} MB");
    }
}
