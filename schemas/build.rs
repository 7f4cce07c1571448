//! Compiles `proto/events.proto` with protox, so no `protoc` has to be installed.

fn main() {
    println!("cargo:rerun-if-changed=proto/events.proto");
    let descriptors = protox::compile(["events.proto"], ["proto"]).expect("events.proto compiles");
    prost_build::Config::new()
        .btree_map(["."])
        .bytes([".tintype.v1.Photo.jpeg"])
        .compile_fds(descriptors)
        .expect("events.proto becomes Rust");
}
