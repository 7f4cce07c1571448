//! `tintype dataset`: makes, lists, shows and deletes datasets.

use std::io::{IsTerminal as _, Write as _};

use clap::{Args, Subcommand};
use schemas::Label;
use schemas::http::{
    Cluster, CreateDataset, Dataset, DatasetPolicy, NearDuplicates, Quality, TurnedCopies,
    UnknownLabels,
};

use crate::cli::{Column, Exit, Failure, Global, Table, one_of, print, print_json, verdict_line};
use crate::client::Client;

/// Make, list, show and delete datasets
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tintype dataset create cats --label siamese --label manx
  tintype dataset list --json")]
pub struct DatasetArgs {
    #[command(subcommand)]
    pub command: DatasetCommand,
}

/// What to do with datasets.
#[derive(Debug, Subcommand)]
pub enum DatasetCommand {
    /// Make a dataset
    #[command(after_help = "\
Examples:
  tintype dataset create cats
  tintype dataset create cats --label siamese --label manx --unknown-labels reject
  tintype dataset create bursts --near-duplicates group --quality keep")]
    Create(CreateArgs),
    /// List your datasets
    #[command(after_help = "\
Example:
  tintype dataset list --json")]
    List,
    /// Show one dataset: its labels and how it judges photos
    #[command(after_help = "\
Example:
  tintype dataset show cats")]
    Show {
        /// Its name or id
        name: String,
    },
    /// List what a dataset has more than once: each group's first photo and its copies
    #[command(after_help = "\
Examples:
  tintype dataset duplicates cats
  tintype dataset duplicates cats --json | jq '{group_id, copies: (.copies | length)}'")]
    Duplicates {
        /// Its name or id
        name: String,
    },
    /// List what kinds of photo a dataset holds, found by looks alone
    #[command(after_help = "\
Examples:
  tintype dataset clusters cats
  tintype dataset clusters cats --json | jq '.clusters[] | {cluster_id, labels}'")]
    Clusters {
        /// Its name or id
        name: String,
    },
    /// Delete a dataset
    #[command(after_help = "\
Examples:
  tintype dataset delete cats
  tintype dataset delete cats --yes      without asking")]
    Delete {
        /// Its name or id
        name: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// What a new dataset is like.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// 1 to 64 of a-z, 0-9, '-' and '_'
    name: String,
    /// A label that it begins with; may be given again
    #[arg(long = "label", value_name = "LABEL")]
    labels: Vec<Label>,
    /// Keep only the first of near-duplicates, or all of them as a group
    #[arg(long, value_name = "WHAT", default_value = "drop",
        value_parser = one_of::<NearDuplicates>(&["drop", "group"]))]
    near_duplicates: NearDuplicates,
    /// Whether a mirrored or turned copy is the same photo or a different one; choose
    /// different where a mirror changes the label, as left and right
    #[arg(long, value_name = "WHAT", default_value = "same",
        value_parser = one_of::<TurnedCopies>(&["same", "different"]))]
    turned_copies: TurnedCopies,
    /// What happens to a photo with a label that is not listed: the label joins the
    /// list, the photo waits for a look, or the upload is refused
    #[arg(long, value_name = "WHAT", default_value = "add",
        value_parser = one_of::<UnknownLabels>(&["add", "review", "reject"]))]
    unknown_labels: UnknownLabels,
    /// What happens to a dark, washed-out, blurred or empty photo
    #[arg(long, value_name = "WHAT", default_value = "review",
        value_parser = one_of::<Quality>(&["review", "reject", "keep"]))]
    quality: Quality,
    /// Photos whose label is right with less than this probability, in percent, wait for a
    /// look; 0: none does. At 50, 62 % of the wrong labels of a hard set waited and 2.5 % of
    /// the right ones; of an easy set all and none
    #[arg(long, value_name = "PERCENT", default_value_t = 0,
        value_parser = clap::value_parser!(u32).range(0..=100))]
    min_label_score: u32,
    /// Days after which an uploaded file is deleted once its photo is in the table, which
    /// keeps the resized picture; 0: never
    #[arg(long, value_name = "DAYS", default_value_t = 0)]
    keep_originals_days: u32,
}

