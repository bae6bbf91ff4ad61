//! From what a steward proposes to the decision that the log will hold: which records go where, and who must never meet.

use std::collections::{BTreeMap, BTreeSet};

use weft_model::{
    Payload, PersonId, Position, Pseudonym, Stream,
    proto::{
        api::{Accept, Effect, MergePersons, Move, Proposal, Reject, SplitPerson, Undo, proposal::Decision},
        event::{Apart, Placed, StewardDecided, StewardDecision},
    },
};
use weft_readmodel::Waiting;

use super::link::{Links, other_person, unknown_record};
use crate::{
    arguments,
    error::{Error, detail, invalid},
};

/// Records that one proposal may name.
const RECORDS_MAX: usize = 1000;

/// Works a proposal out on what is known; `decided_at` is the size of the identity stream then. Who decides is not in it yet.
pub(super) async fn plan(node: &Links, proposal: Option<Proposal>, decided_at: u64) -> Result<StewardDecided, Error> {
    match proposal.and_then(|proposal| proposal.decision).ok_or_else(|| arguments::required("proposal"))? {
        Decision::Accept(accepted) => accept(node, accepted).await,
        Decision::Reject(rejected) => reject(node, rejected, decided_at).await,
        Decision::Merge(merged) => merge(node, merged).await,
        Decision::Split(split) => self::split(node, split, decided_at).await,
        Decision::Undo(undone) => undo(node, undone).await,
    }
}

/// What a decision moves, as of now.
pub(super) async fn effect(node: &Links, decided: &StewardDecided) -> Result<Effect, Error> {
    let mut effect = Effect::default();
    let records: Vec<Pseudonym> = decided.placed.iter().filter_map(|p| Pseudonym::from_bytes(&p.record).ok()).collect();
    let mut organisations = BTreeSet::new();
    for (placed, weight) in decided.placed.iter().zip(node.model.weigh(&records).await?) {
        let stays = placed.person == placed.previous;
        effect.moves.push(Move {
            record: weight.record,
            from_person_id: person_text(&placed.previous),
            to_person_id: person_text(&placed.person),
            entries: if stays { 0 } else { weight.entries },
        });
        if !stays {
            effect.entries += weight.entries;
            organisations.extend(weight.organisations);
        }
    }
    effect.organisations = organisations.into_iter().collect();
    Ok(effect)
}

/// Everybody whom a decision is about.
pub(super) fn persons(decided: &StewardDecided) -> Vec<PersonId> {
    let both = decided.placed.iter().flat_map(|placed| [&placed.person, &placed.previous]);
    let persons: BTreeSet<PersonId> = both.filter_map(|person| PersonId::from_bytes(person).ok()).collect();
    persons.into_iter().collect()
}

async fn accept(node: &Links, given: Accept) -> Result<StewardDecided, Error> {
    let (record, waiting) = node.subject("proposal.accept.subject", given.subject).await?;
    let current = current(node, record, "proposal.accept.subject").await?;
    let person = named(&given.person_id, "proposal.accept.person_id")?;
    let person = person.or_else(|| waiting.as_ref().and_then(other_person)).unwrap_or(current);
    let mut together = node.model.records_linked(person).await?;
    if together.is_empty() {
        return Err(unknown_person("proposal.accept.person_id"));
    }
    together.push(record);
    let mut decided = StewardDecided { placed: vec![placed(record, person, current)], ..StewardDecided::default() };
    decided.set_decision(StewardDecision::LinkAccepted);
    reconcile(node, &together, &mut decided).await?;
    decided.settled = vec![record.to_vec()];
    Ok(decided)
}

async fn reject(node: &Links, given: Reject, decided_at: u64) -> Result<StewardDecided, Error> {
    let (record, waiting) = node.subject("proposal.reject.subject", given.subject).await?;
    let current = current(node, record, "proposal.reject.subject").await?;
    let person = named(&given.person_id, "proposal.reject.person_id")?;
    let rejected = person.or_else(|| waiting.as_ref().and_then(other_person)).unwrap_or(current);
    let mut others = node.model.records_linked(rejected).await?;
    others.retain(|other| *other != record);
    if others.is_empty() && rejected == current {
        let text = "the record is alone with this person: there is nothing to take it away from";
        return Err(Error::Precondition(detail("record-alone", "proposal.reject", text)));
    }
    let goes_to = if rejected == current { PersonId::split_off(record, decided_at) } else { current };
    let mut decided = StewardDecided { placed: vec![placed(record, goes_to, current)], ..StewardDecided::default() };
    decided.set_decision(StewardDecision::LinkRejected);
    if !others.is_empty() {
        decided.apart.push(Apart { left: vec![record.to_vec()], right: bytes(&others) });
    }
    decided.settled = vec![record.to_vec()];
    Ok(decided)
}

