//! Deciding, one event after the other: what the linker's role does, and what `weft link verify` and `weft link compare`
//! do again. It reads nothing and appends nothing, so that all three come to the same.

use std::collections::HashMap;

use anyhow::Context;
use prost::Message;
use weft_link::{Features, Model, Options, Register};
use weft_model::{
    Event, Payload, PersonId, Pseudonym, SourceRecordId, Verdict,
    proto::event::{
        Demographics, LinkMethod, LinkModelSwitched, MessageReceived, RecordLinked, RecordsMerged, RecordsUnlinked,
        StewardDecided, StewardDecision,
    },
};

/// An event to append.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Decided {
    /// With the cause and the kind it names the event: decided again, it is the same one.
    pub(crate) subject: [u8; 16],
    pub(crate) payload: Payload,
}

/// Everything that decisions are made from.
pub(crate) struct Deciding {
    pub(crate) register: Register,
    pub(crate) model: Model,
    /// What each record is known to say, as far as linking looks at it.
    records: HashMap<Pseudonym, Held>,
    /// The keyed pseudonym of a record.
    pseudonym: Box<dyn Fn(&SourceRecordId) -> Pseudonym + Send + Sync>,
}

/// What is kept of a record between messages: encoded, for there are millions.
struct Held {
    /// The encoded [`Demographics`] of the message that was folded in last, hashed: most messages say nothing new.
    last_said: u64,
    /// When the source said so; an older message that arrives late changes nothing.
    said_us: i64,
    /// The fold of all messages, encoded, cut down to what linking looks at.
    demographics: Box<[u8]>,
}

impl Deciding {
    pub(crate) fn new(model: Model, pseudonym: impl Fn(&SourceRecordId) -> Pseudonym + Send + Sync + 'static) -> Self {
        Self { register: Register::new(), model, records: HashMap::new(), pseudonym: Box::new(pseudonym) }
    }

    /// Number of records that messages have told of.
    pub(crate) fn records(&self) -> usize {
        self.records.len()
    }

    /// What an accepted message makes necessary: what its sender says of two of its records, and a decision where the
    /// record is new or says something new. All of it is taken in.
    pub(crate) fn hear(&mut self, event: &Event, demo: bool) -> anyhow::Result<Vec<Decided>> {
        self.hear_and(event, demo, false)
    }

    /// The same for a message on which the log has a decision: it is decided on also where it says nothing new. A linker that
    /// was started again takes the first word about each record for news.
    pub(crate) fn hear_again(&mut self, event: &Event, demo: bool) -> anyhow::Result<Vec<Decided>> {
        self.hear_and(event, demo, true)
    }

    fn hear_and(&mut self, event: &Event, demo: bool, decide: bool) -> anyhow::Result<Vec<Decided>> {
        let mut decided = Vec::new();
        let (Some(pseudonym), Some((record, message))) = (event.header.pseudonym(), accepted(event)) else {
            return Ok(decided);
        };
        if self.learn(pseudonym, demo, &said(message), said_us(event, message)) || decide {
            for payload in self.register.rule(pseudonym, record, &self.model) {
                self.add(pseudonym, payload, &mut decided)?;
            }
        }
        // A merged record is to be used no more, a moved one (A43) is: both go where this record goes.
        let follows = [
            message.merge.as_ref().and_then(|merge| merge.retired.as_ref()),
            message.moved.as_ref().and_then(|moved| moved.record.as_ref()),
        ];
        for retired in follows.into_iter().flatten() {
            self.merge(retired, (record, pseudonym), &mut decided)?;
        }
        if let Some(other) = message.unlinked.as_ref().and_then(|unlinked| unlinked.record.as_ref()) {
            self.unlink(record, other, &mut decided)?;
        }
        Ok(decided)
    }

    /// Takes in an event as the identity stream has it.
    pub(crate) fn take(&mut self, offset: u64, event: &Event) -> anyhow::Result<()> {
        if let Payload::LinkModelSwitched(switched) = &event.payload
            && let Some(model) = model_in(switched)
        {
            self.model = model;
        }
        self.register.take(offset, event.header.pseudonym(), &event.payload).context("identity event")
    }

