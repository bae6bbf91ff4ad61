//! The figures on sets written by others, held with the one model and threshold that ship. Where the sets are absent this
//! says so and checks nothing, unless `WEFT_REQUIRE_SHARED=1`.

#![allow(clippy::print_stderr, clippy::unwrap_used, reason = "all of it is a test")]

use std::{fs, path::PathBuf};

use weft_link::{
    Model, Options,
    labelled::{Csv, Figures, FitOptions, Map, Records, Truth, fit, run},
};

/// A folder of the samples beside the checkout; `None` where it is absent and need not be there.
fn samples(set: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/linkage").join(set);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var("WEFT_REQUIRE_SHARED").as_deref() != Ok("1"), "sample set {set} is absent");
    eprintln!("sample set {set} is absent: this test checks nothing");
    None
}

struct Set {
    records: Records,
    pairs: Csv,
}

impl Set {
    fn read(folder: &str, tables: &[&str], pairs: &str, map: &str) -> Option<Self> {
        let folder = samples(folder)?;
        let csv = |name: &str| Csv::parse(&fs::read_to_string(folder.join(name)).unwrap()).unwrap();
        let maps = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../schemas/linkage/maps");
        let map = Map::parse(&fs::read_to_string(maps.join(map)).unwrap()).unwrap();
        let tables: Vec<(String, Csv)> = tables.iter().map(|name| ((*name).to_owned(), csv(name))).collect();
        Some(Self { records: Records::read(&tables, &map, None).unwrap(), pairs: csv(pairs) })
    }

    fn febrl4(map: &str) -> Option<Self> {
        Self::read("febrl", &["febrl4a.csv", "febrl4b.csv"], "febrl4_links.csv", map)
    }

    fn febrl3(map: &str) -> Option<Self> {
        Self::read("febrl", &["febrl3.csv"], "febrl3_links.csv", map)
    }

    fn uganda(map: &str) -> Option<Self> {
        let (records, pairs) = ("uganda_data_v21_20201501.csv", "uganda_data_v21_20201501_true_links.csv");
        Self::read("uganda", &[records], pairs, map)
    }

    fn score(&self, order: u64, model: &Model) -> Figures {
        let mut set = self.records.clone();
        if order > 0 {
            set.shuffle(order);
        }
        let truth = Truth::from_pairs(&set.records, &self.pairs).unwrap();
        run(&set.records, &Options::default(), model).figures(&truth)
    }
}

/// Holds the figures in the order of the files and in nine orders of chance.
#[track_caller]
fn check(set: Option<Set>, is_met: impl Fn(&Figures) -> bool) {
    let Some(set) = set else { return };
    let model = Model::shipped().unwrap();
    for order in 0..10 {
        let figures = set.score(order, &model);
        assert!(is_met(&figures), "order {order}: {figures:?}");
    }
}

fn false_pairs(figures: &Figures) -> u64 {
    figures.linked_pairs - figures.right_pairs
}

#[test]
fn febrl4_without_the_identifier() {
    check(Set::febrl4("febrl.toml"), |f| f.right_pairs >= 4998 && false_pairs(f) == 0 && f.true_pairs == 5000);
}

#[test]
fn febrl4_with_the_identifier() {
    check(Set::febrl4("febrl-with-identifier.toml"), |f| f.right_pairs == 5000 && false_pairs(f) == 0);
}

#[test]
fn febrl3_without_the_identifier() {
    check(Set::febrl3("febrl.toml"), |f| f.f1() >= 0.9975 && f.true_pairs == 6538);
}

#[test]
fn febrl3_with_the_identifier() {
    check(Set::febrl3("febrl-with-identifier.toml"), |f| f.f1() >= 0.9995);
}

#[test]
fn uganda_without_the_national_identifier() {
    check(Set::uganda("uganda-with-art-number.toml"), |f| f.recall() >= 0.996 && false_pairs(f) == 0);
}

/// Names, sex, birth date and telephone alone: most of what is not linked waits for people to look, nothing is mixed.
#[test]
fn uganda_without_any_identifier() {
    check(Set::uganda("uganda.toml"), |f| {
        f.recall() >= 0.88 && false_pairs(f) == 0 && f.right_pairs + f.missed_pairs_in_review >= 960
    });
}

/// The clusters are the same in whatever order the records arrive, but for a handful.
#[test]
fn the_order_of_arrival_hardly_matters() {
    let Some(set) = Set::febrl3("febrl.toml") else { return };
    let model = Model::shipped().unwrap();
    let right: Vec<u64> = (0..10).map(|order| set.score(order, &model).right_pairs).collect();
    let (least, most) = (right.iter().min().unwrap(), right.iter().max().unwrap());
    assert!(most - least <= 8, "{right:?}");
}

/// Weights learned without labels from one set do well on another.
#[test]
fn a_model_fitted_without_labels_links() {
    let (Some(learned_from), Some(set)) = (Set::febrl3("febrl.toml"), Set::febrl4("febrl.toml")) else { return };
    let how = FitOptions { random_pairs: 100_000, ..FitOptions::default() };
    let base = Model::shipped().unwrap();
    let fitted = fit(&learned_from.records.records, &Options::default(), &base, &how);
    assert!((5000.0..8000.0).contains(&fitted.expected_matches), "6,538 are: {fitted:?}");
    assert!(fitted.learned > 20, "{fitted:?}");
    assert_eq!(fit(&learned_from.records.records, &Options::default(), &base, &how), fitted, "the same again");
    let figures = set.score(0, &Model::parse(&fitted.model.to_toml().unwrap()).unwrap());
    assert!(figures.f1() >= 0.99, "{figures:?} {:?}", fitted.model);
}