async fn merge(node: &Links, given: MergePersons) -> Result<StewardDecided, Error> {
    let (kept, gone) = ("proposal.merge.survivor_person_id", "proposal.merge.retired_person_id");
    let survivor = named(&given.survivor_person_id, kept)?.ok_or_else(|| arguments::required(kept))?;
    let retired = named(&given.retired_person_id, gone)?.ok_or_else(|| arguments::required(gone))?;
    if survivor == retired {
        return Err(invalid("persons-equal", gone, "is the surviving person"));
    }
    let (stay, moving) = (node.model.records_linked(survivor).await?, node.model.records_linked(retired).await?);
    if stay.is_empty() {
        return Err(unknown_person(kept));
    }
    if moving.is_empty() {
        return Err(unknown_person(gone));
    }
    let mut decided = StewardDecided {
        placed: moving.iter().map(|record| placed(*record, survivor, retired)).collect(),
        ..StewardDecided::default()
    };
    decided.set_decision(StewardDecision::Merged);
    let together: Vec<Pseudonym> = stay.into_iter().chain(moving).collect();
    reconcile(node, &together, &mut decided).await?;
    // What was asked about the two of them is answered.
    let asked = node.model.reviews_of(&together).await?;
    let both = [survivor, retired];
    let about_both = |waiting: &&Waiting| other_person(waiting).is_some_and(|other| both.contains(&other));
    decided.settled = asked.iter().filter(about_both).map(|waiting| waiting.pseudonym.to_vec()).collect();
    Ok(decided)
}

async fn split(node: &Links, given: SplitPerson, decided_at: u64) -> Result<StewardDecided, Error> {
    let field = "proposal.split.person_id";
    let person = named(&given.person_id, field)?.ok_or_else(|| arguments::required(field))?;
    let all = node.model.records_linked(person).await?;
    if all.is_empty() {
        return Err(unknown_person(field));
    }
    let field = "proposal.split.records";
    if given.records.len() > RECORDS_MAX {
        return Err(invalid("list-too-long", field, format!("has more than {RECORDS_MAX} values")));
    }
    let leaving: BTreeSet<Pseudonym> = given.records.iter().map(|record| node.log.pseudonym(record)).collect();
    let (leave, stay): (Vec<Pseudonym>, Vec<Pseudonym>) = all.into_iter().partition(|record| leaving.contains(record));
    if leave.len() < leaving.len() {
        let text = "not every one of these records is linked to the person (a merged one goes with its survivor)";
        return Err(Error::NotFound(detail("record-unknown", field, text)));
    }
    let Some(first) = leave.first().copied() else { return Err(arguments::required(field)) };
    if stay.is_empty() {
        return Err(invalid("nobody-stays", field, "are all that the person has"));
    }
    let new = PersonId::split_off(first, decided_at);
    let moved = leave.iter().map(|record| placed(*record, new, person));
    let mut decided = StewardDecided {
        placed: moved.chain(stay.iter().map(|record| placed(*record, person, person))).collect(),
        apart: vec![Apart { left: bytes(&leave), right: bytes(&stay) }],
        settled: bytes(&leave).into_iter().chain(bytes(&stay)).collect(),
        ..StewardDecided::default()
    };
    decided.set_decision(StewardDecision::Split);
    Ok(decided)
}

