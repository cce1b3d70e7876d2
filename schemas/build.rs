//! Compiles the wire format without `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let protos = ["proto/events.proto", "proto/facts.proto", "proto/caps.proto", "proto/results.proto"];
    let files = protox::compile(protos, ["proto"])?;
    prost_build::Config::new().bytes(["."]).compile_fds(files)?;
    Ok(())
}
