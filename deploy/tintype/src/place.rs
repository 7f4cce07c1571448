//! Where commands that work on tables themselves, and not through a server, find them.

use std::path::PathBuf;

use anyhow::Context as _;
use catalog::Catalog;
use clap::Args;
use processor::ObjectRoot;
use processor::maintain::MaintainSettings;

use crate::cli::{Exit, Failure};
use crate::roles::{self, RoleArgs, objects::Objects};
use crate::settings::Settings;
use crate::up::folder::DataFolder;
use crate::up::{self, UpArgs};

/// Which tables a command means.
#[derive(Debug, Args)]
pub struct PlaceArgs {
    /// The folder of a `tintype up`, instead of the roles' servers
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    #[command(flatten)]
    servers: RoleArgs,
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
    /// Opens the folder, that of an `up` which must not run, or the servers.
    ///
    /// # Errors
    /// They cannot be reached, or somebody uses the folder; `meanwhile` says what a person
    /// should know then.
    pub async fn open(args: &PlaceArgs, meanwhile: &'static str) -> anyhow::Result<Self> {
        let Some(folder) = &args.folder else {
            let settings = Settings::read_role(&args.servers)?;
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
            config: args.servers.config.clone(),
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
        up::maintenance(&self.settings, &self.objects, &self.catalog)
    }
}

/// Another process has the turn.
pub fn busy(holder: &str, hint: &str) -> anyhow::Error {
    let message = format!("{holder} is maintaining the tables right now");
    Failure::new(Exit::Failed, "busy", message)
        .hint(hint)
        .into()
}
