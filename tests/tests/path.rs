//! The one real path: a hospital's messages over a socket, to a person's timeline, with every side effect looked at.

mod hospitals;

use anyhow::Context;
use hospitals::{OTHER, PAS, admission, one_timeline, person};
use weft_testkit::{Node, Sender, Site};

fn start() -> anyhow::Result<(Site, Node)> {
    let site = Site::new()?;
    // One feed while the node is stopped, one while it runs.
    let file = site.write("pas.toml", PAS)?;
    assert_eq!(site.weft(&["feed", "add", &file])?.code, 0);
    let node = site.serve()?;
    let file = site.write("other.toml", OTHER)?;
    let added = site.weft(&["feed", "add", &file])?;
    assert_eq!((added.code, added.stderr.as_str()), (0, ""));
    Ok((site, node))
}

#[test]
fn from_two_hospitals_to_one_timeline() -> anyhow::Result<()> {
    let (site, node) = start()?;
    let id = one_timeline(&site, &node.mllp("ryj-pas")?, &node.mllp("rqm-pas")?)?;

    let stat = site.json(&["log", "stat", "--json"])?;
    let ends = &stat["streams"]["feed"];
    assert_eq!((&ends["oldest"], &ends["newest"]), (&"feed/0/0".into(), &"feed/0/5".into()), "{stat}");
    // As it was known before the second hospital spoke.
    let before = site.json(&["timeline", &id, "--as-of", "feed/0/1", "--json"])?;
    assert_eq!(before["entries"].as_array().map(Vec::len), Some(1), "{before}");
    assert_eq!(node.stop()?, 0);
    Ok(())
}

#[test]
fn a_restarted_node_goes_on_where_it_ended() -> anyhow::Result<()> {
    let (site, node) = start()?;
    assert_eq!(Sender::connect(&node.mllp("ryj-pas")?)?.send(&admission("RYJ", "A1", "100001"))?.code, "AA");
    let id = person(&site, 1)?;
    assert_eq!(node.stop()?, 0);
    assert_eq!(site.weft(&["timeline", &id])?.code, 4, "no node answers");
    let node = site.serve()?;
    assert_eq!(Sender::connect(&node.mllp("rqm-pas")?)?.send(&admission("RQM", "B1", "77"))?.code, "AA");
    assert_eq!(person(&site, 2)?, id, "linked to the person of before");
    assert_eq!(Sender::connect(&node.mllp("ryj-pas")?)?.send(&admission("RYJ", "A1", "100001"))?.code, "AA");
    let stat = site.json(&["log", "stat", "--json"])?;
    assert_eq!(stat["verdicts"]["duplicate"], 1, "a repeat is known across a restart");
    Ok(())
}

#[test]
fn a_feed_is_paused_changed_and_resumed_while_it_runs() -> anyhow::Result<()> {
    let (site, node) = start()?;
    let address = node.mllp("ryj-pas")?;
    assert_eq!(site.weft(&["feed", "pause", "ryj-pas"])?.code, 0);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while Sender::connect(&address).is_ok_and(|mut s| s.send(&admission("RYJ", "P1", "1")).is_ok()) {
        assert!(std::time::Instant::now() < deadline, "a paused feed still acknowledges");
    }
    assert_eq!(site.weft(&["feed", "resume", "ryj-pas"])?.code, 0);
    site.wait_for(&["feed", "list", "--json"], |f| {
        f["feeds"].as_array().is_some_and(|f| f.iter().all(|f| f["state"] == "LISTENING"))
    })?;
    let file = site.write("pas.toml", PAS.replace("[\"RYJ\"]", "[\"NEW\"]"))?;
    assert_eq!(site.weft(&["feed", "add", &file])?.code, 0);
    let shown = site.json(&["feed", "show", "ryj-pas", "--json"])?;
    let address = shown["feed"]["address"].as_str().context("an address")?.to_owned();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let mut sender = Sender::connect(&address)?;
    for n in 0.. {
        if sender.send(&admission("NEW", &format!("N{n}"), "9"))?.code == "AA" {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "the changed registration is not followed");
    }
    Ok(())
}

#[test]
fn nothing_of_a_person_is_in_the_log_files_or_what_the_node_says() -> anyhow::Result<()> {
    let site = Site::new()?;
    let file = site.write("pas.toml", PAS)?;
    site.weft(&["feed", "add", &file])?;
    let node = site.serve_logging("trace")?;
    let mut sender = Sender::connect(&node.mllp("ryj-pas")?)?;
    sender.send(&admission("RYJ", "A1", "100001"))?;
    sender.send(&admission("XXX", "A2", "100001"))?;
    sender.send(
        &String::from_utf8_lossy(&admission("RYJ", "A3", "100001")).replace("19800214", "19801414CANARY").into_bytes(),
    )?;
    person(&site, 1)?;
    let said = node.stop_and_listen()?;
    assert!(said.contains("TRACE") || said.contains("DEBUG"), "the node logged at its most talkative");
    let canaries = ["CANARY", "Canary", "9990000018", "999 000 0018", "19800214", "100001"];
    for canary in canaries {
        assert!(!said.contains(canary), "the node's log says {canary}");
    }
    for entry in std::fs::read_dir(site.path().join("data/log"))? {
        let path = entry?.path();
        let bytes = std::fs::read(&path)?;
        for canary in canaries {
            let found = bytes.windows(canary.len()).any(|w| w == canary.as_bytes());
            assert!(!found, "{} has {canary} in the clear", path.display());
        }
    }
    Ok(())
}
