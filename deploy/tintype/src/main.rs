//! The one executable: reads the command line, starts a runtime and hands the
//! command to its module. What comes out is an exit code; README and `--help` list
//! them. Nothing below this file ends the process.

#![cfg_attr(test, allow(clippy::unwrap_used))]

// The catalog's SQLite (sqlx's) and the embedded broker's (libsql's, a fork of it) share
// their symbols, so only one copy may be linked. Loaded first, the catalog comes last on
// the linker's line, and libsql's copy, which has all that both need, serves both. In the
// other order linking fails: the wrong copy is never taken in silence.
extern crate catalog as _;

mod cli;

mod settings;

mod kafka;

mod telemetry;

mod serve;

mod cors;

mod up;

mod roles;

mod place;

mod maintain;

mod reembed;

mod client;

mod dataset;

mod key;

mod upload;

mod import;

mod status;

mod train;

mod model;

mod predict;

mod simulate;

mod demo;

use std::process::ExitCode;
use std::time::Duration;

use cli::{Command, Exit};

/// How long blocking work that nobody waits for any more may hold the process at
/// the end. Longer, and an interrupted command seems to hang.
const SHUTDOWN: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    #[cfg(feature = "heic")]
    if let Some(exit) = decode_heif() {
        return exit;
    }
    #[cfg(feature = "failpoints")]
    if let Some(exit) = arm_failpoints() {
        return exit;
    }
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(exit) => return exit.into(),
    };
    let json = cli.global.json;
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return cli::report(&error.into(), json).into(),
    };
    let outcome = runtime.block_on(dispatch(cli));
    runtime.shutdown_timeout(SHUTDOWN);
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => cli::report(&error, json).into(),
    }
}

/// The decoder of HEIF is this program too, with nothing else in it: no runtime, no threads.
#[cfg(feature = "heic")]
fn decode_heif() -> Option<ExitCode> {
    use processor::prepare::heif::child;

    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != child::COMMAND {
        return None;
    }
    let arguments: Vec<_> = arguments
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    Some(match child::run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    })
}

/// Arms what a test orders, or lists what it may order.
#[cfg(feature = "failpoints")]
fn arm_failpoints() -> Option<ExitCode> {
    if std::env::args_os().nth(1)? == "failpoints" {
        failpoints::points().for_each(|point| println!("{point}"));
        return Some(ExitCode::SUCCESS);
    }
    let armed = std::env::var("TINTYPE_FAILPOINTS").unwrap_or_default();
    let log = std::env::var_os("TINTYPE_FAILPOINTS_LOG").map(std::path::PathBuf::from);
    if let Err(error) = failpoints::setup(&armed, log.as_deref()) {
        eprintln!("{error}");
        return Some(ExitCode::FAILURE);
    }
    None
}

async fn dispatch(cli: cli::Cli) -> anyhow::Result<Exit> {
    let global = cli.global;
    match cli.command {
        Command::Up(args) => up::run(args).await,
        Command::Init(args) => roles::init::run(&args).await,
        Command::CheckConfig(args) => roles::check::run(&global, &args).await,
        Command::CheckStore(args) => roles::gate::run(&global, &args).await,
        Command::DeadLetters(args) => roles::dead_letters::run(&global, args).await,
        Command::Ingest(args) => roles::run(roles::Role::Ingest, args).await,
        Command::Processor(args) => roles::run(roles::Role::Processor, args).await,
        Command::Trainer(args) => roles::run(roles::Role::Trainer, args).await,
        Command::Maintain(args) => maintain::run(&global, args).await,
        Command::Reembed(args) => reembed::run(&global, args).await,
        Command::Demo(args) => demo::run(&global, args).await,
        Command::Dataset(args) => dataset::run(&global, args.command).await,
        Command::Key(args) => key::run(&global, args.command).await,
        Command::Upload(args) => upload::run(&global, args).await,
        Command::Import(args) => import::run(&global, args).await,
        Command::Status(args) => status::run(&global, args).await,
        Command::Train(args) => train::run(&global, args).await,
        Command::Model(args) => model::run(&global, args.command).await,
        Command::Predict(args) => predict::run(&global, args).await,
        Command::Simulate(args) => simulate::run(&global, args).await,
    }
}
