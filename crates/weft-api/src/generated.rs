//! The services as generated from `proto/weft/v1`: server traits that answer with [`crate::wire`], and plain clients.

/// Typed clients, one module a service.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub(crate) mod client {
    include!(concat!(env!("OUT_DIR"), "/client/weft.v1.rs"));
}

/// Server traits, one module a service.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub(crate) mod server {
    include!(concat!(env!("OUT_DIR"), "/server/weft.v1.rs"));
}
