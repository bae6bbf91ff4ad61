//! Places (PL): ward, room, bed, hospital.

use super::{fhir::Reference, telling::joined};
use crate::hl7v2::Field;

/// A place as one message names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// `Simulated Hospital, RenalWard, MainRoom, Bed 1`.
    pub(crate) display: String,
    /// What names it in identifiers: ward, room and bed, in one case and without blanks.
    pub(crate) key: String,
}

impl Place {
    /// Reads the first repetition of a PL field. `None` where no place is named.
    pub(crate) fn read(field: Field<'_>) -> Option<Self> {
        let pl = field.repetitions().next()?;
        let [ward, room, bed, code, _, _, building, floor, description] = pl.components();
        // The description, where there is one, is the name of the hospital rather than its code.
        let facility = if description.is_empty() { code } else { description };
        let floor = if floor.is_empty() || floor.contains(' ') { floor.into_owned() } else { format!("floor {floor}") };
        let parts = [facility.as_ref(), building.as_ref(), floor.as_str(), ward.as_ref(), room.as_ref(), bed.as_ref()];
        let display = joined(parts, ", ");
        let mut key = joined([ward.as_ref(), room.as_ref(), bed.as_ref()], "_");
        if key.is_empty() {
            key.clone_from(&display);
        }
        let plain = |c: char| if c.is_whitespace() || c == '/' { '-' } else { c.to_ascii_lowercase() };
        let key = key.chars().map(plain).collect();
        (!display.is_empty()).then_some(Self { display, key })
    }

    /// By name: places are no facts of a patient's record.
    pub(crate) fn reference(&self) -> Reference<'_> {
        Reference::named("Location", &self.display)
    }

    /// The same of one that nothing else is told of.
    pub(crate) fn into_reference(self) -> Reference<'static> {
        Reference::named("Location", self.display)
    }
}
