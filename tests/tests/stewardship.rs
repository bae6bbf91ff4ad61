//! Stewards on a real node: what they decide stands against new messages, restarts and rebuilds, and can be taken back.

use anyhow::{Context, bail};
use serde_json::Value;
use weft_testkit::{Node, Sender, Site};

fn feed(organisation: &str, name: &str) -> String {
    format!(
        "feed = \"{name}\"\norganisation = \"{organisation}\"\ndemo = true\n[mllp]\nlisten = \"127.0.0.1:0\"\n\
         [identifiers]\nsystem = \"{organisation}-MRN\"\n"
    )
}

const WHO: [&str; 6] = ["--user", "s.steward", "--role", "data-steward", "--reason", "two cards compared"];

struct Hospital {
    site: Site,
    node: Node,
    messages: u32,
}

impl Hospital {
    fn open() -> anyhow::Result<Self> {
        let site = Site::new()?;
        for (organisation, name) in [("RYJ", "ryj-pas"), ("RQM", "rqm-pas")] {
            let file = site.write(&format!("{name}.toml"), feed(organisation, name))?;
            assert_eq!(site.weft(&["feed", "add", &file])?.code, 0);
        }
        let node = site.serve()?;
        Ok(Self { site, node, messages: 0 })
    }

    /// Sends an admission of a patient, always the same one: `NHS number|family|given|born|sex|postcode`.
    fn register(&mut self, organisation: &str, number: &str, patient: &str) -> anyhow::Result<()> {
        let visit = format!("PV1|1|I|WARD6B||||||||||||||||V{number}|||||||||||||||||||||||||20260301090000\r");
        self.tell("A01", organisation, number, patient, &visit)
    }

    fn tell(&mut self, trigger: &str, org: &str, number: &str, patient: &str, more: &str) -> anyhow::Result<()> {
        self.messages += 1;
        let part = |n: usize| patient.split('|').nth(n).unwrap_or_default();
        let minute = self.messages;
        let message = format!(
            "MSH|^~\\&|PAS|{org}|ROUTE|ROUTE|2026030110{minute:02}00||ADT^{trigger}|M{minute}|P|2.4\r\
             EVN||2026030110{minute:02}00\r\
             PID|1||{number}^^^{org}^MR~{}^^^NHS||{}^{}||{}|{}|||1 High Street^^London^^{}||||||||||||||||||||01\r{more}",
            part(0),
            part(1),
            part(2),
            part(3),
            part(4),
            part(5),
        );
        let address = self.node.mllp(if org == "RYJ" { "ryj-pas" } else { "rqm-pas" })?;
        let ack = Sender::connect(&address)?.send(message.as_bytes())?;
        if ack.code != "AA" {
            bail!("{trigger} was answered {}", ack.code);
        }
        Ok(())
    }

    /// The person of a record, once it is linked.
    fn person(&self, record: &str) -> anyhow::Result<String> {
        let told = self.site.wait_for(&["link", "explain", record, "--json"], |told| told["personId"] != "")?;
        let person = told["personId"].as_str().context("a person")?.to_owned();
        self.projected(&person)?;
        Ok(person)
    }

    /// Waits until every message sent so far is in the timelines: a link may be known before the message that it is about.
    fn projected(&self, person: &str) -> anyhow::Result<()> {
        // Each was accepted and is one event.
        let events = u64::from(self.messages);
        self.site.wait_for(&["timeline", person, "--json"], |told| {
            let sizes = told["knownAt"]["sizes"].as_array();
            let feed = sizes.and_then(|sizes| sizes.iter().find(|size| size["stream"] == "FEED"));
            let known = feed.and_then(|feed| feed["offset"].as_str()).and_then(|offset| offset.parse::<u64>().ok());
            known.is_some_and(|known| known >= events)
        })?;
        Ok(())
    }

    /// Waits until a record is with a person.
    fn wait_person(&self, record: &str, person: &str) -> anyhow::Result<()> {
        self.site.wait_for(&["link", "explain", record, "--json"], |told| told["personId"] == person)?;
        self.projected(person)
    }

    /// Decides, and returns the answer.
    fn decide(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let mut all = vec!["link"];
        all.extend(arguments);
        all.extend(WHO);
        all.push("--json");
        self.site.json(&all)
    }

    fn timeline(&self, person: &str) -> anyhow::Result<String> {
        Ok(self.site.json(&["timeline", person, "--json"])?["entries"].to_string())
    }

