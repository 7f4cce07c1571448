//! Why a training cannot go on. One method says what happens next: the person is told,
//! or a worker tries again.

use schemas::training::TrainingFault;

/// Why a training cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum TrainerError {
    /// The training asks for what cannot be: told to the person, tried no more.
    #[error("{detail}")]
    Refused {
        /// A stable word for programs.
        code: &'static str,
        /// What is wrong.
        detail: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The table cannot be opened or read.
    #[error("{doing}: {source}")]
    Delta {
        /// What was being done, to which table.
        doing: String,
        /// Why it failed.
        source: Box<deltalake_core::DeltaTableError>,
    },
    /// A file of the table cannot be read.
    #[error("{doing}: {source}")]
    Parquet {
        /// What was being done, to which file.
        doing: String,
        /// Why it failed.
        source: Box<parquet::errors::ParquetError>,
    },
    /// The object store fails.
    #[error("{doing}: {source}")]
    Store {
        /// What was being done, to which object.
        doing: String,
        /// Why it failed.
        source: Box<object_store::Error>,
    },
    /// A local file cannot be read or written.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The catalog fails.
    #[error(transparent)]
    Catalog(#[from] catalog::CatalogError),
    /// Something that Tintype wrote is not as it was written.
    #[error("{what}: {fault}")]
    Damaged {
        /// What.
        what: String,
        /// In which way.
        fault: String,
    },
    /// The network or its export does not do what it should.
    #[error("{doing}: {fault}")]
    Network {
        /// What was being done.
        doing: String,
        /// What came of it.
        fault: String,
    },
    /// The worker was told to stop, or the training was called off.
    #[error("stopped")]
    Stopped,
}

impl TrainerError {
    /// A refusal without a hint.
    pub fn refused(code: &'static str, detail: impl Into<String>) -> Self {
        Self::Refused {
            code,
            detail: detail.into(),
            hint: None,
        }
    }

    /// The same refusal with what to do about it.
    #[must_use]
    pub fn hint(self, text: impl Into<String>) -> Self {
        match self {
            Self::Refused { code, detail, .. } => Self::Refused {
                code,
                detail,
                hint: Some(text.into()),
            },
            other => other,
        }
    }

    pub(crate) fn delta(
        doing: impl Into<String>,
    ) -> impl FnOnce(deltalake_core::DeltaTableError) -> Self {
        move |source| Self::Delta {
            doing: doing.into(),
            source: Box::new(source),
        }
    }

    pub(crate) fn parquet(
        doing: impl Into<String>,
    ) -> impl FnOnce(parquet::errors::ParquetError) -> Self {
        move |source| Self::Parquet {
            doing: doing.into(),
            source: Box::new(source),
        }
    }

    pub(crate) fn store(doing: impl Into<String>) -> impl FnOnce(object_store::Error) -> Self {
        move |source| Self::Store {
            doing: doing.into(),
            source: Box::new(source),
        }
    }

    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io {
            doing: doing.into(),
            source,
        }
    }

    pub(crate) fn network(
        doing: impl Into<String>,
    ) -> impl FnOnce(Box<dyn std::error::Error + Send + Sync>) -> Self {
        move |fault| Self::Network {
            doing: doing.into(),
            fault: fault.to_string(),
        }
    }

    /// Whether another try may end better: stores and disks recover, specs do not.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Delta { .. }
                | Self::Parquet { .. }
                | Self::Store { .. }
                | Self::Io { .. }
                | Self::Catalog(_)
        )
    }

    /// The error as the person who asked for the training reads it.
    pub fn fault(&self) -> TrainingFault {
        let (code, hint) = match self {
            Self::Refused { code, hint, .. } => (*code, hint.clone()),
            Self::Delta { .. } | Self::Parquet { .. } | Self::Damaged { .. } => (
                "unreadable_table",
                Some("the server's log says more".into()),
            ),
            Self::Store { .. } | Self::Io { .. } => (
                "storage_failed",
                Some("check the server's disk and object store, then train again".into()),
            ),
            Self::Catalog(_) => ("catalog_failed", None),
            Self::Network { .. } => ("training_failed", Some("please report this".into())),
            Self::Stopped => ("stopped", None),
        };
        TrainingFault {
            code: code.into(),
            detail: self.to_string(),
            hint,
        }
    }
}
