//! kill -9 of a node under load, at random moments, again and again on the same data.
//!
//! A failure is: a message that was acknowledged and is not in the log exactly once; a read model that differs from one
//! rebuilt from the log; a node that does not come back. Not a failure: a message that was stored and not acknowledged.
//! Not deterministic: where in its work the node is when it dies.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use weft_testkit::{Sender, Site};

const FEED: &str = "feed = \"ryj-pas\"\norganisation = \"RYJ\"\ndemo = true\n[mllp]\nlisten = \"127.0.0.1:0\"\n";
const SENDERS: u64 = 6;

fn message(control_id: u64) -> Vec<u8> {
    let patient = control_id % 97;
    let event = ["A01", "A02", "A03", "A08", "A31"][control_id as usize % 5];
    format!(
        "MSH|^~\\&|PAS|RYJ|ROUTE|ROUTE|20260301101500||ADT^{event}|K{control_id}|P|2.4\r\
         EVN||20260301101500||||2026030110{:02}00\r\
         PID|1||P{patient}^^^RYJ^MR||FAMILY{patient}^Given||19800214|2|||1 Street^^London^^W2 1NY\r\
         PV1|1|I|WARD{}^B^1||||||||||||||||V{patient}|||||||||||||||||||||||||20260301100000\r",
        control_id % 60,
        control_id % 7
    )
    .into_bytes()
}

/// A small generator for the moments: their spread matters, not their secrecy.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

#[test]
fn everything_acknowledged_is_in_the_log_once_and_the_timeline_equals_a_rebuild() -> anyhow::Result<()> {
    let kills: u32 = std::env::var("WEFT_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(50);
    let site = Site::new()?;
    let file = site.write("feed.toml", FEED)?;
    assert_eq!(site.weft(&["feed", "add", &file])?.code, 0);
    let next = Arc::new(AtomicU64::new(0));
    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    let mut random = 42;
    let mut with_load = 0;
    for _ in 0..kills {
        let node = site.serve()?;
        let address = node.mllp("ryj-pas")?;
        let before = acknowledged.lock().unwrap().len();
        let over = Arc::new(AtomicBool::new(false));
        let senders: Vec<_> = (0..SENDERS)
            .map(|_| {
                let (next, acknowledged, over, address) =
                    (next.clone(), acknowledged.clone(), over.clone(), address.clone());
                std::thread::spawn(move || {
                    while !over.load(Ordering::Relaxed) {
                        let Ok(mut sender) = Sender::connect(&address) else { break };
                        loop {
                            let id = next.fetch_add(1, Ordering::Relaxed);
                            match sender.send(&message(id)) {
                                Ok(ack) if ack.code == "AA" => acknowledged.lock().unwrap().insert(format!("K{id}")),
                                Ok(ack) => panic!("{} for K{id}", ack.code),
                                Err(_) => break,
                            };
                        }
                    }
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(20 + next_random(&mut random) % 400));
        over.store(true, Ordering::Relaxed);
        node.kill()?;
        for sender in senders {
            sender.join().expect("a sender saw only AA or the end of its connection");
        }
        with_load += u32::from(acknowledged.lock().unwrap().len() > before);
    }
    assert!(with_load * 10 >= kills * 8, "only {with_load} of {kills} kills were under load");

    let mut stored: BTreeMap<String, u32> = BTreeMap::new();
    for event in site.json_lines(&["log", "tail", "--json", "--stream", "feed"])? {
        *stored.entry(event["control_id"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    let acknowledged = acknowledged.lock().unwrap();
    let lost: Vec<_> = acknowledged.iter().filter(|id| !stored.contains_key(*id)).collect();
    assert_eq!(lost, Vec::<&String>::new(), "acknowledged and not in the log");
    let twice: Vec<_> = stored.iter().filter(|(_, count)| **count > 1).collect();
    assert_eq!(twice, Vec::new(), "in the log more than once");
    let stat = site.json(&["log", "stat", "--json"])?;
    assert_eq!(stat["verdicts"]["accepted"], stored.len(), "the durable counts add up");

    let node = site.serve()?;
    let events = stored.len() as u64;
    site.wait_for(&["replay", "--compare", "--json"], |answer| {
        answer["equal"] == true && answer["known_at"]["feed/0"] == events
    })?;
    node.stop()?;
    println!("{kills} kills, {} acknowledged, {} stored", acknowledged.len(), stored.len());
    Ok(())
}
