//! Health as callers of `grpc.health.v1.Health` are told it: for the whole process (the empty name), for each service, and
//! for each part that a process stands on.

use std::collections::BTreeMap;

use tokio::sync::watch;
use tonic_health::{ServingStatus, server::HealthReporter};

/// What a process stands on ("log", "read-model"), and whether it can be used now. A process is healthy when all of it can.
pub type Health = BTreeMap<&'static str, bool>;

/// Passes on what is told of `health`, for ever: `services` are healthy when the process is.
pub(crate) async fn report(reporter: HealthReporter, services: Vec<&'static str>, mut health: watch::Receiver<Health>) {
    loop {
        let parts = health.borrow_and_update().clone();
        let whole = parts.values().all(|usable| *usable);
        let services = [""].into_iter().chain(services.iter().copied()).map(|service| (service, whole));
        for (name, usable) in services.chain(parts) {
            let status = if usable { ServingStatus::Serving } else { ServingStatus::NotServing };
            reporter.set_service_status(name, status).await;
        }
        if health.changed().await.is_err() {
            // Whoever looked has ended, and the process is about to.
            return;
        }
    }
}