    /// Waits until everything sent so far has been decided on: the last message was about `record`, and changed nothing of
    /// what `person` is.
    fn settled(&self, record: &str, person: &str) -> anyhow::Result<()> {
        std::thread::sleep(std::time::Duration::from_millis(400));
        self.wait_person(record, person)
    }

    fn restart(self) -> anyhow::Result<Self> {
        let Self { site, node, messages } = self;
        assert_eq!(node.stop()?, 0);
        let node = site.serve()?;
        Ok(Self { site, node, messages })
    }

    /// Ends the node; a rebuild of the read model differs in nothing.
    fn close_and_compare(self) -> anyhow::Result<Site> {
        let Self { site, node, .. } = self;
        assert_eq!(node.stop()?, 0);
        let replay = site.json(&["replay", "--compare", "--json"])?;
        assert_eq!((&replay["equal"], &replay["different"]), (&Value::Bool(true), &serde_json::json!([])), "{replay}");
        assert!(replay["tables"]["ruling"]["rows"].as_u64().is_some_and(|rows| rows > 0), "{replay}");
        // Decided again from the log alone, three times, everything is as it was decided, and always the same.
        let first = site.json(&["link", "verify", "--json"])?;
        assert_eq!(
            (&first["differences"], &first["undecided"]),
            (&serde_json::json!(0), &serde_json::json!(0)),
            "{first}"
        );
        assert!(first["decisions"].as_u64().is_some_and(|decisions| decisions > 1), "{first}");
        for _ in 0..2 {
            assert_eq!(site.json(&["link", "verify", "--json"])?, first);
        }
        Ok(site)
    }
}

const ANN: &str = "9990000018|OKAFOR|Ann Mary|19800214|2|W2 1NY";
const EVE: &str = "9990000026|BIANCHI|Eve|19510630|2|SW6 1AA";

#[test]
fn what_a_steward_has_split_stays_apart_under_new_messages_restarts_and_rebuilds() -> anyhow::Result<()> {
    let mut hospital = Hospital::open()?;
    hospital.register("RYJ", "1", ANN)?;
    let person = hospital.person("RYJ/RYJ-MRN/1")?;
    hospital.register("RQM", "7", ANN)?;
    hospital.wait_person("RQM/RQM-MRN/7", &person)?;

    // What a split would move is told before it is decided, and decides nothing.
    let seen = hospital.decide(&["split", &person, "RQM/RQM-MRN/7", "--preview"])?;
    assert_eq!(seen["effect"]["entries"], 1, "{seen}");
    assert_eq!(seen["effect"]["organisations"], serde_json::json!(["RQM"]), "{seen}");
    hospital.wait_person("RQM/RQM-MRN/7", &person)?;
    let split = hospital.decide(&["split", &person, "RQM/RQM-MRN/7"])?;
    assert_eq!(split["effect"], seen["effect"], "decided as it was previewed");
    let other = hospital.person("RQM/RQM-MRN/7")?;
    assert_ne!(other, person);

    // Both say the same again, with something new: every score says that they are one.
    for (organisation, number) in [("RQM", "7"), ("RYJ", "1")] {
        hospital.register(organisation, number, "9990000018|OKAFOR|Ann Mary Joy|19800214|2|W2 1NX")?;
    }
    hospital.settled("RYJ/RYJ-MRN/1", &person)?;
    hospital.wait_person("RQM/RQM-MRN/7", &other)?;
    let mut hospital = hospital.restart()?;
    for (organisation, number) in [("RQM", "7"), ("RYJ", "1")] {
        hospital.register(organisation, number, "9990000018|OKAFOR|Ann|19800214|2|W2 1NZ")?;
    }
    hospital.settled("RYJ/RYJ-MRN/1", &person)?;
    hospital.wait_person("RQM/RQM-MRN/7", &other)?;

    // A record that fits both is given to neither, and waits for a steward.
    hospital.register("RYJ", "2", "9990000018|OKAFOR|Ann|19800214|2|W2 1NZ")?;
    let third = hospital.person("RYJ/RYJ-MRN/2")?;
    assert!(third != person && third != other);
    let queue = hospital.site.json(&["link", "review", "--json"])?;
    let of_third = queue["reviews"].as_array().context("reviews")?.iter().find(|r| r["record"]["value"] == "2");
    let question = of_third.with_context(|| format!("a question about the third record: {queue}"))?;
    assert!(queue["waiting"].as_u64().is_some_and(|n| n >= 1), "{queue}");

    // Answered: it is the one's, and the question is gone.
    let position = format!("identity/0/{}", question["position"]["offset"].as_str().context("offset")?);
    hospital.decide(&["accept", &position, "--person", &person])?;
    assert_eq!(hospital.person("RYJ/RYJ-MRN/2")?, person);
    assert_eq!(hospital.site.weft(&["link", "accept", &position])?.code, 3, "the question does not wait any more");

    // Why, with names: on the terminal.
    let explained = hospital.site.weft(&["link", "explain", "RQM/RQM-MRN/7"])?.stdout;
    assert!(explained.contains("placed by a steward"), "{explained}");
    assert!(explained.contains("split by s.steward, data-steward of"), "{explained}");
    assert!(explained.contains("two cards compared"), "{explained}");
    hospital.close_and_compare()?;
    Ok(())
}

