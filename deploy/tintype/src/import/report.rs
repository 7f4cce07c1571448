//! What an import tells at its end: the table of verdicts and a list of the files
//! that need a person's eye, or the whole as one JSON object. Both are read from
//! the journal a line at a time, so a million files need no more memory than ten.

use std::cell::RefCell;
use std::collections::BTreeMap;

use schemas::{Reason, Status};
use serde::ser::{Error as _, SerializeSeq as _};
use serde::{Serialize, Serializer};

use super::journal::{Journal, Line};
use super::transfer::{Ended, Finished};
use super::walk::Skipped;
use crate::cli::{Exit, Failure, advice, count, print, print_json, printable};

/// Files of each kind that the terminal lists. More push the table off the screen;
/// `--json` has them all.
const LISTED: usize = 20;

/// The JSON object.
#[derive(Serialize)]
struct Report<'a> {
    dataset: &'a str,
    folder: String,
    journal: String,
    /// Every file has been sent and judged.
    complete: bool,
    interrupted: bool,
    found: u64,
    sent: u64,
    sent_now: u64,
    accepted: u64,
    duplicate: u64,
    review: u64,
    rejected: u64,
    undecided: u64,
    failed: u64,
    skipped: Skipped,
    seconds: f64,
    sending_seconds: f64,
    photos_per_s: f64,
    labels: BTreeMap<String, BTreeMap<String, u64>>,
    reasons: BTreeMap<Reason, u64>,
    files: NotAccepted<'a>,
}

/// The lines of all files that are not accepted, written as they are read.
struct NotAccepted<'a>(RefCell<&'a mut Journal>);

impl Serialize for NotAccepted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut journal = self.0.borrow_mut();
        let mut list = serializer.serialize_seq(None)?;
        for line in journal.lines().map_err(S::Error::custom)? {
            let line = line.map_err(S::Error::custom)?;
            if line.status != Some(Status::Accepted) {
                list.serialize_element(&line)?;
            }
        }
        list.end()
    }
}

/// Tells how the import of `folder` into `dataset` ended; blocking.
///
/// # Errors
/// The journal cannot be read back, the output is closed, or the import itself did
/// not come to its end.
pub fn report(
    mut finished: Finished,
    dataset: &str,
    folder: &str,
    json: bool,
) -> anyhow::Result<Exit> {
    if json {
        print_json(&whole(&mut finished, dataset, folder))?;
    } else {
        let words = words(&mut finished)?;
        if !words.is_empty() {
            print(words)?;
        }
    }
    let tally = &finished.tally;
    let again = "run the same command again: it sends only what is missing";
    match finished.ended {
        Ended::Complete if tally.failed() > 0 => Ok(Exit::SomeFilesFailed),
        Ended::Complete => Ok(Exit::Fine),
        Ended::Interrupted => {
            if !json {
                eprintln!(
                    "interrupted, and the journal {} is kept; to go on, {again}",
                    finished.journal.path().display()
                );
            }
            Ok(Exit::Interrupted)
        }
        Ended::Silent => {
            let waiting = count(tally.with_status(Status::Queued), "photo");
            let message = format!("{waiting} got no verdict in time");
            let hint = format!("`tintype status` tells whether the server is well; then {again}");
            Err(Failure::new(Exit::Failed, "no_verdict", message)
                .hint(hint)
                .into())
        }
        Ended::Stopped(error) => {
            let sent = count(tally.sent(), "file");
            Err(anyhow::Error::from(error).context(format!("the import stopped with {sent} sent")))
        }
    }
}

