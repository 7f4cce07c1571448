//! Settings of the server roles: defaults, then a TOML file, then `TINTYPE_*`, then
//! flags. An unknown name or a value out of range is refused with its place.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use processor::maintain::Keep;
use processor::{Membership, Protocol};
use serde::Deserialize;
use url::Url;

use crate::cors::Origins;
use crate::kafka::KafkaSecurity;
use crate::roles::RoleArgs;
use crate::up::UpArgs;

/// What `up` runs with, complete and checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The data folder.
    pub data: PathBuf,
    /// Where to listen.
    pub listen: SocketAddr,
    /// The largest upload, in bytes.
    pub max_body_bytes: u64,
    /// Threads that decode photos.
    pub decode_threads: usize,
    /// Rows of a shard.
    pub shard_max_rows: usize,
    /// Bytes of a shard.
    pub shard_max_bytes: usize,
    /// How long a judged photo waits for its shard.
    pub shard_max_age: Duration,
    /// How often tables are maintained; zero for never.
    pub maintain_every: Duration,
    /// What maintenance keeps for how long.
    pub keep: Keep,
    /// A file or folder of pretrained weights.
    pub weights: Option<PathBuf>,
    /// Whether weights may be fetched from their publishers.
    pub fetch_weights: bool,
    /// Whether photos get an embedding as they come in.
    pub embed: bool,
    /// What to log, in `RUST_LOG`'s language.
    pub log: String,
    /// Log as JSON.
    pub log_json: bool,
    /// Which web pages may use the API in a visitor's browser.
    pub cors_origins: Origins,
    /// Where a role finds Kafka, objects and the catalog; `up` brings its own.
    pub servers: Servers,
}

/// The servers that roles of one installation share.
#[derive(Debug, Clone, Default)]
pub struct Servers {
    /// Kafka's `bootstrap.servers`.
    pub kafka: Option<String>,
    /// Where objects lie: `s3://bucket/folder`, `gs://`, `az://` or `file://`.
    pub objects: Option<String>,
    /// Where phones reach the S3 server, if not under the roles' own address for it.
    pub public_objects: Option<Url>,
    /// The catalog: `postgres://user:password@host/database`.
    pub catalog: Option<String>,
    /// How processors share Kafka's partitions.
    pub membership: Membership,
    /// What Kafka asks of its clients.
    pub kafka_security: KafkaSecurity,
}

impl Settings {
    /// The defaults, for a data folder and an address.
    pub fn new(data: PathBuf, listen: SocketAddr) -> Self {
        Self {
            data,
            listen,
            max_body_bytes: 32 << 20,
            decode_threads: std::thread::available_parallelism().map_or(2, usize::from),
            shard_max_rows: 4096,
            shard_max_bytes: 32 << 20,
            shard_max_age: Duration::from_secs(15),
            maintain_every: Duration::from_secs(3600),
            keep: Keep::default(),
            weights: None,
            fetch_weights: true,
            embed: true,
            log: "warn".into(),
            log_json: false,
            cors_origins: Origins::default(),
            servers: Servers::default(),
        }
    }

    /// The settings that a command line, the environment and a file make together.
    pub fn read(args: &UpArgs) -> anyhow::Result<Self> {
        let data = args
            .data
            .clone()
            .unwrap_or_else(|| PathBuf::from("tintype-data"));
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
        let mut settings = Self::new(data, listen);
        let beside = settings.data.join("tintype.toml");
        if let Some(file) = args
            .config
            .clone()
            .or_else(|| beside.is_file().then_some(beside))
        {
            settings.apply_file(&file)?;
        }
        settings.apply_environment(|name| std::env::var(name).ok())?;
        // Flags come last; clap has put `TINTYPE_DATA` and `TINTYPE_LISTEN` among them.
        settings.data = args.data.clone().unwrap_or(settings.data);
        settings.listen = args.listen.unwrap_or(settings.listen);
        settings.check()?;
        Ok(settings)
    }

