//! `tintype train`: starts a training, shows how it goes, and tells what came of it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use schemas::TrainingId;
use schemas::training::{Preset, Training, TrainingState};
use serde_json::{Map, Value};

use crate::cli::{Column, Exit, Failure, Global, Table, print, print_json, printable};
use crate::client::{Backoff, Client};
use crate::model;

/// How often a training is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Train a classifier on a dataset's photos
#[derive(Debug, Args)]
#[command(
    after_help = "\
Examples:
  tintype train cats                         the preset `fast`: seconds
  tintype train cats --preset balanced       fine-tuning: minutes to hours on a CPU
  tintype train cats --set batch_size=16 --set augment.flip=false --epochs 3
  tintype train cats --spec training.json --detach
  tintype train list
  tintype train show ID
  tintype train cancel ID

Presets: fast, balanced, best, classic-mobilenet, classic-two-phase",
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub struct TrainArgs {
    #[command(subcommand)]
    command: Option<TrainCommand>,
    /// The dataset, by name or id
    #[arg(required = true)]
    dataset: Option<String>,
    /// Which set of choices to begin with [default: fast]
    #[arg(long, value_parser = preset)]
    preset: Option<Preset>,
    /// Epochs of the last phase
    #[arg(long, value_name = "N")]
    epochs: Option<u32>,
    /// Only these labels; may be given again
    #[arg(long = "class", value_name = "LABEL")]
    classes: Vec<String>,
    /// Go on from this model
    #[arg(long, value_name = "MODEL")]
    from: Option<String>,
    /// A field of the spec, as in batch_size=16; may be given again
    #[arg(long = "set", value_name = "FIELD=VALUE")]
    set: Vec<String>,
    /// A spec in JSON; flags override what it says
    #[arg(long, value_name = "FILE")]
    spec: Option<PathBuf>,
    /// Do not wait for its end
    #[arg(long)]
    detach: bool,
}

/// What to do with trainings that are there.
#[derive(Debug, Subcommand)]
enum TrainCommand {
    /// List trainings
    #[command(after_help = "\
Example:
  tintype train list --json")]
    List {
        /// Only those of this dataset
        dataset: Option<String>,
    },
    /// Show where a training stands
    #[command(after_help = "\
Example:
  tintype train show 0198c2a4-5b0e-7c3f-9d7e-2f6a1b3c4d5e")]
    Show {
        /// Its id
        id: TrainingId,
    },
    /// Watch a training until its end
    #[command(after_help = "\
Example:
  tintype train watch 0198c2a4-5b0e-7c3f-9d7e-2f6a1b3c4d5e")]
    Watch {
        /// Its id
        id: TrainingId,
    },
    /// Call a training off
    #[command(after_help = "\
Example:
  tintype train cancel 0198c2a4-5b0e-7c3f-9d7e-2f6a1b3c4d5e")]
    Cancel {
        /// Its id
        id: TrainingId,
    },
}

fn preset(name: &str) -> Result<Preset, String> {
    Preset::from_name(name).ok_or_else(|| {
        let names: Vec<_> = Preset::ALL.iter().map(|preset| preset.as_str()).collect();
        format!("there are {}", names.join(", "))
    })
}

/// Runs the command.
///
/// # Errors
/// The server cannot be reached or refuses, or the training fails.
pub async fn run(global: &Global, args: TrainArgs) -> anyhow::Result<Exit> {
    let client = global.client()?;
    match args.command {
        Some(TrainCommand::List { dataset }) => {
            let list = client.trainings(dataset.as_deref()).await?;
            if global.json {
                print_json(&list)?;
            } else if list.trainings.is_empty() {
                print("no trainings yet; start one: tintype train DATASET")?;
            } else {
                print(listing(&list.trainings).plain())?;
            }
            Ok(Exit::Fine)
        }
        Some(TrainCommand::Show { id }) => {
            let training = client.training(id).await?;
            if global.json {
                print_json(&training)?;
            } else {
                print(description(&training).plain())?;
            }
            Ok(Exit::Fine)
        }
        Some(TrainCommand::Watch { id }) => finish(global, &client, id).await,
        Some(TrainCommand::Cancel { id }) => {
            let training = client.cancel_training(id).await?;
            if global.json {
                print_json(&training)?;
            } else if training.state == TrainingState::Running {
                print("the training is told to stop")?;
            } else {
                print(format!("the training is {}", training.state))?;
            }
            Ok(Exit::Fine)
        }
        None => {
            let dataset = args.dataset.clone().context("no dataset is named")?;
            let training = client.train(&dataset, &wanted(&args)?).await?;
            if args.detach {
                if global.json {
                    print_json(&training)?;
                } else {
                    print(format!("training {} waits for a worker", training.id))?;
                    print(format!("watch it: tintype train watch {}", training.id))?;
                }
                return Ok(Exit::Fine);
            }
            finish(global, &client, training.id).await
        }
    }
}