#[test]
fn a_merge_and_its_undo_leave_the_timelines_byte_for_byte_as_they_were() -> anyhow::Result<()> {
    let mut hospital = Hospital::open()?;
    hospital.register("RYJ", "1", ANN)?;
    hospital.register("RQM", "7", EVE)?;
    let (ann, eve) = (hospital.person("RYJ/RYJ-MRN/1")?, hospital.person("RQM/RQM-MRN/7")?);
    assert_ne!(ann, eve);
    let before = (hospital.timeline(&ann)?, hospital.timeline(&eve)?);
    let merged = hospital.decide(&["merge", &ann, &eve])?;
    assert_eq!(merged["effect"]["organisations"], serde_json::json!(["RQM"]), "{merged}");
    let together = hospital.timeline(&ann)?;
    assert_ne!(together, before.0);
    assert_eq!(hospital.site.weft(&["timeline", &eve])?.code, 3, "nobody has the retired identifier");
    // Between the two a message comes: it belongs to its record, whosever that is.
    let position = format!("identity/0/{}", merged["position"]["offset"].as_str().context("offset")?);
    let undone = hospital.decide(&["undo", &position])?;
    assert_eq!(undone["effect"]["entries"], merged["effect"]["entries"]);
    assert_eq!((hospital.timeline(&ann)?, hospital.timeline(&eve)?), before);
    // Once is enough.
    let again = hospital.site.weft(&["link", "undo", &position])?;
    assert_eq!(again.code, 1, "{}", again.stderr);
    assert!(again.stderr.contains("taken back already"), "{}", again.stderr);
    // An undo can be undone.
    let position = format!("identity/0/{}", undone["position"]["offset"].as_str().context("offset")?);
    hospital.decide(&["undo", &position])?;
    assert_eq!(hospital.timeline(&ann)?, together);
    hospital.close_and_compare()?;
    Ok(())
}

#[test]
fn a_steward_s_link_outranks_scores_and_a_sender_s_word_outranks_them_too() -> anyhow::Result<()> {
    let mut hospital = Hospital::open()?;
    hospital.register("RYJ", "1", ANN)?;
    hospital.register("RQM", "7", EVE)?;
    let (ann, eve) = (hospital.person("RYJ/RYJ-MRN/1")?, hospital.person("RQM/RQM-MRN/7")?);
    hospital.decide(&["accept", "RQM/RQM-MRN/7", "--person", &ann])?;
    assert_eq!(hospital.person("RQM/RQM-MRN/7")?, ann);
    // Its number and everything else speaks for somebody else.
    hospital.register("RYJ", "2", EVE)?;
    hospital.register("RQM", "7", "9990000026|BIANCHI|Eve Maria|19510630|2|SW6 1AB")?;
    hospital.settled("RQM/RQM-MRN/7", &ann)?;
    // Rejected, it goes to a person of its own, and does not come back.
    hospital.decide(&["reject", "RQM/RQM-MRN/7"])?;
    let own = hospital.person("RQM/RQM-MRN/7")?;
    assert!(own != ann && own != eve, "{own}");

    // A37: two records of one hospital that are not one patient after all.
    hospital.register("RYJ", "3", "9990000034|SMITH|Jo|19700101|1|N1 1AA")?;
    hospital.register("RYJ", "4", "9990000034|SMITH|Jo|19700101|1|N1 1AA")?;
    let jo = hospital.person("RYJ/RYJ-MRN/3")?;
    hospital.wait_person("RYJ/RYJ-MRN/4", &jo)?;
    hospital.tell("A37", "RYJ", "3", "9990000034|SMITH|Jo|19700101|1|N1 1AA", "PID|2||4^^^RYJ^MR\r")?;
    let told =
        hospital.site.wait_for(&["link", "explain", "RYJ/RYJ-MRN/4", "--json"], |told| told["personId"] != *jo)?;
    let alone = told["personId"].as_str().context("a person")?.to_owned();
    hospital.register("RYJ", "4", "9990000034|SMITH|Jo|19700101|1|N1 1AB")?;
    hospital.settled("RYJ/RYJ-MRN/4", &alone)?;
    let site = hospital.close_and_compare()?;
    // Offline, nobody answers.
    assert_eq!(site.weft(&["link", "review"])?.code, 4);
    Ok(())
}

