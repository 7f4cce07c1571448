//! Which files of a folder come, under which labels and keys.

use super::*;
use std::collections::BTreeMap;

fn label(text: &str) -> Label {
    text.parse().unwrap()
}

fn put(root: &Path, path: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, "x").unwrap();
}

fn walk(root: &Path) -> (BTreeMap<String, Found>, Skipped) {
    let mut walk = Walk::begin(root, "cats-abc234", label("unsorted")).unwrap();
    let mut files = BTreeMap::new();
    for step in walk.by_ref() {
        match step {
            Step::File(found) => files.insert(found.relative.clone(), found),
            Step::Unreadable {
                relative, error, ..
            } => panic!("{relative}: {error}"),
        };
    }
    (files, walk.skipped())
}

#[test]
fn the_first_folder_is_the_label_and_every_file_that_is_not_hidden_comes() {
    let dir = tempfile::tempdir().unwrap();
    for path in [
        "cat/a.jpg",
        "cat/deep/er/b",
        "قطة/c.txt",
        "loose.jpg",
        "cat/.DS_Store",
        ".git/config",
    ] {
        put(dir.path(), path);
    }
    let (files, skipped) = walk(dir.path());
    let labels: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, found)| (path.as_str(), found.label.as_ref().unwrap().as_str()))
        .collect();
    assert_eq!(
        labels,
        [
            ("cat/a.jpg", "cat"),
            ("cat/deep/er/b", "cat"),
            ("loose.jpg", "unsorted"),
            ("قطة/c.txt", "قطة"),
        ]
    );
    assert_eq!(
        skipped,
        Skipped {
            hidden: 2,
            links: 0,
            special: 0
        }
    );
}

#[test]
fn files_come_by_name_and_none_is_lost_in_a_huge_folder() {
    let dir = tempfile::tempdir().unwrap();
    let names = |root: &Path| -> Vec<String> {
        Walk::begin(root, "cats-abc234", label("unsorted"))
            .unwrap()
            .map(|step| match step {
                Step::File(found) => found.relative,
                Step::Unreadable { .. } => panic!(),
            })
            .collect()
    };
    for name in ["b/2", "a/10", "b/1", "a/9", "c"] {
        put(dir.path(), name);
    }
    assert_eq!(names(dir.path()), ["a/10", "a/9", "b/1", "b/2", "c"]);
    let huge = SORTED_AT_ONCE + 100;
    let dir = tempfile::tempdir().unwrap();
    for n in 0..huge {
        fs::write(dir.path().join(n.to_string()), "").unwrap();
    }
    let found: std::collections::BTreeSet<String> = names(dir.path()).into_iter().collect();
    assert_eq!(found.len(), huge);
}

#[cfg(unix)]
#[test]
fn links_are_followed_to_files_within_the_folder_only() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("photos");
    put(&root, "cat/a.jpg");
    put(dir.path(), "secret.txt");
    fs::create_dir(root.join("dog")).unwrap();
    symlink("../cat/a.jpg", root.join("dog/inside.jpg")).unwrap();
    symlink("../../secret.txt", root.join("dog/outside.jpg")).unwrap();
    symlink("..", root.join("dog/circle")).unwrap();
    symlink("nowhere", root.join("dog/broken")).unwrap();
    let (files, skipped) = walk(&root);
    let paths: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(paths, ["cat/a.jpg", "dog/inside.jpg"]);
    assert_eq!(skipped.links, 3);
}

#[test]
fn a_file_has_the_same_key_until_it_changes() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "cat/a.jpg");
    put(dir.path(), "cat/b.jpg");
    let first = walk(dir.path()).0;
    let again = walk(dir.path()).0;
    assert_eq!(first["cat/a.jpg"].key, again["cat/a.jpg"].key);
    assert_ne!(first["cat/a.jpg"].key, first["cat/b.jpg"].key);
    fs::write(dir.path().join("cat/a.jpg"), "longer").unwrap();
    let changed = walk(dir.path()).0;
    assert_ne!(first["cat/a.jpg"].key, changed["cat/a.jpg"].key);
    assert_eq!(first["cat/b.jpg"].key, changed["cat/b.jpg"].key);
    let other = Walk::begin(dir.path(), "dogs-abc234", label("unsorted")).unwrap();
    for step in other {
        let Step::File(found) = step else { panic!() };
        assert_ne!(found.key, changed[&found.relative].key);
    }
}

#[test]
fn a_folder_whose_name_is_no_label_is_told_with_each_file() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "a\nb/c.jpg");
    let (files, _) = walk(dir.path());
    assert!(files["a\nb/c.jpg"].label.is_err());
}