/// Runs the command.
///
/// # Errors
/// The server cannot be reached or refuses, or the person says no.
pub async fn run(global: &Global, command: DatasetCommand) -> anyhow::Result<Exit> {
    let client = global.client()?;
    match command {
        DatasetCommand::Create(args) => {
            let name = args.name.clone();
            let dataset = client.create_dataset(&wanted(args)).await?;
            if global.json {
                print_json(&dataset)?;
            } else {
                print(format!("made dataset {name}, id {}", dataset.id))?;
                print(format!(
                    "fill it: tintype import DIR --dataset {name}      a folder per class"
                ))?;
            }
        }
        DatasetCommand::List => {
            let list = client.datasets().await?;
            if global.json {
                print_json(&list)?;
            } else if list.datasets.is_empty() {
                print("no datasets yet; make one: tintype dataset create NAME")?;
            } else {
                print(listing(&list.datasets).plain())?;
            }
        }
        DatasetCommand::Show { name } => {
            let dataset = client.dataset(&name).await?;
            if global.json {
                print_json(&dataset)?;
            } else {
                print(description(&dataset).plain())?;
            }
        }
        DatasetCommand::Duplicates { name } => list_duplicates(global, &client, &name).await?,
        DatasetCommand::Clusters { name } => {
            let list = client.clusters(&name).await?;
            if global.json {
                print_json(&list)?;
            } else if list.clusters.is_empty() {
                print(format!(
                    "dataset {name} has no kinds of photo yet: they are found from 20 photos with embeddings on"
                ))?;
            } else {
                print(kinds(&list.clusters).plain())?;
            }
        }
        DatasetCommand::Delete { name, yes } => {
            let dataset = client.dataset(&name).await?;
            if !yes {
                confirm(&dataset)?;
            }
            client.delete_dataset(dataset.id.as_str()).await?;
            if global.json {
                print_json(&serde_json::json!({"deleted": dataset.id}))?;
            } else {
                print(format!(
                    "deleted dataset {}, id {}",
                    dataset.name, dataset.id
                ))?;
            }
        }
    }
    Ok(Exit::Fine)
}

