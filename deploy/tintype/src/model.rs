//! `tintype model`: lists, shows, fetches and deletes models.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use schemas::training::{Model, ModelFile};
use schemas::{ModelId, Sha256};
use serde_json::Value;

use crate::cli::{Column, Exit, Failure, Global, Table, print, print_json};
use crate::client::Client;

/// Classes of a confusion matrix that a terminal can show.
const MAX_SHOWN_CLASSES: usize = 10;

/// List, show, fetch and delete models
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tintype model list
  tintype model show ID
  tintype model fetch ID --to model/            all files, hashes checked
  tintype model fetch ID --file model.tflite")]
pub struct ModelArgs {
    #[command(subcommand)]
    pub command: ModelCommand,
}

/// What to do with models.
#[derive(Debug, Subcommand)]
pub enum ModelCommand {
    /// List models
    #[command(after_help = "\
Example:
  tintype model list --json")]
    List {
        /// Only those of this dataset
        dataset: Option<String>,
    },
    /// Show what a model is and how good
    #[command(after_help = "\
Example:
  tintype model show 0198c2a4-5b0e-7c3f-9d7e-2f6a1b3c4d5e")]
    Show {
        /// Its id
        id: ModelId,
    },
    /// Fetch a model's files; their hashes are checked
    #[command(after_help = "\
Examples:
  tintype model fetch 0198c2a4-5b0e-7c3f-9d7e-2f6a1b3c4d5e
  tintype model fetch 0198c2a4-5b0e-7c3f-9d7e-2f6a1b3c4d5e --file model.tflite --to app/assets")]
    Fetch {
        /// The model's id
        id: ModelId,
        /// Only this file; may be given again
        #[arg(long = "file", value_name = "NAME")]
        files: Vec<String>,
        /// The folder to put them in [default: model-ID]
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
    },
    /// Delete a model and its files
    #[command(after_help = "\
Example:
  tintype model delete 0198c2a4-5b0e-7c3f-9d7e-2f6a1b3c4d5e")]
    Delete {
        /// Its id
        id: ModelId,
    },
}

/// Runs the command.
///
/// # Errors
/// The server cannot be reached or refuses, or a file is not what it should be.
pub async fn run(global: &Global, command: ModelCommand) -> anyhow::Result<Exit> {
    let client = global.client()?;
    match command {
        ModelCommand::List { dataset } => {
            let list = client.models(dataset.as_deref()).await?;
            if global.json {
                print_json(&list)?;
            } else if list.models.is_empty() {
                print("no models yet; make one: tintype train DATASET")?;
            } else {
                print(listing(&list.models).plain())?;
            }
        }
        ModelCommand::Show { id } => {
            let model = client.model(id).await?;
            if global.json {
                print_json(&model)?;
            } else {
                print(report(&model))?;
            }
        }
        ModelCommand::Fetch { id, files, to } => {
            let to = to.unwrap_or_else(|| PathBuf::from(format!("model-{id}")));
            let fetched = fetch(&client, id, &files, &to).await?;
            if global.json {
                print_json(&serde_json::json!({"folder": to, "files": fetched}))?;
            } else {
                print(file_table(&fetched).plain())?;
                print(format!("in {}", to.display()))?;
            }
        }
        ModelCommand::Delete { id } => {
            client.delete_model(id).await?;
            if global.json {
                print_json(&serde_json::json!({"deleted": id}))?;
            } else {
                print(format!("deleted model {id}"))?;
            }
        }
    }
    Ok(Exit::Fine)
}

/// Fetches files; those that are there already and right are not fetched again.
async fn fetch(
    client: &Client,
    id: ModelId,
    names: &[String],
    to: &Path,
) -> anyhow::Result<Vec<ModelFile>> {
    let model = client.model(id).await?;
    let known: Vec<&str> = model.files.iter().map(|file| file.name.as_str()).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        let message = format!("model {id} has no file {unknown}");
        let failure = Failure::new(Exit::NotFound, "unknown_file", message);
        return Err(failure.hint(format!("it has {}", known.join(", "))).into());
    }
    tokio::fs::create_dir_all(to)
        .await
        .with_context(|| format!("making {}", to.display()))?;
    let wanted = |file: &&ModelFile| names.is_empty() || names.contains(&file.name);
    let mut fetched = Vec::new();
    for file in model.files.iter().filter(wanted) {
        let path = to.join(&file.name);
        if !is_right(&path, file).await {
            let part = to.join(format!("{}.part", file.name));
            let _ = tokio::fs::remove_file(&part).await;
            client
                .model_file(id, &file.name, &part)
                .await
                .with_context(|| format!("fetching {}", file.name))?;
            if !is_right(&part, file).await {
                let message = format!("{} arrived damaged", file.name);
                let failure = Failure::new(Exit::Failed, "damaged", message);
                return Err(failure.hint("fetch it again").into());
            }
            tokio::fs::rename(&part, &path)
                .await
                .with_context(|| format!("writing {}", path.display()))?;
        }
        fetched.push(file.clone());
    }
    Ok(fetched)
}