#[test]
fn two_people_under_one_number_are_asked_about_first_and_the_number_links_nobody() -> anyhow::Result<()> {
    let mut hospital = Hospital::open()?;
    hospital.register("RYJ", "1", ANN)?;
    let ann = hospital.person("RYJ/RYJ-MRN/1")?;
    hospital.register("RQM", "7", "9990000018|BIANCHI|Ben|19510630|1|SW6 1AA")?;
    hospital.person("RQM/RQM-MRN/7")?;
    hospital.register("RQM", "8", ANN)?;
    let third = hospital.person("RQM/RQM-MRN/8")?;
    assert_ne!(third, ann, "the number is frozen");
    let queue = hospital.site.json(&["link", "review", "--json"])?;
    assert!(queue["reviews"][0]["codes"].to_string().contains("nhs-number"), "{queue}");
    let evidence = queue.to_string();
    for value in ["9990000018", "OKAFOR", "W2 1NY", "19800214"] {
        assert!(!evidence.contains(value), "the queue tells {value}: {queue}");
    }
    let released = hospital.site.weft(&[["link", "release", "999 000 0018"].as_slice(), WHO.as_slice()].concat())?;
    assert_eq!(released.code, 0, "{}", released.stderr);
    let again = hospital.site.weft(&[["link", "release", "9990000018"].as_slice(), WHO.as_slice()].concat())?;
    assert_eq!(again.code, 3, "{}", again.stderr);
    // Nothing was sent, and the one that the number kept away is decided on again; so it is after a restart.
    hospital.wait_person("RQM/RQM-MRN/8", &ann)?;
    hospital.site.wait_for(&["link", "review", "--json"], |queue| queue["waiting"] == 0)?;
    let hospital = hospital.restart()?;
    assert_eq!(hospital.person("RQM/RQM-MRN/8")?, ann);
    hospital.close_and_compare()?;
    Ok(())
}

#[test]
fn a_superseded_number_joins_who_was_known_under_both() -> anyhow::Result<()> {
    let mut hospital = Hospital::open()?;
    hospital.register("RYJ", "1", ANN)?;
    let ann = hospital.person("RYJ/RYJ-MRN/1")?;
    hospital.register("RQM", "7", &ANN.replace("9990000018", "9990000026"))?;
    assert_ne!(hospital.person("RQM/RQM-MRN/7")?, ann, "two numbers are two persons");
    let told = ["link", "supersede", "9990000026", "9990000018"];
    let told = hospital.site.weft(&[told.as_slice(), WHO.as_slice()].concat())?;
    assert_eq!(told.code, 0, "{}", told.stderr);
    hospital.wait_person("RQM/RQM-MRN/7", &ann)?;
    hospital.close_and_compare()?;
    Ok(())
}

#[test]
fn who_is_left_behind_by_an_accepted_record_is_decided_on_again() -> anyhow::Result<()> {
    let mut hospital = Hospital::open()?;
    hospital.register("RYJ", "1", ANN)?;
    let ann = hospital.person("RYJ/RYJ-MRN/1")?;
    // Two that are one by their number, which differs from hers: nothing but a steward brings them to her.
    let other = ANN.replace("9990000018", "9990000026");
    hospital.register("RQM", "7", &other)?;
    let seven = hospital.person("RQM/RQM-MRN/7")?;
    hospital.register("RQM", "8", &other)?;
    hospital.wait_person("RQM/RQM-MRN/8", &seven)?;
    hospital.decide(&["accept", "RQM/RQM-MRN/7", "--person", &ann])?;
    // Its number speaks for the one that was accepted: the other follows, decided by a score.
    hospital.wait_person("RQM/RQM-MRN/8", &ann)?;
    let explained = hospital.site.json(&["link", "explain", "RQM/RQM-MRN/8", "--json"])?;
    assert_eq!(
        (&explained["held"], &explained["decisions"][0]["method"]),
        (&Value::Bool(false), &"NHS_NUMBER_CROSS_CHECK".into())
    );
    hospital.close_and_compare()?;
    Ok(())
}

