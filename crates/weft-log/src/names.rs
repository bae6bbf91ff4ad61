//! Keyed digests: event ids and pseudonyms. Whoever does not hold the vault can neither make nor guess them.

use aws_lc_rs::hmac;
use weft_model::{EventId, EventKind, Payload, Pseudonym, SourceRecordId};

use crate::{Draft, Same, Vault};

/// Bytes of an id of a series that are its number's: as many microseconds are two thousand years.
const NUMBER_BYTES: usize = 7;

/// Makes names under the vault's key.
pub(crate) struct Names(hmac::Key);

impl Names {
    pub(crate) fn new(vault: &Vault) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, vault.names_key()))
    }

    /// What is the same for the same event, however often it is appended.
    pub(crate) fn event_id(&self, draft: &Draft) -> EventId {
        let kind: EventKind = draft.payload.kind();
        let kind = i32::from(kind);
        match (&draft.same, &draft.payload) {
            (Same::Message | Same::Redriven, Payload::MessageReceived(m)) => {
                self.message_id(kind, &draft.feed, &draft.control_id, &m.raw)
            }
            (Same::Message | Same::Redriven, payload) => {
                self.message_id(kind, &draft.feed, &draft.control_id, &payload.encode())
            }
            (Same::Name(name), _) => EventId(self.name(b"named", &[&kind.to_be_bytes(), name])),
            (Same::Series(number, name), _) => {
                let digest = self.name(b"series", &[&kind.to_be_bytes(), &number.to_be_bytes(), name]);
                EventId(numbered(*number, digest))
            }
        }
    }

    /// The id of a message with this content.
    pub(crate) fn message_id(&self, kind: i32, feed: &str, control_id: &str, content: &[u8]) -> EventId {
        let fields = [&kind.to_be_bytes(), feed.as_bytes(), control_id.as_bytes(), content];
        EventId(self.name(b"message", &fields))
    }

    /// The id of the event that a message is accepted as which was kept before, as `first`.
    pub(crate) fn redriven_id(&self, first: &[u8]) -> EventId {
        EventId(self.name(b"redriven", &[first]))
    }

    /// What headers say instead of the identifier.
    pub(crate) fn pseudonym(&self, record: &SourceRecordId) -> Pseudonym {
        self.pseudonym_of(&record.organisation, &record.system, &record.value)
    }

    /// The same of an identifier that is read where it lies.
    pub(crate) fn pseudonym_of(
        &self,
        organisation: impl AsRef<[u8]>,
        system: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Pseudonym {
        Pseudonym(self.name(b"record", &[organisation.as_ref(), system.as_ref(), value.as_ref()]))
    }

    /// Tells this vault from every other one.
    pub(crate) fn fingerprint(&self) -> [u8; 16] {
        self.name(b"vault", &[])
    }

    /// Every field with its length before it, so that no two lists of fields run together.
    fn name(&self, purpose: &[u8], fields: &[&[u8]]) -> [u8; 16] {
        let mut mac = hmac::Context::with_key(&self.0);
        for field in std::iter::once(&purpose).chain(fields) {
            mac.update(&(field.len() as u64).to_be_bytes());
            mac.update(field);
        }
        let mut name = [0; 16];
        for (to, from) in name.iter_mut().zip(mac.sign().as_ref()) {
            *to = *from;
        }
        name
    }
}

/// The digest with a number, its lower bytes, in place of its first bytes.
fn numbered(number: u64, mut digest: [u8; 16]) -> [u8; 16] {
    let number = number.to_be_bytes();
    for (to, from) in digest.iter_mut().zip(number.iter().skip(number.len() - NUMBER_BYTES)) {
        *to = *from;
    }
    digest
}
