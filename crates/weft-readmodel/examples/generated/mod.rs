//! Generated messages and links, for examples: the same on every run.
#![allow(dead_code, reason = "each example uses a part")]

use std::sync::atomic::{AtomicU64, Ordering};

use weft_model::{
    Event, Payload, PersonId, Pseudonym, Random, SourceRecordId, Verdict, When,
    proto::event::{
        Address, Code, Demographics, EventKind, Fact, FeedRegistered, Header, Identifier, IdentifierKind, Issue, Line,
        LineKind, MessageReceived, Name, Precision, RecordLinked,
    },
};

pub(crate) const FEEDS: u64 = 10;
/// When the first message was sent.
pub(crate) const FIRST_US: i64 = 1_700_000_000_000_000;

/// SplitMix64: the same numbers on every run.
pub(crate) struct Numbers(pub(crate) AtomicU64);

impl Numbers {
    pub(crate) fn next(&self) -> u64 {
        let state = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&self, end: u64) -> u64 {
        self.next() % end
    }
}

impl Random for Numbers {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let next = self.next().to_le_bytes();
            chunk.copy_from_slice(next.get(..chunk.len()).unwrap());
        }
    }
}

pub(crate) fn message(n: u64, record: u64, numbers: &Numbers) -> Event {
    let now = FIRST_US + (n as i64) * 1_000_000;
    let report = n % 5 >= 3;
    let header = Header {
        schema: 1,
        event_id: identifier(n * 2).to_vec(),
        kind: EventKind::MessageReceived.into(),
        feed: feed(record),
        control_id: format!("MSG{n:012}"),
        message_type: if report { "ORU^R01" } else { "ADT^A01" }.to_owned(),
        verdict: Verdict::Accepted.into(),
        received_us: now,
        source_record: pseudonym(record).to_vec(),
        ..Header::default()
    };
    let facts = if report {
        (0..5).map(|i| observation(n, i, now, numbers)).collect()
    } else {
        vec![patient(record, now), encounter(n, now), condition(n, now)]
    };
    let payload = MessageReceived {
        raw: vec![b'x'; 1200].into(),
        version: "2.4".to_owned(),
        translator: "hl7v2/1".to_owned(),
        record: Some(id(record)),
        demographics: Some(demographics(record)),
        facts,
        sent: Some(When::instant(now)),
        ..MessageReceived::default()
    };
    Event { header, payload: Payload::MessageReceived(payload) }
}

fn fact(kind: &str, id: String, resource: String, now: i64, line: Option<Line>) -> Fact {
    Fact {
        resource_type: kind.to_owned(),
        id,
        resource: resource.into(),
        withdrawn: false,
        occurred: Some(When::instant(now)),
        recorded: Some(When::instant(now)),
        location: "OBX[3]".to_owned(),
        line,
    }
}

fn patient(record: u64, now: i64) -> Fact {
    let resource = format!(
        r#"{{"resourceType":"Patient","identifier":[{{"system":"urn:oid:2.16.840.1.113883","value":"MRN{record:08}"}},
        {{"system":"https://fhir.nhs.uk/Id/nhs-number","value":"999{record:07}"}}],"name":[{{"use":"official",
        "family":"Family{}","given":["Ada","Mary"],"prefix":["Ms"]}}],"gender":"female","birthDate":"1970-01-02",
        "address":[{{"use":"home","line":["1 High Street","Flat 2"],"city":"London","postalCode":"W2 1NY"}}],
        "telecom":[{{"system":"phone","value":"020 7946 0000","use":"home"}}]}}"#,
        record % 5000
    );
    fact("Patient", "patient".to_owned(), resource, now, None)
}

fn encounter(n: u64, now: i64) -> Fact {
    let resource = format!(
        r#"{{"resourceType":"Encounter","identifier":[{{"system":"urn:visit","value":"V{n}"}}],"status":"in-progress",
        "class":{{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"IMP","display":"inpatient"}},
        "subject":{{"reference":"Patient/patient"}},"period":{{"start":"2024-05-01T10:30:00+01:00"}},
        "participant":[{{"individual":{{"display":"Dr A Consultant"}}}}],"location":[{{"location":{{"display":
        "Ward 6B, Bay 2, Bed 11"}},"status":"active"}}],"serviceProvider":{{"display":"St Mary's Hospital"}}}}"#
    );
    let line = Line {
        kind: LineKind::Admission.into(),
        title: "Admitted to St Mary's, Ward 6B".to_owned(),
        detail: "Bay 2, Bed 11; Dr A Consultant".to_owned(),
        status: "in-progress".to_owned(),
        encounter: format!("V{n}"),
        ..Line::default()
    };
    fact("Encounter", format!("V{n}-A01"), resource, now, Some(line))
}

fn condition(n: u64, now: i64) -> Fact {
    let resource = format!(
        r#"{{"resourceType":"Condition","code":{{"coding":[{{"system":"http://hl7.org/fhir/sid/icd-10","code":"J18.9",
        "display":"Pneumonia, unspecified organism"}}]}},"subject":{{"reference":"Patient/patient"}},"encounter":
        {{"reference":"Encounter/V{n}"}},"recordedDate":"2024-05-01T10:30:00+01:00"}}"#
    );
    let line = coded(LineKind::Condition, "Pneumonia, unspecified organism", "", n);
    fact("Condition", format!("V{n}-1"), resource, now, Some(line))
}

