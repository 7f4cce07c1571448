//! The command line: what a person types comes in, a [`Cli`] goes out. Here too is
//! all that every command shares: where the server is, how errors and tables look,
//! and the exit codes, which are stable.

mod exit;
pub use exit::{Exit, Failure, report};

mod connection;
pub use connection::{DEFAULT_URL, Global};

mod print;
pub use print::{count, print, print_json, printable};

mod table;
pub use table::{Column, Table};

mod advice;
pub use advice::advice;

mod verdict;
pub use verdict::{verdict_line, verdict_table};

use std::ffi::OsString;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  tintype demo                               see the whole of it work, in a minute
  tintype dataset create cats                make a dataset ...
  tintype import photos/ --dataset cats      ... and fill it from a folder per class
  tintype status cats                        what became of the photos
  tintype train cats                         a model of them, and its files for phones
  tintype predict latest photo.jpg           what it says of a photo

Exit codes:
  0    fine
  1    something failed
  2    the command line is wrong
  3    not authorised: no key, a wrong key, or one that may not do this
  4    not found: no such dataset, key or capture
  5    the server cannot be reached, or is not ready
  6    some files could not be sent; all others were
  130  interrupted";

/// From a phone photo to a phone model: collects labelled photos, verifies them,
/// drops duplicates, keeps them as a table, and trains models that phones run.
#[derive(Debug, Parser)]
#[command(name = "tintype", version, after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands, in the order that `--help` lists them.
#[derive(Debug, Subcommand)]
pub enum Command {
    Up(crate::up::UpArgs),
    Demo(crate::demo::DemoArgs),
    Dataset(crate::dataset::DatasetArgs),
    Key(crate::key::KeyArgs),
    Upload(crate::upload::UploadArgs),
    Import(crate::import::ImportArgs),
    Status(crate::status::StatusArgs),
    Train(crate::train::TrainArgs),
    Model(crate::model::ModelArgs),
    Predict(crate::predict::PredictArgs),
    /// Prepare Kafka's topics and the catalog for the roles, and make the first admin key
    #[command(after_help = crate::roles::EXAMPLES)]
    Init(crate::roles::RoleArgs),
    /// Try every connection that a role would make
    #[command(after_help = crate::roles::EXAMPLES)]
    CheckConfig(crate::roles::RoleArgs),
    CheckStore(crate::roles::gate::CheckStoreArgs),
    DeadLetters(crate::roles::dead_letters::DeadLettersArgs),
    /// Run the HTTP API and take uploads in, as one of many processes
    #[command(after_help = crate::roles::EXAMPLES)]
    Ingest(crate::roles::RoleArgs),
    /// Prepare photos and write tables, as one of many processes
    #[command(after_help = crate::roles::EXAMPLES)]
    Processor(crate::roles::RoleArgs),
    /// Work on trainings, as one of many processes
    #[command(after_help = crate::roles::EXAMPLES)]
    Trainer(crate::roles::RoleArgs),
    Maintain(crate::maintain::MaintainArgs),
    Reembed(crate::reembed::ReembedArgs),
    Simulate(crate::simulate::SimulateArgs),
}

/// Reads the command line.
///
/// # Errors
/// It is wrong, or asked for help or the version: what there was to say has been
/// said, and the exit code is what is left.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Cli, Exit> {
    let words: Vec<OsString> = words.into_iter().collect();
    Cli::try_parse_from(&words).map_err(|error| {
        let asked_for = !error.use_stderr();
        if !asked_for && words.iter().any(|word| word == "--json") {
            let whole = error.render().to_string();
            let message = whole.lines().next().unwrap_or_default();
            let message = message.trim_start_matches("error: ");
            return report(
                &Failure::usage(message, "`--help` lists what there is").into(),
                true,
            );
        }
        // A closed pipe on the other side is nobody's trouble.
        let _ = error.print();
        if asked_for { Exit::Fine } else { Exit::Usage }
    })
}

/// Parses one of `words` into the type whose JSON form it is, so that the command
/// line and the API know the same words.
pub fn one_of<T>(words: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: serde::de::DeserializeOwned + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(words)
        .try_map(|word| serde_json::from_value::<T>(serde_json::Value::String(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed_and_every_command_shows_an_example() {
        use clap::CommandFactory as _;
        let mut command = Cli::command();
        command.build();
        command.clone().debug_assert();
        let mut checked = 0;
        let mut stack: Vec<clap::Command> = vec![command];
        while let Some(mut command) = stack.pop() {
            if command.get_name() == "help" {
                continue;
            }
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example"), "no example in:\n{help}");
            assert!(help.contains("--json"), "no --json in:\n{help}");
            checked += 1;
            stack.extend(command.get_subcommands().cloned());
        }
        assert!(checked >= 12, "{checked}");
    }

    #[test]
    fn a_wrong_command_line_is_a_usage_error_and_help_is_none() {
        let exit = |words: &[&str]| parse(words.iter().map(OsString::from)).unwrap_err();
        assert_eq!(exit(&["tintype", "key", "create"]), Exit::Usage);
        assert_eq!(exit(&["tintype", "--json", "frobnicate"]), Exit::Usage);
        assert_eq!(exit(&["tintype", "import", "--help"]), Exit::Fine);
        assert_eq!(exit(&["tintype", "--version"]), Exit::Fine);
    }

    #[test]
    fn global_flags_stand_before_or_after_the_command() {
        for words in [
            ["tintype", "--json", "--url", "http://a", "status"],
            ["tintype", "status", "--url", "http://a", "--json"],
        ] {
            let cli = parse(words.iter().map(OsString::from)).unwrap();
            assert!(cli.global.json);
            assert_eq!(cli.global.url.as_deref(), Some("http://a"));
        }
    }
}
