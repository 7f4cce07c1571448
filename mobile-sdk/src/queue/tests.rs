//! The queue after kills, damage and full disks. A kill is a copy of the folder as it stood
//! at some instant: nothing else of the process survives one.

use super::*;
use schemas::Sha256;

fn ticket(label: &str, photo: &[u8]) -> Ticket {
    Ticket {
        id: Uuid::now_v7(),
        number: 0,
        label: label.into(),
        captured_at: None,
        metadata: BTreeMap::new(),
        format: schemas::Format::Jpeg,
        num_bytes: photo.len() as u64,
        sha256: Sha256::of(photo),
        phash: None,
        hints: Vec::new(),
    }
}

fn add(queue: &mut Queue, label: &str) -> Uuid {
    let photo = label.as_bytes();
    queue
        .add(ticket(label, photo), photo, &Policy::default())
        .unwrap()
}

fn sent() -> Progress {
    Progress {
        stage: Stage::Sent,
        capture_id: Some("c".into()),
        ..Progress::default()
    }
}

fn labels(queue: &Queue, order: Order) -> Vec<String> {
    queue
        .waiting(order)
        .map(|entry| entry.ticket.label.clone())
        .collect()
}

fn open(folder: &tempfile::TempDir) -> (Queue, Recovery) {
    Queue::open(folder.path(), 1_000).unwrap()
}

#[test]
fn what_was_taken_in_is_there_after_a_restart_in_its_order_and_what_was_sent_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (mut queue, _) = open(&folder);
    add(&mut queue, "one");
    let two = add(&mut queue, "two");
    add(&mut queue, "three");
    queue.record(two, sent()).unwrap();
    drop(queue);
    let (queue, recovery) = open(&folder);
    assert_eq!(recovery, Recovery::default());
    assert_eq!(labels(&queue, Order::OldestFirst), ["one", "three"]);
    assert_eq!(labels(&queue, Order::NewestFirst), ["three", "one"]);
    assert_eq!(queue.find(two).unwrap().progress, sent());
    assert!(!queue.photo(two).exists());
    assert_eq!(queue.waiting_bytes, 8);
}

#[test]
fn a_queue_is_open_once() {
    let folder = tempfile::tempdir().unwrap();
    let (queue, _) = open(&folder);
    let second = Queue::open(folder.path(), 10).map(|_| ()).unwrap_err();
    assert!(
        matches!(second, TintypeError::AlreadyOpen { .. }),
        "{second}"
    );
    drop(queue);
    open(&folder);
}

#[test]
fn every_damaged_byte_of_the_journal_leaves_every_photo_in_the_queue() {
    let folder = tempfile::tempdir().unwrap();
    let (mut queue, _) = open(&folder);
    for label in ["one", "two", "three"] {
        add(&mut queue, label);
    }
    drop(queue);
    let path = folder.path().join("queue");
    let whole = std::fs::read(&path).unwrap();
    let mut num_damaged = 0;
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        std::fs::write(&path, &bytes).unwrap();
        let (queue, recovery) = open(&folder);
        assert_eq!(
            labels(&queue, Order::OldestFirst),
            ["one", "two", "three"],
            "byte {at}"
        );
        num_damaged += recovery.num_damaged;
    }
    assert!(num_damaged as usize > whole.len() / 2);
    // And at every length.
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        let (queue, _) = open(&folder);
        assert_eq!(
            labels(&queue, Order::OldestFirst),
            ["one", "two", "three"],
            "cut at {length}"
        );
    }
}

#[test]
fn a_damaged_receipt_is_told_and_never_sent_as_an_empty_photo() {
    let folder = tempfile::tempdir().unwrap();
    let (mut queue, _) = open(&folder);
    let one = add(&mut queue, "one");
    let before = queue.journal.num_bytes() as usize;
    queue.record(one, sent()).unwrap();
    drop(queue);
    let path = folder.path().join("queue");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[before + 20] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let (queue, recovery) = open(&folder);
    assert_eq!((recovery.num_damaged, recovery.num_lost), (1, 1));
    let progress = &queue.find(one).unwrap().progress;
    assert_eq!(progress.stage, Stage::Refused);
    assert_eq!(progress.reason.as_ref().unwrap().code, "file_missing");
    assert!(folder.path().join("queue.damaged").exists());
}

