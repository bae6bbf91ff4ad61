//! The messages of one feed, one by one in sending order.

use crate::{
    feed::{RK5_DIRTY, RQM_PAS, RYJ_LAB},
    hl7::Telling,
    life::{Life, Step},
    population::Population,
    rk5_dirty,
    rng::Rng,
    rqm_pas, ryj_lab, ryj_pas,
};

/// One message as it goes over the wire, without the transport's framing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SynthMessage {
    /// What is sent.
    pub bytes: Vec<u8>,
    /// Hidden truth: index of the person that it is about.
    pub person: u32,
    /// MSH-10. Empty where an unreadable message has none.
    pub control_id: String,
    /// When what it tells of happened: microseconds since 1970-01-01T00:00:00Z.
    pub occurred_us: i64,
    /// When it is sent, by the same count: what feeds are interleaved by.
    pub sent_us: i64,
    /// What is wrong with it on purpose.
    pub kind: SynthKind,
}

/// What is wrong with a message on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SynthKind {
    /// Nothing: to be accepted, whatever its dialect.
    Plain,
    /// The bytes of an earlier message, sent again: a duplicate.
    Resent,
    /// The control id of an earlier message with other content: a conflict.
    ControlIdReused,
    /// Cut off, of an unknown type, or about nobody: to be quarantined.
    Unreadable,
}

/// Iterator of [`Population::messages`].
#[derive(Debug)]
pub struct Messages<'a> {
    population: &'a Population,
    feed: usize,
    /// When, whose, which step of their life.
    schedule: Vec<(i64, u32, u16)>,
    next: usize,
    /// What goes wrong around the next message, told first; in reverse.
    waiting: Vec<SynthMessage>,
    last_control_id: String,
}

const STREAM: u64 = 5;

impl<'a> Messages<'a> {
    pub(crate) fn new(population: &'a Population, feed: usize) -> Self {
        let mut schedule = Vec::new();
        for index in 0..u32::try_from(population.people.len()).unwrap_or(u32::MAX) {
            if let Some(life) = population.life(feed, index) {
                schedule.extend((0..).zip(&life.steps).map(|(n, step)| (step.at, index, n)));
            }
        }
        schedule.sort_unstable();
        Self { population, feed, schedule, next: 0, waiting: Vec::new(), last_control_id: String::new() }
    }

    /// Prepares the next step's message and what goes wrong around it.
    fn prepare(&mut self) -> Option<()> {
        let (_, index, n) = *self.schedule.get(self.next)?;
        self.next += 1;
        let sequence = self.next as u64;
        let life = self.population.life(self.feed, index)?;
        let step = life.steps.get(usize::from(n))?;
        let control_id = control_id(self.feed, sequence);
        let plain = message(self.population, self.feed, (index, &life, step), &control_id, sequence)?;
        if self.feed == RK5_DIRTY {
            self.go_wrong(&plain, (index, &life, step), sequence);
        } else {
            self.waiting.push(plain);
        }
        self.last_control_id = control_id;
        Some(())
    }

    /// Before the message: an unreadable one, or one under the control id of the last. After it: itself again.
    fn go_wrong(&mut self, plain: &SynthMessage, told: (u32, &Life, &Step), sequence: u64) {
        let mut rng = Rng::of(self.population.seed, &[STREAM, sequence]);
        if rng.permille(25) {
            self.waiting.push(SynthMessage { kind: SynthKind::Resent, ..plain.clone() });
        }
        self.waiting.push(plain.clone());
        if rng.permille(6) && !self.last_control_id.is_empty() {
            let reused = message(self.population, self.feed, told, &self.last_control_id, sequence);
            self.waiting.extend(reused.map(|m| SynthMessage { kind: SynthKind::ControlIdReused, ..m }));
        }
        if rng.permille(5) {
            let id = format!("X{sequence:07}");
            let garbage =
                telling(self.population, self.feed, told, &id, sequence).map(|mut t| rk5_dirty::unreadable(&mut t));
            self.waiting.extend(garbage.map(|bytes| {
                let control_id = if bytes.windows(id.len()).any(|w| w == id.as_bytes()) { id } else { String::new() };
                SynthMessage { bytes, control_id, kind: SynthKind::Unreadable, ..plain.clone() }
            }));
        }
    }
}

impl Iterator for Messages<'_> {
    type Item = SynthMessage;

    fn next(&mut self) -> Option<SynthMessage> {
        if self.waiting.is_empty() {
            self.prepare()?;
        }
        self.waiting.pop()
    }

    /// At least one for every step left.
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.schedule.len() - self.next + self.waiting.len(), None)
    }
}

/// Writes one step in the dialect of a feed.
pub(crate) fn message(
    population: &Population,
    feed: usize,
    told: (u32, &Life, &Step),
    control_id: &str,
    sequence: u64,
) -> Option<SynthMessage> {
    let mut telling = telling(population, feed, told, control_id, sequence)?;
    let (person, occurred_us, sent_us) = (telling.index, telling.step.occurred, telling.step.at);
    let bytes = match feed {
        RYJ_LAB => ryj_lab::message(&mut telling),
        RQM_PAS => rqm_pas::message(&mut telling),
        RK5_DIRTY => rk5_dirty::message(&mut telling),
        _ => ryj_pas::message(&mut telling),
    };
    Some(SynthMessage {
        bytes,
        person,
        control_id: control_id.to_owned(),
        occurred_us,
        sent_us,
        kind: SynthKind::Plain,
    })
}

fn telling<'a>(
    population: &'a Population,
    feed: usize,
    (index, life, step): (u32, &'a Life, &'a Step),
    control_id: &'a str,
    sequence: u64,
) -> Option<Telling<'a>> {
    let person = population.person(index)?;
    Some(Telling {
        people: &population.people,
        index,
        person,
        life,
        step,
        shown: life.chart_of(step).shown(person, step.at),
        control_id,
        sequence,
        rng: Rng::of(population.seed, &[STREAM, feed as u64 + 1, sequence]),
    })
}

fn control_id(feed: usize, sequence: u64) -> String {
    match feed {
        RYJ_LAB => format!("L{sequence:09}"),
        RQM_PAS => format!("Q{sequence:09}"),
        RK5_DIRTY => format!("{sequence}"),
        _ => format!("P{sequence:09}"),
    }
}
