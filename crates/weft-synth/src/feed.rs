//! The four feeds: how each is registered, how often each goes wrong, and how each tells.

use crate::{chart::Rates, life::Habits};

/// A feed to register: its identifier and its registration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SynthFeed {
    /// Feed identifier, as in the file.
    pub id: &'static str,
    /// The registration file: TOML of `schemas/feed.schema.json`.
    pub profile_toml: String,
}

/// Place of the first trust's patient administration system in [`crate::Population::feeds`].
pub const RYJ_PAS: usize = 0;
/// Place of the first trust's pathology.
pub const RYJ_LAB: usize = 1;
/// Place of the second trust's patient administration system.
pub const RQM_PAS: usize = 2;
/// Place of the dirty feed.
pub const RK5_DIRTY: usize = 3;

/// An organisation that keeps cards.
#[derive(Debug)]
pub(crate) struct Organisation {
    pub(crate) ods: &'static str,
    /// Identifier system of its local identifiers, as its feeds' profiles have it.
    pub(crate) system: &'static str,
    pub(crate) rates: Rates,
    pub(crate) habits: Habits,
}

/// In the order of their first feeds: RYJ, RQM, RK5.
pub(crate) const ORGANISATIONS: [Organisation; 3] = [
    Organisation {
        ods: "RYJ",
        system: "RYJ-MRN",
        rates: Rates {
            known: 680,
            number_missing: 50,
            number_mistyped: 2,
            number_confused: 1,
            family_mistyped: 8,
            given_mistyped: 8,
            given_short: 60,
            birth_mistyped: 5,
            sex_mistyped: 2,
            postcode_mistyped: 12,
            transposed: 2,
            twice: 25,
            merged: 750,
        },
        habits: Habits { visits: [24, 30, 22, 11, 7, 3, 2, 1], registers: 1000, updates: 650 },
    },
    Organisation {
        ods: "RQM",
        system: "RQM-MRN",
        rates: Rates {
            known: 560,
            number_missing: 80,
            number_mistyped: 3,
            number_confused: 1,
            family_mistyped: 12,
            given_mistyped: 12,
            given_short: 90,
            birth_mistyped: 7,
            sex_mistyped: 3,
            postcode_mistyped: 20,
            transposed: 3,
            twice: 12,
            merged: 500,
        },
        habits: Habits { visits: [12, 44, 23, 10, 6, 3, 1, 1], registers: 0, updates: 500 },
    },
    Organisation {
        ods: "RK5",
        system: "RK5-PID",
        rates: Rates {
            known: 380,
            number_missing: 180,
            number_mistyped: 8,
            number_confused: 3,
            family_mistyped: 35,
            given_mistyped: 35,
            given_short: 150,
            birth_mistyped: 20,
            sex_mistyped: 5,
            postcode_mistyped: 50,
            transposed: 8,
            twice: 35,
            merged: 650,
        },
        habits: Habits { visits: [12, 42, 25, 10, 6, 3, 1, 1], registers: 300, updates: 300 },
    },
];

/// Patients of the first trust whom its laboratory knows, per thousand.
pub(crate) const LAB_KNOWS: u32 = 850;

pub(crate) fn feeds() -> [SynthFeed; 4] {
    [
        SynthFeed { id: "ryj-pas", profile_toml: RYJ_PAS_TOML.to_owned() },
        SynthFeed { id: "ryj-lab", profile_toml: RYJ_LAB_TOML.to_owned() },
        SynthFeed { id: "rqm-pas", profile_toml: RQM_PAS_TOML.to_owned() },
        SynthFeed { id: "rk5-dirty", profile_toml: RK5_DIRTY_TOML.to_owned() },
    ]
}

/// The feed that [`crate::bench_messages`] come from: patients and laboratory of one trust on one line.
#[must_use]
pub fn bench_feed() -> SynthFeed {
    SynthFeed { id: "bench", profile_toml: BENCH_TOML.to_owned() }
}

const RYJ_PAS_TOML: &str = r#"feed = "ryj-pas"
organisation = "RYJ"
description = "First trust: patient administration (HL7 2.4, Interoperability Toolkit)"
agreement = "DEMO-2026-001"
format = "hl7v2"
zone = "Europe/London"
character_set = "unicode-utf-8"
demo = true

[mllp]
listen = "127.0.0.1:0"

[accept]
sending_applications = ["PAS"]
sending_facilities = ["RYJ"]
receiving_applications = ["ROUTE"]
versions = ["2.4"]

[identifiers]
local = { authority = "RYJ" }
system = "RYJ-MRN"

[codes.sex]
"1" = "male"
"2" = "female"
"9" = "unknown"
"0" = "unknown"
"#;

const RYJ_LAB_TOML: &str = r#"feed = "ryj-lab"
organisation = "RYJ"
description = "First trust: pathology (HL7 2.5.1)"
agreement = "DEMO-2026-001"
format = "hl7v2"
demo = true

[mllp]
listen = "127.0.0.1:0"

[accept]
sending_applications = ["WINPATH"]
message_types = ["ORU^R01"]

[identifiers]
local = { authority = "RYJ", type = "MR" }
system = "RYJ-MRN"

[codes.observation]
"GFR" = { system = "http://loinc.org", code = "62238-1", display = "Glomerular filtration rate (CKD-EPI)" }
"TSH" = { system = "http://loinc.org", code = "11580-8", display = "Thyrotropin" }
"#;

const RQM_PAS_TOML: &str = r#"feed = "rqm-pas"
organisation = "RQM"
description = "Second trust: patient administration (HL7 2.3)"
agreement = "DEMO-2026-002"
format = "hl7v2"
demo = true

[mllp]
listen = "127.0.0.1:0"

[accept]
sending_applications = ["CERNER"]
versions = ["2.3"]

[identifiers]
local = { authority = "RQM MRN", type = "MRN" }
system = "RQM-MRN"
nhs_number = [{ authority = "NHSNBR", type = "NHSNMBR" }]
"#;

const RK5_DIRTY_TOML: &str = r#"feed = "rk5-dirty"
organisation = "RK5"
description = "Third trust: a feed that keeps to no specification"
agreement = "DEMO-2026-003"
format = "hl7v2"
character_set = "8859-1"
demo = true

[mllp]
listen = "127.0.0.1:0"

[identifiers]
system = "RK5-PID"
nhs_number = [{ type = "NI" }]

[codes.sex]
"M" = "male"
"F" = "female"
"Male" = "male"
"Female" = "female"
"#;

const BENCH_TOML: &str = r#"feed = "bench"
organisation = "RYJ"
description = "Benchmark: patients and laboratory of one trust"
format = "hl7v2"
demo = true

[mllp]
listen = "127.0.0.1:0"

[identifiers]
local = { authority = "RYJ" }
system = "RYJ-MRN"

[codes.sex]
"1" = "male"
"2" = "female"
"#;