#[test]
fn a_photo_whose_ticket_is_damaged_too_is_set_aside_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let (mut queue, _) = open(&folder);
    let one = add(&mut queue, "one");
    let file = queue.photo(one);
    drop(queue);
    std::fs::write(folder.path().join("queue"), [9; 300]).unwrap();
    std::fs::write(file.with_extension("json"), "{").unwrap();
    let (queue, recovery) = open(&folder);
    assert_eq!(queue.entries().count(), 0);
    let [path] = recovery.set_aside.as_slice() else {
        panic!("{recovery:?}")
    };
    assert_eq!(std::fs::read(path).unwrap(), b"one");
}

#[test]
fn a_kill_between_the_photo_and_its_record_leaves_a_whole_photo_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (queue, _) = open(&folder);
    let ticket = ticket("one", b"one");
    queue.folder.store(&ticket, b"one").unwrap();
    std::fs::write(folder.path().join("photos/half.part"), "ha").unwrap();
    let lone = Uuid::now_v7();
    std::fs::write(folder.path().join(format!("photos/{lone}.json")), "{}").unwrap();
    drop(queue);
    let (queue, recovery) = open(&folder);
    assert_eq!((recovery.num_salvaged, recovery.num_damaged), (1, 0));
    assert_eq!(labels(&queue, Order::OldestFirst), ["one"]);
    drop(queue);
    let (_, recovery) = open(&folder);
    assert_eq!(recovery, Recovery::default());
    assert_eq!(
        std::fs::read_dir(folder.path().join("photos"))
            .unwrap()
            .count(),
        2
    );
}

#[test]
fn the_bounds_hold_and_room_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let (mut queue, _) = open(&folder);
    let policy = Policy {
        max_photos: 2,
        max_waiting_bytes: 9,
        ..Policy::default()
    };
    let take_in = |queue: &mut Queue, photo: &[u8]| queue.add(ticket("x", photo), photo, &policy);
    let first = take_in(&mut queue, b"12345").unwrap();
    assert!(matches!(
        take_in(&mut queue, b"12345"),
        Err(TintypeError::QueueFull { .. })
    ));
    take_in(&mut queue, b"1234").unwrap();
    assert!(matches!(
        take_in(&mut queue, b""),
        Err(TintypeError::QueueFull { .. })
    ));
    queue.record(first, sent()).unwrap();
    take_in(&mut queue, b"12345").unwrap();
    assert_eq!(
        std::fs::read_dir(folder.path().join("photos"))
            .unwrap()
            .count(),
        4
    );
}

#[test]
fn the_history_is_bounded_and_the_journal_does_not_grow_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let (mut queue, _) = Queue::open(folder.path(), 3).unwrap();
    for number in 0..10 {
        let id = add(&mut queue, &number.to_string());
        queue.record(id, sent()).unwrap();
    }
    let left: Vec<_> = queue
        .entries()
        .map(|entry| entry.ticket.label.as_str())
        .collect();
    assert_eq!(left, ["7", "8", "9"]);
    let id = add(&mut queue, "tried");
    let mut tried = Progress::default();
    for attempt in 0..4_000 {
        tried.attempts = attempt;
        tried.reason = Some(ItemReason {
            code: "no_connection".into(),
            detail: "x".repeat(300),
            hint: None,
        });
        queue.record(id, tried.clone()).unwrap();
    }
    assert!(
        queue.journal.num_bytes() <= MIN_REWRITE_BYTES,
        "{}",
        queue.journal.num_bytes()
    );
    drop(queue);
    let (queue, recovery) = open(&folder);
    assert_eq!(recovery, Recovery::default());
    assert_eq!(queue.find(id).unwrap().progress, tried);
}