    /// What an event of the identity stream that was taken in makes necessary in its turn. It is taken in, too.
    pub(crate) fn answer(&mut self, event: &Event) -> anyhow::Result<Vec<Decided>> {
        let mut decided = Vec::new();
        if let Payload::StewardDecided(steward) = &event.payload
            && steward.decision() == StewardDecision::Merged
        {
            self.follow_steward(steward, &mut decided)?;
        }
        Ok(decided)
    }

    /// Takes a decision of our own back that turned out to have been made before: what came after it stands.
    pub(crate) fn forget(&mut self, payload: &Payload) {
        match payload {
            Payload::RecordLinked(linked) => {
                let record = linked.record.as_ref().map(|record| (self.pseudonym)(record));
                if let (Some(record), Ok(previous)) = (record, PersonId::from_bytes(&linked.previous_person)) {
                    self.register.restore(record, previous);
                }
            }
            Payload::PersonsMerged(merged) => {
                let Ok(previous) = PersonId::from_bytes(&merged.retired) else { return };
                for record in merged.records.iter().filter_map(|record| Pseudonym::from_bytes(record).ok()) {
                    self.register.restore(record, previous);
                }
            }
            _ => {}
        }
    }

    /// Folds in what a message says of a record. True where the record is new or linking may now see it otherwise.
    fn learn(&mut self, pseudonym: Pseudonym, demo: bool, said: &Demographics, said_us: i64) -> bool {
        let said = for_linking(said);
        let hash = hash(&said.encode_to_vec());
        let mut fold = Demographics::default();
        if let Some(held) = self.records.get(&pseudonym) {
            if held.last_said == hash || said_us < held.said_us {
                return false;
            }
            // What this program encoded it decodes; an empty fold would only lose a link, never make a false one.
            fold = Demographics::decode(&*held.demographics).unwrap_or_default();
        }
        fold.update(&said);
        self.put(pseudonym, demo, &fold);
        let demographics = fold.encode_to_vec().into_boxed_slice();
        self.records.insert(pseudonym, Held { last_said: hash, said_us, demographics });
        true
    }

    /// Learns from a message that was decided on already.
    pub(crate) fn learn_from(&mut self, event: &Event, demo: bool) {
        if let (Some(pseudonym), Some((_, message))) = (event.header.pseudonym(), accepted(event)) {
            self.learn(pseudonym, demo, &said(message), said_us(event, message));
        }
    }

    /// Learns what a read model has of a record.
    pub(crate) fn restore(&mut self, pseudonym: Pseudonym, demo: bool, demographics: &Demographics, said_us: i64) {
        self.learn(pseudonym, demo, demographics, said_us);
    }

    fn put(&mut self, pseudonym: Pseudonym, demo: bool, fold: &Demographics) {
        let options = Options { test_numbers_are_evidence: demo };
        self.register.put(pseudonym, Features::from_demographics(fold, &options));
    }

    fn merge(
        &mut self,
        retired_id: &SourceRecordId,
        (id, record): (&SourceRecordId, Pseudonym),
        decided: &mut Vec<Decided>,
    ) -> anyhow::Result<()> {
        let retired = (self.pseudonym)(retired_id);
        let index = self.register.index();
        let head = index.survivor_of(record).unwrap_or(record);
        if head == retired || index.survivor_of(retired) == Some(head) {
            // Told before, perhaps with the two swapped: one follows the other already.
            return Ok(());
        }
        let (left, joined) = (index.person_of(retired), index.person_of(record));
        let payload = Payload::RecordsMerged(RecordsMerged {
            survivor: Some(id.clone()),
            retired: Some(retired_id.clone()),
            survivor_pseudonym: record.to_vec(),
            retired_pseudonym: retired.to_vec(),
        });
        self.add(retired, payload, decided)?;
        if let (Some(left), Some(joined)) = (left, joined)
            && let Some(payload) = self.register.follow_merged(left, joined, &self.model)
        {
            self.add(Pseudonym(left.0), payload, decided)?;
        }
        Ok(())
    }

