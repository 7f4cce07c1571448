//! `tintype maintain`: one round of maintenance now. The processors, and `up`, do one by
//! themselves every hour; this is for those who want it now, or want to see what it would do.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use catalog::Catalog;
use clap::Args;
use processor::ObjectRoot;
use processor::maintain::{self, MaintainSettings, MergePolicy, Report, Round};
use schemas::DatasetId;
use tokio_util::sync::CancellationToken;

use crate::cli::{Column, Exit, Failure, Global, Table, count, print, print_json};
use crate::roles::{self, RoleArgs, objects::Objects};
use crate::settings::Settings;
use crate::up::folder::DataFolder;
use crate::up::{self, Signals, UpArgs};

/// Merge small files of tables, and remove what nothing needs any more
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tintype maintain --dry-run                   what a round would do, on the roles' servers
  tintype maintain --dataset cats-3f8k2m
  tintype maintain --folder tintype-data       the folder of a `tintype up` that does not run

The processors, and `up`, do a round every hour (maintain_every_s), one of them at a time. A
round merges small files, removes files that no version of the last 7 days names
(keep_files_days), shortens logs, removes verdicts of refused photos after 90 days
(keep_verdicts_days) and live events after 30 (keep_events_days), and deletes uploaded files of
datasets whose policy says so.")]
pub struct MaintainArgs {
    /// Only this dataset, by its id
    #[arg(long, value_name = "ID")]
    dataset: Option<DatasetId>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// The folder of a `tintype up`, instead of the roles' servers
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    #[command(flatten)]
    servers: RoleArgs,
}

/// What maintenance runs with.
pub fn settings(settings: &Settings, objects: &ObjectRoot, catalog: &Catalog) -> MaintainSettings {
    MaintainSettings {
        catalog: catalog.clone(),
        objects: objects.clone(),
        every: settings.maintain_every,
        keep: settings.keep,
        merge: MergePolicy::default(),
    }
}

/// Where a command that works on tables finds them: a folder that is held until this is
/// dropped, or the roles' servers.
pub struct Place {
    _folder: Option<DataFolder>,
    /// What is set there.
    pub settings: Settings,
    /// Tables and originals.
    pub objects: ObjectRoot,
    /// The catalog.
    pub catalog: Catalog,
    /// Where fetched weights are kept.
    pub weights: PathBuf,
}

impl Place {
    /// Opens `folder`, that of an `up` which must not run, or the servers.
    ///
    /// # Errors
    /// They cannot be reached, or somebody uses the folder; `meanwhile` says what a person
    /// should know then.
    pub async fn open(
        folder: Option<&Path>,
        servers: &RoleArgs,
        meanwhile: &'static str,
    ) -> anyhow::Result<Self> {
        let Some(folder) = folder else {
            let settings = Settings::read_role(servers)?;
            crate::telemetry::init_logs("warn", settings.log_json);
            return Ok(Self {
                objects: Objects::open(settings.servers.objects()?)?.root,
                catalog: roles::open_catalog(&settings.servers).await?,
                weights: settings.data.join("weights"),
                settings,
                _folder: None,
            });
        };
        if !folder.join("catalog.db").is_file() {
            let missing = format!("{} is no folder of a `tintype up`", folder.display());
            return Err(Failure::new(Exit::NotFound, "not_found", missing)
                .hint("name the one that `up` was given with --data; tintype-data if none")
                .into());
        }
        let settings = Settings::read(&UpArgs {
            data: Some(folder.to_owned()),
            listen: None,
            config: servers.config.clone(),
        })?;
        crate::telemetry::init_logs("warn", settings.log_json);
        let folder = DataFolder::take(folder).context(meanwhile)?;
        Ok(Self {
            objects: up::object_root(&folder.objects())?,
            catalog: Catalog::open(&catalog::sqlite_url(&folder.catalog())).await?,
            weights: folder.weights(),
            settings,
            _folder: Some(folder),
        })
    }

    /// What maintenance runs with here.
    pub fn maintenance(&self) -> MaintainSettings {
        settings(&self.settings, &self.objects, &self.catalog)
    }
}

