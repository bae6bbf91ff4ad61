//! Generates the message types of `proto/` and the descriptor set that reflection and the JSON mapping read.
use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    let files = [
        "weft/event/v1/event.proto",
        "weft/v1/common.proto",
        "weft/v1/timeline.proto",
        "weft/v1/person.proto",
        "weft/v1/feed.proto",
        "weft/v1/link.proto",
    ];
    println!("cargo::rerun-if-changed={}", root.display());
    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_source_info(false).include_imports(true);
    compiler.open_files(files)?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    prost_build::Config::new()
        // One call: a second one would replace the first.
        .bytes([".weft.event.v1.MessageReceived.raw", ".weft.event.v1.Fact.resource"])
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