fn whole<'a>(finished: &'a mut Finished, dataset: &'a str, folder: &str) -> Report<'a> {
    let tally = &finished.tally;
    let seconds = finished.whole.as_secs_f64();
    let undecided = tally.with_status(Status::Queued);
    let done = matches!(finished.ended, Ended::Complete) && undecided == 0;
    Report {
        dataset,
        folder: folder.into(),
        journal: finished.journal.path().display().to_string(),
        complete: done && tally.failed() == 0,
        interrupted: matches!(finished.ended, Ended::Interrupted),
        found: tally.files(),
        sent: tally.sent(),
        sent_now: finished.sent_now,
        accepted: tally.with_status(Status::Accepted),
        duplicate: tally.with_status(Status::Duplicate),
        review: tally.with_status(Status::Review),
        rejected: tally.with_status(Status::Rejected),
        undecided,
        failed: tally.failed(),
        skipped: finished.skipped,
        seconds,
        sending_seconds: finished.sending.as_secs_f64(),
        photos_per_s: finished.sent_now as f64 / seconds.max(1e-3),
        labels: tally.by_label(),
        reasons: tally.by_reason(),
        files: NotAccepted(RefCell::new(&mut finished.journal)),
    }
}

/// The report for a person.
fn words(finished: &mut Finished) -> anyhow::Result<String> {
    let listed = listing(&mut finished.journal)?;
    let tally = &finished.tally;
    let mut text = String::new();
    match (&finished.ended, tally.files()) {
        (Ended::Complete, 0) => text += "there is no file in the folder",
        (_, 0) => return Ok(text),
        _ => text += &tally.table().plain(),
    }
    text += &listed;
    let seconds = finished.whole.as_secs_f64();
    text += &format!(
        "\n\n{} sent in {seconds:.1} s, {:.1} a second",
        count(finished.sent_now, "photo"),
        finished.sent_now as f64 / seconds.max(1e-3)
    );
    let before = tally.sent().saturating_sub(finished.sent_now);
    if before > 0 {
        text += &format!("; {} were there already", count(before, "photo"));
    }
    text += &passed_over(finished.skipped);
    Ok(text)
}

/// The files to look at, by what became of them.
fn listing(journal: &mut Journal) -> anyhow::Result<String> {
    let kinds = [
        (None, "not sent"),
        (Some(Status::Rejected), "rejected"),
        (Some(Status::Review), "for review"),
    ];
    let mut lists: [(u64, String); 3] = Default::default();
    for line in journal.lines()? {
        let line = line?;
        let Some(kind) = kinds.iter().position(|(status, _)| *status == line.status) else {
            continue;
        };
        let (n, list) = &mut lists[kind];
        *n += 1;
        if *n <= LISTED as u64 {
            *list += &entry(&line);
        }
    }
    let mut text = String::new();
    for ((_, name), (n, list)) in kinds.iter().zip(lists) {
        if n == 0 {
            continue;
        }
        text += &format!("\n\n{name}: {}{list}", count(n, "file"));
        if n > LISTED as u64 {
            let more = n - LISTED as u64;
            text += &format!(
                "\n  ... and {more} more: the same command with --json lists all, and sends \
                 nothing twice"
            );
        }
    }
    Ok(text)
}

/// A file, what was wrong, what to do.
fn entry(line: &Line) -> String {
    let reason = line.reason.map(|reason| reason.as_str());
    let what: Vec<&str> = reason.into_iter().chain(line.detail.as_deref()).collect();
    let todo = line.hint.as_deref().or_else(|| line.reason.map(advice));
    let path = line.path.replace('\n', "\\n");
    let entry = format!(
        "{path}\n      {}. {}",
        what.join(": "),
        todo.unwrap_or_default()
    );
    format!("\n  {}", printable(entry.trim_end()))
}

fn passed_over(skipped: Skipped) -> String {
    let parts: Vec<String> = [
        (
            skipped.hidden,
            "hidden file or folder",
            "hidden files or folders",
        ),
        (
            skipped.links,
            "link out of the folder",
            "links to folders or out of this one",
        ),
        (skipped.special, "device", "pipes, sockets or devices"),
    ]
    .into_iter()
    .filter(|(n, _, _)| *n > 0)
    .map(|(n, one, many)| format!("{n} {}", if n == 1 { one } else { many }))
    .collect();
    if parts.is_empty() {
        return String::new();
    }
    format!("\npassed over: {}", parts.join(", "))
}