#[test]
fn another_model_is_compared_before_it_decides_and_leaves_what_was_decided() -> anyhow::Result<()> {
    let mut hospital = Hospital::open()?;
    hospital.register("RYJ", "1", ANN)?;
    let ann = hospital.person("RYJ/RYJ-MRN/1")?;
    hospital.register("RQM", "7", ANN)?;
    hospital.wait_person("RQM/RQM-MRN/7", &ann)?;

    let shipped = include_str!("../../schemas/linkage/weights-1.toml");
    let threshold = shipped.lines().find(|line| line.starts_with("threshold")).context("a threshold")?;
    let name = shipped.lines().find(|line| line.starts_with("name")).context("a name")?;
    let strict = shipped.replace(threshold, "threshold = 9000").replace(name, "name = \"strict/1\"");
    let strict = hospital.site.write("strict.toml", strict)?;
    let same = hospital.site.json(&["link", "compare", "shipped", "shipped", "--json"])?;
    assert_eq!((&same["changed"], &same["pairs"]["both"]), (&serde_json::json!(0), &serde_json::json!(1)), "{same}");
    let compared = hospital.site.json(&["link", "compare", "shipped", &strict, "--json"])?;
    assert_eq!((&compared["changed"], &compared["pairs"]["lost"]), (&serde_json::json!(2), &serde_json::json!(1)));
    assert_eq!(hospital.person("RQM/RQM-MRN/7")?, ann, "comparing changes nothing");

    let broken = hospital.site.write("broken.toml", "name = 1")?;
    assert_eq!(hospital.site.weft(&["link", "switch", &broken])?.code, 5);
    let switched = hospital.site.weft(&[["link", "switch", &strict].as_slice(), WHO.as_slice()].concat())?;
    assert_eq!(switched.code, 0, "{}", switched.stderr);
    let again = hospital.site.weft(&[["link", "switch", &strict].as_slice(), WHO.as_slice()].concat())?;
    assert_eq!(again.code, 1, "{}", again.stderr);
    assert!(again.stderr.contains("is the model that decides"), "{}", again.stderr);
    let hospital = hospital.restart()?;
    let mut hospital = hospital;
    hospital.register("RYJ", "2", ANN)?;
    let second = hospital.person("RYJ/RYJ-MRN/2")?;
    assert_ne!(second, ann, "by the strict model nobody agrees enough");
    let explained = hospital.site.json(&["link", "explain", "RYJ/RYJ-MRN/2", "--json"])?;
    assert_eq!(explained["decisions"][0]["model"], "strict/1", "{explained}");
    assert_eq!(hospital.person("RQM/RQM-MRN/7")?, ann, "what was decided stands");
    hospital.close_and_compare()?;
    Ok(())
}

#[test]
fn where_a_person_is_does_not_leak_through_an_explanation() -> anyhow::Result<()> {
    let mut hospital = Hospital::open()?;
    hospital.register("RYJ", "1", ANN)?;
    let ann = hospital.person("RYJ/RYJ-MRN/1")?;
    // The same address, withheld: not even that it agrees is told.
    hospital.tell("A28", "RQM", "7", ANN, "ZU8||||Y\r")?;
    hospital.wait_person("RQM/RQM-MRN/7", &ann)?;
    let open = hospital.site.json(&["link", "explain", "RQM/RQM-MRN/7", "--json"])?;
    let rows = open["decisions"][0]["evidence"].as_array().context("evidence")?;
    assert!(rows.iter().any(|row| row["field"] == "nhs-number"), "{open}");
    for row in rows.iter().filter(|row| row["level"] != "absent") {
        let field = row["field"].as_str().context("a field")?;
        assert!(!["postcode", "address", "telecom", "phone", "email"].contains(&field), "{row}");
    }
    for value in ["W2", "High Street", "9990000018", "OKAFOR"] {
        assert!(!open.to_string().contains(value), "{value}: {open}");
    }
    Ok(())
}
