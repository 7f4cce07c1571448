//! `tintype dead-letters`: the records that no stage could work on, and sending them to
//! their topics once more after what was wrong has been mended.

use clap::{Args, Subcommand};
use processor::{DeadLetter, DeadLetters};
use serde_json::json;

use super::RoleArgs;
use super::objects::Objects;
use crate::cli::{Column, Exit, Failure, Global, Table, count, print, print_json};
use crate::settings::Settings;
use crate::telemetry;

/// Look at records that no stage could work on, and send them again
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tintype dead-letters list
  tintype dead-letters replay captures-3-1042     once what was wrong has been mended
  tintype dead-letters replay --all --json")]
pub struct DeadLettersArgs {
    #[command(subcommand)]
    command: DeadLettersCommand,
}

/// What to do with them.
#[derive(Debug, Subcommand)]
enum DeadLettersCommand {
    /// List them, the oldest first
    #[command(after_help = "\
Example:
  tintype dead-letters list --objects s3://photos/tintype")]
    List {
        #[command(flatten)]
        servers: RoleArgs,
    },
    /// Send them to their topics again; one that still cannot be read comes back
    #[command(after_help = "\
Examples:
  tintype dead-letters replay captures-3-1042
  tintype dead-letters replay --all")]
    Replay {
        /// Which, as `tintype dead-letters list` names them
        #[arg(required_unless_present = "all")]
        names: Vec<String>,
        /// All of them
        #[arg(long, conflicts_with = "names")]
        all: bool,
        #[command(flatten)]
        servers: RoleArgs,
    },
}

/// Runs the command.
///
/// # Errors
/// The store or Kafka fails, or there is no letter of that name.
pub async fn run(global: &Global, args: DeadLettersArgs) -> anyhow::Result<Exit> {
    match args.command {
        DeadLettersCommand::List { servers } => {
            let (_, letters) = open(&servers)?;
            list(global, &letters.list().await?)?;
        }
        DeadLettersCommand::Replay {
            names,
            all,
            servers,
        } => {
            let (settings, letters) = open(&servers)?;
            let found = letters.list().await?;
            if let Some(missing) = names.iter().find(|n| found.iter().all(|l| l.name() != **n)) {
                let message = format!("there is no dead letter {missing:?}");
                return Err(Failure::new(Exit::NotFound, "unknown_letter", message)
                    .hint("`tintype dead-letters list` names those that there are")
                    .into());
            }
            let producer = processor::producer(&settings.servers.kafka()?)?;
            let mut replayed = Vec::new();
            for letter in found {
                if all || names.contains(&letter.name()) {
                    letters.replay(&producer, &letter).await?;
                    replayed.push(letter.name());
                }
            }
            if global.json {
                print_json(&json!({"replayed": replayed}))?;
            } else {
                print(format!(
                    "{} sent again",
                    count(replayed.len() as u64, "record")
                ))?;
            }
        }
    }
    Ok(Exit::Fine)
}

fn open(servers: &RoleArgs) -> anyhow::Result<(Settings, DeadLetters)> {
    let settings = Settings::read_role(servers)?;
    telemetry::init_logs("warn", settings.log_json);
    let objects = Objects::open(settings.servers.objects()?)?;
    let letters = DeadLetters::new(objects.root.store().clone());
    Ok((settings, letters))
}

fn list(global: &Global, letters: &[DeadLetter]) -> anyhow::Result<()> {
    if global.json {
        let letters: Vec<_> = letters
            .iter()
            .map(|letter| {
                json!({
                    "name": letter.name(), "topic": letter.topic, "partition": letter.partition,
                    "offset": letter.offset, "bytes": letter.num_bytes(),
                    "found_at": letter.found_at, "reason": letter.reason,
                })
            })
            .collect();
        print_json(&json!({"dead_letters": letters}))?;
        return Ok(());
    }
    let mut table = Table::new(vec![
        Column::text("name"),
        Column::text("found"),
        Column::figures("bytes"),
        Column::prose("reason"),
    ]);
    for letter in letters {
        table.row([
            letter.name(),
            letter.found_at.format("%Y-%m-%d %H:%M").to_string(),
            letter.num_bytes().to_string(),
            letter.reason.clone(),
        ]);
    }
    print(table.plain())?;
    Ok(())
}
