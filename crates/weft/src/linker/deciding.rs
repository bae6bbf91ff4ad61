//! Deciding, one event after the other: what the linker's role does, and what `weft link verify` and `weft link compare`
//! do again. It reads nothing and appends nothing, so that all three come to the same.

use std::collections::{HashMap, HashSet};

use anyhow::Context;
use prost::Message;
use weft_link::{Features, Model, Options, Register, Waiting};
use weft_log::{Draft, Same};
use weft_model::{
    Event, NhsNumber, Payload, PersonId, Position, Pseudonym, SourceRecordId, Verdict,
    proto::event::{
        Demographics, LinkMethod, LinkModelSwitched, MessageReceived, Placed, RecordLinked, RecordsMerged,
        RecordsUnlinked, StewardDecided, StewardDecision,
    },
};

/// An event to append.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Decided {
    /// With the cause and the kind it names the event: decided again, it is the same one.
    pub(crate) subject: [u8; 16],
    pub(crate) payload: Payload,
}

impl Decided {
    /// The event to append, which `cause` made necessary.
    pub(crate) fn draft(self, cause: Position, received_us: i64) -> Draft {
        let mut name = self.subject.to_vec();
        name.extend_from_slice(cause.to_string().as_bytes());
        Draft {
            same: Same::Series(cause.offset, name),
            feed: String::new(),
            control_id: String::new(),
            message_type: String::new(),
            verdict: Verdict::Unspecified,
            received_us,
            cause: Some(cause),
            payload: self.payload,
        }
    }
}

/// Everything that decisions are made from.
pub(crate) struct Deciding {
    pub(crate) register: Register,
    pub(crate) model: Model,
    /// What each record is known to say.
    records: HashMap<Pseudonym, Held>,
    /// The keyed pseudonym of a record.
    pseudonym: Box<dyn Fn(&SourceRecordId) -> Pseudonym + Send + Sync>,
}

/// A message that waits for its turn.
pub(crate) struct Arrived<'a> {
    pub(crate) position: Position,
    event: &'a Event,
    /// Whether test NHS numbers count.
    demo: bool,
    /// It is the first about its record of those that wait with it, and the first of all.
    is_first: bool,
    is_new: bool,
    /// What it says, where its record is new.
    read: Option<News>,
    /// What [`Deciding::look_ahead`] has found. It holds as long as no other message about its record comes first, and the model
    /// stays.
    foreseen: Option<Foreseen>,
}

/// What a message says that is new, if it does.
struct Foreseen(Option<News>);

/// What a record is known to say with a message folded in.
struct News {
    record: Pseudonym,
    /// Of what the message says by itself.
    hash: u64,
    said_us: i64,
    said: Demographics,
    /// For the decision; `None` where linking sees nothing new in it.
    waiting: Option<Waiting>,
}

/// What is kept of a record between messages.
struct Held {
    /// The encoded [`Demographics`] of the message that was folded in last, hashed: most messages say the same.
    last_said: u64,
    /// When the source first said what is held; an older message that arrives late changes nothing. 0 where it said nothing.
    said_us: i64,
    /// An encoded [`Kept`], for there are millions.
    kept: Box<[u8]>,
}

/// Whose record it is by its own name, and the fold of all messages as the read model has it, too: a linker that starts from
/// there knows the same.
#[derive(Clone, PartialEq, prost::Message)]
struct Kept {
    #[prost(message, optional, tag = "1")]
    id: Option<SourceRecordId>,
    #[prost(message, optional, tag = "2")]
    said: Option<Demographics>,
}

impl Deciding {
    pub(crate) fn new(model: Model, pseudonym: impl Fn(&SourceRecordId) -> Pseudonym + Send + Sync + 'static) -> Self {
        Self { register: Register::new(), model, records: HashMap::new(), pseudonym: Box::new(pseudonym) }
    }

    /// Number of records that messages have told of.
    pub(crate) fn records(&self) -> usize {
        self.records.len()
    }