    /// The settings of one role.
    ///
    /// # Errors
    /// A name is unknown, or a value out of range.
    pub fn read_role(args: &RoleArgs) -> anyhow::Result<Self> {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
        let mut settings = Self::new(args.data.clone(), listen);
        settings.log = "info".into();
        if let Some(file) = &args.config {
            settings.apply_file(file)?;
        }
        settings.apply_environment(|name| std::env::var(name).ok())?;
        settings.listen = args.listen.unwrap_or(settings.listen);
        let servers = &mut settings.servers;
        for (place, flag) in [
            (&mut servers.kafka, &args.kafka),
            (&mut servers.objects, &args.objects),
            (&mut servers.catalog, &args.catalog),
        ] {
            if flag.is_some() {
                place.clone_from(flag);
            }
        }
        settings.check()?;
        Ok(settings)
    }

    /// Takes `TINTYPE_WEIGHTS` and `TINTYPE_FETCH_WEIGHTS`, which the demo heeds as well.
    ///
    /// # Errors
    /// A value is none for it.
    pub fn take_weights_from_environment(&mut self) -> anyhow::Result<()> {
        let ours = |name: &str| name.ends_with("WEIGHTS");
        self.apply_environment(|name| std::env::var(name).ok().filter(|_| ours(name)))
    }

    fn apply_file(&mut self, file: &Path) -> anyhow::Result<()> {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read the settings file {}", file.display()))?;
        let parsed: File = toml::from_str(&text)
            .with_context(|| format!("in the settings file {}", file.display()))?;
        let File {
            listen,
            max_body_bytes,
            decode_threads,
            shard_max_rows,
            shard_max_bytes,
            shard_max_age_s,
            maintain_every_s,
            keep_files_days,
            keep_verdicts_days,
            keep_events_days,
            weights,
            fetch_weights,
            embed,
            log,
            log_json,
            cors_origins,
            kafka,
            objects,
            public_objects,
            catalog,
            kafka_group_protocol,
            kafka_instance,
            kafka_security,
        } = parsed;
        let public_objects = public_objects
            .map(|text| public_address(&text))
            .transpose()
            .with_context(|| format!("public_objects in {}", file.display()))?;
        let mut membership = Membership {
            instance: kafka_instance,
            ..Membership::default()
        };
        if let Some(word) = kafka_group_protocol {
            membership.protocol = word
                .parse::<Protocol>()
                .with_context(|| format!("kafka_group_protocol in {}: {word:?}", file.display()))?;
        }
        self.servers = Servers {
            kafka,
            objects,
            public_objects,
            catalog,
            membership,
            kafka_security,
        };
        self.listen = listen.unwrap_or(self.listen);
        self.max_body_bytes = max_body_bytes.unwrap_or(self.max_body_bytes);
        self.decode_threads = decode_threads.unwrap_or(self.decode_threads);
        self.shard_max_rows = shard_max_rows.unwrap_or(self.shard_max_rows);
        self.shard_max_bytes = shard_max_bytes.unwrap_or(self.shard_max_bytes);
        self.shard_max_age = shard_max_age_s.map_or(self.shard_max_age, Duration::from_secs);
        self.maintain_every = maintain_every_s.map_or(self.maintain_every, Duration::from_secs);
        self.keep.files = keep_files_days.map_or(self.keep.files, days);
        self.keep.verdicts = keep_verdicts_days.map_or(self.keep.verdicts, days);
        self.keep.events = keep_events_days.map_or(self.keep.events, days);
        self.weights = weights.or_else(|| self.weights.take());
        self.fetch_weights = fetch_weights.unwrap_or(self.fetch_weights);
        self.embed = embed.unwrap_or(self.embed);
        self.log = log.unwrap_or_else(|| self.log.clone());
        self.log_json = log_json.unwrap_or(self.log_json);
        if let Some(text) = cors_origins {
            self.cors_origins = text.parse().context("cors_origins")?;
        }
        Ok(())
    }

