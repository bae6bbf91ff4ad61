//! The stored format, held still: every version of `schemas/goldens` is read, and the newest is written byte for byte.
//!
//! A golden is one event of one kind as it was stored (`KIND.bin`) and what it says (`KIND.expected.json`), with the vault
//! that opens it. `WEFT_UPDATE_GOLDENS=1` writes those that are missing; none is ever changed.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::{Value, json};
use support::Seeded;
use weft_log::{Draft, EventLog, MemoryLog, ReadLimit, Same, SigningKey, Stored, Vault, leaf_hash, suite};
use weft_model::{
    Event, Payload, Stream, Verdict,
    proto::{
        DESCRIPTORS,
        event::{
            Apart, CandidatePerson, Code, Compression, ContentType, CutTaken, CutVector, Demographics, Disclosed,
            Envelope, Evidence, Fact, FeedRegistered, FeedSwitched, Identifier, IdentifierKind, Issue, Line, LineKind,
            LinkMethod, LinkModelSwitched, Merge, MessageReceived, Mistake, Name, NhsNumberSuperseded,
            NhsNumberSwitched, PartitionRoot, PersonsMerged, Placed, Precision, RecordLinked, RecordsMerged,
            RecordsUnlinked, Redriver, RequestRefused, ReviewAsked, Severity, StewardDecided, StewardDecision, When,
        },
    },
};

/// The version that is written.
const NEWEST: &str = "event-v2";

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/goldens")
}

#[tokio::test]
async fn every_version_is_read() {
    let mut read = 0;
    for version in fs::read_dir(goldens()).unwrap() {
        let version = version.unwrap().path();
        let (log, _dir) = log_with_vault(&version);
        for file in fs::read_dir(&version).unwrap() {
            let file = file.unwrap().path();
            if file.extension().is_some_and(|extension| extension == "bin") {
                let expected = fs::read_to_string(file.with_extension("expected.json")).unwrap();
                let bytes = bytes::Bytes::from(fs::read(&file).unwrap());
                let stored = Stored { position: Stream::Feed.partition(0).at(0), leaf: leaf_hash(&bytes), bytes };
                let event = log.open(&stored).await.unwrap();
                assert_eq!(to_text(&event, &stored), expected, "{}", file.display());
                read += 1;
            }
        }
    }
    assert!(read >= 18, "{read} goldens");
}

#[tokio::test]
async fn the_newest_version_is_written() {
    let newest = goldens().join(NEWEST);
    let update = env::var("WEFT_UPDATE_GOLDENS").is_ok_and(|value| value == "1");
    if update && !newest.join("vault").exists() {
        // Whole, because making more keys would draw from the same randomness as the nonces.
        Vault::create(&newest.join("vault"), &Seeded::new(1)).unwrap();
    }
    let (log, _dir) = log_with_vault(&newest);
    for (name, draft) in drafts() {
        let receipt = log.append(vec![draft]).await.unwrap()[0];
        let stored = log.read(receipt.position, ReadLimit { events: 1, bytes: 0 }).await.unwrap().remove(0);
        let file = newest.join(format!("{name}.bin"));
        if update && !file.exists() {
            fs::write(&file, &stored.bytes).unwrap();
            let text = to_text(&log.open(&stored).await.unwrap(), &stored);
            fs::write(file.with_extension("expected.json"), text).unwrap();
        }
        if is_compressed(&stored) {
            // These bytes are zstd's: a new zstd may write others that read the same. The log gives the event as it was appended; read again, the golden's bytes say the same.
            let golden = bytes::Bytes::from(fs::read(&file).unwrap());
            let golden = Stored { position: stored.position, leaf: leaf_hash(&golden), bytes: golden };
            let appended = log.open(&stored).await.unwrap();
            assert_eq!(log.open(&golden).await.unwrap(), appended, "{name} is not read as it was appended");
        } else {
            assert!(fs::read(&file).unwrap() == stored.bytes, "{name} is not written as it was");
        }
    }
}

/// True where the bytes depend on the version of zstd.
fn is_compressed(stored: &Stored) -> bool {
    let envelope = Envelope::decode(&*stored.bytes).unwrap();
    envelope.parts.iter().any(|part| part.compression() == Compression::ZstdEvent1)
}

