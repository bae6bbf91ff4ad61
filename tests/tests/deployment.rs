//! What stands in `deploy/` is about this program.

use std::{fs, path::Path};

use weft_testkit::command;

/// A build would end with the first of these that the program does not have, ten minutes after it began.
#[test]
fn the_program_has_every_command_that_a_deployed_build_counts_with() -> anyhow::Result<()> {
    let script = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/build"))?;
    let given = script.lines().find_map(|line| line.strip_prefix(r#"weft() { "$built" "$@" "#)).unwrap_or_default();
    let given: Vec<&str> = given.split_whitespace().take_while(|word| !word.starts_with('>')).collect();
    let commands: Vec<&str> = script.lines().filter_map(|line| line.strip_prefix("weft ")).collect();
    assert!(commands.len() > 3 && !given.is_empty(), "the script reads otherwise");
    for counted in commands {
        let arguments: Vec<&str> = counted.split_whitespace().chain(given.iter().copied()).chain(["--help"]).collect();
        let output = command(&arguments)?;
        assert_eq!(output.code, 0, "weft {}: {}", arguments.join(" "), output.stderr);
    }
    Ok(())
}
