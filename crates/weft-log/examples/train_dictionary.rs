//! Makes a dictionary for `schemas/dictionaries` of the events in an embedded log, and says what others than those it was
//! made of come to with it.
//!
//! One that ships is made of generated people only: a dictionary holds pieces of what it was made of. Every second event
//! makes it, the others are measured.
//!
//! ```text
//! weft demo --people 3000 --seed 77      # keeps serving; says where its configuration is
//! cargo run --release -p weft-log --example train_dictionary -- LOG_DIRECTORY KEYS_DIRECTORY BYTES OUT
//! cargo run --release -p weft-log --example train_dictionary -- LOG_DIRECTORY KEYS_DIRECTORY     # measures the one that ships
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a tool for developers prints, and fails by panicking"
)]

use std::{env, fs, path::Path, sync::Arc, time::Instant};

use weft_log::{EmbeddedLog, EventLog, ReadLimit, Vault};
use weft_model::{Random, Stream};
use zstd::{bulk::Compressor, dict::EncoderDictionary};

/// zstd's advice: a hundred times the size of the dictionary.
const SAMPLES_BYTES_MAX: usize = 8 << 20;

struct NoRandom;

impl Random for NoRandom {
    fn fill(&self, _: &mut [u8]) {
        unreachable!("a log that is only read seals nothing");
    }
}

fn main() {
    let mut arguments = env::args().skip(1);
    let (log, keys) = (arguments.next().unwrap(), arguments.next().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let payloads = runtime.block_on(payloads(Path::new(&log), Path::new(&keys)));
    let (made_of, others): (Vec<_>, Vec<_>) = payloads.into_iter().enumerate().partition(|(number, _)| number % 2 == 0);
    let others: Vec<Vec<u8>> = others.into_iter().map(|(_, payload)| payload).collect();
    let dictionary = match (arguments.next(), arguments.next()) {
        (Some(bytes), Some(out)) => {
            let dictionary = train(made_of.into_iter().map(|(_, payload)| payload), bytes.parse().unwrap());
            fs::write(out, &dictionary).unwrap();
            dictionary
        }
        _ => fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/dictionaries/event-1.zdict")).unwrap(),
    };
    measure("without", &others, Compressor::new(1).unwrap());
    let prepared = EncoderDictionary::copy(&dictionary, 1);
    measure("with", &others, Compressor::with_prepared_dictionary(&prepared).unwrap());
}

fn train(payloads: impl Iterator<Item = Vec<u8>>, bytes: usize) -> Vec<u8> {
    let mut samples = Vec::new();
    let mut held = 0;
    for payload in payloads {
        held += payload.len();
        samples.push(payload);
        if held > SAMPLES_BYTES_MAX {
            break;
        }
    }
    println!("made of {} events, {held} bytes", samples.len());
    zstd::dict::from_samples(&samples, bytes).unwrap()
}

fn measure(name: &str, payloads: &[Vec<u8>], mut compressor: Compressor<'_>) {
    let start = Instant::now();
    let (mut plain, mut small) = (0, 0);
    for payload in payloads {
        plain += payload.len();
        small += compressor.compress(payload).unwrap().len();
    }
    let count = payloads.len().max(1);
    let each = start.elapsed() / u32::try_from(count).unwrap();
    println!("{name}: {count} events, {} bytes each come to {}, {each:?} each", plain / count, small / count);
}

/// Every payload of the streams that grow with what is received, spread over the log.
async fn payloads(log: &Path, keys: &Path) -> Vec<Vec<u8>> {
    let vault = Arc::new(Vault::open(keys, Arc::new(NoRandom)).unwrap());
    let log = EmbeddedLog::open_read_only(log, vault).await.unwrap();
    let mut payloads = Vec::new();
    for stream in [Stream::Feed, Stream::Identity] {
        let partition = stream.partition(0);
        let (mut next, size) = (0, log.size(partition).await.unwrap());
        while next < size {
            let page = log.read(partition.at(next), ReadLimit::PAGE).await.unwrap();
            for stored in &page {
                payloads.push(log.open(stored).await.unwrap().payload.encode());
            }
            next += page.len() as u64;
        }
    }
    // Events next to each other are about one person: taken from all over the log, the first few megabytes are of many.
    let step = 7919;
    let count = payloads.len();
    (0..count).map(|number| std::mem::take(&mut payloads[number * step % count])).collect()
}