    fn apply_environment(
        &mut self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> anyhow::Result<()> {
        fn set<T: std::str::FromStr>(
            place: &mut T,
            name: &str,
            value: Option<String>,
        ) -> anyhow::Result<()> {
            if let Some(value) = value {
                *place = value
                    .parse()
                    .ok()
                    .with_context(|| format!("{name}={value:?} is not a value for it"))?;
            }
            Ok(())
        }
        let mut age_s = self.shard_max_age.as_secs();
        set(
            &mut self.max_body_bytes,
            "TINTYPE_MAX_BODY_BYTES",
            variable("TINTYPE_MAX_BODY_BYTES"),
        )?;
        set(
            &mut self.decode_threads,
            "TINTYPE_DECODE_THREADS",
            variable("TINTYPE_DECODE_THREADS"),
        )?;
        set(
            &mut self.shard_max_rows,
            "TINTYPE_SHARD_MAX_ROWS",
            variable("TINTYPE_SHARD_MAX_ROWS"),
        )?;
        set(
            &mut self.shard_max_bytes,
            "TINTYPE_SHARD_MAX_BYTES",
            variable("TINTYPE_SHARD_MAX_BYTES"),
        )?;
        set(
            &mut age_s,
            "TINTYPE_SHARD_MAX_AGE_S",
            variable("TINTYPE_SHARD_MAX_AGE_S"),
        )?;
        let mut maintain_every_s = self.maintain_every.as_secs();
        set(
            &mut maintain_every_s,
            "TINTYPE_MAINTAIN_EVERY_S",
            variable("TINTYPE_MAINTAIN_EVERY_S"),
        )?;
        self.maintain_every = Duration::from_secs(maintain_every_s);
        for (place, name) in [
            (&mut self.keep.files, "TINTYPE_KEEP_FILES_DAYS"),
            (&mut self.keep.verdicts, "TINTYPE_KEEP_VERDICTS_DAYS"),
            (&mut self.keep.events, "TINTYPE_KEEP_EVENTS_DAYS"),
        ] {
            let mut kept = place.as_secs() / DAY_S;
            set(&mut kept, name, variable(name))?;
            *place = days(kept);
        }
        self.servers.kafka_security.apply_environment(&variable)?;
        if let Some(weights) = variable("TINTYPE_WEIGHTS") {
            self.weights = Some(weights.into());
        }
        set(
            &mut self.fetch_weights,
            "TINTYPE_FETCH_WEIGHTS",
            variable("TINTYPE_FETCH_WEIGHTS"),
        )?;
        set(&mut self.embed, "TINTYPE_EMBED", variable("TINTYPE_EMBED"))?;
        set(&mut self.log, "TINTYPE_LOG", variable("TINTYPE_LOG"))?;
        set(
            &mut self.log_json,
            "TINTYPE_LOG_JSON",
            variable("TINTYPE_LOG_JSON"),
        )?;
        set(
            &mut self.servers.membership.protocol,
            "TINTYPE_KAFKA_GROUP_PROTOCOL",
            variable("TINTYPE_KAFKA_GROUP_PROTOCOL"),
        )?;
        if let Some(instance) = variable("TINTYPE_KAFKA_INSTANCE") {
            self.servers.membership.instance = Some(instance).filter(|name| !name.is_empty());
        }
        if let Some(text) = variable("TINTYPE_PUBLIC_OBJECTS") {
            let address = public_address(&text).context("TINTYPE_PUBLIC_OBJECTS")?;
            self.servers.public_objects = Some(address);
        }
        if let Some(text) = variable("TINTYPE_CORS_ORIGINS") {
            self.cors_origins = text.parse().context("TINTYPE_CORS_ORIGINS")?;
        }
        self.shard_max_age = Duration::from_secs(age_s);
        Ok(())
    }

    fn check(&self) -> anyhow::Result<()> {
        ensure!(
            (1..=256).contains(&self.decode_threads),
            "decode_threads must be 1 to 256, not {}",
            self.decode_threads
        );
        ensure!(
            (1 << 10..=63 << 20).contains(&self.max_body_bytes),
            "max_body_bytes must be 1 KiB to 63 MiB (all uploads on their way share 64 MiB of memory), not {}",
            self.max_body_bytes
        );
        ensure!(
            (1 << 20..=64 << 20).contains(&self.shard_max_bytes),
            "shard_max_bytes must be 1 MiB to 64 MiB (a shard is written whole), not {}",
            self.shard_max_bytes
        );
        ensure!(
            (1..=1 << 20).contains(&self.shard_max_rows),
            "shard_max_rows must be 1 to 1048576, not {}",
            self.shard_max_rows
        );
        ensure!(
            (1..=3600).contains(&self.shard_max_age.as_secs()),
            "shard_max_age_s must be 1 to 3600, not {}",
            self.shard_max_age.as_secs()
        );
        for (name, kept) in [
            ("keep_files_days", self.keep.files),
            ("keep_verdicts_days", self.keep.verdicts),
            ("keep_events_days", self.keep.events),
        ] {
            ensure!(
                (1..=36_500).contains(&(kept.as_secs() / DAY_S)),
                "{name} must be 1 to 36500, not {}",
                kept.as_secs() / DAY_S
            );
        }
        Ok(())
    }
}

const DAY_S: u64 = 24 * 3600;

fn days(days: u64) -> Duration {
    Duration::from_secs(days.saturating_mul(DAY_S))
}

fn public_address(text: &str) -> anyhow::Result<Url> {
    let told = || format!("{text:?} is no address such as https://s3.example.org");
    let address = Url::parse(text).with_context(told)?;
    let is_one = matches!(address.scheme(), "http" | "https") && address.path() == "/";
    ensure!(is_one, told());
    Ok(address)
}

/// The settings file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    listen: Option<SocketAddr>,
    max_body_bytes: Option<u64>,
    decode_threads: Option<usize>,
    shard_max_rows: Option<usize>,
    shard_max_bytes: Option<usize>,
    shard_max_age_s: Option<u64>,
    maintain_every_s: Option<u64>,
    keep_files_days: Option<u64>,
    keep_verdicts_days: Option<u64>,
    keep_events_days: Option<u64>,
    weights: Option<PathBuf>,
    fetch_weights: Option<bool>,
    embed: Option<bool>,
    log: Option<String>,
    log_json: Option<bool>,
    cors_origins: Option<String>,
    kafka: Option<String>,
    objects: Option<String>,
    public_objects: Option<String>,
    catalog: Option<String>,
    kafka_group_protocol: Option<String>,
    kafka_instance: Option<String>,
    #[serde(default)]
    kafka_security: KafkaSecurity,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(config: Option<PathBuf>) -> UpArgs {
        UpArgs {
            data: Some("d".into()),
            listen: None,
            config,
        }
    }

