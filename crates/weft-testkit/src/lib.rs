//! What end-to-end tests stand on: a site in a temporary folder, a node as a real process, and an MLLP sender that knows
//! nothing of Weft's own code.

#![allow(clippy::indexing_slicing, reason = "indexing JSON gives null where there is nothing; nothing else is indexed")]

mod disk;
mod load;
mod mllp;
mod needs;
mod process;
mod proxy;
mod samples;
mod services;
mod site;

pub use disk::StallingDisk;
pub use load::{Load, message};
pub use mllp::{Ack, Sender};
pub use needs::{Need, kafka, not_run, postgres};
pub use proxy::Proxy;
pub use samples::{shared, simhospital};
pub use services::{KAFKA_PASSWORD, KAFKA_USER, KafkaCluster, PostgresServer, postgres_url};
pub use site::{Launch, Node, Output, Site, binary, command};
