//! A seeded population of North West London, told by four feeds in their own dialects, with the truth beside it.
//!
//! Pure: a seed goes in, people and messages come out, the same for ever. Nobody in it exists; NHS numbers are of the range
//! for tests (999), telephone numbers of those for drama.
//!
//! ```text
//! seed ─► people (household by household) ─► cards (one per organisation, late and mistyped) ─► lives ─► messages
//!            the truth                          what each organisation believes                 steps     dialects
//! ```
//!
//! | feed | dialect |
//! |---|---|
//! | `ryj-pas` | HL7 2.4, NHS Interoperability Toolkit |
//! | `ryj-lab` | HL7 2.5.1, results under the same local identifiers as `ryj-pas` |
//! | `rqm-pas` | HL7 2.3 with American habits |
//! | `rk5-dirty` | 2.3.1 as it comes: odd dates, missing authorities, messages sent twice, control ids used twice, rubbish |
//!
//! What makes linking hard is in it: twins with consecutive numbers, sons with their father's name, people who move or
//! marry, newborns without a name, numbers missing, mistyped or somebody else's, second registrations and their merges.

mod bench;
mod calendar;
mod chart;
mod clinical;
mod feed;
mod hl7;
mod life;
mod linkage;
mod messages;
mod names;
mod numbers;
mod person;
mod places;
mod population;
mod rk5_dirty;
mod rng;
mod rqm_pas;
mod ryj_lab;
mod ryj_pas;

pub use bench::{bench_messages, long_history};
pub use feed::{RK5_DIRTY, RQM_PAS, RYJ_LAB, RYJ_PAS, SynthFeed, bench_feed};
pub use linkage::{Linkage, LinkageRecord};
pub use messages::{Messages, SynthKind, SynthMessage};
pub use population::{Population, SynthRecord, Traits, TruthRow};
