//! `tintype upload`: sends single files under one label, retries what can be
//! retried, and tells what became of each.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use futures::StreamExt as _;
use schemas::Label;
use schemas::http::{Capture, CaptureReceipt};
use serde::Serialize;

use crate::cli::{Exit, Failure, Global, count, print, print_json, printable, verdict_line};
use crate::client::{Backoff, Client, ClientError, Next, Photo};

/// Files on their way at once. More would overtake each other for no gain: many
/// files are `tintype import`'s business.
const CONCURRENCY: usize = 4;

/// How long a verdict is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// Send single photos
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tintype upload tom.jpg --dataset cats --label siamese --wait
  tintype upload siamese.*.jpg --dataset cats     label: the name up to its first dot
  tintype upload *.jpg --dataset cats --label manx --json | jq .captures[].id")]
pub struct UploadArgs {
    /// The files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The dataset, by name or id
    #[arg(long)]
    dataset: String,
    /// What they show [default: each file's name up to its first dot]
    #[arg(long)]
    label: Option<Label>,
    /// Wait for the verdicts
    #[arg(long)]
    wait: bool,
    /// How often a file is tried again when the server is away or busy
    #[arg(long, default_value_t = 5, value_name = "N")]
    retries: u32,
}

/// What became of one file, as `--json` tells it.
#[derive(Debug, Serialize)]
struct Sent {
    path: String,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Outcome {
    Judged(Box<Capture>),
    Received(CaptureReceipt),
    Failed {
        error: String,
        code: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
}

/// Runs the command.
///
/// # Errors
/// The server cannot be reached, or refuses in a way that holds for every file.
pub async fn run(global: &Global, args: UploadArgs) -> anyhow::Result<Exit> {
    let client = global.client()?;
    let labelled = args
        .files
        .iter()
        .map(|path| Ok((path.as_path(), label_for(path, args.label.as_ref())?)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let mut sending = futures::stream::iter(labelled)
        .map(|(path, label)| {
            let (client, args) = (&client, &args);
            async move { (path, send(client, args, path, &label).await) }
        })
        .buffered(CONCURRENCY);
    let mut sent = Vec::new();
    let mut failed = 0;
    while let Some((path, result)) = sending.next().await {
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(error) if error.next_after_retries() == Next::Stop => return Err(error.into()),
            Err(error) => {
                failed += 1;
                Outcome::Failed {
                    error: error.to_string(),
                    code: error.code().into(),
                    hint: error.hint(),
                }
            }
        };
        let path = path.display().to_string();
        if global.json {
            sent.push(Sent { path, outcome });
        } else {
            tell(&path, &outcome)?;
        }
    }
    if global.json {
        print_json(&serde_json::json!({"captures": sent}))?;
    } else if failed > 0 {
        eprintln!("{} could not be sent", count(failed, "file"));
    }
    Ok(if failed > 0 {
        Exit::SomeFilesFailed
    } else {
        Exit::Fine
    })
}

fn label_for(path: &Path, given: Option<&Label>) -> anyhow::Result<Label> {
    if let Some(label) = given {
        return Ok(label.clone());
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Label::from_file_name(&name).map_err(|error| {
        let message = format!("{}: {error}", path.display());
        Failure::usage(message, "give the label with --label").into()
    })
}

async fn send(
    client: &Client,
    args: &UploadArgs,
    path: &Path,
    label: &Label,
) -> Result<Outcome, ClientError> {
    let idempotency_key = format!("upload-{}", uuid::Uuid::now_v7());
    let photo = Photo {
        dataset: &args.dataset,
        label,
        path,
        idempotency_key: &idempotency_key,
    };
    let backoff = Backoff {
        retries: args.retries,
    };
    let receipt = backoff.run(|| client.send(photo)).await?;
    if args.wait {
        let judged = backoff
            .run(|| client.wait_for(receipt.id, PATIENCE))
            .await?;
        return Ok(Outcome::Judged(Box::new(judged)));
    }
    Ok(Outcome::Received(receipt))
}

fn tell(path: &str, outcome: &Outcome) -> anyhow::Result<()> {
    let path = printable(path);
    match outcome {
        Outcome::Judged(capture) => {
            let verdict = verdict_line(capture);
            print(printable(&format!("{path}  {}  {verdict}", capture.id)))?;
        }
        Outcome::Received(receipt) => {
            let twin = receipt.duplicate_of.map(|twin| format!(" of {twin}"));
            let twin = twin.unwrap_or_default();
            print(format!("{path}  {}  {}{twin}", receipt.id, receipt.status))?;
        }
        Outcome::Failed { error, hint, .. } => {
            let hint = hint.as_ref().map(|hint| format!(" ({hint})"));
            let line = format!("{path}: {error}{}", hint.unwrap_or_default());
            eprintln!("{}", printable(&line));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_label_the_file_name_gives_it_or_the_command_line_is_wrong() {
        let label = label_for(Path::new("a/b/siamese.12.jpg"), None).unwrap();
        assert_eq!(label.as_str(), "siamese");
        let given = "manx".parse().unwrap();
        let label = label_for(Path::new("siamese.jpg"), Some(&given)).unwrap();
        assert_eq!(label.as_str(), "manx");
        assert!(label_for(Path::new(".hidden"), None).is_err());
    }
}
