//! Aligns the library to pages of 16 KB: Android 15 devices may have them, and Google Play
//! asks for it. Linkers default to 4 KB on x86-64 and 32-bit ARM.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let os = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if os == "android" || os == "linux" {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,max-page-size=16384");
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,common-page-size=16384");
    }
}
