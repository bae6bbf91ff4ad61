//! The command line as scripts and strangers meet it: help, exit codes, data on stdout and talk on stderr.

use weft_testkit::{Site, command};

fn check(arguments: &[&str], code: i32, stderr_says: &str) -> anyhow::Result<()> {
    let output = command(arguments)?;
    assert_eq!(output.code, code, "weft {}: {}", arguments.join(" "), output.stderr);
    assert!(output.stderr.contains(stderr_says), "weft {}: {}", arguments.join(" "), output.stderr);
    assert_eq!(output.stdout, "", "talk goes to stderr");
    Ok(())
}

#[test]
fn wrong_usage_is_2_and_says_what_is_wrong() -> anyhow::Result<()> {
    check(&["nonsense"], 2, "unrecognized subcommand")?;
    check(&["timeline"], 2, "<PERSON>")?;
    check(&["timeline", "not-a-person"], 2, "32 hexadecimal digits")?;
    check(&["timeline", "00000000-0000-0000-0000-000000000000", "--kind", "nonsense"], 2, "no such kind of line")?;
    check(&["log", "tail", "--from", "feed"], 2, "not a position such as feed/0/1234")?;
    check(&["quarantine", "list", "--limit", "0"], 2, "0 is not in")?;
    check(&["quarantine", "redrive", "--reason", "mended"], 2, "required")?;
    check(&["quarantine", "redrive", "--all"], 2, "--reason")?;
    check(&["quarantine", "redrive", "--all", "feed/0/1", "--reason", "mended"], 2, "cannot be used with")?;
    check(&["person", "find", "--family", "X"], 2, "--born")?;
    check(&["demo", "--people", "0"], 2, "0 is not in")?;
    Ok(())
}

#[test]
fn a_missing_configuration_says_how_to_make_one() -> anyhow::Result<()> {
    check(&["--config", "/nonexistent/weft.toml", "serve"], 1, "weft init")
}

#[test]
fn no_node_is_4_and_says_how_to_start_one() -> anyhow::Result<()> {
    let site = Site::new()?;
    for arguments in [
        &["feed", "list"][..],
        &["quarantine", "list"],
        &["quarantine", "redrive", "--all", "--reason", "mended"],
        &["person", "find", "--nhs-number", "9990000018"],
    ] {
        let output = site.weft(arguments)?;
        assert_eq!(output.code, 4, "{}", output.stderr);
        assert!(output.stderr.contains("weft serve"), "{}", output.stderr);
    }
    Ok(())
}

#[test]
fn what_is_not_there_is_3() -> anyhow::Result<()> {
    let site = Site::new()?;
    let node = site.serve()?;
    for arguments in [
        &["feed", "show", "nope"][..],
        &["feed", "pause", "nope"],
        &["timeline", "00000000-0000-0000-0000-000000000000"],
        &["person", "find", "--nhs-number", "9990000018"],
        &["quarantine", "show", "feed/0/99"],
    ] {
        let output = site.weft(arguments)?;
        assert_eq!(output.code, 3, "{}: {}", arguments.join(" "), output.stderr);
    }
    let wrong = site.weft(&["person", "find", "--nhs-number", "9990000019"])?;
    assert_eq!(wrong.code, 5, "{}", wrong.stderr);
    assert!(wrong.stderr.contains("nhs_number"), "the field is named: {}", wrong.stderr);
    assert_eq!(node.stop()?, 0);
    Ok(())
}

#[test]
fn init_does_not_overwrite_and_its_example_is_a_feed() -> anyhow::Result<()> {
    let site = Site::with(&["--tls"])?;
    let again = command(&["init", site.path().to_str().unwrap_or_default()])?;
    assert_eq!(again.code, 1);
    assert!(again.stderr.contains("nothing was changed"), "{}", again.stderr);
    let example = site.path().join("feeds/example-pas.toml").display().to_string();
    assert_eq!(site.weft(&["feed", "add", &example])?.code, 0);
    let node = site.serve()?;
    assert!(node.mllp("example-pas").is_ok());
    Ok(())
}

#[test]
fn feed_check_shows_what_would_be_made_of_a_message() -> anyhow::Result<()> {
    let site = Site::new()?;
    let feed = site.path().join("feeds/example-pas.toml").display().to_string();
    let good = "MSH|^~\\&|PAS|RYJ|R|R|20260301101500||ADT^A01|C1|P|2.4\rEVN||20260301101500\r\
                PID|1||100^^^RYJ^MR~9434765919^^^NHS||FAMILY^Given||19801301|2\rPV1|1|I|W1^B^1||||||||||||||||V1\r";
    let message = site.write("message.hl7", good)?;
    let output = site.weft(&["feed", "check", &feed, &message])?;
    assert_eq!(output.code, 0, "{}", output.stderr);
    for shown in ["record      RYJ", "nhs-number", "PID-7", "Encounter/", "MSA|AA|C1"] {
        assert!(output.stdout.contains(shown), "{shown} is not in\n{}", output.stdout);
    }
    assert!(!site.path().join("data").exists(), "no store is touched");
    let message = site.write("bad.hl7", good.replace("ADT^A01", "ADT^Z99"))?;
    assert_eq!(site.weft(&["feed", "check", &feed, &message, "--json"])?.code, 5);
    Ok(())
}

#[test]
fn send_prints_each_acknowledgement() -> anyhow::Result<()> {
    let site = Site::with(&["--tls"])?;
    let plain = std::fs::read_to_string(site.path().join("feeds/example-pas.toml"))?;
    let mutual = plain
        .replace("example-pas", "tls-pas")
        .replace("listen = \"127.0.0.1:0\"", "listen = \"127.0.0.1:0\"\ntls = \"mutual\"");
    let mutual = site.write("feeds/tls-pas.toml", mutual)?;
    let plain = site.path().join("feeds/example-pas.toml").display().to_string();
    let node = site.serve()?;
    assert_eq!(site.weft(&["feed", "add", &plain])?.code, 0);
    assert_eq!(site.weft(&["feed", "add", &mutual])?.code, 0);
    let messages: String = (0..5)
        .map(|n| format!("MSH|^~\\&|PAS|RYJ|R|R|20260301101500||ADT^A28|S{n}|P|2.4\rEVN||20260301101500\rPID|1||{n}^^^RYJ^MR||F^G||19800101|1\r\n"))
        .collect();
    let file = site.write("messages.hl7", messages)?;
    let output = site.weft(&["send", "example-pas", &file, "--connections", "2"])?;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_eq!(output.stdout.matches("  AA  S").count(), 5, "{}", output.stdout);
    // The same over mutual TLS; without a client certificate nothing gets through.
    let address = node.mllp("tls-pas")?;
    let path = |name: &str| site.path().join("tls").join(name).display().to_string();
    let (ca, cert, key) = (path("ca.pem"), path("client.pem"), path("client.key"));
    let output = site.weft(&["send", &address, &file, "--ca", &ca, "--cert", &cert, "--key", &key])?;
    assert_eq!(output.code, 0, "{}", output.stderr);
    let output = site.weft(&["send", &address, &file, "--ca", &ca])?;
    assert_eq!(output.code, 1, "{}", output.stdout);
    Ok(())
}
