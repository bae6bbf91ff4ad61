//! Generates the gRPC services of `proto/weft/v1`, and nothing else: their messages are those of `weft-model`.
//!
//! Client and server are generated apart because the server answers with twins of three messages ([`TWINS`]) that hold
//! stored entries as they were encoded.
use std::{env, error::Error, fs, path::PathBuf};

/// Answers that the server writes from stored bytes: see `src/wire.rs`.
const TWINS: [&str; 3] = ["GetTimelineResponse", "StreamTimelineResponse", "GetEntryResponse"];

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo::rerun-if-changed={}", root.display());
    println!("cargo::rerun-if-changed=build.rs");
    let files = ["weft/v1/timeline.proto", "weft/v1/person.proto", "weft/v1/feed.proto", "weft/v1/link.proto"];
    let descriptors = protox::compile(files, [&root])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);

    let client = out.join("client");
    fs::create_dir_all(&client)?;
    generate(&client).build_server(false).compile_fds(descriptors.clone())?;

    let server = out.join("server");
    fs::create_dir_all(&server)?;
    let twins = TWINS.into_iter().fold(generate(&server), |builder, name| {
        builder.extern_path(format!(".weft.v1.{name}"), format!("crate::wire::{name}"))
    });
    twins.build_client(false).codec_path("crate::wire::Codec").compile_fds(descriptors)?;
    Ok(())
}

fn generate(out: &std::path::Path) -> tonic_prost_build::Builder {
    tonic_prost_build::configure()
        .out_dir(out)
        .emit_rerun_if_changed(false)
        .extern_path(".weft.event.v1", "::weft_model::proto::event")
        .extern_path(".weft.v1", "::weft_model::proto::api")
}