/// Page by page, so that a large dataset is told as it is read.
async fn list_duplicates(global: &Global, client: &Client, name: &str) -> anyhow::Result<()> {
    let (mut after, mut last, mut num_copies) = (None, None, 0);
    loop {
        let page = client.duplicates(name, after.as_deref()).await?;
        for group in page.groups {
            num_copies += group.copies.len();
            if global.json {
                print_json(&group)?;
                continue;
            }
            // A long group goes on on the next page.
            if last.replace(group.group_id) != Some(group.group_id) {
                print(group.group_id.to_string())?;
            }
            for copy in &group.copies {
                print(format!("  {}  {}", copy.id, verdict_line(copy)))?;
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    if num_copies == 0 && !global.json {
        print(format!("dataset {name} has nothing twice"))?;
    }
    Ok(())
}

/// Labels told of each kind; `--json` has ten.
const SHOWN_KIND_LABELS: usize = 3;

fn kinds(clusters: &[Cluster]) -> Table {
    let columns = vec![
        Column::figures("cluster"),
        Column::figures("photos"),
        Column::figures("odd ones"),
        Column::text("labels"),
        Column::text("for example"),
    ];
    let mut table = Table::new(columns);
    for cluster in clusters {
        let labels = cluster.labels.iter().take(SHOWN_KIND_LABELS);
        let labels: Vec<String> = labels
            .map(|label| format!("{} {}", label.num_photos, label.label))
            .collect();
        let example = cluster.representatives.first();
        table.row([
            cluster.cluster_id.to_string(),
            cluster.num_photos.to_string(),
            cluster.num_outliers.to_string(),
            labels.join(", "),
            example.map_or_else(String::new, ToString::to_string),
        ]);
    }
    table
}

fn wanted(args: CreateArgs) -> CreateDataset {
    CreateDataset {
        name: args.name,
        labels: args.labels,
        policy: DatasetPolicy {
            near_duplicates: args.near_duplicates,
            turned_copies: args.turned_copies,
            unknown_labels: args.unknown_labels,
            quality: args.quality,
            min_label_score_percent: args.min_label_score,
            keep_originals_days: args.keep_originals_days,
            ..DatasetPolicy::default()
        },
    }
}

fn listing(datasets: &[Dataset]) -> Table {
    let columns = vec![
        Column::text("name"),
        Column::text("id"),
        Column::figures("labels"),
        Column::text("made"),
    ];
    let mut table = Table::new(columns);
    for dataset in datasets {
        table.row([
            dataset.name.clone(),
            dataset.id.to_string(),
            dataset.labels.len().to_string(),
            dataset.created_at.format("%Y-%m-%d %H:%M UTC").to_string(),
        ]);
    }
    table
}

/// How many labels `show` lists; `--json` has them all.
const SHOWN_LABELS: usize = 200;

fn description(dataset: &Dataset) -> Table {
    let word = |value: serde_json::Result<serde_json::Value>| {
        let value = value.unwrap_or_default();
        value.as_str().unwrap_or_default().to_owned()
    };
    let policy = &dataset.policy;
    let mut table = Table::new(vec![Column::text("name"), Column::text(&dataset.name)]);
    let made = dataset.created_at.format("%Y-%m-%d %H:%M UTC").to_string();
    let near = word(serde_json::to_value(policy.near_duplicates));
    table.row(["id".into(), dataset.id.to_string()]);
    table.row(["made".into(), made]);
    table.row(["near-duplicates".into(), near]);
    table.row([
        "  distances at most".into(),
        format!(
            "{} of 64 bits of phash and {} of 256 of pdq",
            policy.max_phash_distance, policy.max_pdq_distance
        ),
    ]);
    let turned = word(serde_json::to_value(policy.turned_copies));
    table.row(["  mirrored, turned".into(), turned]);
    let unknown = word(serde_json::to_value(policy.unknown_labels));
    table.row(["unknown labels".into(), unknown]);
    let quality = word(serde_json::to_value(policy.quality));
    table.row(["poor photos".into(), quality]);
    let doubtful = match policy.min_label_score_percent {
        0 => "accepted, with their score".into(),
        percent => format!("review below {percent} %"),
    };
    table.row(["doubtful labels".into(), doubtful]);
    let originals = match policy.keep_originals_days {
        0 => "kept for ever".into(),
        days => format!("deleted {days} days after their photo is in the table"),
    };
    table.row(["uploaded files".into(), originals]);
    table.row(["labels".into(), dataset.labels.len().to_string()]);
    for label in dataset.labels.iter().take(SHOWN_LABELS) {
        table.row(["".into(), label.to_string()]);
    }
    if dataset.labels.len() > SHOWN_LABELS {
        table.row(["", "... (--json has them all)"]);
    }
    table
}

fn confirm(dataset: &Dataset) -> anyhow::Result<()> {
    let kept = |why: &str| {
        Failure::usage(
            format!("dataset {} is kept: {why}", dataset.name),
            "--yes deletes without asking",
        )
    };
    if !std::io::stdin().is_terminal() {
        return Err(kept("there is nobody to ask").into());
    }
    eprint!(
        "Delete dataset {} with all its photos? Type its name: ",
        dataset.name
    );
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if answer.trim() == dataset.name {
        Ok(())
    } else {
        Err(kept("the answer was not its name").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Command, parse};

    #[test]
    fn the_policy_flags_become_the_policy() {
        let words = "tintype dataset create cats --label a --label b \
            --near-duplicates group --turned-copies different --unknown-labels reject \
            --quality keep --min-label-score 50 --keep-originals-days 30";
        let cli = parse(words.split_whitespace().map(Into::into)).unwrap();
        let Command::Dataset(args) = cli.command else {
            panic!("no dataset command");
        };
        let DatasetCommand::Create(args) = args.command else {
            panic!("no create command");
        };
        let body = wanted(args);
        assert_eq!(body.labels.len(), 2);
        assert_eq!(body.policy.near_duplicates, NearDuplicates::Group);
        assert_eq!(body.policy.turned_copies, TurnedCopies::Different);
        assert_eq!(body.policy.unknown_labels, UnknownLabels::Reject);
        assert_eq!(body.policy.quality, Quality::Keep);
        assert_eq!(body.policy.min_label_score_percent, 50);
        assert_eq!(body.policy.keep_originals_days, 30);
        assert!(body.policy.max_pdq_distance > 0);
    }
}
