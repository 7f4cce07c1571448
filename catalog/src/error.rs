//! What can go wrong in the catalog: either it refuses (the caller asked for what
//! cannot be), or it fails (the caller may try again). [`CatalogError::is_refusal`] tells.

use std::sync::Arc;

/// A call that the catalog did not carry out. Nothing of it has happened, except
/// after [`CatalogError::Timeout`], when it may still happen.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CatalogError {
    /// The owner has a living dataset of this name.
    #[error("a dataset named {name:?} exists already")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// Something given breaks its rule.
    #[error("{what} {given:?} is not usable: {rule}")]
    Invalid {
        /// What it is.
        what: &'static str,
        /// What was given.
        given: String,
        /// What is wanted instead.
        rule: String,
    },
    /// There may not be more of these.
    #[error("{owner} may have at most {limit} {things}")]
    Limit {
        /// What holds them, such as `a dataset`.
        owner: &'static str,
        /// How many it may hold.
        limit: u64,
        /// What is counted, such as `labels`.
        things: &'static str,
    },
    /// Without this key nobody could administer the owner's things any more.
    #[error("key {id} is the last with the scope admin")]
    LastAdminKey {
        /// The key's id.
        id: String,
    },
    /// The database failed.
    #[error("failed {doing} in the catalog: {source}")]
    Database {
        /// What was being done, to what.
        doing: String,
        /// The database's own words; shared, because one failed commit fails many calls.
        source: Arc<sqlx::Error>,
    },
    /// The database did not answer in time: a stuck disk, or far too much to do.
    #[error("the catalog took more than {seconds} s {doing}")]
    Timeout {
        /// What was being done.
        doing: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The tables cannot be brought to the shape that this version needs.
    #[error("failed bringing the catalog's tables up to date: {source}")]
    Migration {
        /// What the migration met.
        source: Arc<sqlx::migrate::MigrateError>,
    },
    /// A row holds what no version of this program writes.
    #[error("the catalog's {what} {id} is damaged: {fault}")]
    Damaged {
        /// The kind of row.
        what: &'static str,
        /// Its id.
        id: String,
        /// What is wrong with it.
        fault: String,
    },
    /// The address names no catalog that this build can open.
    #[error("cannot open a catalog at {url:?}: {fault}")]
    Address {
        /// The address, without a password.
        url: String,
        /// What is wrong with it.
        fault: String,
    },
    /// [`crate::Catalog::close`] was called.
    #[error("the catalog is closed")]
    Closed,
}

impl CatalogError {
    /// Whether the request itself is at fault, so that repeating it is of no use.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::NameTaken { .. }
                | Self::Invalid { .. }
                | Self::Limit { .. }
                | Self::LastAdminKey { .. }
        )
    }

    /// Whether the database refuses this very data, so that only other data will pass: a
    /// value that its type cannot hold, or one that breaks a rule of the table.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Database { source, .. } => {
                let code = source.as_database_error().and_then(|error| error.code());
                // The classes "data exception" and "integrity constraint violation".
                code.is_some_and(|code| {
                    code.len() == 5 && (code.starts_with("22") || code.starts_with("23"))
                })
            }
            Self::Damaged { .. } => true,
            refused => refused.is_refusal(),
        }
    }
}

/// Says what was being done when the database failed.
pub(crate) trait Doing<T> {
    /// `what` continues "failed ...": `recording capture 0190...`.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, CatalogError>;
}

impl<T> Doing<T> for Result<T, sqlx::Error> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, CatalogError> {
        self.map_err(|source| CatalogError::Database {
            doing: what(),
            source: Arc::new(source),
        })
    }
}
