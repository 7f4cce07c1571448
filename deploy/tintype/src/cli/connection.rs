//! Where the server is and with which key: flags and `TINTYPE_*` first, then the
//! file `tintype/config.toml` in the folder for settings, then the address that
//! `tintype up` listens on by default.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Deserialize;

use super::Failure;
use crate::client::Client;

/// Where `tintype up` listens unless told otherwise.
pub const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// What holds for every command.
#[derive(Debug, Clone, clap::Args)]
pub struct Global {
    /// Where the server is [default: http://127.0.0.1:8080]
    #[arg(
        long,
        global = true,
        env = "TINTYPE_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    pub url: Option<String>,
    /// The API key, a word that begins with `tt_`; safer in TINTYPE_KEY, where no
    /// list of processes shows it
    #[arg(
        long,
        global = true,
        env = "TINTYPE_KEY",
        value_name = "KEY",
        hide_env_values = true
    )]
    pub key: Option<String>,
    /// One JSON object as output, and errors as JSON on standard error
    #[arg(long, global = true)]
    pub json: bool,
}

impl Global {
    /// A client of the server that flags, environment and settings file name.
    ///
    /// # Errors
    /// The settings file cannot be read, or the address or the key is malformed.
    pub fn client(&self) -> anyhow::Result<Client> {
        let file = settings_file().map(|path| read(&path)).transpose()?;
        let connection = Connection::resolve(self, file.flatten());
        Ok(Client::new(&connection.url, connection.key.as_deref())?)
    }
}

/// The address and the key that hold.
#[derive(Debug, PartialEq, Eq)]
struct Connection {
    /// The server's address.
    url: String,
    /// The key, if there is one.
    key: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SettingsFile {
    url: Option<String>,
    key: Option<String>,
}

impl Connection {
    fn resolve(global: &Global, file: Option<SettingsFile>) -> Self {
        let file = file.unwrap_or_default();
        let given = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
        let file_url = file.url.unwrap_or_else(|| DEFAULT_URL.into());
        let url = given(&global.url).unwrap_or_else(|| file_url.clone());
        // The file's key is for the file's server: another one is not told it.
        let file_key = file.key.filter(|_| same_server(&url, &file_url));
        Self {
            key: given(&global.key).or(file_key),
            url,
        }
    }
}

fn same_server(a: &str, b: &str) -> bool {
    a.trim_end_matches('/') == b.trim_end_matches('/')
}

fn settings_file() -> Option<PathBuf> {
    let base = match std::env::var_os("XDG_CONFIG_HOME").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => Path::new(&std::env::var_os("HOME")?).join(".config"),
    };
    Some(base.join("tintype").join("config.toml"))
}

fn read(path: &Path) -> anyhow::Result<Option<SettingsFile>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    toml::from_str(&text).map(Some).map_err(|error| {
        let message = format!("{} is not as it should be: {error}", path.display());
        Failure::usage(
            message.trim_end(),
            "it has two lines at most: url = \"...\" and key = \"tt_...\"",
        )
        .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn global(url: Option<&str>, key: Option<&str>) -> Global {
        Global {
            url: url.map(Into::into),
            key: key.map(Into::into),
            json: false,
        }
    }

    fn file(url: Option<&str>) -> Option<SettingsFile> {
        Some(SettingsFile {
            url: url.map(Into::into),
            key: Some("tt_file".into()),
        })
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_the_default() {
        let resolved = Connection::resolve(&global(None, None), None);
        assert_eq!(resolved.url, DEFAULT_URL);
        assert_eq!(resolved.key, None);
        let resolved = Connection::resolve(&global(None, None), file(Some("http://b")));
        assert_eq!(resolved.url, "http://b");
        assert_eq!(resolved.key.as_deref(), Some("tt_file"));
        let resolved = Connection::resolve(&global(None, Some("tt_flag")), file(Some("http://b")));
        assert_eq!(resolved.key.as_deref(), Some("tt_flag"));
    }

    #[test]
    fn the_files_key_is_not_told_to_another_server() {
        let other = global(Some("http://other"), None);
        assert_eq!(
            Connection::resolve(&other, file(Some("http://b"))).key,
            None
        );
        assert_eq!(Connection::resolve(&other, file(None)).key, None);
        let same = global(Some("http://b/"), None);
        let resolved = Connection::resolve(&same, file(Some("http://b")));
        assert_eq!(resolved.key.as_deref(), Some("tt_file"));
    }

    #[test]
    fn a_misspelt_settings_file_says_which_file_and_what() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        std::fs::write(&path, "ulr = \"http://b\"\n").unwrap();
        let error = format!("{:#}", read(&path).unwrap_err());
        assert!(
            error.contains("config.toml") && error.contains("ulr"),
            "{error}"
        );
        assert!(read(&dir.path().join("absent")).unwrap().is_none());
    }
}
