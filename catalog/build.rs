//! A migration added to `migrations/` is compiled in by the next build.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
