//! A feed's profile: the registration file, checked once and compiled, so that no message pays for it.
//!
//! `schemas/feed.schema.json` describes the file; a test holds the two together. [`Profile::parse`] reports every mistake
//! that it can find, not only the first.

mod document;
mod read;

use std::{collections::HashMap, net::SocketAddr};

use jiff::tz::TimeZone;
use weft_model::proto::event::{Code, Issue};

use crate::hl7v2::CharacterSet;

/// A compiled feed profile.
#[derive(Debug)]
pub struct Profile {
    feed: String,
    organisation: String,
    description: String,
    agreement: String,
    zone: TimeZone,
    character_set: CharacterSet,
    demo: bool,
    listener: Listener,
    pub(crate) accept: Accept,
    identifiers: Identifiers,
    codes: Codes,
    pub(crate) acknowledge: Acknowledge,
}

/// Where and how a feed's messages arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Address to listen on; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Whether the connection is encrypted, and the sender known by its certificate.
    pub tls: Tls,
    /// The most bytes that a message may have.
    pub message_bytes_max: usize,
    /// Seconds without a byte after which a connection is closed.
    pub idle_timeout_s: u64,
    /// The most connections at a time.
    pub connections_max: usize,
}

/// Transport security of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// Plain TCP.
    Off,
    /// The node shows a certificate.
    Server,
    /// The sender shows one too.
    Mutual,
}

/// What the header must say. An empty list lets everything through.
#[derive(Debug)]
pub(crate) struct Accept {
    pub(crate) sending_applications: Vec<String>,
    pub(crate) sending_facilities: Vec<String>,
    pub(crate) receiving_applications: Vec<String>,
    pub(crate) receiving_facilities: Vec<String>,
    /// Empty: all that are translated.
    pub(crate) message_types: Vec<String>,
    pub(crate) versions: Vec<String>,
}

#[derive(Debug)]
struct Identifiers {
    local: Option<CxRule>,
    system: Option<String>,
    nhs_number: Vec<CxRule>,
}

/// Which repetitions of a CX field a rule is about. At least one condition is given.
#[derive(Debug)]
pub(crate) struct CxRule {
    /// CX.4.1, compared without case.
    pub(crate) authority: Option<String>,
    /// CX.5, compared without case.
    pub(crate) kind: Option<String>,
}

#[derive(Debug)]
struct Codes {
    sex: HashMap<String, String>,
    patient_class: HashMap<String, String>,
    observation: HashMap<String, Code>,
}

/// How messages are acknowledged.
#[derive(Debug)]
pub(crate) struct Acknowledge {
    /// Honours MSH-15 with CA, CE and CR where the message has it.
    pub(crate) enhanced: bool,
    pub(crate) wrong_sender: AckCode,
    pub(crate) wrong_type: AckCode,
    pub(crate) unreadable: AckCode,
    pub(crate) conflict: AckCode,
    pub(crate) unavailable: AckCode,
}

/// MSA-1, before the mode is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AckCode {
    Accept,
    Error,
    Reject,
}

impl Profile {
    /// Reads and checks a registration file.
    ///
    /// # Errors
    /// Every mistake found, each with its place: key path and line, `accept.message_types[2], line 14` (lists are counted
    /// from 1).
    pub fn parse(toml: &str) -> Result<Self, Vec<Issue>> {
        read::profile(toml)
    }

    /// Feed identifier: lower-case letters, digits and hyphens.
    #[must_use]
    pub fn feed(&self) -> &str {
        &self.feed
    }

    /// ODS code of the organisation.
    #[must_use]
    pub fn organisation(&self) -> &str {
        &self.organisation
    }

    /// What the feed is, in its registrar's words. May be empty.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Reference of the sharing agreement. May be empty.
    #[must_use]
    pub fn agreement(&self) -> &str {
        &self.agreement
    }

    /// NHS numbers of the test range (9...) may be used as evidence: everybody in this feed is synthetic.
    #[must_use]
    pub fn demo(&self) -> bool {
        self.demo
    }

    /// Where and how its messages arrive.
    #[must_use]
    pub fn listener(&self) -> &Listener {
        &self.listener
    }

    /// The zone in which times without an offset are read.
    pub(crate) fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The character set of messages that name none.
    pub(crate) fn character_set(&self) -> CharacterSet {
        self.character_set
    }

    pub(crate) fn local_rule(&self) -> Option<&CxRule> {
        self.identifiers.local.as_ref()
    }

    pub(crate) fn identifier_system(&self) -> Option<&str> {
        self.identifiers.system.as_deref()
    }

    pub(crate) fn nhs_number_rules(&self) -> &[CxRule] {
        &self.identifiers.nhs_number
    }

    /// FHIR administrative gender for the feed's own code of PID-8, where its map has it.
    pub(crate) fn sex(&self, code: &str) -> Option<&str> {
        self.codes.sex.get(code).map(String::as_str)
    }

    /// FHIR encounter class (`IMP`, `AMB`, `EMER` ...) for the feed's own code of PV1-2, where its map has it.
    pub(crate) fn patient_class(&self, code: &str) -> Option<&str> {
        self.codes.patient_class.get(code).map(String::as_str)
    }

    /// Canonical code for the feed's own code of OBX-3 or OBR-4, where its map has it.
    pub(crate) fn observation(&self, code: &str) -> Option<&Code> {
        self.codes.observation.get(code)
    }
}
