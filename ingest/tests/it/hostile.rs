//! Files made to break decoders: the door opens none of them, and answers each.

use std::path::{Path, PathBuf};

use schemas::Format;

use crate::harness::World;

/// The shared test data, if it is here.
fn data(folder: &str) -> Option<PathBuf> {
    let root = std::env::var_os("TINTYPE_TEST_DATA").map_or_else(
        || Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data")).to_owned(),
        PathBuf::from,
    );
    let folder = root.join(folder);
    folder.is_dir().then_some(folder)
}

fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_under(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Every twentieth: each costs the disk two syncs, and the whole set is for the whole
/// pipeline to judge.
const SAMPLE: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn every_hostile_file_is_answered_by_what_its_first_bytes_tell() {
    let Some(folder) = data("hostile") else {
        println!("skipped: no shared test data");
        return;
    };
    let world = World::new().await;
    let (mut sent, mut taken) = (0, 0);
    for file in files_under(&folder).into_iter().step_by(SAMPLE) {
        let bytes = std::fs::read(&file).unwrap();
        let is_picture = Format::sniff(&bytes).is_some_and(Format::is_picture);
        let reply = world.send_cat(bytes).await;
        let expected: &[u16] = if is_picture { &[202, 200] } else { &[415] };
        assert!(
            expected.contains(&reply.status.as_u16()),
            "{file:?}: {}",
            reply.body
        );
        sent += 1;
        taken += usize::from(reply.status == 202);
    }
    println!("{sent} hostile files were answered, {taken} of them taken in");
    assert!(sent > 300 && taken > 0);
    assert_eq!(world.events().len(), taken);
}
