//! What must not drift: which crate may use which, and who may know what. Read from `cargo metadata` and the sources.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Crate -> crates of the workspace that it may use.
const TABLE: &[(&str, &[&str])] = &[
    ("weft-model", &[]),
    ("weft-translate", &["weft-model"]),
    ("weft-link", &["weft-model"]),
    ("weft-log", &["weft-model"]),
    ("weft-readmodel", &["weft-model", "weft-log"]),
    ("weft-connect", &["weft-model", "weft-translate", "weft-log"]),
    ("weft-api", &["weft-model", "weft-log", "weft-readmodel"]),
    ("weft-synth", &["weft-model"]),
    (
        "weft",
        &[
            "weft-api",
            "weft-connect",
            "weft-link",
            "weft-log",
            "weft-model",
            "weft-readmodel",
            "weft-synth",
            "weft-translate",
        ],
    ),
    (
        "weft-testkit",
        &[
            "weft-api",
            "weft-connect",
            "weft-link",
            "weft-log",
            "weft-model",
            "weft-readmodel",
            "weft-synth",
            "weft-translate",
        ],
    ),
];

/// Library -> the only crates that may know it.
const KNOWN_BY: &[(&str, &[&str])] = &[
    ("sqlx", &["weft-log", "weft-readmodel"]),
    ("rdkafka", &["weft-log"]),
    ("tonic", &["weft-api"]),
    ("clap", &["weft"]),
    ("hl7-parser", &["weft-translate"]),
    ("fhir-sdk", &["weft-translate"]),
];

/// Crates that do no I/O, are not async and read no clock.
const PURE: &[&str] = &["weft-model", "weft-translate", "weft-link", "weft-synth"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every package of the workspace with its direct dependencies: (name, is it a development dependency).
fn packages() -> BTreeMap<String, BTreeSet<(String, bool)>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo metadata runs");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("dependencies").iter().map(|dependency| {
                (dependency["name"].as_str().unwrap_or_default().to_owned(), dependency["kind"] == "dev")
            });
            (package["name"].as_str().unwrap_or_default().to_owned(), dependencies.collect())
        })
        .collect()
}

#[test]
fn crates_use_only_what_the_table_allows() {
    let packages = packages();
    let mut wrong = Vec::new();
    for (name, dependencies) in &packages {
        let Some((_, allowed)) = TABLE.iter().find(|(n, _)| n == name) else {
            assert_eq!(name, "weft-tests", "a crate that the table does not know");
            continue;
        };
        for (dependency, dev) in dependencies {
            let ours = TABLE.iter().any(|(n, _)| n == dependency);
            if ours && !dev && !allowed.contains(&dependency.as_str()) {
                wrong.push(format!("{name} uses {dependency}"));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(packages.len(), TABLE.len() + 1, "the table names a crate that is gone");
}

#[test]
fn each_library_is_known_only_where_it_may_be() {
    let mut wrong = Vec::new();
    for (name, dependencies) in packages() {
        for (library, knowing) in KNOWN_BY {
            if dependencies.contains(&((*library).to_owned(), false)) && !knowing.contains(&name.as_str()) {
                wrong.push(format!("{name} knows {library}"));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn pure_crates_do_no_io_and_read_no_clock() {
    let forbidden = [
        "std::fs",
        "std::net",
        "std::io::",
        "std::env",
        "std::process",
        "std::thread",
        "async fn",
        ".await",
        "Instant::now",
    ];
    let mut wrong = Vec::new();
    for name in PURE {
        for dependency in packages().get(*name).expect("the crate exists") {
            if !dependency.1 && ["tokio", "futures", "async-trait", "tracing"].contains(&dependency.0.as_str()) {
                wrong.push(format!("{name} uses {}", dependency.0));
            }
        }
        for (path, text) in sources(&root().join("crates").join(name).join("src")) {
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
            let found = forbidden.iter().filter(|word| code.contains(**word));
            wrong.extend(found.map(|word| format!("{}: {word}", path.display())));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn only_the_binary_reads_the_environment() {
    let mut wrong = Vec::new();
    for (name, _) in TABLE.iter().filter(|(name, _)| *name != "weft" && *name != "weft-testkit") {
        for (path, text) in sources(&root().join("crates").join(name).join("src")) {
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            if code.contains("std::env") || code.contains("env::var") {
                wrong.push(path.display().to_string());
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

fn sources(dir: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a source folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&path).expect("a source file");
            found.push((path, text));
        }
    }
    found
}