/// A log whose randomness begins anew, over a copy of the golden vault: git does not keep file modes.
fn log_with_vault(version: &Path) -> (MemoryLog, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    for name in ["node.key", "keys"] {
        fs::write(dir.path().join(name), fs::read(version.join("vault").join(name)).unwrap()).unwrap();
        fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let vault = Vault::open(dir.path(), Arc::new(Seeded::new(2))).unwrap();
    (MemoryLog::new(Arc::new(vault)), dir)
}

/// Everything that the event says, as the JSON mapping of its protobuf.
fn to_text(event: &Event, stored: &Stored) -> String {
    let payload = match &event.payload {
        Payload::MessageReceived(_) => "MessageReceived",
        Payload::RecordLinked(_) => "RecordLinked",
        Payload::RecordsMerged(_) => "RecordsMerged",
        Payload::RecordsUnlinked(_) => "RecordsUnlinked",
        Payload::PersonsMerged(_) => "PersonsMerged",
        Payload::StewardDecided(_) => "StewardDecided",
        Payload::ReviewAsked(_) => "ReviewAsked",
        Payload::NhsNumberFrozen(_) | Payload::NhsNumberReleased(_) => "NhsNumberSwitched",
        Payload::NhsNumberSuperseded(_) => "NhsNumberSuperseded",
        Payload::LinkModelSwitched(_) => "LinkModelSwitched",
        Payload::FeedRegistered(_) => "FeedRegistered",
        Payload::FeedPaused(_) | Payload::FeedResumed(_) => "FeedSwitched",
        Payload::CutTaken(_) => "CutTaken",
        Payload::Disclosed(_) => "Disclosed",
        Payload::RequestRefused(_) => "RequestRefused",
    };
    let leaf: String = stored.leaf.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = json!({
        "leaf": leaf,
        "header": to_json("Header", &event.header.encode_to_vec()),
        "payload": to_json(payload, &event.payload.encode()),
    });
    serde_json::to_string_pretty(&text).unwrap() + "\n"
}

fn to_json(name: &str, bytes: &[u8]) -> Value {
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let descriptor = pool.get_message_by_name(&format!("weft.event.v1.{name}")).unwrap();
    serde_json::to_value(DynamicMessage::decode(descriptor, bytes).unwrap()).unwrap()
}

/// One event of every kind, in the order in which their nonces are drawn.
fn drafts() -> Vec<(&'static str, Draft)> {
    let named = |payload| Draft { payload, ..suite::named("golden", 1) };
    let switched = || FeedSwitched { feed: "ryj-pas".into(), by: "ops".into(), reason: "maintenance".into() };
    let message = Draft {
        received_us: 1_714_555_805_250_000,
        payload: Payload::MessageReceived(MessageReceived {
            raw: b"MSH|^~\\&|PAS|RYJ\rPID|1||0000001\r".as_slice().into(),
            record: Some(suite::record(1)),
            reason: "date-unreadable".into(),
            ..MessageReceived::default()
        }),
        verdict: Verdict::Quarantined,
        ..suite::message("ryj-pas", "MSG0001", "", 1)
    };
    let compressed =
        Draft { payload: Payload::MessageReceived(full_message()), ..suite::message("ryj-pas", "MSG0002", "", 1) };
    vec![
        ("message_received", message),
        ("message_received_compressed", compressed),
        ("record_linked", named(Payload::RecordLinked(linked()))),
        (
            "records_merged",
            named(Payload::RecordsMerged(RecordsMerged {
                survivor: Some(suite::record(1)),
                retired: Some(suite::record(2)),
                survivor_pseudonym: vec![1; 16],
                retired_pseudonym: vec![2; 16],
            })),
        ),
        (
            "feed_registered",
            named(Payload::FeedRegistered(FeedRegistered {
                feed: "ryj-pas".into(),
                profile_toml: "feed = \"ryj-pas\"\n".into(),
                by: "ops".into(),
            })),
        ),
        ("feed_paused", named(Payload::FeedPaused(switched()))),
        ("feed_resumed", named(Payload::FeedResumed(switched()))),
        (
            "disclosed",
            Draft {
                same: Same::Name(b"request 1".to_vec()),
                ..named(Payload::Disclosed(Disclosed {
                    user: "a.clinician".into(),
                    role: "clinician".into(),
                    organisation: "RYJ".into(),
                    purpose: "direct-care".into(),
                    persons: vec![vec![3; 16]],
                    entries: 2,
                    ..Disclosed::default()
                }))
            },
        ),
        ("cut_taken", Draft { same: Same::Name(b"cut 1".to_vec()), ..named(Payload::CutTaken(cut())) }),
    ]
    .into_iter()
    .chain(identities().into_iter().map(|(name, payload)| (name, named(payload))))
    .chain([("request_refused", named(Payload::RequestRefused(refused()))), ("message_redriven", redriven())])
    .collect()
}

/// The first message once more, accepted.
fn redriven() -> Draft {
    let by = Redriver {
        by: "ops".into(),
        role: "integration".into(),
        organisation: "RYJ".into(),
        reason: "the profile was mended".into(),
    };
    Draft {
        same: Same::Redriven,
        received_us: 1_714_642_205_250_000,
        payload: Payload::MessageReceived(MessageReceived {
            raw: b"MSH|^~\\&|PAS|RYJ\rPID|1||0000001\r".as_slice().into(),
            record: Some(suite::record(1)),
            redriven_by: Some(by),
            ..MessageReceived::default()
        }),
        ..suite::message("ryj-pas", "MSG0001", "", 1)
    }
}

fn refused() -> RequestRefused {
    RequestRefused {
        user: "a.clinician".into(),
        role: "clinician".into(),
        organisation: "RYJ".into(),
        reason: "clinic today".into(),
        method: "weft.v1.TimelineService/GetTimeline".into(),
        person: vec![3; 16],
        status: "INVALID_ARGUMENT".into(),
        mistakes: vec![Mistake { code: "field-required".into(), field: "context.purpose".into() }],
        ..RequestRefused::default()
    }
}

/// What is decided of who is who.
fn identities() -> Vec<(&'static str, Payload)> {
    let id = |n: u8| vec![n; 16];
    let (by, role, organisation) = ("s.steward".to_owned(), "data-steward".to_owned(), "RYJ".to_owned());
    let reason = "two cards, one patient".to_owned();
    let number = NhsNumberSwitched {
        nhs_number: "9990000018".into(),
        by: by.clone(),
        role: role.clone(),
        organisation: organisation.clone(),
        reason: reason.clone(),
        holders: Vec::new(),
    };
    let looked_at = NhsNumberSwitched { holders: vec![id(1), id(2)], ..number.clone() };
    vec![
        (
            "records_unlinked",
            Payload::RecordsUnlinked(RecordsUnlinked {
                record: Some(suite::record(1)),
                other: Some(suite::record(2)),
                record_pseudonym: id(1),
                other_pseudonym: id(2),
            }),
        ),
        (
            "persons_merged",
            Payload::PersonsMerged(PersonsMerged {
                survivor: id(4),
                retired: id(5),
                records: vec![id(1), id(2)],
                mean_score: 310,
                pairs: 2,
                model: "exact/1".into(),
                identity_known: 9,
            }),
        ),
        (
            "steward_decided",
            Payload::StewardDecided(StewardDecided {
                decision: StewardDecision::Split.into(),
                by: by.clone(),
                role: role.clone(),
                organisation: organisation.clone(),
                reason: reason.clone(),
                placed: vec![Placed { record: id(1), person: id(6), previous: id(4) }],
                apart: vec![Apart { left: vec![id(1)], right: vec![id(2), id(3)] }],
                lifted: vec![Stream::Identity.partition(0).at(3).to_proto()],
                undone: Some(Stream::Identity.partition(0).at(3).to_proto()),
                settled: vec![id(1)],
            }),
        ),
        ("review_asked", Payload::ReviewAsked(ReviewAsked { decision: Some(reviewed()) })),
        ("nhs_number_frozen", Payload::NhsNumberFrozen(NhsNumberSwitched { by: String::new(), ..number.clone() })),
        ("nhs_number_released", Payload::NhsNumberReleased(number)),
        (
            "nhs_number_superseded",
            Payload::NhsNumberSuperseded(NhsNumberSuperseded {
                superseded: "9990000018".into(),
                retained: "9990000026".into(),
                by: by.clone(),
                role: role.clone(),
                organisation: organisation.clone(),
                reason: reason.clone(),
            }),
        ),
        (
            "link_model_switched",
            Payload::LinkModelSwitched(LinkModelSwitched {
                model: "weft/2".into(),
                file: b"name = \"weft/2\"\n".to_vec(),
                by,
                role,
                organisation,
                reason,
            }),
        ),
        ("nhs_number_released_with_holders", Payload::NhsNumberReleased(looked_at)),
    ]
}

/// A decision with every field that a later version added.
fn reviewed() -> RecordLinked {
    RecordLinked {
        review: vec!["nhs-numbers-differ".into()],
        threshold: 950,
        frequencies: "uk/1".into(),
        others: vec![CandidatePerson { person: vec![5; 16], score: 40 }],
        identity_known: 8,
        candidates: 3,
        runner_up: vec![5; 16],
        runner_up_score: 40,
        ..linked()
    }
}

/// Signed with a key of the tests of Go's note package.
fn cut() -> CutTaken {
    let roots = [(Stream::Feed, 2, 5), (Stream::Identity, 0, 6)];
    let root = |(stream, size, byte): (Stream, u64, u8)| PartitionRoot {
        stream: stream.to_proto().into(),
        partition: 0,
        size,
        root: vec![byte; 32],
    };
    let vector = CutVector {
        tick: 1,
        previous: vec![7; 32],
        recorded_us: 1_714_555_805_250_000,
        partitions: roots.map(root).to_vec(),
        newest_decision: Some(3),
    };
    let key: SigningKey =
        "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz".parse().unwrap();
    let checkpoint = key.sign("PeterNeumann\n2\nCAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=\n");
    CutTaken { vector: vector.encode_to_vec(), checkpoint }
}

/// Every field that a message may have.
fn full_message() -> MessageReceived {
    let when = When {
        start_us: 1_714_555_805_000_000,
        precision: Precision::Second.into(),
        offset_s: 3600,
        offset_stated: false,
    };
    MessageReceived {
        raw: "MSH|^~\\&|PAS|RYJ|WEFT|WEFT|20240501103005||ADT^A40|MSG0002|P|2.4\r".repeat(4).into_bytes().into(),
        content_type: ContentType::Hl7v2.into(),
        version: "2.4".into(),
        translator: "hl7v2/1".into(),
        profile_revision: 7,
        record: Some(suite::record(1)),
        demographics: Some(Demographics {
            identifiers: vec![Identifier {
                kind: IdentifierKind::NhsNumber.into(),
                system: "NHS".into(),
                value: "9990000018".into(),
                status: "01".into(),
            }],
            names: vec![Name {
                r#use: "official".into(),
                family: "Specimen".into(),
                given: vec!["Ann".into()],
                ..Name::default()
            }],
            birth: Some(When { precision: Precision::Day.into(), ..when }),
            sex: "female".into(),
            deceased: Some(false),
            cleared: vec!["telecoms".into()],
            ..Demographics::default()
        }),
        facts: vec![Fact {
            resource_type: "Encounter".into(),
            id: "V1".into(),
            resource: br#"{"resourceType":"Encounter","id":"V1"}"#.as_slice().into(),
            occurred: Some(when),
            recorded: Some(when),
            location: "PV1".into(),
            line: Some(Line {
                kind: LineKind::Admission.into(),
                title: "Admitted".into(),
                code: Some(Code { system: "s".into(), code: "c".into(), display: "d".into() }),
                status: "in-progress".into(),
                encounter: "V1".into(),
                ..Line::default()
            }),
            ..Fact::default()
        }],
        issues: vec![Issue {
            severity: Severity::Warning.into(),
            code: "date-unreadable".into(),
            location: "PID-7".into(),
            text: "not a date".into(),
        }],
        merge: Some(Merge { retired: Some(suite::record(2)), location: "MRG-1".into() }),
        unlinked: None,
        moved: None,
        sent: Some(when),
        sequence: Some(12),
        reason: String::new(),
        redriven_by: None,
    }
}

fn linked() -> RecordLinked {
    RecordLinked {
        record: Some(suite::record(1)),
        person: vec![4; 16],
        method: LinkMethod::NhsNumberCrossCheck.into(),
        score: 42,
        evidence: vec![Evidence { field: "nhs-number".into(), level: "exact".into(), weight: 42 }],
        model: "exact/1".into(),
        ..RecordLinked::default()
    }
}
