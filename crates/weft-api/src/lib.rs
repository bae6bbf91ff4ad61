//! The gRPC services: how applications, engineers and auditors ask.
//!
//! Only this crate knows gRPC. A call goes through four steps, in this order and in plain functions: its context and
//! arguments are checked, the read model is asked, what is about to be said of a person is recorded in the log's
//! `access` stream, and only then does the answer leave. Errors are one small closed set whose details name the
//! request's field ([`error_details`]). Entries are copied into the answer as they are stored.
//!
//! [`serve`] runs the services, [`client::connect`] calls them; [`serve_health`] tells how a process without them is.

mod arguments;
pub mod client;
mod closed;
mod context;
mod disclosure;
mod error;
mod feeds;
mod generated;
mod health;
mod models;
mod moments;
mod page;
mod server;
mod services;
mod wire;

pub use error::error_details;
pub use feeds::{FeedControl, FeedProfile, FeedStatus, MessageReader, Reading};
pub use health::Health;
pub use models::{LinkModel, LinkModels};
pub use server::{HealthOptions, ServeError, ServeOptions, serve, serve_health};
pub use tonic::{Code, Status};
