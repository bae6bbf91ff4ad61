//! The words of Weft as types: identifiers, events, positions and cuts, and the traits by which time and chance come in.
//!
//! Pure: nothing here reads a clock, a file or a socket. The message types of `proto/` are generated here ([`proto`]), so
//! that every crate speaks of the same ones; only `weft-api` gives them a gRPC service.

mod as_of;
mod chance;
mod demographics;
mod event;
mod hex;
pub mod identity;
mod ids;
mod nhs_number;
mod position;
mod when;

/// The generated message types of `proto/weft`.
pub mod proto {
    #[allow(missing_docs, unreachable_pub, clippy::all)]
    mod weft {
        pub mod event {
            pub mod v1 {
                include!(concat!(env!("OUT_DIR"), "/weft.event.v1.rs"));
            }
        }
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/weft.v1.rs"));
        }
    }
    /// The stored form of events: `proto/weft/event/v1`.
    pub use weft::event::v1 as event;
    /// Requests and answers of the services: `proto/weft/v1`.
    pub use weft::v1 as api;
    /// The encoded `FileDescriptorSet` of everything in `proto/weft`.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
}

pub use as_of::{AsOf, AsOfError};
pub use chance::{Clock, Random};
pub use event::{DecodeError, Event, Payload, SCHEMA_VERSION};
pub use hex::hex;
pub use ids::{EventId, IdError, OdsCode, PersonId, Pseudonym};
pub use nhs_number::{NhsNumber, NhsNumberClass, NhsNumberError};
pub use position::{Cut, Partition, Position, PositionError, Stream};
pub use proto::event::{EventKind, SourceRecordId, Verdict, When};
pub use when::WhenError;
