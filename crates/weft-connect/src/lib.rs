//! MLLP transports: receive, translate, append, acknowledge.
//!
//! ```text
//!  stream control ──► Connector ──► one listener per feed ──► one task per connection
//!  (registered,       (follows,     (accepts, limits,         read ► frames ► translate ► append ► ACKs ► one write
//!   paused, resumed)   rebinds)      TLS, drains)
//! ```
//!
//! # What an acknowledgement promises
//! A positive answer (AA, CA) is written after the log has said that the message is durable, and never before. A message
//! that the log did not take is answered by the feed's table, and its sender keeps it. A frame that never ended is not
//! answered at all ([`frame`]). When a feed is paused or the node ends, whatever a sender has sent whole is stored and
//! answered; nothing else is.
//!
//! Messages of one connection are stored and answered in the order in which they came. All complete frames of one read
//! are appended in one call; while it runs nothing more is read from that connection, so a sender that is faster than
//! the log is slowed down by TCP itself.
//!
//! No byte of a message is ever logged: lines name the feed, the peer's address, counts and codes.

mod ack;
mod client;
mod connection;
mod exchange;
pub mod frame;
mod listener;
mod load;
mod roster;
mod status;
mod supervisor;
mod tls;

pub use ack::{Ack, AckError, parse_ack};
pub use client::{ClientError, MllpClient};
pub use load::{LoadOptions, LoadReport, Messages, Observer, drive};
pub use status::{FeedState, FeedStatus, FeedStatuses};
pub use supervisor::{Connector, ConnectorOptions, FollowError, Limits};
pub use tls::{ClientTls, TlsError, TlsOptions};
