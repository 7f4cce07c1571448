//! `tintype status`: whether the server is well and what its datasets hold, or what
//! became of one photo.

use std::collections::BTreeMap;

use clap::Args;
use schemas::http::DatasetStats;
use schemas::{CaptureId, Reason, Status};

use crate::cli::{Column, Exit, Global, Table, count, print, print_json, printable, verdict_table};
use crate::client::{Client, ClientError};

/// Whether the server is well, or what became of photos
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tintype status               the server and all datasets
  tintype status cats          one dataset: verdicts by label and reason
  tintype status 0198c2a4-5b0e-7c3f-9d7e-2f6a1b3c4d5e     one photo

Ends with 5 if the server is not ready.")]
pub struct StatusArgs {
    /// A capture's id, or a dataset by name or id
    #[arg(value_name = "CAPTURE|DATASET")]
    of: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// The server cannot be reached or refuses.
pub async fn run(global: &Global, args: StatusArgs) -> anyhow::Result<Exit> {
    let client = global.client()?;
    match args.of {
        None => server(&client, global.json).await,
        Some(of) => match of.parse::<CaptureId>() {
            Ok(id) => {
                let capture = client.capture(id).await?;
                if global.json {
                    print_json(&capture)?;
                } else {
                    print(verdict_table(&capture).plain())?;
                }
                Ok(Exit::Fine)
            }
            Err(_) => dataset(&client, &of, global.json).await,
        },
    }
}

async fn server(client: &Client, json: bool) -> anyhow::Result<Exit> {
    let (ready, said) = client.ready().await?;
    let stats = match datasets(client).await {
        Ok(stats) => Ok(stats),
        // Whether the server is well is told to those without a key as well.
        Err(error) if matches!(error.status(), Some(401 | 403)) => Err(error),
        Err(_) if !ready => Ok(BTreeMap::new()),
        Err(error) => return Err(error.into()),
    };
    if json {
        let said: serde_json::Value =
            serde_json::from_str(&said).unwrap_or(serde_json::Value::String(said));
        print_json(&serde_json::json!({
            "url": client.url(),
            "ready": ready,
            "readiness": said,
            "datasets": stats.ok(),
        }))?;
    } else {
        let word = if ready { "ready" } else { "not ready" };
        print(format!("{} is {word}", client.url()))?;
        if !ready && !said.is_empty() {
            print(printable(&said))?;
        } else if let Some(words) = embeddings(&said) {
            print(format!("embeddings {}", printable(&words)))?;
        }
        match stats {
            Ok(stats) if stats.is_empty() => print("no datasets yet")?,
            Ok(stats) => print(overview(&stats).plain())?,
            Err(error) => {
                let hint = error.hint().unwrap_or_default();
                print(format!("datasets: {error} ({hint})"))?;
            }
        }
    }
    Ok(if ready { Exit::Fine } else { Exit::Unavailable })
}

/// What the server says of embeddings.
fn embeddings(readiness: &str) -> Option<String> {
    let said: serde_json::Value = serde_json::from_str(readiness).ok()?;
    Some(said["embeddings"].as_str()?.to_owned())
}

async fn datasets(client: &Client) -> Result<BTreeMap<String, DatasetStats>, ClientError> {
    let mut stats = BTreeMap::new();
    for dataset in client.datasets().await?.datasets {
        let id = dataset.id.as_str();
        stats.insert(dataset.name, client.stats(id).await?);
    }
    Ok(stats)
}

async fn dataset(client: &Client, name: &str, json: bool) -> anyhow::Result<Exit> {
    let stats = client.stats(name).await?;
    if json {
        print_json(&stats)?;
        return Ok(Exit::Fine);
    }
    print(by_label(&stats).plain())?;
    let reasons = by_reason(&stats);
    if !stats.reasons.is_empty() {
        print(format!("\n{}", reasons.plain()))?;
    }
    let version = stats
        .table_version
        .map_or("no table yet".into(), |v| format!("table version {v}"));
    let waiting = count(stats.awaiting_shard, "accepted photo");
    print(format!("\n{version}; {waiting} not yet in it"))?;
    Ok(Exit::Fine)
}

fn status_columns(first: &str) -> Vec<Column> {
    let statuses = Status::ALL.iter().map(|s| Column::figures(s.as_str()));
    let mut columns = vec![Column::text(first)];
    columns.extend(statuses);
    columns.push(Column::figures("all"));
    columns
}

fn status_cells(counts: &BTreeMap<String, u64>) -> Vec<String> {
    let of = |status: &Status| counts.get(status.as_str()).copied().unwrap_or(0);
    let all: u64 = counts.values().sum();
    let cells = Status::ALL.iter().map(of).chain([all]);
    cells.map(|n| n.to_string()).collect()
}

fn overview(stats: &BTreeMap<String, DatasetStats>) -> Table {
    let mut columns = status_columns("dataset");
    columns.push(Column::figures("table").line("version"));
    let mut table = Table::new(columns);
    for (name, stats) in stats {
        let mut row = vec![name.clone()];
        row.extend(status_cells(&stats.statuses));
        row.push(stats.table_version.map_or("-".into(), |v| v.to_string()));
        table.row(row);
    }
    table
}

fn by_label(stats: &DatasetStats) -> Table {
    let mut table = Table::new(status_columns("label"));
    for (label, counts) in &stats.labels {
        let mut row = vec![label.clone()];
        row.extend(status_cells(counts));
        table.row(row);
    }
    let mut row = vec!["all".to_owned()];
    row.extend(status_cells(&stats.statuses));
    table.row(row);
    table
}

fn by_reason(stats: &DatasetStats) -> Table {
    let columns = vec![
        Column::text("reason"),
        Column::figures("photos"),
        Column::prose("what to do"),
    ];
    let mut table = Table::new(columns);
    for (name, n) in &stats.reasons {
        let advice = Reason::from_name(name).map(crate::cli::advice);
        table.row([name.clone(), n.to_string(), advice.unwrap_or("").into()]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statistics_add_up_row_by_row() {
        let counts = |pairs: &[(&str, u64)]| {
            let pairs = pairs.iter().map(|(k, v)| ((*k).to_owned(), *v));
            pairs.collect::<BTreeMap<_, _>>()
        };
        let stats = DatasetStats {
            statuses: counts(&[("accepted", 5), ("rejected", 2)]),
            labels: BTreeMap::from([
                ("cat".into(), counts(&[("accepted", 5)])),
                ("hond".into(), counts(&[("rejected", 2)])),
            ]),
            reasons: counts(&[("truncated", 2)]),
            table_version: Some(3),
            awaiting_shard: 0,
        };
        let text = by_label(&stats).plain();
        let words: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            words[0],
            [
                "label",
                "queued",
                "accepted",
                "duplicate",
                "review",
                "rejected",
                "all"
            ]
        );
        assert_eq!(words[1], ["cat", "0", "5", "0", "0", "0", "5"]);
        assert_eq!(words[3], ["all", "0", "5", "0", "0", "2", "7"]);
        assert!(by_reason(&stats).plain().contains("copy it again"));
    }
}
