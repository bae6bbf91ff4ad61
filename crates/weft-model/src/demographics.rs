//! How what a record says of its person changes from message to message.

use crate::proto::event::{Demographics, Identifier, IdentifierKind};

impl Demographics {
    /// Applies a newer message: what it says replaces, what it does not say stays, what it cleared (`""`) goes.
    /// Identifiers are kept by kind and system: a new NHS number replaces the old one.
    pub fn update(&mut self, newer: &Self) {
        for field in &newer.cleared {
            self.clear_field(field);
        }
        for identifier in &newer.identifiers {
            self.identifiers.retain(|held| !held.is_replaced_by(identifier));
            self.identifiers.push(identifier.clone());
        }
        replace(&mut self.names, &newer.names);
        self.update_location(newer);
        set(&mut self.birth, &newer.birth);
        set(&mut self.deceased, &newer.deceased);
        set(&mut self.death, &newer.death);
        set(&mut self.pseudo_person, &newer.pseudo_person);
        set_text(&mut self.sex, &newer.sex);
        set_text(&mut self.ethnicity, &newer.ethnicity);
    }

    /// Where the person is. Once hidden it stays so, whatever later messages carry, until one says that it is not.
    fn update_location(&mut self, newer: &Self) {
        set(&mut self.location_hidden, &newer.location_hidden);
        if self.location_hidden == Some(true) {
            for field in ["addresses", "telecoms", "practice", "practitioner"] {
                self.clear_field(field);
            }
            return;
        }
        replace(&mut self.addresses, &newer.addresses);
        replace(&mut self.telecoms, &newer.telecoms);
        set_text(&mut self.practice, &newer.practice);
        set_text(&mut self.practitioner, &newer.practitioner);
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

fn set_text(held: &mut String, said: &str) {
    if !said.is_empty() {
        said.clone_into(held);
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
    fn a_hidden_location_stays_hidden_until_it_is_said_not_to_be() {
        let with_address = Demographics { addresses: vec![Default::default()], ..Demographics::default() };
        let mut held = with_address.clone();
        held.update(&Demographics { location_hidden: Some(true), ..Demographics::default() });
        assert!(held.addresses.is_empty());
        held.update(&with_address);
        assert!(held.addresses.is_empty(), "a message that does not speak of hiding does not end it");
        held.update(&Demographics { location_hidden: Some(false), ..with_address });
        assert_eq!(held.addresses.len(), 1);
    }
}