    #[test]
    fn a_file_sets_what_it_names_and_an_unknown_name_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("t.toml");
        std::fs::write(&file, "shard_max_age_s = 3\nlisten = \"127.0.0.1:9\"\n").unwrap();
        let settings = Settings::read(&args(Some(file.clone()))).unwrap();
        assert_eq!(
            (settings.shard_max_age.as_secs(), settings.listen.port()),
            (3, 9)
        );
        assert_eq!(settings.max_body_bytes, 32 << 20);
        std::fs::write(&file, "shard_max_agee_s = 3\n").unwrap();
        let refused = format!("{:#}", Settings::read(&args(Some(file))).unwrap_err());
        assert!(refused.contains("shard_max_agee_s"), "{refused}");
    }

    #[test]
    fn every_body_size_that_is_let_in_can_be_served_and_a_larger_one_is_refused_here() {
        let mut settings = Settings::read(&args(None)).unwrap();
        settings.max_body_bytes = 63 << 20;
        settings.check().unwrap();
        let ingest = ingest::IngestSettings {
            max_body_bytes: settings.max_body_bytes,
            ..ingest::IngestSettings::default()
        };
        ingest.validated().unwrap();
        settings.max_body_bytes += 1;
        let refused = settings.check().unwrap_err().to_string();
        assert!(refused.contains("63 MiB"), "{refused}");
    }

    #[test]
    fn the_environment_wins_over_the_defaults_and_a_wrong_value_is_named() {
        let mut settings = Settings::read(&args(None)).unwrap();
        settings
            .apply_environment(|name| (name == "TINTYPE_SHARD_MAX_ROWS").then(|| "7".into()))
            .unwrap();
        assert_eq!(settings.shard_max_rows, 7);
        for wrong in [
            "s3.example.org",
            "s3://photos",
            "https://example.org/photos",
        ] {
            let refused = settings
                .apply_environment(|name| (name == "TINTYPE_PUBLIC_OBJECTS").then(|| wrong.into()));
            let told = format!("{:#}", refused.unwrap_err());
            assert!(told.contains("TINTYPE_PUBLIC_OBJECTS"), "{told}");
        }
        let refused = settings
            .apply_environment(|name| (name == "TINTYPE_DECODE_THREADS").then(|| "x".into()));
        assert!(
            refused
                .unwrap_err()
                .to_string()
                .contains("TINTYPE_DECODE_THREADS")
        );
    }
}
