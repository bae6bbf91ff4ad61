//! Addresses: whether a node answers on them, or could.

use std::net::{SocketAddr, TcpListener};

use super::Finding;
use crate::{commands::reach::Ready, config::Config};

pub(super) async fn check(config: &Config) -> Vec<Finding> {
    if let Some(ready) = running(config) {
        return vec![node(&ready).await];
    }
    let mut findings = vec![Finding::good("node", "none runs under this configuration")];
    findings.push(address("grpc.listen", config.grpc.listen, config.grpc.allow_remote));
    findings.push(address("grpc.health", config.grpc.health, config.grpc.allow_remote));
    findings
}

/// What a node has said of itself, which may have been killed since.
fn running(config: &Config) -> Option<Ready> {
    let text = std::fs::read_to_string(config.run_file()).ok()?;
    serde_json::from_str(&text).ok()
}

async fn node(ready: &Ready) -> Finding {
    const CHECK: &str = "node";
    match weft_api::client::healthy(&ready.health).await {
        Ok(true) => Finding::good(CHECK, format!("answers on {} and is healthy", ready.grpc)),
        Ok(false) => {
            let found = format!("answers on {} and cannot use its log or its read model", ready.grpc);
            Finding::bad(CHECK, found, "see the other findings, and what the node has logged")
        }
        Err(_) => {
            let found = format!("none answers on {}, where one said that it would", ready.grpc);
            Finding::poor(CHECK, found, "if it was not killed on purpose, look at what it logged last; start it again")
        }
    }
}

fn address(check: &str, address: SocketAddr, allow_remote: bool) -> Finding {
    if !allow_remote && !address.ip().is_loopback() {
        let advice = "set grpc.allow_remote once something in front proves who callers are, or listen on loopback";
        return Finding::bad(
            check,
            format!("{address} is reachable from other machines, and that is not allowed"),
            advice,
        );
    }
    match TcpListener::bind(address) {
        Ok(_) => Finding::good(check, format!("{address} can be listened on")),
        Err(error) => Finding::bad(
            check,
            format!("{address} cannot be listened on: {error}"),
            "choose another port, or end what uses this one",
        ),
    }
}
