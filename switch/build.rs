//! Generates the control interface from `proto/shunt.proto`. protox parses it, so no protoc binary is needed.

use std::error::Error;

/// Messages that JSON shows as a pair, as the rows of `control::status` do.
const PAIRS: [&str; 2] = [".shunt.v1.QueuePlace", ".shunt.v1.Mbufs"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto/shunt.proto");
    let files = protox::compile(["shunt.proto"], ["proto"])?;
    let mut builder = tonic_prost_build::configure()
        .emit_rerun_if_changed(false)
        .message_attribute(".", "#[derive(serde::Serialize)]")
        .enum_attribute(".", "#[derive(serde::Serialize)]");
    for pair in PAIRS {
        builder = builder.message_attribute(pair, "#[serde(into = \"(u32, u32)\")]");
    }
    builder.compile_fds(files)?;
    Ok(())
}
