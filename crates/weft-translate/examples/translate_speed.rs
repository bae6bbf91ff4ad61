//! How long the reading of a message takes, step by step: nanoseconds a message, best of several rounds on one core.
//!
//! `cargo run --release -p weft-translate --example translate_speed [FILE [STEP]]`
//!
//! FILE holds messages separated by empty lines, such as simhospital's `messages.out` (the default, where it is beside
//! the project). STEP names the one step to do, for a profiler. Each round does all messages of the set; the whole tree
//! of `hl7-parser` is measured beside.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program that prints its figures"
)]

use std::{hint::black_box, path::Path, time::Instant};

use bytes::Bytes;
use weft_translate::{Profile, hl7v2::Message, translate};

const ADMISSION: &str = include_str!("admission.hl7");
const SIMHOSPITAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/hl7v2/simhospital/messages.out");

fn main() {
    let given = std::env::args().nth(1);
    let file = given.as_deref().unwrap_or(SIMHOSPITAL);
    measure("built-in ADT^A01", &[ADMISSION.trim_end().replace('\n', "\r")]);
    if Path::new(file).exists() {
        let text = std::fs::read_to_string(file).unwrap();
        let messages: Vec<String> = text.split("\n\n").map(|message| message.trim().to_owned()).collect();
        let messages: Vec<String> = messages.into_iter().filter(|message| message.starts_with("MSH")).collect();
        measure(file, &messages);
    } else {
        println!("{file} is absent");
    }
}

fn measure(name: &str, messages: &[String]) {
    let profile =
        Profile::parse("feed = \"speed\"\norganisation = \"RYJ\"\n[mllp]\nlisten = \"127.0.0.1:0\"\n").unwrap();
    let bytes: usize = messages.iter().map(String::len).sum();
    let raw: Vec<Bytes> = messages.iter().map(|message| Bytes::from(message.clone())).collect();
    println!("{name}: {} messages, {} bytes a message", messages.len(), bytes / messages.len());
    let only = std::env::args().nth(2);
    let per_message = |step: &str, work: &dyn Fn(usize)| {
        if only.as_deref().is_some_and(|only| only != step) {
            return;
        }
        let rounds = 20_000 / messages.len() + 1;
        let best = (0..7).map(|_| {
            let start = Instant::now();
            (0..rounds).for_each(|_| (0..messages.len()).for_each(work));
            start.elapsed().as_nanos() / (rounds * messages.len()) as u128
        });
        println!("  {step:<42} {:>7} ns", best.min().unwrap_or_default());
    };
    per_message("index", &|i| drop(black_box(Message::index(&messages[i]))));
    per_message("index and six fields", &|i| {
        let message = Message::index(&messages[i]).unwrap();
        for (segment, field) in [("MSH", 10), ("PID", 3), ("PID", 5), ("PID", 7), ("PV1", 3), ("PV1", 19)] {
            black_box(message.first(segment).and_then(|segment| segment.field(field).text()));
        }
    });
    per_message("every component of every field", &|i| {
        let message = Message::index(&messages[i]).unwrap();
        for segment in message.segments() {
            for field in 1..=segment.last_field() {
                segment.field(field).repetitions().for_each(|r| drop(black_box((r.component(1), r.component(4)))));
            }
        }
    });
    per_message("hl7-parser, the PID's fields one by one", &|i| {
        let message = Message::index(&messages[i]).unwrap();
        let separators = hl7_parser::message::Separators::default();
        if let Some(pid) = message.first("PID") {
            for field in 1..=pid.last_field() {
                let raw = pid.field(field).raw();
                drop(black_box(hl7_parser::parser::parse_field_with_separators(raw, separators)));
            }
        }
    });
    per_message("hl7-parser, whole tree", &|i| drop(black_box(hl7_parser::parse_message(&messages[i]))));
    per_message("translate", &|i| drop(black_box(translate(raw[i].clone(), &profile, 0))));
}
