//! Bugs on purpose, for the chaos harness: does it see them? They are compiled in by the
//! feature `planted` alone, which no release has, and one at a time is chosen by
//! `TINTYPE_PLANTED`. `benches/chaos/README.md` lists them.

/// Whether the bug of this name is planted.
#[cfg(feature = "planted")]
pub fn is(name: &str) -> bool {
    use std::sync::OnceLock;

    static CHOSEN: OnceLock<String> = OnceLock::new();
    CHOSEN.get_or_init(|| std::env::var("TINTYPE_PLANTED").unwrap_or_default()) == name
}

/// Never, in a build that is for use.
#[cfg(not(feature = "planted"))]
pub const fn is(_name: &str) -> bool {
    false
}