fn observation(n: u64, i: u64, now: i64, numbers: &Numbers) -> Fact {
    let value = numbers.below(1000);
    let resource = format!(
        r#"{{"resourceType":"Observation","status":"final","code":{{"coding":[{{"system":"urn:lab:codes","code":"GLU{i}",
        "display":"Glucose, fasting"}}]}},"subject":{{"reference":"Patient/patient"}},"effectiveDateTime":
        "2024-05-01T10:30:00+01:00","valueQuantity":{{"value":{value},"unit":"mmol/L","system":
        "http://unitsofmeasure.org"}},"referenceRange":[{{"text":"3.5-5.3"}}],"interpretation":[{{"coding":
        [{{"code":"H"}}]}}]}}"#
    );
    let line = coded(LineKind::Observation, "Glucose, fasting", &format!("{value} mmol/L (3.5-5.3) H"), n);
    fact("Observation", format!("R{n}-{i}"), resource, now, Some(line))
}

fn coded(kind: LineKind, title: &str, detail: &str, n: u64) -> Line {
    let code = Code { system: "urn:lab:codes".to_owned(), code: "GLU".to_owned(), display: title.to_owned() };
    Line {
        kind: kind.into(),
        title: title.to_owned(),
        detail: detail.to_owned(),
        code: Some(code),
        status: "final".to_owned(),
        encounter: format!("V{n}"),
    }
}

pub(crate) fn demographics(record: u64) -> Demographics {
    let nhs = 400_000_000 + record / 2 * 7;
    let number = (nhs..nhs + 7).find_map(weft_model::NhsNumber::with_check_digit).unwrap();
    Demographics {
        identifiers: vec![Identifier {
            kind: IdentifierKind::NhsNumber.into(),
            value: number.to_string(),
            status: "01".to_owned(),
            ..Identifier::default()
        }],
        names: vec![Name {
            r#use: "official".to_owned(),
            family: format!("Family{}", record / 2 % 5000),
            given: vec!["Ada".to_owned(), "Mary".to_owned()],
            prefix: "Ms".to_owned(),
        }],
        birth: Some(When {
            start_us: ((record / 2 % 20_000) as i64) * 86_400_000_000,
            precision: Precision::Day.into(),
            offset_s: 0,
            offset_stated: false,
        }),
        sex: "female".to_owned(),
        addresses: vec![Address {
            r#use: "home".to_owned(),
            lines: vec!["1 High Street".to_owned(), "Flat 2".to_owned()],
            city: "London".to_owned(),
            district: String::new(),
            postcode: "W2 1NY".to_owned(),
        }],
        practice: "E85001".to_owned(),
        ..Demographics::default()
    }
}

/// The identifier of event `n`: one that no other event has.
fn identifier(n: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    Numbers(AtomicU64::new(n)).fill(&mut bytes);
    bytes
}

/// The same message, kept and not projected.
pub(crate) fn quarantined(n: u64, record: u64, numbers: &Numbers) -> Event {
    let mut event = message(n, record, numbers);
    event.header.verdict = Verdict::Quarantined.into();
    if let Payload::MessageReceived(message) = &mut event.payload {
        message.reason = "date-unreadable".to_owned();
        message.issues = vec![Issue { code: "date-unreadable".to_owned(), ..Issue::default() }];
        message.facts.clear();
    }
    event
}

/// The feed that messages of a record come from.
pub(crate) fn feed(record: u64) -> String {
    format!("trust-{}", record % FEEDS)
}

pub(crate) fn registered(feed: String) -> Event {
    let header = Header { schema: 1, kind: EventKind::FeedRegistered.into(), ..Header::default() };
    let profile_toml = format!("feed = \"{feed}\"\n");
    Event { header, payload: Payload::FeedRegistered(FeedRegistered { feed, profile_toml, by: String::new() }) }
}

pub(crate) fn link(record: u64) -> Event {
    let header = Header {
        schema: 1,
        event_id: identifier(record * 2 + 1).to_vec(),
        kind: EventKind::RecordLinked.into(),
        source_record: pseudonym(record).to_vec(),
        ..Header::default()
    };
    let linked = RecordLinked { record: Some(id(record)), person: person(record).to_vec(), ..RecordLinked::default() };
    Event { header, payload: Payload::RecordLinked(linked) }
}

pub(crate) fn id(record: u64) -> SourceRecordId {
    let organisation = format!("RY{}", record % 10);
    SourceRecordId { organisation, system: "MRN".to_owned(), value: format!("MRN{record:08}") }
}

fn pseudonym(record: u64) -> Pseudonym {
    let low = Numbers(AtomicU64::new(record * 2 + 1));
    let mut bytes = [0; 16];
    low.fill(&mut bytes);
    Pseudonym(bytes)
}

/// Two records belong to each person.
pub(crate) fn person(record: u64) -> PersonId {
    PersonId(pseudonym(record / 2 * 2).0)
}
