//! Where the shared test data lies. In: nothing; out: folders and files, or a line
//! saying that the test is skipped.

use std::path::{Path, PathBuf};

/// The test data, if this machine has it.
pub fn data() -> Option<PathBuf> {
    let root = std::env::var_os("TINTYPE_TEST_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data")),
        PathBuf::from,
    );
    if root.is_dir() {
        Some(root)
    } else {
        println!("skipped: there is no test data at {}", root.display());
        None
    }
}

/// Every file below a folder, in a fixed order.
#[allow(
    dead_code,
    reason = "not every test program that has this module looks into folders"
)]
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}
