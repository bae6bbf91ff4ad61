//! The register: who is who, as the events of the identity stream have made it, and what outranks a score.
//!
//! ```text
//! identity stream ──changes──► persons (Index)        held: records that a steward has placed
//!                 └──────────► facts ───────────────► apart: groups that must never meet
//!                                                     frozen: numbers that link nobody
//!                                                     asked: what waits in the review queue
//! ```
//!
//! A pure fold: the same events in the same order make the same register, wherever they are read. Of the changes of who
//! belongs to whom ([`weft_model::identity`]) the read model keeps the same fold in its tables; the tests hold the two
//! equal. What is held and what is apart is little, however many records there are: it grows with stewards' work.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use weft_model::{
    IdError, NhsNumber, Payload, PersonId, Position, Pseudonym, Stream,
    identity::{self, Change},
    proto::event::{Apart, RecordLinked},
};

use crate::{Features, Index, Waiting, index::LookedAt};

/// Who is who.
#[derive(Debug, Default)]
pub struct Register {
    index: Index,
    /// Records that a steward has placed.
    held: HashSet<Pseudonym>,
    /// By offset of the decision: groups that must not meet.
    apart: BTreeMap<u64, Vec<Apart>>,
    /// The groups that a record is in.
    sides: HashMap<Pseudonym, Vec<Side>>,
    frozen: BTreeSet<NhsNumber>,
    /// The records that stated a number when a steward released it.
    released: HashMap<NhsNumber, HashSet<Pseudonym>>,
    /// What is asked of a record in the review queue.
    asked: HashMap<Pseudonym, Question>,
    /// Events of the identity stream that were taken in.
    taken: u64,
}

/// A record's place in one [`Apart`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Side {
    decided_at: u64,
    group: usize,
    left: bool,
}

/// Why somebody should look, and at whom: the same question is not asked twice.
pub(crate) type Question = (Vec<String>, Option<PersonId>);

impl Register {
    /// A register in which nobody is known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The records and persons.
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Remembers what a record is known to say.
    pub fn put(&mut self, record: Pseudonym, features: Features) {
        self.index.put(record, features);
    }

    /// The same for a record that has waited: [`rule`](Self::rule) it next.
    pub fn hear(&mut self, waiting: &mut Waiting) {
        self.index.put_waiting(waiting);
    }

    /// How many events of the identity stream have been taken in.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Takes in the event at `offset` of the identity stream; `record` is the pseudonym in its header.
    ///
    /// # Errors
    /// [`IdError`] where an identifier in it is none: nothing of it is taken in then but its place.
    pub fn take(&mut self, offset: u64, record: Option<Pseudonym>, payload: &Payload) -> Result<(), IdError> {
        self.taken = self.taken.max(offset + 1);
        for change in identity::changes(record, payload)? {
            self.change(change);
        }
        self.take_fact(offset, payload)?;
        self.take_question(record, payload)
    }