/// The spec that the flags make.
fn wanted(args: &TrainArgs) -> anyhow::Result<Map<String, Value>> {
    let mut spec = match &args.spec {
        Some(path) => {
            let reading = || format!("reading {}", path.display());
            let text = std::fs::read_to_string(path).with_context(reading)?;
            serde_json::from_str(&text).map_err(|fault| {
                let message = format!("{} is no spec: {fault}", path.display());
                Failure::usage(
                    message,
                    "it is one JSON object, such as {\"preset\": \"fast\"}",
                )
            })?
        }
        None => Map::new(),
    };
    if let Some(preset) = args.preset {
        spec.insert("preset".into(), preset.as_str().into());
    } else if !spec.contains_key("preset") {
        spec.insert("preset".into(), Preset::Fast.as_str().into());
    }
    if let Some(epochs) = args.epochs {
        spec.insert("epochs".into(), epochs.into());
    }
    if !args.classes.is_empty() {
        spec.insert("classes".into(), args.classes.clone().into());
    }
    if let Some(from) = &args.from {
        spec.insert("weights".into(), from.clone().into());
    }
    for set in &args.set {
        let Some((field, value)) = set.split_once('=') else {
            let message = format!("--set {set} is not of the form FIELD=VALUE");
            return Err(Failure::usage(message, "as in --set batch_size=16").into());
        };
        // What is no JSON is a word: `--set device=cpu` needs no quotes.
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.into()));
        match field.split_once('.') {
            None => drop(spec.insert(field.into(), value)),
            Some((group, inner)) => {
                let group = spec
                    .entry(group)
                    .or_insert_with(|| Value::Object(Map::new()));
                if let Some(group) = group.as_object_mut() {
                    group.insert(inner.into(), value);
                }
            }
        }
    }
    Ok(spec)
}

/// Watches a training to its end and tells it. Ctrl-C ends the watching only.
async fn finish(global: &Global, client: &Client, id: TrainingId) -> anyhow::Result<Exit> {
    let training = tokio::select! {
        training = watch(global, client, id) => training?,
        () = crate::import::ctrl_c() => {
            if !global.json {
                eprintln!("the training goes on; watch it: tintype train watch {id}");
                eprintln!("or call it off: tintype train cancel {id}");
            }
            return Ok(Exit::Interrupted);
        }
    };
    match (training.state, training.model_id) {
        (TrainingState::Succeeded, Some(model_id)) => {
            let model = client.model(model_id).await?;
            if global.json {
                print_json(&serde_json::json!({"training": training, "model": model}))?;
            } else {
                print(model::report(&model))?;
            }
            Ok(Exit::Fine)
        }
        (state, _) => {
            let fault = training.error.clone();
            let message = match &fault {
                Some(fault) => format!("the training {state}: {}", fault.detail),
                None => format!("the training was {state}"),
            };
            let mut failure = Failure::new(Exit::Failed, "training_failed", message);
            if let Some(hint) = fault.and_then(|fault| fault.hint) {
                failure = failure.hint(hint);
            }
            Err(failure.into())
        }
    }
}

