//! The demonstration, as a stranger would run it.

use weft_testkit::command;

#[test]
fn its_last_line_adds_up() -> anyhow::Result<()> {
    let output = command(&["demo", "--exit", "--json", "--people", "300", "--seed", "7"])?;
    assert_eq!(output.code, 0, "{}", output.stderr);
    let last: serde_json::Value = serde_json::from_str(output.stdout.lines().last().unwrap_or_default())?;
    let count = |name: &str| last["messages"][name].as_u64().unwrap_or_default();
    let parts = ["accepted", "duplicate", "conflict", "quarantined"];
    assert_eq!(count("received"), parts.iter().map(|p| count(p)).sum::<u64>());
    assert!(parts.iter().all(|part| count(part) > 0), "the dirty feed sends some of each: {last}");
    assert!(last["links"]["precision"].as_f64() > Some(0.99), "{last}");
    assert!(last["links"]["recall"].as_f64() > Some(0.7), "{last}");
    for figure in ["per_second", "p50_ms", "p99_ms"] {
        assert!(last["acks"][figure].as_f64() > Some(0.0), "{last}");
    }
    assert!(last["seconds"]["first_timeline"].as_f64() <= last["seconds"]["all"].as_f64());
    assert!(output.stdout.contains("One person's history"), "{}", output.stdout);
    Ok(())
}

#[test]
fn the_same_seed_tells_the_same_lives() -> anyhow::Result<()> {
    let run = || -> anyhow::Result<serde_json::Value> {
        let output = command(&["demo", "--exit", "--json", "--people", "40", "--seed", "3"])?;
        let last: serde_json::Value = serde_json::from_str(output.stdout.lines().last().unwrap_or_default())?;
        Ok(last["messages"].clone())
    };
    assert_eq!(run()?, run()?);
    Ok(())
}