    /// Takes in what an event says beside whose a record is: what is held, what is apart, and what a number is worth. For one
    /// who starts from the persons as a read model has them, and from these few events.
    ///
    /// # Errors
    /// [`IdError`].
    pub fn take_fact(&mut self, offset: u64, payload: &Payload) -> Result<(), IdError> {
        match payload {
            Payload::RecordsUnlinked(unlinked) => {
                let (left, right) = (vec![unlinked.record_pseudonym.clone()], vec![unlinked.other_pseudonym.clone()]);
                self.keep_apart(offset, Apart { left, right })?;
            }
            Payload::StewardDecided(decided) => {
                for lifted in &decided.lifted {
                    if let Ok(lifted) = Position::from_proto(lifted)
                        && lifted.partition.stream == Stream::Identity
                    {
                        self.lift(lifted.offset);
                    }
                }
                for apart in &decided.apart {
                    self.keep_apart(offset, apart.clone())?;
                }
                for placed in &decided.placed {
                    self.held.insert(Pseudonym::from_bytes(&placed.record)?);
                }
                for settled in &decided.settled {
                    self.asked.remove(&Pseudonym::from_bytes(settled)?);
                }
            }
            Payload::NhsNumberFrozen(switched) => {
                self.frozen.extend(NhsNumber::parse(&switched.nhs_number).ok());
            }
            Payload::NhsNumberReleased(switched) => {
                if let Ok(number) = NhsNumber::parse(&switched.nhs_number) {
                    let holders = switched.holders.iter().map(|holder| Pseudonym::from_bytes(holder));
                    self.released.entry(number).or_default().extend(holders.collect::<Result<Vec<_>, _>>()?);
                    self.frozen.remove(&number);
                }
            }
            Payload::NhsNumberSuperseded(told) => {
                let numbers = (NhsNumber::parse(&told.superseded), NhsNumber::parse(&told.retained));
                if let (Ok(superseded), Ok(retained)) = numbers {
                    self.index.supersede(superseded, retained);
                    let looked_at = self.released.get(&superseded).cloned().unwrap_or_default();
                    self.released.entry(retained).or_default().extend(looked_at);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Places a record as a read model has it, whoever has placed it there.
    pub fn restore(&mut self, record: Pseudonym, person: PersonId) {
        self.index.link(record, person);
    }

    /// Lets a record follow another, as a read model has it.
    pub fn restore_follower(&mut self, retired: Pseudonym, survivor: Pseudonym) {
        self.index.merge(retired, survivor);
        self.share_sides(retired, survivor);
    }

    /// What the review queue holds of a record, as a read model has it.
    pub fn restore_question(&mut self, record: Pseudonym, asked: &RecordLinked) {
        self.ask(record, asked);
    }

    /// Takes in that the next `taken` events of the identity stream are known already.
    pub fn restore_taken(&mut self, taken: u64) {
        self.taken = taken;
    }

    /// Takes back that the events at `offset` and after it were taken in there: they lie elsewhere, and will be taken in again. Where
    /// records were placed by them stays until then.
    pub fn take_back_from(&mut self, offset: u64) {
        let apart: Vec<u64> = self.apart.range(offset..).map(|(decided_at, _)| *decided_at).collect();
        apart.into_iter().for_each(|decided_at| self.lift(decided_at));
        self.taken = self.taken.min(offset);
    }

    /// True where a steward has said whose the record is.
    #[must_use]
    pub fn is_held(&self, record: Pseudonym) -> bool {
        self.held.contains(&record)
    }

    /// True where the record must never be of one person with one of the records that `person` has.
    #[must_use]
    pub fn is_apart(&self, record: Pseudonym, person: PersonId) -> bool {
        let opposite = |side: &Side| {
            let groups = self.apart.get(&side.decided_at).and_then(|all| all.get(side.group));
            groups.map_or(&[][..], |apart| if side.left { &apart.right } else { &apart.left })
        };
        let sides = self.sides.get(&record).map_or(&[][..], Vec::as_slice);
        sides
            .iter()
            .flat_map(opposite)
            .any(|other| Pseudonym::from_bytes(other).is_ok_and(|other| self.index.person_of(other) == Some(person)))
    }

    /// True where what stewards have said may change what a record that states this number is compared with.
    pub(crate) fn has_facts_of(&self, record: Pseudonym, number: Option<NhsNumber>) -> bool {
        self.sides.contains_key(&record) || number.is_some_and(|number| self.released.contains_key(&number))
    }

    /// True where some record of the one person must never meet some record of the other.
    #[must_use]
    pub fn are_apart(&self, one: PersonId, other: PersonId) -> bool {
        !self.sides.is_empty() && self.index.records_of(one).any(|record| self.is_apart(record, other))
    }

    /// True where the number links nobody until a steward releases it.
    #[must_use]
    pub fn is_frozen(&self, number: NhsNumber) -> bool {
        self.frozen.contains(&number)
    }

    /// The records that state a number, or one that was merged into it, ascending.
    #[must_use]
    pub fn holders(&self, number: NhsNumber) -> Vec<Pseudonym> {
        self.index.records_with(number)
    }

    /// What a steward who released the number has seen of it, where `record` and `other` both state it.
    pub(crate) fn looked_at(&self, number: Option<NhsNumber>, record: Pseudonym, other: Pseudonym) -> LookedAt {
        let Some(holders) = number.and_then(|number| self.released.get(&number)) else { return LookedAt::No };
        // Who has been linked with one of them since is known with them.
        let is_known = |record: Pseudonym| {
            let person = self.index.person_of(record);
            let mut all = person.into_iter().flat_map(|person| self.index.records_of(person)).chain([record]);
            all.any(|record| holders.contains(&record))
        };
        match (is_known(record), is_known(other)) {
            (true, true) => LookedAt::Both,
            (false, true) => LookedAt::Other,
            _ => LookedAt::No,
        }
    }

    /// True where something is asked about the record in the review queue.
    #[must_use]
    pub fn is_asked(&self, record: Pseudonym) -> bool {
        self.asked.contains_key(&record)
    }

    pub(crate) fn asked(&self, record: Pseudonym) -> Option<&Question> {
        self.asked.get(&record)
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Place { record, by_steward: false, .. } | Change::Follow { retired: record, .. }
                if self.held.contains(&record) => {}
            Change::Place { record, person, by_steward } => {
                if by_steward {
                    self.held.insert(record);
                    self.index.unmerge(record);
                }
                self.index.link(record, person);
            }
            Change::Follow { retired, survivor } => self.restore_follower(retired, survivor),
            Change::Unfollow { record } => self.index.unmerge(record),
        }
    }

    fn keep_apart(&mut self, decided_at: u64, apart: Apart) -> Result<(), IdError> {
        let group = self.apart.get(&decided_at).map_or(0, Vec::len);
        for (records, left) in [(&apart.left, true), (&apart.right, false)] {
            for record in records {
                let record = Pseudonym::from_bytes(record)?;
                // What holds of a record holds of the one that it follows: they are one patient.
                for record in [Some(record), self.index.survivor_of(record)].into_iter().flatten() {
                    self.sides.entry(record).or_default().push(Side { decided_at, group, left });
                }
            }
        }
        self.apart.entry(decided_at).or_default().push(apart);
        Ok(())
    }

    fn lift(&mut self, decided_at: u64) {
        if self.apart.remove(&decided_at).is_some() {
            self.sides.retain(|_, sides| {
                sides.retain(|side| side.decided_at != decided_at);
                !sides.is_empty()
            });
        }
    }

    fn share_sides(&mut self, retired: Pseudonym, survivor: Pseudonym) {
        let Some(sides) = self.sides.get(&retired).cloned() else { return };
        let shared = self.sides.entry(survivor).or_default();
        for side in sides {
            if !shared.contains(&side) {
                shared.push(side);
            }
        }
    }

    fn take_question(&mut self, record: Option<Pseudonym>, payload: &Payload) -> Result<(), IdError> {
        let decision = match payload {
            Payload::RecordLinked(linked) => linked,
            Payload::ReviewAsked(asked) => asked.decision.as_ref().ok_or(IdError::NotAnId)?,
            _ => return Ok(()),
        };
        self.ask(record.ok_or(IdError::NotAnId)?, decision);
        Ok(())
    }

    fn ask(&mut self, record: Pseudonym, decision: &RecordLinked) {
        if decision.review.is_empty() {
            self.asked.remove(&record);
        } else {
            let about = PersonId::from_bytes(&decision.runner_up).ok();
            self.asked.insert(record, (decision.review.clone(), about));
        }
    }
}
