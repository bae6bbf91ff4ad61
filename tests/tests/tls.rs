//! Brokers and a database that take nobody in the clear: a whole node on them, over TLS and with a password, and what the
//! doctor says where either does not fit. Runs where the node is built with TLS towards the brokers (`--all-features`).

#![cfg(feature = "kafka-tls")]

mod common;

use anyhow::Context;
use common::FEED;
use serde_json::Value;
use weft_testkit::{KAFKA_PASSWORD, KAFKA_USER, KafkaCluster, Output, PostgresServer, Sender, Site, message};

/// Certificates for localhost, and another authority that has signed none of them.
fn certificates() -> anyhow::Result<(Site, Site)> {
    Ok((Site::with(&["--tls"])?, Site::with(&["--tls"])?))
}

fn authority(site: &Site) -> String {
    site.path().join("tls/ca.pem").display().to_string()
}

fn findings(output: &Output) -> anyhow::Result<Vec<Value>> {
    let report: Value = serde_json::from_str(&output.stdout).with_context(|| output.stderr.clone())?;
    Ok(report["findings"].as_array().cloned().unwrap_or_default())
}

#[test]
fn a_node_on_brokers_and_a_database_that_insist_on_tls() -> anyhow::Result<()> {
    let (certified, other) = certificates()?;
    let tls = certified.path().join("tls");
    let Some((_kafka, brokers)) = KafkaCluster::start_secure(&tls)? else { return Ok(()) };
    let Some(server) = PostgresServer::start_secure(&tls)? else { return Ok(()) };
    let url = format!("{}?sslmode=verify-full&{}", server.url(), authority_in_url(&certified));
    let site = Site::on_kafka(&brokers, &url, 1)?;
    let config = std::fs::read_to_string(site.config())?;
    let properties = format!(
        "\n[kafka.properties]\n\"security.protocol\" = \"SASL_SSL\"\n\"sasl.mechanism\" = \"SCRAM-SHA-512\"\n\
         \"sasl.username\" = \"{KAFKA_USER}\"\n\"sasl.password\" = \"{KAFKA_PASSWORD}\"\n\"ssl.ca.location\" = \"{}\"\n",
        authority(&certified)
    );
    std::fs::write(site.config(), config + &properties)?;

    let report = site.json(&["doctor", "--json"])?;
    assert_eq!(report["state"], "good", "{report}");
    let file = site.write("feed.toml", FEED)?;
    assert_eq!(site.weft(&["feed", "add", &file])?.code, 0);
    let node = site.serve()?;
    let mut sender = Sender::connect(&node.mllp("ryj-pas")?)?;
    for number in 0..10 {
        assert_eq!(sender.send(&message(number))?.code, "AA");
    }
    site.wait_for(&["person", "find", "--local-id", "RYJ/P3", "--json"], |answer| {
        answer["persons"][0]["personId"].is_string()
    })?;
    let report = site.wait_for(&["verify", "--deep", "--json"], |report| report["cuts"].as_u64() > Some(0))?;
    assert_eq!(report["whole"], true, "{report}");
    assert_eq!(node.stop()?, 0);

    // What does not fit is said, and no password with it.
    let refused = |from: &str, to: &str, check: &str| -> anyhow::Result<()> {
        let config = site.config_as("refused.toml", from, to)?.display().to_string();
        let output = weft_testkit::command(&["--config", &config, "doctor", "--json"])?;
        assert_eq!(output.code, 1, "{to}: {}", output.stdout);
        assert!(!output.stdout.contains(KAFKA_PASSWORD) && !output.stderr.contains(KAFKA_PASSWORD), "{output:?}");
        let bad = |finding: &Value| finding["check"] == check && finding["state"] == "bad";
        assert!(findings(&output)?.iter().any(bad), "{to}: {}", output.stdout);
        Ok(())
    };
    refused(&format!("\"{KAFKA_PASSWORD}\""), "\"another\"", "log")?;
    let kafka_trusts = |site: &Site| format!("\"ssl.ca.location\" = \"{}\"", authority(site));
    refused(&kafka_trusts(&certified), &kafka_trusts(&other), "log")?;
    refused(&authority_in_url(&certified), &authority_in_url(&other), "read model")?;
    refused("sslmode=verify-full", "sslmode=disable", "read model")
}

fn authority_in_url(site: &Site) -> String {
    format!("sslrootcert={}", authority(site))
}
