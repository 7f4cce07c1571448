//! Checkpoints that are cut off, damaged, or simply old, in a real folder.

use super::*;
use object_store::local::LocalFileSystem;

fn parts(state: &[u8], best: &[u8]) -> BTreeMap<String, Bytes> {
    BTreeMap::from([
        ("state".to_owned(), Bytes::copy_from_slice(state)),
        ("best".to_owned(), Bytes::copy_from_slice(best)),
    ])
}

struct Store {
    folder: tempfile::TempDir,
    objects: Arc<dyn ObjectStore>,
    training: TrainingId,
    runtime: tokio::runtime::Runtime,
}

impl Store {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            objects: Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap()),
            folder,
            training: TrainingId::new(),
            runtime: tokio::runtime::Runtime::new().unwrap(),
        }
    }

    fn open(&self) -> (Checkpoints, Option<Checkpoint<u32>>, Vec<String>) {
        let runtime = self.runtime.handle().clone();
        let opened = open(self.objects.clone(), self.training, runtime).unwrap();
        (opened.checkpoints, opened.found, opened.damaged)
    }

    fn files(&self) -> Vec<std::path::PathBuf> {
        let folder = self
            .folder
            .path()
            .join(format!("checkpoints/{}", self.training));
        let Ok(entries) = std::fs::read_dir(folder) else {
            return Vec::new();
        };
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }
}

#[test]
fn the_newest_is_gone_on_from_and_three_are_kept() {
    let store = Store::new();
    let (mut checkpoints, none, _) = store.open();
    assert!(none.is_none());
    for step in 1..=5u32 {
        let state = format!("state {step}");
        checkpoints
            .write(&step, &parts(state.as_bytes(), b"best"))
            .unwrap();
    }
    let (_, found, damaged) = store.open();
    let found = found.unwrap();
    assert_eq!(found.position, 5);
    assert_eq!(found.parts, parts(b"state 5", b"best"));
    assert!(damaged.is_empty());
    // Three manifests, three states, and the best that all of them share.
    assert_eq!(store.files().len(), 7, "{:?}", store.files());
}

#[test]
fn a_damaged_one_is_passed_over_whatever_part_of_it_is_damaged() {
    for damage in ["json", "state", "gone"] {
        let store = Store::new();
        let (mut checkpoints, _, _) = store.open();
        checkpoints
            .write(&1u32, &parts(b"state 1", b"best 1"))
            .unwrap();
        checkpoints
            .write(&2u32, &parts(b"state 2", b"best 2"))
            .unwrap();
        let newest = |part: &str| {
            let files = store.files();
            let mut of_newest = files.iter().filter(|file| {
                let name = file.file_name().unwrap().to_str().unwrap();
                name.starts_with("00000002") && name.contains(part)
            });
            of_newest.next().unwrap().clone()
        };
        match damage {
            "json" => std::fs::write(newest(".json"), "{\"posi").unwrap(),
            "state" => std::fs::write(newest("-state-"), "state 3").unwrap(),
            _ => std::fs::remove_file(newest("-best-")).unwrap(),
        }
        let (mut checkpoints, found, damaged) = store.open();
        assert_eq!(found.unwrap().position, 1, "{damage}");
        assert_eq!(damaged.len(), 1, "{damage}");
        checkpoints
            .write(&3u32, &parts(b"state 3", b"best 3"))
            .unwrap();
        assert_eq!(store.open().1.unwrap().position, 3, "{damage}");
    }
}

#[test]
fn a_checkpoint_that_was_cut_off_before_its_manifest_is_none() {
    let store = Store::new();
    let (mut checkpoints, _, _) = store.open();
    checkpoints
        .write(&1u32, &parts(b"state 1", b"best"))
        .unwrap();
    checkpoints
        .put(
            "00000002-state-x",
            Bytes::from_static(b"half"),
            PutMode::Overwrite,
        )
        .unwrap();
    let (mut checkpoints, found, damaged) = store.open();
    assert_eq!(found.unwrap().position, 1);
    assert!(damaged.is_empty());
    checkpoints
        .write(&3u32, &parts(b"state 3", b"best"))
        .unwrap();
    let (_, found, _) = store.open();
    assert_eq!(found.unwrap().position, 3);
    assert!(
        !store
            .files()
            .iter()
            .any(|file| file.ends_with("00000002-state-x"))
    );
}
