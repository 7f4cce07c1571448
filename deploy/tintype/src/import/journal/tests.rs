//! What a second run learns from the journal of the first.

use super::*;

fn header() -> Header {
    Header {
        dataset: "cats-abc234".into(),
        folder: "/photos".into(),
    }
}

fn line(n: u128, status: Option<Status>) -> Line {
    let label = "cat".parse().unwrap();
    let mut line = Line::new(FileKey(n), &format!("cat/{n}.jpg"), Some(&label));
    line.capture = status.map(|_| CaptureId::new());
    line.status = status;
    line
}

#[test]
fn a_second_run_knows_what_is_done_and_the_last_line_holds() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state/import.jsonl");
    let mut journal = Journal::open(&path, &header()).unwrap();
    let queued = line(1, Some(Status::Queued));
    journal.note(FileKey(1), &queued).unwrap();
    journal.note(FileKey(2), &line(2, None)).unwrap();
    let judged = Line {
        status: Some(Status::Rejected),
        reason: Some(Reason::Truncated),
        ..queued.clone()
    };
    journal.note(FileKey(1), &judged).unwrap();
    journal.flush().unwrap();
    drop(journal);

    let mut journal = Journal::open(&path, &header()).unwrap();
    assert_eq!(journal.known.len(), 2);
    let known = journal.come_upon(FileKey(1)).unwrap();
    assert_eq!(known.capture, queued.capture);
    assert_eq!(known.status, Some(Status::Rejected));
    assert_eq!(known.reason, Some(Reason::Truncated));
    assert_eq!(journal.come_upon(FileKey(3)), None);
    // File 2 has left the folder: the report does not speak of it.
    let lines: Vec<Line> = journal.lines().unwrap().map(Result::unwrap).collect();
    assert_eq!(lines, [judged]);
    // Reading the report has not moved the place of writing.
    let accepted = line(3, Some(Status::Accepted));
    journal.note(FileKey(3), &accepted).unwrap();
    journal.flush().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 5);
    assert_eq!(journal.lines().unwrap().count(), 2);
}

#[test]
fn a_journal_cut_anywhere_loses_only_its_tail() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("import.jsonl");
    let mut journal = Journal::open(&path, &header()).unwrap();
    for n in 0..3 {
        let line = line(n, Some(Status::Accepted));
        journal.note(FileKey(n), &line).unwrap();
    }
    journal.flush().unwrap();
    drop(journal);
    let whole = std::fs::read(&path).unwrap();
    let mut cases = 0;
    for cut in 0..=whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let num_lines = whole[..cut].iter().filter(|b| **b == b'\n').count();
        let files = num_lines.saturating_sub(1);
        let mut journal = Journal::open(&path, &header()).unwrap();
        assert_eq!(journal.known.len(), files, "cut at {cut}");
        let again = line(9, Some(Status::Queued));
        journal.note(FileKey(9), &again).unwrap();
        assert_eq!(journal.lines().unwrap().count(), 1, "cut at {cut}");
        drop(journal);
        let again = Journal::open(&path, &header()).unwrap();
        assert_eq!(again.known.len(), files + 1, "cut at {cut}");
        cases += 1;
    }
    assert!(cases > 300, "{cases}");
}

#[test]
fn a_damaged_line_counts_as_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("import.jsonl");
    let mut journal = Journal::open(&path, &header()).unwrap();
    let accepted = line(1, Some(Status::Accepted));
    journal.note(FileKey(1), &accepted).unwrap();
    drop(journal);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend_from_slice(b"\xff{nonsense\n");
    std::fs::write(&path, bytes).unwrap();
    let mut journal = Journal::open(&path, &header()).unwrap();
    assert_eq!(journal.known.len(), 1);
    journal.come_upon(FileKey(1));
    assert_eq!(journal.lines().unwrap().count(), 1);
}

#[test]
fn one_journal_serves_one_import_at_a_time_and_no_other_folder() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("import.jsonl");
    let journal = Journal::open(&path, &header()).unwrap();
    let second = Journal::open(&path, &header()).unwrap_err().to_string();
    assert!(second.contains("another import"), "{second}");
    drop(journal);
    let other = Header {
        folder: "/elsewhere".into(),
        ..header()
    };
    let refused = Journal::open(&path, &other).unwrap_err().to_string();
    assert!(refused.contains("/photos"), "{refused}");
}

#[test]
fn a_file_that_is_no_journal_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("diary");
    let film = vec![b'x'; 2 * MAX_LINE_BYTES as usize];
    for content in [
        b"dear diary\n".as_slice(),
        b"dear diary",
        b"\n",
        b"{}\n{}\n",
        &film,
    ] {
        std::fs::write(&path, content).unwrap();
        assert!(Journal::open(&path, &header()).is_err());
        assert!(std::fs::read(&path).unwrap() == content);
    }
}
