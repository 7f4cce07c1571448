//! `tintype predict`: asks a model what is on photos.

use std::path::PathBuf;

use clap::Args;
use schemas::ModelId;
use schemas::training::Prediction;
use serde::Serialize;

use crate::cli::{Exit, Failure, Global, count, print, print_json, printable};
use crate::client::{ClientError, Next};

/// Ask a model what is on photos
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tintype predict 0198c2a4-5b0e-7c3f-9d7e-2f6a1b3c4d5e photo.jpg
  tintype predict latest *.jpg --top 1 --json")]
pub struct PredictArgs {
    /// The model's id, or `latest`
    model: String,
    /// The photos
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How many labels to tell
    #[arg(long, default_value_t = 3, value_name = "N")]
    top: usize,
}

#[derive(Serialize)]
struct Asked {
    path: String,
    #[serde(flatten)]
    answer: Answer,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Said(Prediction),
    Failed { error: String },
}

/// Runs the command.
///
/// # Errors
/// The server cannot be reached, or refuses in a way that holds for every photo.
pub async fn run(global: &Global, args: PredictArgs) -> anyhow::Result<Exit> {
    let client = global.client()?;
    let model: ModelId = if args.model == "latest" {
        let models = client.models(None).await?.models;
        let newest = models.first().map(|model| model.id);
        newest.ok_or_else(|| {
            Failure::new(Exit::NotFound, "no_model", "there is no model yet")
                .hint("make one: tintype train DATASET")
        })?
    } else {
        args.model.parse().map_err(|_| {
            let message = format!("{:?} is no model id", args.model);
            Failure::usage(
                message,
                "`tintype model list` shows them; `latest` is the newest",
            )
        })?
    };
    let mut asked = Vec::new();
    let mut failed = 0;
    for path in &args.files {
        let answer = match client.predict(model, path, args.top).await {
            Ok(prediction) => Answer::Said(prediction),
            Err(error) => {
                let of_server = error.downcast_ref::<ClientError>();
                if of_server.is_some_and(|error| error.next_after_retries() == Next::Stop) {
                    return Err(error);
                }
                failed += 1;
                Answer::Failed {
                    error: format!("{error:#}"),
                }
            }
        };
        let path = path.display().to_string();
        if global.json {
            asked.push(Asked { path, answer });
        } else {
            tell(&path, &answer)?;
        }
    }
    if global.json {
        print_json(&serde_json::json!({"model": model, "photos": asked}))?;
    } else if failed > 0 {
        eprintln!("{} could not be asked about", count(failed, "photo"));
    }
    Ok(if failed > 0 {
        Exit::SomeFilesFailed
    } else {
        Exit::Fine
    })
}

fn tell(path: &str, answer: &Answer) -> anyhow::Result<()> {
    match answer {
        Answer::Said(prediction) => {
            let guess = |guess: &schemas::training::Guess| {
                format!("{} {:.1} %", guess.label, guess.probability * 100.0)
            };
            let guesses: Vec<_> = prediction.predictions.iter().map(guess).collect();
            print(printable(&format!("{path}  {}", guesses.join(", "))))?;
        }
        Answer::Failed { error } => eprintln!("{}", printable(&format!("{path}: {error}"))),
    }
    Ok(())
}