/// Does one round, or says what it would do.
///
/// # Errors
/// The servers cannot be reached, or another process is at it.
pub async fn run(global: &Global, args: MaintainArgs) -> anyhow::Result<Exit> {
    let meanwhile = "a running `up` maintains its folder by itself, every hour (maintain_every_s)";
    let place = Place::open(args.folder.as_deref(), &args.servers, meanwhile).await?;
    let settings = place.maintenance();
    let shutdown = CancellationToken::new();
    let mut signals = Signals::listen()?;
    let work = async {
        let only = args.dataset.as_ref();
        if args.dry_run {
            return anyhow::Ok(maintain::look(&settings, only, &shutdown).await?);
        }
        match maintain::round(&settings, Duration::ZERO, only, &shutdown).await? {
            Round::Done(report) => Ok(report),
            Round::Elsewhere(holder) => Err(busy(
                &holder,
                "it does what this would do; try again in a minute",
            )),
        }
    };
    tokio::pin!(work);
    let report = tokio::select! {
        report = &mut work => report,
        () = signals.next() => {
            // What is begun is finished or left as if it had not been.
            shutdown.cancel();
            work.await
        }
    };
    place.catalog.close().await;
    let report = report?;
    if let Some(wanted) = &args.dataset
        && report.failures.is_empty()
        && report.datasets.is_empty()
        && !shutdown.is_cancelled()
    {
        return Err(Failure::new(
            Exit::NotFound,
            "not_found",
            format!("there is no dataset with the id {wanted}"),
        )
        .hint("`tintype dataset list` shows the ids")
        .into());
    }
    show(global, &report, args.dry_run)?;
    Ok(
        match (shutdown.is_cancelled(), report.failures.is_empty()) {
            (true, _) => Exit::Interrupted,
            (false, true) => Exit::Fine,
            (false, false) => Exit::Failed,
        },
    )
}

/// Another process has the turn.
pub fn busy(holder: &str, hint: &str) -> anyhow::Error {
    let message = format!("{holder} is maintaining the tables right now");
    Failure::new(Exit::Failed, "busy", message)
        .hint(hint)
        .into()
}

fn show(global: &Global, report: &Report, is_dry: bool) -> anyhow::Result<()> {
    if global.json {
        print_json(report)?;
        return Ok(());
    }
    let mut table = Table::new(vec![
        Column::text("dataset"),
        Column::text("table"),
        Column::figures("merged"),
        Column::figures("into"),
        Column::figures("MB"),
        Column::figures("removed"),
        Column::figures("MB"),
        Column::figures("log"),
    ]);
    for dataset in &report.datasets {
        for (name, of) in [
            ("photos", &dataset.photos),
            ("rejections", &dataset.rejections),
        ] {
            if *of == Default::default() {
                continue;
            }
            table.row([
                dataset.dataset.clone(),
                name.to_owned(),
                of.files_merged.to_string(),
                of.files_written.to_string(),
                format!("{:.1}", of.bytes_merged as f64 / 1e6),
                of.files_removed.to_string(),
                format!("{:.1}", of.bytes_removed as f64 / 1e6),
                of.log_files_removed.to_string(),
            ]);
        }
    }
    let total = report.total();
    if total == Default::default() {
        print(format!(
            "{}: nothing to do",
            count(report.datasets.len() as u64, "dataset")
        ))?;
    } else {
        print(table.plain())?;
    }
    let originals = report.originals_removed();
    if originals > 0 {
        print(format!("uploaded files deleted: {originals}"))?;
    }
    let rows = &report.catalog;
    if rows.verdicts_removed + rows.events_removed + rows.answers_removed > 0 {
        print(format!(
            "catalog rows removed: {} verdicts, {} events, {} answers",
            rows.verdicts_removed, rows.events_removed, rows.answers_removed
        ))?;
    }
    for (dataset, failure) in &report.failures {
        eprintln!("{dataset}: {failure}");
    }
    if is_dry {
        print("nothing was done: --dry-run")?;
    }
    Ok(())
}