    /// Tells messages that wait together apart by what can be known of them before their turn.
    pub(crate) fn sort_out(&self, together: &mut [Arrived<'_>]) {
        let mut records = HashSet::with_capacity(together.len());
        for message in together {
            let Some(record) = message.event.header.pseudonym() else { continue };
            message.is_first = records.insert(record);
            message.is_new = message.is_first && !self.records.contains_key(&record);
        }
    }

    /// What an accepted message makes necessary: what its sender says of two of its records, and a decision where the
    /// record is new or linking sees something new in it. All of it is taken in.
    pub(crate) fn hear(&mut self, event: &Event, demo: bool) -> anyhow::Result<Vec<Decided>> {
        self.hear_and(event, self.foresee(event, demo, None))
    }

    /// The same for a message that has waited.
    pub(crate) fn hear_waiting(&mut self, message: &mut Arrived<'_>) -> anyhow::Result<Vec<Decided>> {
        let news = match message.foreseen.take() {
            Some(Foreseen(news)) => news,
            None => self.foresee(message.event, message.demo, message.read.take()),
        };
        self.hear_and(message.event, news)
    }

    /// Works out what can be known of messages while others are before them, on any number of threads: of those that were
    /// [sorted out](Self::sort_out) as the first about their records.
    pub(crate) fn look_ahead(&self, messages: &mut [Arrived<'_>]) {
        let mut waiting = Vec::with_capacity(messages.len());
        for message in messages.iter_mut().filter(|message| message.is_first) {
            let news = self.foresee(message.event, message.demo, message.read.take());
            let foreseen = message.foreseen.insert(Foreseen(news));
            waiting.extend(foreseen.0.as_mut().and_then(|news| news.waiting.as_mut()));
        }
        self.register.index().look_ahead(waiting, &self.model);
    }

    /// Has at hand what the turns of messages that were looked ahead at will change.
    pub(crate) fn ready(&self, messages: &[Arrived<'_>]) {
        let waiting = messages.iter().filter_map(|message| message.foreseen.as_ref()?.0.as_ref()?.waiting.as_ref());
        self.register.index().ready(waiting);
    }

    fn hear_and(&mut self, event: &Event, news: Option<News>) -> anyhow::Result<Vec<Decided>> {
        let mut decided = Vec::new();
        let (Some(pseudonym), Some((record, message))) = (event.header.pseudonym(), accepted(event)) else {
            return Ok(decided);
        };
        if let Some(waiting) = news.and_then(|news| self.learn(record, news)) {
            for payload in self.register.rule_heard(waiting, record, &self.model) {
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

    /// True for an event that may make something necessary: what [`answer`](Self::answer) is to be asked about.
    pub(crate) fn wants_answer(payload: &Payload) -> bool {
        match payload {
            Payload::StewardDecided(steward) => {
                matches!(steward.decision(), StewardDecision::Merged | StewardDecision::LinkAccepted)
            }
            Payload::NhsNumberReleased(_) | Payload::NhsNumberSuperseded(_) => true,
            _ => false,
        }
    }

    /// What an event of the identity stream that was taken in makes necessary in its turn. It is taken in, too. Who states a
    /// number that links again, or that has become another, is decided on again; so is who is left behind where a record
    /// that a steward has placed came from: what held them together may be gone.
    pub(crate) fn answer(&mut self, payload: &Payload) -> anyhow::Result<Vec<Decided>> {
        let mut decided = Vec::new();
        match payload {
            Payload::StewardDecided(steward) if steward.decision() == StewardDecision::Merged => {
                self.follow_steward(steward, &mut decided)?;
            }
            Payload::StewardDecided(steward) if steward.decision() == StewardDecision::LinkAccepted => {
                let left = moves(steward).into_iter().flat_map(|(from, _)| self.register.index().records_of(from));
                let mut left: Vec<Pseudonym> = left.collect();
                left.sort_unstable();
                left.dedup();
                self.decide_again(left, &mut decided)?;
            }
            // Who was kept away comes to the others, not they to them.
            Payload::NhsNumberReleased(released) => {
                let (away, others) =
                    self.holders(&released.nhs_number, |deciding, record| deciding.register.is_asked(record));
                self.decide_again(away, &mut decided)?;
                self.decide_again(others, &mut decided)?;
            }
            Payload::NhsNumberSuperseded(told) => {
                let (old, others) =
                    self.holders(&told.retained, |deciding, record| !deciding.states(record, &told.retained));
                self.decide_again(old, &mut decided)?;
                self.decide_again(others, &mut decided)?;
            }
            _ => {}
        }
        Ok(decided)
    }

    /// The records that state a number, or one that became it: those that pass `test`, and the rest.
    fn holders(&self, number: &str, test: impl Fn(&Self, Pseudonym) -> bool) -> (Vec<Pseudonym>, Vec<Pseudonym>) {
        let number = NhsNumber::parse(number).ok();
        let holders = number.map(|number| self.register.holders(number)).unwrap_or_default();
        holders.into_iter().partition(|record| test(self, *record))
    }

    /// Whether these are the digits that the record itself says.
    fn states(&self, record: Pseudonym, number: &str) -> bool {
        let said = self.records.get(&record).and_then(|held| held.read().said);
        let stated = said.as_ref().and_then(Demographics::nhs_number);
        stated.is_some_and(|stated| NhsNumber::parse(&stated.value).ok() == NhsNumber::parse(number).ok())
    }

    /// Decides on records as if they had said something new. One that was never heard of says nothing to decide on.
    fn decide_again(&mut self, records: Vec<Pseudonym>, decided: &mut Vec<Decided>) -> anyhow::Result<()> {
        for record in records {
            // A read model may have kept only the beginning of a name, which is another's then.
            let id = self.records.get(&record).and_then(|held| held.read().id);
            let Some(id) = id.filter(|id| (self.pseudonym)(id) == record) else { continue };
            for payload in self.register.rule(record, &id, &self.model) {
                self.add(record, payload, decided)?;
            }
        }
        Ok(())
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

    /// What a message would make known of its record; `None` where it says nothing new. It may have been `read`.
    fn foresee(&self, event: &Event, demo: bool, read: Option<News>) -> Option<News> {
        let record = event.header.pseudonym()?;
        let Some(held) = self.records.get(&record) else { return read.or_else(|| News::first(event, demo)) };
        let (_, message) = accepted(event)?;
        // One that says nothing may still be the first to name a record.
        let said = message.demographics.as_ref()?;
        held.news(record, demo, said, said_us(event, message))
    }

    /// Takes in what is new of a record. What linking has to decide on, if anything.
    fn learn(&mut self, id: &SourceRecordId, news: News) -> Option<Waiting> {
        let News { record, hash, said_us, said, mut waiting } = news;
        if let Some(waiting) = &mut waiting {
            self.register.hear(waiting);
        }
        let kept = Kept { id: Some(id.clone()), said: Some(said) }.encode_to_vec().into_boxed_slice();
        self.records.insert(record, Held { last_said: hash, said_us, kept });
        waiting
    }

    /// Learns from a message that was decided on already.
    pub(crate) fn learn_from(&mut self, event: &Event, demo: bool) {
        if let (Some(news), Some((record, _))) = (self.foresee(event, demo, None), accepted(event)) {
            self.learn(record, news);
        }
    }

    /// Learns what a read model has of a record.
    pub(crate) fn restore(
        &mut self,
        (id, pseudonym): (&SourceRecordId, Pseudonym),
        demo: bool,
        demographics: &Demographics,
        said_us: i64,
    ) {
        let news = match self.records.get(&pseudonym) {
            Some(held) => held.news(pseudonym, demo, demographics, said_us),
            None => Some(News::of_first(pseudonym, demo, demographics, said_us)),
        };
        if let Some(news) = news {
            self.learn(id, news);
        }
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
        for (retired, survivor) in moves(steward) {
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

impl<'a> Arrived<'a> {
    /// A message that is to wait for its turn.
    pub(crate) fn new(position: Position, event: &'a Event, demo: bool) -> Self {
        Self { position, event, demo, is_first: false, is_new: false, read: None, foreseen: None }
    }

    /// Reads what the message says of a new record: all that takes nothing but the message.
    pub(crate) fn read(&mut self) {
        if self.is_new {
            self.read = News::first(self.event, self.demo);
        }
    }
}

impl News {
    /// What the first message about a record says, if it does.
    fn first(event: &Event, demo: bool) -> Option<Self> {
        let (record, (_, message)) = (event.header.pseudonym()?, accepted(event)?);
        let nothing = Demographics::default();
        let (said, said_us) =
            message.demographics.as_ref().map_or((&nothing, 0), |said| (said, said_us(event, message)));
        Some(Self::of_first(record, demo, said, said_us))
    }

    fn of_first(record: Pseudonym, demo: bool, said: &Demographics, said_us: i64) -> Self {
        let mut fold = Demographics::default();
        fold.update(said);
        let waiting = Waiting::new(record, features(&fold, demo));
        Self { record, hash: hash(&said.encode_to_vec()), said_us, said: fold, waiting: Some(waiting) }
    }
}

impl Held {
    /// What a message makes known besides what is held; `None` where that is nothing.
    fn news(&self, record: Pseudonym, demo: bool, said: &Demographics, said_us: i64) -> Option<News> {
        let hash = hash(&said.encode_to_vec());
        if self.last_said == hash || said_us < self.said_us {
            return None;
        }
        let before = self.read().said.unwrap_or_default();
        let mut fold = before.clone();
        fold.update(said);
        if before == fold {
            return None;
        }
        let new = features(&fold, demo);
        let waiting = (features(&before, demo) != new).then(|| Waiting::new(record, new));
        Some(News { record, hash, said_us, said: fold, waiting })
    }

    /// What this program encoded it decodes; an empty fold would only lose a link, never make a false one.
    fn read(&self) -> Kept {
        Kept::decode(&*self.kept).unwrap_or_default()
    }
}

/// From which persons to which others a steward has moved records, each pair once.
fn moves(steward: &StewardDecided) -> Vec<(PersonId, PersonId)> {
    let persons = |placed: &Placed| {
        let (from, to) = (PersonId::from_bytes(&placed.previous).ok()?, PersonId::from_bytes(&placed.person).ok()?);
        (from != to).then_some((from, to))
    };
    let mut moves: Vec<(PersonId, PersonId)> = steward.placed.iter().filter_map(persons).collect();
    moves.sort_unstable();
    moves.dedup();
    moves
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

fn features(said: &Demographics, demo: bool) -> Features {
    Features::from_demographics(said, &Options { test_numbers_are_evidence: demo })
}

fn said_us(event: &Event, message: &MessageReceived) -> i64 {
    message.sent.as_ref().map_or(event.header.told_us(), |sent| sent.start_us)
}

fn hash(bytes: &[u8]) -> u64 {
    use std::hash::{DefaultHasher, Hasher};
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}
