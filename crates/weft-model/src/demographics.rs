//! How what a record says of its person changes from message to message.

use crate::proto::event::{Demographics, Identifier, IdentifierKind};

impl Demographics {
    /// Applies a newer message: what it says replaces, what it does not say stays, what it cleared (`""`) goes.
    /// Identifiers are kept by kind and system: a new NHS number replaces the old one.
    pub fn update(&mut self, newer: &Self) {
        let mut cleared: Vec<&str> = newer.cleared.iter().map(String::as_str).collect();
        if newer.location_hidden {
            cleared.extend(["addresses", "telecoms", "practice", "practitioner"]);
        }
        for field in cleared {
            self.clear_field(field);
        }
        for identifier in &newer.identifiers {
            self.identifiers.retain(|held| !held.is_replaced_by(identifier));
            self.identifiers.push(identifier.clone());
        }
        replace(&mut self.names, &newer.names);
        replace(&mut self.addresses, &newer.addresses);
        replace(&mut self.telecoms, &newer.telecoms);
        set(&mut self.birth, &newer.birth);
        set(&mut self.deceased, &newer.deceased);
        set(&mut self.death, &newer.death);
        set(&mut self.pseudo_person, &newer.pseudo_person);
        for (held, said) in [
            (&mut self.sex, &newer.sex),
            (&mut self.practice, &newer.practice),
            (&mut self.practitioner, &newer.practitioner),
            (&mut self.ethnicity, &newer.ethnicity),
        ] {
            if !said.is_empty() {
                held.clone_from(said);
            }
        }
        self.location_hidden = newer.location_hidden;
    }

    /// The NHS number as the source gave it, with its tracing status; valid or not.
    #[must_use]
    pub fn nhs_number(&self) -> Option<&Identifier> {
        self.identifiers.iter().find(|i| i.kind() == IdentifierKind::NhsNumber)
    }

    fn clear_field(&mut self, field: &str) {
        match field {
            "identifiers" => self.identifiers.clear(),
            "nhs_number" => self.identifiers.retain(|i| i.kind() != IdentifierKind::NhsNumber),
            "names" => self.names.clear(),
            "birth" => self.birth = None,
            "sex" => self.sex.clear(),
            "addresses" => self.addresses.clear(),
            "telecoms" => self.telecoms.clear(),
            "deceased" => self.deceased = None,
            "death" => self.death = None,
            "pseudo_person" => self.pseudo_person = None,
            "practice" => self.practice.clear(),
            "practitioner" => self.practitioner.clear(),
            "ethnicity" => self.ethnicity.clear(),
            // A field that only a newer program knows: it is in the event, and that program will read it.
            _ => {}
        }
    }
}

impl Identifier {
    fn is_replaced_by(&self, newer: &Self) -> bool {
        self.kind == newer.kind && (newer.kind() == IdentifierKind::NhsNumber || self.system == newer.system)
    }
}

fn replace<T: Clone>(held: &mut Vec<T>, said: &[T]) {
    if !said.is_empty() {
        held.clear();
        held.extend_from_slice(said);
    }
}

fn set<T: Clone>(held: &mut Option<T>, said: &Option<T>) {
    if said.is_some() {
        held.clone_from(said);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nhs(value: &str) -> Identifier {
        Identifier { kind: IdentifierKind::NhsNumber.into(), value: value.to_owned(), ..Identifier::default() }
    }

    #[test]
    fn absent_stays_cleared_goes_said_replaces() {
        let mut held = Demographics {
            identifiers: vec![nhs("old")],
            sex: "female".to_owned(),
            practice: "E85001".to_owned(),
            deceased: Some(false),
            ..Demographics::default()
        };
        held.update(&Demographics {
            identifiers: vec![nhs("new")],
            deceased: Some(true),
            cleared: vec!["practice".to_owned()],
            ..Demographics::default()
        });
        assert_eq!(held.identifiers, [nhs("new")]);
        assert_eq!((held.sex.as_str(), held.practice.as_str(), held.deceased), ("female", "", Some(true)));
    }

    #[test]
    fn a_hidden_location_takes_the_address_away() {
        let mut held = Demographics { addresses: vec![Default::default()], ..Demographics::default() };
        held.update(&Demographics { location_hidden: true, ..Demographics::default() });
        assert!(held.addresses.is_empty() && held.location_hidden);
    }
}
