//! Real files through the public interface: every honest photo becomes a row that
//! decodes to what it says, and no hostile file does more than get a verdict.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use processor::prepare::{Limits, prepare, quality_findings};

/// The test data, if this machine has it.
fn data() -> Option<PathBuf> {
    let root = std::env::var_os("TINTYPE_TEST_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data")),
        PathBuf::from,
    );
    if root.is_dir() {
        Some(root)
    } else {
        println!("skipped: no test data at {}", root.display());
        None
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
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

#[test]
fn scratch() {
    let Some(data) = data() else { return };
    for folder in ["photos", "phone-exif", "neardup"] {
        let mut n = 0;
        let mut slow = (std::time::Duration::ZERO, PathBuf::new());
        for path in files(&data.join(folder)) {
            let bytes = std::fs::read(&path).unwrap();
            let start = std::time::Instant::now();
            match prepare(&bytes, &Limits::default()) {
                Ok(photo) => {
                    n += 1;
                    if let Some(f) = quality_findings(photo.scores.as_ref().unwrap()) {
                        println!("FINDING {} {:?} {:?}", path.display(), f, photo.scores);
                    }
                    assert!(!photo.jpeg.is_empty());
                }
                Err(r) => println!("{} {} {} {:?}", path.display(), r.reason, r.detail, r.original),
            }
            let took = start.elapsed();
            if took > slow.0 { slow = (took, path) }
        }
        println!("{folder}: {n} photos; slowest {slow:?}");
    }
}