async fn is_right(path: &Path, file: &ModelFile) -> bool {
    let read = tokio::fs::read(path).await;
    read.is_ok_and(|bytes| Sha256::of(&bytes).to_string() == file.sha256)
}

fn listing(models: &[Model]) -> Table {
    let mut table = Table::new(vec![
        Column::text("id"),
        Column::text("name"),
        Column::text("network"),
        Column::figures("classes"),
        Column::figures("accuracy"),
        Column::text("made"),
    ]);
    for model in models {
        table.row([
            model.id.to_string(),
            model.name.clone(),
            model.architecture.clone(),
            model.labels.len().to_string(),
            model
                .accuracy
                .map_or_else(String::new, |part| format!("{part:.3}")),
            model.created_at.format("%Y-%m-%d %H:%M UTC").to_string(),
        ]);
    }
    table
}

/// A model for a person: how good it is, what it mixes up, and its files.
pub fn report(model: &Model) -> String {
    let mut text = format!(
        "model {}, {}, {} classes\n\n",
        model.id,
        model.architecture,
        model.labels.len()
    );
    text += &accuracy_table(model).plain();
    let headline = ["test", "validation", "train"]
        .into_iter()
        .find(|split| model.evaluation[*split].is_object());
    if let Some(split) = headline
        && model.labels.len() <= MAX_SHOWN_CLASSES
    {
        text += &format!("\n\n{split} photos; row: what it is, column: what the model says\n\n");
        text += &confusion(&model.labels, &model.evaluation[split]).plain();
    }
    text += "\n\n";
    text += &file_table(&model.files).plain();
    text += &format!("\n\nfetch them: tintype model fetch {}", model.id);
    text += &format!("\nask it:     tintype predict {} photo.jpg", model.id);
    text
}

fn accuracy_table(model: &Model) -> Table {
    let mut table = Table::new(vec![
        Column::text("part"),
        Column::figures("photos"),
        Column::figures("accuracy"),
        Column::figures("macro F1"),
    ]);
    for split in ["train", "validation", "test"] {
        let part = &model.evaluation[split];
        let figure = |name: &str| {
            let value = part[name].as_f64();
            value.map_or_else(String::new, |value| format!("{value:.3}"))
        };
        let photos = part["num_photos"].as_u64().unwrap_or_default();
        let row = [
            split.to_owned(),
            photos.to_string(),
            figure("accuracy"),
            figure("macro_f1"),
        ];
        table.row(row);
    }
    table
}

fn confusion(labels: &[String], part: &Value) -> Table {
    let mut columns = vec![Column::text("")];
    columns.extend(labels.iter().map(|label| Column::figures(label)));
    let mut table = Table::new(columns);
    for (i, label) in labels.iter().enumerate() {
        let cell = |j: usize| match part["confusion"][i][j].as_u64() {
            Some(0) | None => "·".to_owned(),
            Some(count) => count.to_string(),
        };
        let cells = (0..labels.len()).map(cell);
        table.row(std::iter::once(label.clone()).chain(cells));
    }
    table
}

fn file_table(files: &[ModelFile]) -> Table {
    let mut table = Table::new(vec![Column::text("file"), Column::figures("size")]);
    for file in files {
        let size = match file.bytes {
            0..10_000 => format!("{} B", file.bytes),
            10_000..1_000_000 => format!("{:.0} kB", file.bytes as f64 / 1e3),
            _ => format!("{:.2} MB", file.bytes as f64 / 1e6),
        };
        table.row([file.name.clone(), size]);
    }
    table
}