async fn undo(node: &Links, given: Undo) -> Result<StewardDecided, Error> {
    let field = "proposal.undo.decision";
    let position = given.decision.ok_or_else(|| arguments::required(field))?;
    let position =
        Position::from_proto(&position).map_err(|_| invalid("position-invalid", field, "is not one of the streams"))?;
    let Some(Payload::StewardDecided(before)) = node.model.ruling_at(position).await? else {
        return Err(Error::NotFound(detail("decision-unknown", field, "no steward's decision is at this position")));
    };
    let rulings = node.model.rulings().await?;
    let is_undone = rulings.iter().any(|(_, ruling)| match ruling {
        Payload::StewardDecided(later) => later.undone.as_ref() == Some(&position.to_proto()),
        _ => false,
    });
    if is_undone {
        return Err(decided_meanwhile(field, "was taken back already"));
    }
    let moved: Vec<&Placed> = before.placed.iter().filter(|placed| !placed.previous.is_empty()).collect();
    let records: Vec<Pseudonym> = moved.iter().filter_map(|p| Pseudonym::from_bytes(&p.record).ok()).collect();
    let now = node.model.persons_of(&records).await?;
    let mut decided = StewardDecided { undone: Some(position.to_proto()), ..StewardDecided::default() };
    decided.set_decision(StewardDecision::Undone);
    for placed in moved {
        let person = Pseudonym::from_bytes(&placed.record).ok().and_then(|record| now.get(&record).copied());
        if person.is_none_or(|person| person.0.as_slice() != placed.person) {
            return Err(decided_meanwhile(
                field,
                "placed a record that has been placed elsewhere since: undo that first",
            ));
        }
        let (record, person, previous) = (placed.record.clone(), placed.previous.clone(), placed.person.clone());
        decided.placed.push(Placed { record, person, previous });
    }
    if !before.apart.is_empty() {
        decided.lifted.push(position.to_proto());
    }
    // What the decision had lifted holds again.
    for lifted in &before.lifted {
        let ruling = rulings.iter().find(|(offset, _)| *offset == lifted.offset).map(|(_, ruling)| ruling);
        decided.apart.extend(ruling.map(groups).unwrap_or_default());
    }
    Ok(decided)
}

/// Lets the records of `together` meet: of every decision that keeps two of them apart, what it says of others is said
/// again, and the rest no longer holds.
async fn reconcile(node: &Links, together: &[Pseudonym], decided: &mut StewardDecided) -> Result<(), Error> {
    let together: BTreeSet<Vec<u8>> = together.iter().map(Pseudonym::to_vec).collect();
    let mut standing: BTreeMap<u64, Vec<Apart>> = BTreeMap::new();
    for (offset, ruling) in node.model.rulings().await? {
        if let Payload::StewardDecided(later) = &ruling {
            for lifted in &later.lifted {
                standing.remove(&lifted.offset);
            }
        }
        let groups = groups(&ruling);
        if !groups.is_empty() {
            standing.insert(offset, groups);
        }
    }
    for (offset, groups) in standing {
        let has = |side: &[Vec<u8>]| side.iter().any(|record| together.contains(record));
        if !groups.iter().any(|apart| has(&apart.left) && has(&apart.right)) {
            continue;
        }
        decided.lifted.push(Stream::Identity.partition(0).at(offset).to_proto());
        for Apart { left, right } in groups {
            let (meet_left, other_left): (Vec<_>, Vec<_>) = left.into_iter().partition(|r| together.contains(r));
            let other_right = right.iter().filter(|r| !together.contains(*r)).cloned().collect();
            for apart in [Apart { left: other_left, right }, Apart { left: meet_left, right: other_right }] {
                if !apart.left.is_empty() && !apart.right.is_empty() {
                    decided.apart.push(apart);
                }
            }
        }
    }
    Ok(())
}

/// The groups that an event keeps apart.
fn groups(ruling: &Payload) -> Vec<Apart> {
    match ruling {
        Payload::StewardDecided(decided) => decided.apart.clone(),
        Payload::RecordsUnlinked(unlinked) => {
            vec![Apart { left: vec![unlinked.record_pseudonym.clone()], right: vec![unlinked.other_pseudonym.clone()] }]
        }
        _ => Vec::new(),
    }
}

async fn current(node: &Links, record: Pseudonym, field: &str) -> Result<PersonId, Error> {
    node.model.persons_of(&[record]).await?.remove(&record).ok_or_else(|| unknown_record(field))
}

/// A person's identifier, where one is given.
fn named(text: &str, field: &str) -> Result<Option<PersonId>, Error> {
    let wrong = |_| invalid("person-id-invalid", field, "is not an identifier of a person (a UUID)");
    (!text.is_empty()).then(|| text.parse().map_err(wrong)).transpose()
}

fn placed(record: Pseudonym, person: PersonId, previous: PersonId) -> Placed {
    Placed { record: record.to_vec(), person: person.to_vec(), previous: previous.to_vec() }
}

fn bytes(records: &[Pseudonym]) -> Vec<Vec<u8>> {
    records.iter().map(Pseudonym::to_vec).collect()
}

fn person_text(bytes: &[u8]) -> String {
    PersonId::from_bytes(bytes).map(|person| person.to_string()).unwrap_or_default()
}

fn unknown_person(field: &str) -> Error {
    Error::NotFound(detail("person-unknown", field, "nobody has this identifier"))
}

fn decided_meanwhile(field: &str, text: &str) -> Error {
    Error::Precondition(detail("decided-meanwhile", field, text))
}
