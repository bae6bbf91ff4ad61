//! What was quarantined, on an embedded log: a registration is mended, and the messages are read again.

mod hospitals;
mod mended;

use weft_testkit::Site;

#[test]
fn what_was_quarantined_comes_to_the_timeline_once() -> anyhow::Result<()> {
    let site = Site::new()?;
    mended::register_wrongly(&site)?;
    let node = site.serve()?;
    let id = mended::story(&site)?;
    // What was known before anything was accepted is what it was.
    let before = site.json(&["timeline", &id, "--as-of", "feed/0/3", "--json"]);
    assert!(before.is_err() || before?["entries"].as_array().is_none_or(Vec::is_empty));
    whole(&site)?;
    assert_eq!(node.stop()?, 0);
    Ok(())
}

#[test]
fn a_node_that_dies_while_it_reads_again_accepts_each_message_once() -> anyhow::Result<()> {
    let site = Site::new()?;
    mended::register_wrongly(&site)?;
    let node = mended::killed(&site, 1200, 6)?;
    whole(&site)?;
    assert_eq!(node.stop()?, 0);
    Ok(())
}

/// Live = rebuilt, and every event is the one that its header says.
fn whole(site: &Site) -> anyhow::Result<()> {
    let compared = site.wait_for(&["replay", "--compare", "--json"], |answer| answer["equal"] == true)?;
    assert_eq!(compared["equal"], true, "{compared}");
    let verified = site.json(&["verify", "--deep", "--json"])?;
    assert_eq!(verified["whole"], true, "{verified}");
    Ok(())
}