/// Waits until a training is over, with a line that says how far it is.
pub async fn watch(global: &Global, client: &Client, id: TrainingId) -> anyhow::Result<Training> {
    let bar = if global.json {
        ProgressBar::hidden()
    } else {
        ProgressBar::new_spinner()
    };
    let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.enable_steady_tick(Duration::from_millis(120));
    let mut told: Vec<String> = Vec::new();
    let backoff = Backoff { retries: 8 };
    loop {
        let training = backoff.run(|| client.training(id)).await?;
        for note in &training.progress.notes {
            if !told.contains(note) {
                told.push(note.clone());
                if !global.json {
                    bar.suspend(|| eprintln!("note: {}", printable(note)));
                }
            }
        }
        if training.state.is_final() {
            bar.finish_and_clear();
            return Ok(training);
        }
        bar.set_message(line(&training));
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

fn line(training: &Training) -> String {
    let progress = &training.progress;
    let mut line = progress.stage.clone();
    if let Some(before @ 1..) = training.queued_before {
        line += &format!(", {before} before it");
    }
    if let (Some(epoch), Some(epochs)) = (progress.epoch, progress.epochs) {
        line += &format!(", epoch {} of {epochs}", epoch + 1);
    }
    if let (Some(done), Some(total)) = (progress.done, progress.total) {
        line += &format!(", {done} of {total}");
    }
    if let Some(loss) = progress.loss {
        line += &format!(", loss {loss:.3}");
    }
    if let Some(accuracy) = progress.validation_accuracy {
        line += &format!(", validation accuracy {accuracy:.3}");
    }
    if let Some(images_per_s) = progress.images_per_s {
        line += &format!(", {images_per_s:.0} photos/s");
    }
    if let Some(left) = progress.seconds_left {
        let left = indicatif::HumanDuration(Duration::from_secs_f32(left.clamp(0.0, 1e7)));
        line += &format!(", {left:#} left");
    }
    line
}

fn listing(trainings: &[Training]) -> Table {
    let mut table = Table::new(vec![
        Column::text("id"),
        Column::text("dataset"),
        Column::text("preset"),
        Column::text("state"),
        Column::text("model"),
        Column::text("asked for"),
    ]);
    for training in trainings {
        table.row([
            training.id.to_string(),
            training.dataset.to_string(),
            training.spec.preset.to_string(),
            training.state.to_string(),
            training
                .model_id
                .map_or_else(String::new, |id| id.to_string()),
            training.created_at.format("%Y-%m-%d %H:%M UTC").to_string(),
        ]);
    }
    table
}

fn description(training: &Training) -> Table {
    let mut table = Table::new(vec![
        Column::text("training"),
        Column::prose(&training.id.to_string()),
    ]);
    let time =
        |time: chrono::DateTime<chrono::Utc>| time.format("%Y-%m-%d %H:%M:%S UTC").to_string();
    table.row(["dataset", training.dataset.as_str()]);
    table.row(["state", training.state.as_str()]);
    table.row(["stands at".into(), line(training)]);
    table.row(["preset", training.spec.preset.as_str()]);
    table.row(["network", &training.spec.architecture]);
    if let Some(version) = training.spec.table_version {
        table.row(["table version".into(), version.to_string()]);
    }
    table.row(["asked for".into(), time(training.created_at)]);
    if let Some(at) = training.finished_at {
        table.row(["ended".into(), time(at)]);
    }
    if let Some(model) = training.model_id {
        table.row(["model".into(), model.to_string()]);
    }
    for note in &training.progress.notes {
        table.row(["note", note]);
    }
    if let Some(fault) = &training.error {
        table.row(["error", &fault.detail]);
        table.row(["hint", fault.hint.as_deref().unwrap_or_default()]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Command, parse};

    fn args(words: &str) -> TrainArgs {
        let cli = parse(words.split_whitespace().map(Into::into)).unwrap();
        let Command::Train(args) = cli.command else {
            panic!("no train command");
        };
        args
    }

    #[test]
    fn flags_make_the_spec() {
        let spec = wanted(&args(
            "tintype train cats --preset balanced --epochs 3 --class a --class b \
             --set batch_size=16 --set augment.flip=false --set device=cpu",
        ))
        .unwrap();
        let expected = serde_json::json!({
            "preset": "balanced", "epochs": 3, "classes": ["a", "b"], "batch_size": 16,
            "augment": {"flip": false}, "device": "cpu",
        });
        assert_eq!(Value::Object(spec), expected);
        let spec = wanted(&args("tintype train cats")).unwrap();
        assert_eq!(Value::Object(spec), serde_json::json!({"preset": "fast"}));
        assert!(wanted(&args("tintype train cats --set flip")).is_err());
    }

    #[test]
    fn trainings_are_listed_without_naming_a_dataset() {
        assert!(args("tintype train list").command.is_some());
        assert!(parse(["tintype", "train"].map(Into::into)).is_err());
    }
}
