//! What everything should come to, computed the obvious way from what was sent; and the messages themselves.

use std::collections::{BTreeMap, BTreeSet};

use weft_model::Verdict;

use super::Dice;

pub(super) const FEEDS: [&str; 2] = ["one", "two"];
pub(super) const ORGANISATIONS: [&str; 2] = ["RYJ", "RQM"];
const PEOPLE: u64 = 8;
/// Of the first of them an organisation has a second record at times, which tells nothing of who it is; some day it notices,
/// and merges it into the first.
const TWICE: u64 = 3;
/// Truths of second records that were not merged yet begin here.
const NOBODY_KNOWS: u64 = 1000;

/// One message, and the truth that it tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) feed: usize,
    pub(super) control_id: String,
    pub(super) bytes: Vec<u8>,
    pub(super) person: u64,
    /// Told of the second record.
    second: bool,
    visit: u64,
    /// When it was written: seconds into the day. No two messages share one.
    written_s: u64,
    event: &'static str,
    ward: u64,
}

/// The model: maps, and nothing clever.
#[derive(Default)]
pub(super) struct Naive {
    /// Everything stored that was accepted, by feed and control id.
    accepted: BTreeMap<(usize, String), Message>,
    /// The same for what contradicts it.
    conflicts: BTreeSet<(usize, String, Vec<u8>)>,
    /// What stewards say: this person is that one.
    joined: BTreeMap<u64, u64>,
    /// How often each verdict was given, by feed.
    pub(super) counts: BTreeMap<(usize, &'static str), u64>,
}

impl Message {
    /// The `number`-th message of the world, of this feed.
    pub(super) fn new(dice: &mut Dice, number: u64, feed: usize) -> Self {
        let person = dice.below(PEOPLE);
        let visit = dice.below(3);
        let merges = person < TWICE && dice.chance(12);
        let event = if merges { "A40" } else { ["A01", "A01", "A03", "A31"][dice.below(4) as usize] };
        let mut message = Self {
            feed,
            control_id: format!("M{number}"),
            bytes: Vec::new(),
            person,
            second: person < TWICE && !merges && dice.chance(30),
            visit,
            written_s: number,
            event,
            // Few wards for updates, so that some say what was said before: those add a message and no version.
            ward: dice.below(if event == "A31" { 4 } else { 50 }),
        };
        message.bytes = message.encode();
        message
    }

    /// Another message under the control id of this one.
    pub(super) fn contradicted(&self, number: u64) -> Self {
        let mut other = Self { written_s: number, ward: self.ward + 100, ..self.clone() };
        other.bytes = other.encode();
        other
    }

    fn encode(&self) -> Vec<u8> {
        let Self { feed, control_id, person, second, visit, written_s, event, ward, .. } = self;
        let organisation = ORGANISATIONS[*feed];
        let written = format!("20260301{:02}{:02}{:02}", written_s / 3600, written_s / 60 % 60, written_s % 60);
        let (number, day) = (nhs_number(*person), 10 + person);
        let local = format!("{}^^^{organisation}^MR", self.local_identifier());
        let patient = if *second {
            format!("PID|1||{local}")
        } else {
            format!(
                "PID|1||{local}~{number}^^^NHS||FAMILY{person}^Given{person}||198002{day}|2|||{person} Street^^London^^W2 1NY"
            )
        };
        let rest = if *event == "A40" {
            format!("MRG|Q{person}^^^{organisation}^MR")
        } else {
            let of = if *second { 'y' } else { 'x' };
            format!("PV1|1|I|W{ward}^^^{organisation}||||||||||||||||V{person}{of}{visit}")
        };
        format!(
            "MSH|^~\\&|PAS|{organisation}|R|R|{written}||ADT^{event}|{control_id}|P|2.4\r\
             EVN||{written}||||{written}\r{patient}\r{rest}\r"
        )
        .into_bytes()
    }

