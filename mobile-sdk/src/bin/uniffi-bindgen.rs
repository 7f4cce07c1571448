//! Writes the Kotlin and Swift bindings from the built library:
//! `cargo run -p mobile-sdk --features bindgen --bin uniffi-bindgen -- generate ...`.

fn main() {
    uniffi::uniffi_bindgen_main();
}
