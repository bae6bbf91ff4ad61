//! `weft link evaluate` and `weft link fit`: any labelled set by its map, from the command line.

use std::{fs, path::PathBuf};

use weft_testkit::{Output, Site, command};

const RECORDS: &str = "Ref;Forenames;\"Last name\";Born;Town;Code;NHS;person\n\
    1;Ann Mary;O'Brien;17/02/1980;Ealing;W5 1AA;999 000 0018;a\n\
    2;ANN;OBRIEN;17.02.1980;Ealing;w5 1aa;;a\n\
    3;\"Ben; called Benny\";\"Smith\";1975-03-07;Ealing;W5 2AA;;b\n\
    4;Bea;Jones;1990;;;N/A;c\n";
const MAP: &str = "id = 'Ref'\ngiven = 'Forenames'\nfamily = 'last name'\nbirth = 'born'\ncity = 'Town'\n\
    postcode = 'Code'\nnhs_number = 'NHS'\n";

/// A folder with the set above in it.
struct Folder(Site);

impl Folder {
    fn new() -> anyhow::Result<Self> {
        let folder = Self(Site::new()?);
        folder.write("records.csv", RECORDS)?;
        folder.write("map.toml", MAP)?;
        Ok(folder)
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        Ok(fs::write(self.path(name), text)?)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `weft link evaluate` of the records under a truth, and more options.
    fn evaluate(&self, truth: &str, more: &[&str]) -> anyhow::Result<Output> {
        let (records, map) =
            (self.path("records.csv").display().to_string(), self.path("map.toml").display().to_string());
        let mut arguments = vec!["link", "evaluate", &records, "--map", &map, "--truth", truth];
        arguments.extend(more);
        command(&arguments)
    }
}

#[test]
fn a_labelled_set_is_scored_by_a_column_or_by_pairs() -> anyhow::Result<()> {
    let folder = Folder::new()?;
    folder.write("pairs.csv", "one,other\n2,1\n")?;
    let (pairs, chart) =
        (folder.path("pairs.csv").display().to_string(), folder.path("chart.svg").display().to_string());
    for (truth, more) in [("person", &["--json"][..]), (&pairs, &["--json", "--order", "7", "--chart", &chart])] {
        let output = folder.evaluate(truth, more)?;
        assert_eq!(output.code, 0, "{}", output.stderr);
        let told: serde_json::Value = serde_json::from_str(&output.stdout)?;
        assert_eq!((&told["records"], &told["true_pairs"]), (&4.into(), &1.into()), "{told}");
        assert_eq!((&told["right_pairs"], &told["false_pairs"], &told["persons"]), (&1.into(), &0.into(), &3.into()));
        assert_eq!((told["precision"].as_f64(), told["recall"].as_f64()), (Some(1.0), Some(1.0)), "{told}");
    }
    assert!(fs::read_to_string(&chart)?.starts_with("<svg "));
    let text = folder.evaluate("person", &[])?.stdout;
    assert!(text.contains("F1               1.00000\n"), "{text}");
    Ok(())
}

#[test]
fn what_does_not_fit_is_refused_by_name() -> anyhow::Result<()> {
    let folder = Folder::new()?;
    let check = |truth: &str, says: &str| -> anyhow::Result<()> {
        let output = folder.evaluate(truth, &[])?;
        assert_eq!(output.code, 5, "{}", output.stderr);
        assert!(output.stderr.contains(says), "{}", output.stderr);
        assert_eq!(output.stdout, "");
        Ok(())
    };
    check("nobody", "no file has a column `nobody`")?;
    folder.write("pairs.csv", "one,other\n1,77\n")?;
    check(&folder.path("pairs.csv").display().to_string(), "line 2: no record has this identifier in column 2")?;
    folder.write("map.toml", "given = 'Forenames'\nsurname = 'Last name'\n")?;
    check("person", "line 2: `surname` is no key")?;
    folder.write("map.toml", "given = 'Vornamen'\n")?;
    check("person", "`given`: no file has a column `Vornamen`; there are Born, Code,")?;
    folder.write("map.toml", MAP)?;
    folder.write("records.csv", "Ref,Forenames\n1,\"Ann\n")?;
    check("person", "line 2: a quote that begins here is not closed")
}

#[test]
fn a_fitted_model_is_one_that_can_be_used() -> anyhow::Result<()> {
    let folder = Folder::new()?;
    let [records, map, model] = ["records.csv", "map.toml", "model.toml"].map(|n| folder.path(n).display().to_string());
    let fitted = command(&["link", "fit", &records, "--map", &map, "--out", &model, "--name", "weights/ours"])?;
    assert_eq!(fitted.code, 0, "{}", fitted.stderr);
    assert!(fitted.stdout.contains("from 4 records without labels"), "{}", fitted.stdout);
    let output = folder.evaluate("person", &["--json", "--model", &model])?;
    assert!(output.stdout.contains("\"model\":\"weights/ours\""), "{} {}", output.stdout, output.stderr);
    fs::write(&model, fs::read_to_string(&model)?.replace("outcode", "suburb"))?;
    let refused = folder.evaluate("person", &["--model", &model])?;
    assert_eq!(refused.code, 5, "{}", refused.stderr);
    assert!(refused.stderr.contains("weights.postcode.suburb"), "{}", refused.stderr);
    Ok(())
}