    /// Organisation, identifier system and value of its record are the feed's and the person's.
    pub(super) fn local_identifier(&self) -> String {
        format!("{}{}", if self.second { 'Q' } else { 'P' }, self.person)
    }
}

impl Naive {
    /// What the verdict on a message must be that reaches the log now; and counts it.
    pub(super) fn store(&mut self, message: &Message) -> Verdict {
        let key = (message.feed, message.control_id.clone());
        let conflict = (message.feed, message.control_id.clone(), message.bytes.clone());
        let (verdict, name) = match self.accepted.get(&key) {
            None => {
                self.accepted.insert(key, message.clone());
                (Verdict::Accepted, "accepted")
            }
            Some(first) if first.bytes == message.bytes => (Verdict::Duplicate, "duplicate"),
            Some(_) if self.conflicts.insert(conflict) => (Verdict::Conflict, "conflict"),
            Some(_) => (Verdict::Duplicate, "duplicate"),
        };
        *self.counts.entry((message.feed, name)).or_default() += 1;
        verdict
    }

    /// Events that the stream `feed` must hold.
    pub(super) fn events(&self) -> usize {
        self.accepted.len() + self.conflicts.len()
    }

    /// Whether the log must hold it.
    pub(super) fn holds(&self, message: &Message) -> bool {
        let conflict = (message.feed, message.control_id.clone(), message.bytes.clone());
        self.accepted.values().any(|m| m == message) || self.conflicts.contains(&conflict)
    }

    /// Every record that was told of: feed and local identifier, with its true person.
    pub(super) fn records(&self) -> BTreeMap<(usize, String), u64> {
        self.accepted.values().map(|m| ((m.feed, m.local_identifier()), self.truth(m))).collect()
    }

    /// Who a message is about, as far as messages and stewards have said, in whatever order.
    fn truth(&self, message: &Message) -> u64 {
        let Message { feed, person, second, .. } = message;
        let merges = |m: &Message| m.event == "A40" && (m.feed, m.person) == (*feed, *person);
        if *second && !self.accepted.values().any(merges) {
            return NOBODY_KNOWS + *feed as u64 * PEOPLE + person;
        }
        self.joined.get(person).copied().unwrap_or(*person)
    }

    /// A steward says that two persons are one.
    pub(super) fn join(&mut self, retired: u64, survivor: u64) {
        self.joined.insert(retired, survivor);
    }

    /// A steward takes that back.
    pub(super) fn part(&mut self, retired: u64) {
        self.joined.remove(&retired);
    }

    /// Persons of whom both organisations have told, of whom nothing is merged, and whom no steward has joined with another.
    pub(super) fn apart(&self) -> Vec<u64> {
        let records = self.records();
        let known = |person: &u64| (0..FEEDS.len()).all(|feed| records.contains_key(&(feed, format!("P{person}"))));
        let joined = |person: &u64| self.joined.iter().any(|pair| pair.0 == person || pair.1 == person);
        (TWICE..PEOPLE).filter(|person| known(person) && !joined(person)).collect()
    }

    /// The lines of a person's timeline, sorted: of each visit the latest telling of each thing that happened to it.
    pub(super) fn lines(&self, person: u64) -> Vec<String> {
        let mut latest: BTreeMap<(&str, usize, u64, bool, u64), &Message> = BTreeMap::new();
        for message in self.accepted.values().filter(|m| m.event != "A40" && self.truth(m) == person) {
            let Message { event, feed, person, second, visit, .. } = message;
            let said = latest.entry((*event, *feed, *person, *second, *visit)).or_insert(message);
            if message.written_s > said.written_s {
                *said = message;
            }
        }
        let mut lines: Vec<String> = latest.values().map(|m| m.line()).collect();
        lines.sort();
        lines
    }
}

impl Message {
    fn line(&self) -> String {
        let what = match self.event {
            "A01" => "Admitted to",
            "A03" => "Discharged from",
            _ => "Inpatient visit at",
        };
        format!("{what} {}, W{}", ORGANISATIONS[self.feed], self.ward)
    }
}

/// A test NHS number with its check digit.
fn nhs_number(person: u64) -> String {
    (0..)
        .filter_map(|n| {
            let digits = format!("{}", 999_000_000 + person * 1000 + n);
            let sum: u64 = digits.bytes().zip((2..=10).rev()).map(|(d, weight)| u64::from(d - b'0') * weight).sum();
            match 11 - sum % 11 {
                10 => None,
                11 => Some(format!("{digits}0")),
                check => Some(format!("{digits}{check}")),
            }
        })
        .next()
        .unwrap_or_default()
}
