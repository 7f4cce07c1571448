//! What differs between the two databases: how to connect, and how a write keeps others
//! out. The statements and the tables are the same.
//!
//! The catalog's writes read, decide and write (is the name taken, is this the first key,
//! which number has the next event). In SQLite one connection holds the file's only write
//! lock meanwhile. In PostgreSQL each commit holds one advisory lock, so that the same
//! rules hold over all processes, in commit order; a commit takes up to 128 writes along.

use sqlx::{AnyConnection, Connection as _};

use crate::CatalogError;
use crate::error::Doing;

/// Connections that read a file. More only compete for the few cores; with one, a long
/// list would hold up every upload.
const FILE_READERS: u32 = 4;

/// Connections of a process that read from a server. More crowd out other processes (a
/// server usually takes 100 in all); fewer, and its round trips add up.
const SERVER_READERS: u32 = 8;

/// The key of the advisory lock that a commit holds: any number that nothing else in
/// the database uses.
const WRITE_LOCK: i64 = 0x0074_696e_7479_7065;

/// Which database it is, and its address.
#[derive(Debug, Clone)]
pub(super) enum Engine {
    /// A file of ours alone.
    Sqlite { url: String },
    /// A server that other processes use too.
    Postgres { url: String },
}

impl Engine {
    /// The database that an address names.
    ///
    /// # Errors
    /// This build knows none such.
    pub(super) fn of(url: &str) -> Result<Self, CatalogError> {
        let refused = |fault: &str| CatalogError::Address {
            url: scheme_only(url),
            fault: fault.into(),
        };
        if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            if !cfg!(feature = "postgres") {
                return Err(refused("this build is without PostgreSQL"));
            }
            let url = url.into();
            return Ok(Self::Postgres { url });
        }
        if !url.starts_with("sqlite:") {
            return Err(refused("it must begin with sqlite:// or postgres://"));
        }
        if url.contains(":memory:") || url.contains("mode=memory") {
            return Err(refused("a catalog is a file, not memory"));
        }
        // With "create the file if it is absent".
        let url = match url.split_once('?') {
            Some((_, parameters)) if parameters.contains("mode=") => url.into(),
            Some(_) => format!("{url}&mode=rwc"),
            None => format!("{url}?mode=rwc"),
        };
        Ok(Self::Sqlite { url })
    }

    pub(super) fn url(&self) -> &str {
        match self {
            Self::Sqlite { url } | Self::Postgres { url } => url,
        }
    }

    /// The address as messages may show it: a server's may hold a password.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Sqlite { url } => url.clone(),
            Self::Postgres { url } => scheme_only(url),
        }
    }

    /// Whether other processes may write too.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Self::Postgres { .. })
    }

    pub(super) fn num_readers(&self) -> u32 {
        match self {
            Self::Sqlite { .. } => FILE_READERS,
            Self::Postgres { .. } => SERVER_READERS,
        }
    }

    /// Opens the connection that writes: a commit returns when its bytes are on the disk,
    /// and readers go on meanwhile.
    pub(super) async fn connect_writer(&self) -> Result<AnyConnection, CatalogError> {
        let opening = || format!("opening {}", self.shown());
        let mut connection = AnyConnection::connect(self.url()).await.doing(opening)?;
        sqlx::raw_sql(match self {
            Self::Sqlite { .. } => {
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
                 PRAGMA busy_timeout = 5000; PRAGMA journal_size_limit = 67108864;"
            }
            // A process that was stopped in the middle of a commit must not hold the lock for
            // longer than the others wait for it.
            Self::Postgres { .. } => {
                "SET synchronous_commit = on; SET lock_timeout = '8s'; \
                 SET idle_in_transaction_session_timeout = '4s';"
            }
        })
        .execute(&mut connection)
        .await
        .doing(opening)?;
        Ok(connection)
    }

    /// How a commit begins.
    pub(super) fn begin(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } => "BEGIN IMMEDIATE",
            Self::Postgres { .. } => "BEGIN",
        }
    }

    /// Keeps other processes' writes out until the commit ends. Statements after this one
    /// see all that was committed before.
    pub(super) async fn exclude_others(
        &self,
        transaction: &mut AnyConnection,
    ) -> Result<(), sqlx::Error> {
        if self.is_shared() {
            sqlx::query("SELECT pg_advisory_xact_lock($1)::TEXT")
                .bind(WRITE_LOCK)
                .execute(transaction)
                .await?;
        }
        Ok(())
    }
}

/// Makes a new connection one that reads.
pub(super) async fn prepare_reader(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    let setting = match connection.backend_name() {
        "PostgreSQL" => "SET default_transaction_read_only = on;",
        _ => "PRAGMA busy_timeout = 5000; PRAGMA query_only = ON;",
    };
    sqlx::raw_sql(setting).execute(connection).await?;
    Ok(())
}

/// All that can be told of an address that may hold a password.
fn scheme_only(url: &str) -> String {
    url.split(':').next().unwrap_or_default().to_owned() + ":..."
}
