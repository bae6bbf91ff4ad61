//! The services as a caller sees them: every call goes over a socket to a node with a real log and a real read model.

mod disclosures;
mod feeds;
mod node;
mod persons;
mod refusals;
mod serving;
mod streams;
mod timelines;
