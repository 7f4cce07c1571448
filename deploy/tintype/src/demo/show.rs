//! What the demo prints at its end: the verdicts, what they look like in detail,
//! where the shards lie, the query with its answer, the model, and what to try next.

use std::collections::BTreeMap;
use std::path::Path;

use schemas::{CaptureId, Status};

use super::Shown;
use crate::cli::{Exit, print, print_json, printable};
use crate::import::{self, Ended, Journal, Line};
use crate::model;

/// Verdicts that are shown one by one.
const EXAMPLES: usize = 12;

/// Tells what came of the photos; blocking.
///
/// # Errors
/// The journal cannot be read back, the output is closed, or not every photo got its
/// verdict.
pub fn show(mut shown: Shown, url: &str, json: bool) -> anyhow::Result<Exit> {
    if !matches!(shown.finished.ended, Ended::Complete) || shown.finished.tally.failed() > 0 {
        let header = shown.header;
        return import::report(shown.finished, &header.dataset, &header.folder, json);
    }
    if json {
        print_json(&object(&shown, url))?;
        return Ok(Exit::Fine);
    }
    let finished = &mut shown.finished;
    print(format!("\n{}", finished.tally.table().plain()))?;
    print(format!(
        "\nsome of the verdicts:\n{}",
        examples(&mut finished.journal)?
    ))?;
    print(format!(
        "\n{} photos in {:.1} s: sent over HTTP, through Kafka, judged, answered",
        finished.sent_now,
        finished.whole.as_secs_f64()
    ))?;
    match &shown.table {
        None => print("\nno photo was accepted, so there is no table yet")?,
        Some(table) => {
            print(format!(
                "\nthe table, version {}: {}",
                table.version,
                printable(&table.folder.display().to_string())
            ))?;
            for (shard, num_bytes) in &table.shards {
                let name = shard.file_name().unwrap_or_default().to_string_lossy();
                print(format!("  {} kB  {}", num_bytes / 1000, printable(&name)))?;
            }
            print(format!(
                "\npaste into DuckDB:\n\n{}\n",
                printable(&table.query())
            ))?;
            print(table.drawn_answer())?;
            print(format!(
                "\nor, without its Delta extension:\n\n{}",
                printable(&table.query_without_extension())
            ))?;
        }
    }
    if let Some(trained) = &shown.trained {
        print(format!(
            "\nthe model, {:.1} s after it was asked for:\n",
            trained.seconds
        ))?;
        for note in &trained.notes {
            print(format!("note: {}", printable(note)))?;
        }
        print(printable(&model::report(&trained.model)))?;
    }
    Ok(Exit::Fine)
}

fn object(shown: &Shown, url: &str) -> serde_json::Value {
    let tally = &shown.finished.tally;
    let table = shown.table.as_ref().map(|table| {
        let shards = table.shards.iter().map(|(path, num_bytes)| {
            serde_json::json!({"path": path.display().to_string(), "bytes": num_bytes})
        });
        serde_json::json!({
            "path": table.folder.display().to_string(),
            "version": table.version,
            "shards": shards.collect::<Vec<_>>(),
            "query": table.query(),
            "query_without_extension": table.query_without_extension(),
            "answer": table.answer,
        })
    });
    serde_json::json!({
        "url": url,
        "dataset": shown.header.dataset,
        "folder": shown.header.folder,
        "sent": tally.sent(),
        "accepted": tally.with_status(Status::Accepted),
        "duplicate": tally.with_status(Status::Duplicate),
        "review": tally.with_status(Status::Review),
        "rejected": tally.with_status(Status::Rejected),
        "labels": tally.by_label(),
        "reasons": tally.by_reason(),
        "seconds": shown.finished.whole.as_secs_f64(),
        "table": table,
        "model": shown.trained.as_ref().map(|trained| &trained.model),
    })
}

/// Some verdicts in words: of each reason in turn, with twins by their file names.
fn examples(journal: &mut Journal) -> anyhow::Result<String> {
    let mut names: BTreeMap<CaptureId, String> = BTreeMap::new();
    let mut by_reason: BTreeMap<_, Vec<Line>> = BTreeMap::new();
    for line in journal.lines()? {
        let line = line?;
        if let Some(reason) = line.reason {
            let lines = by_reason.entry(reason).or_default();
            if lines.len() < EXAMPLES {
                lines.push(line.clone());
            }
        }
        if let Some(capture) = line.capture
            && names.len() < MAX_NAMES
        {
            names.insert(capture, line.path);
        }
    }
    let mut lines: Vec<&Line> = Vec::new();
    for round in 0..EXAMPLES {
        lines.extend(by_reason.values().filter_map(|lines| lines.get(round)));
    }
    lines.truncate(EXAMPLES);
    lines.sort_by_key(|line| line.reason);
    let told = lines.into_iter().map(|line| example(line, &names));
    Ok(told.collect::<Vec<_>>().join("\n"))
}

/// Files whose names are kept to call twins by. A twin beyond is called by its id.
const MAX_NAMES: usize = 100_000;

fn example(line: &Line, names: &BTreeMap<CaptureId, String>) -> String {
    let mut text = format!("  {}\n      ", line.path.replace('\n', "\\n"));
    if let Some(reason) = line.reason {
        text += reason.as_str();
    }
    if let Some(twin) = line.twin_id {
        let name = names.get(&twin).cloned();
        text += &format!(" of {}", name.unwrap_or_else(|| twin.to_string()));
    }
    match (line.phash_distance, line.pdq_distance, &line.detail) {
        // The detail says the same, with the twin's id.
        (Some(phash), Some(pdq), _) => {
            text += &format!(": {phash} of 64 bits of phash differ, {pdq} of 256 of pdq");
        }
        (_, _, Some(detail)) => text += &format!(": {detail}"),
        _ => {}
    }
    printable(&text).into_owned()
}

/// What is left, and what to try next.
pub fn farewell(url: &str, key: Option<&str>, data: &Path, kept: bool, stays: bool) -> String {
    let data = data.display().to_string();
    let data = printable(&data);
    let key = key.map(|key| format!("  export TINTYPE_KEY={key}\n"));
    let key = key.unwrap_or_default();
    if kept {
        return format!(
            "\nthe data is kept in {data}; go on with it:\n\n{key}  tintype up --data {data}\n  \
             tintype status demo"
        );
    }
    if stays {
        return format!(
            "\nthe server is still there; in another terminal, try\n\n  export TINTYPE_URL={url}\n{key}  \
             tintype status demo\n  tintype upload YOUR.jpg --dataset demo --label ball --wait\n  \
             tintype import FOLDER --dataset mine --create\n\n\
             Ctrl-C ends it and deletes {data}; `tintype demo --data DIR` keeps the data."
        );
    }
    format!(
        "\nthe data was temporary, and is deleted now: {data}\nto keep it:        tintype demo \
         --data DIR\nwith your photos:  tintype demo --photos DIR\nfor real:          tintype up"
    )
}