    /// Of two records that are not one patient the one leaves that followed the other; else, where they are of one person,
    /// the one that the message names second.
    fn unlink(
        &mut self,
        id: &SourceRecordId,
        other_id: &SourceRecordId,
        decided: &mut Vec<Decided>,
    ) -> anyhow::Result<()> {
        let (record, other) = ((self.pseudonym)(id), (self.pseudonym)(other_id));
        if record == other {
            return Ok(());
        }
        let index = self.register.index();
        let leaves_first = index.survivor_of(other).is_none() && index.survivor_of(record).is_some();
        let (leaves, stays) = if leaves_first { (record, other) } else { (other, record) };
        let (leaves_id, stays_id) = if leaves_first { (id, other_id) } else { (other_id, id) };
        let person = index.person_of(leaves);
        let are_one = person.is_some() && person == index.person_of(stays);
        let unlinked = RecordsUnlinked {
            record: Some(leaves_id.clone()),
            other: Some(stays_id.clone()),
            record_pseudonym: leaves.to_vec(),
            other_pseudonym: stays.to_vec(),
        };
        self.add(leaves, Payload::RecordsUnlinked(unlinked), decided)?;
        if !are_one || self.register.is_held(leaves) {
            return Ok(());
        }
        let linked = RecordLinked {
            record: Some(leaves_id.clone()),
            person: PersonId::split_off(leaves, self.register.taken()).to_vec(),
            method: LinkMethod::SenderUnlink.into(),
            previous_person: person.map(|person| person.to_vec()).unwrap_or_default(),
            identity_known: self.register.taken(),
            ..RecordLinked::default()
        };
        self.add(leaves, Payload::RecordLinked(linked), decided)
    }

    fn follow_steward(&mut self, steward: &StewardDecided, decided: &mut Vec<Decided>) -> anyhow::Result<()> {
        let mut moves: Vec<(PersonId, PersonId)> = Vec::new();
        for placed in &steward.placed {
            let persons = (PersonId::from_bytes(&placed.previous), PersonId::from_bytes(&placed.person));
            if let (Ok(from), Ok(to)) = persons
                && from != to
            {
                moves.push((from, to));
            }
        }
        moves.sort_unstable();
        moves.dedup();
        for (retired, survivor) in moves {
            if let Some(payload) = self.register.follow_steward(retired, survivor, &self.model) {
                self.add(Pseudonym(retired.0), payload, decided)?;
            }
        }
        Ok(())
    }

    /// Takes in a decision of our own. Its offset is not known yet: the one after all that is known names it until then.
    fn add(&mut self, subject: Pseudonym, payload: Payload, decided: &mut Vec<Decided>) -> anyhow::Result<()> {
        let record = payload.record().map(|record| (self.pseudonym)(&record));
        self.register.take(self.register.taken(), record, &payload).context("own decision")?;
        decided.push(Decided { subject: subject.0, payload });
        Ok(())
    }
}

/// The model that a switch names. One that this program cannot read decides nothing: the model before it goes on.
pub(crate) fn model_in(switched: &LinkModelSwitched) -> Option<Model> {
    let model = std::str::from_utf8(&switched.file).ok().and_then(|text| Model::parse(text).ok());
    if model.is_none() {
        tracing::error!(model = switched.model, "this program cannot read the model that was switched to");
    }
    model
}

/// An accepted message about a record.
pub(crate) fn accepted(event: &Event) -> Option<(&SourceRecordId, &MessageReceived)> {
    let Payload::MessageReceived(message) = &event.payload else { return None };
    let accepted = event.header.verdict() == Verdict::Accepted;
    accepted.then_some((message.record.as_ref()?, message))
}

/// What a message says of its person; a message that says nothing may still be the first to name a record.
fn said(message: &MessageReceived) -> Demographics {
    message.demographics.clone().unwrap_or_default()
}

fn said_us(event: &Event, message: &MessageReceived) -> i64 {
    message.sent.as_ref().map_or(event.header.received_us, |sent| sent.start_us)
}

/// The parts that linking looks at.
fn for_linking(said: &Demographics) -> Demographics {
    let mut kept = said.clone();
    kept.practice.clear();
    kept.practitioner.clear();
    kept.ethnicity.clear();
    kept
}

fn hash(bytes: &[u8]) -> u64 {
    use std::hash::{DefaultHasher, Hasher};
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}
