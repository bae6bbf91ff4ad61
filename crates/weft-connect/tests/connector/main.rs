//! The connector over real sockets: what senders do, what they are told, and what is in the log afterwards.

mod feeds;
mod frames;
mod load;
mod site;
mod store;
mod tls;
