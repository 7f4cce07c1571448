//! What can stop a stage. None of these is a photo's fault: a photo's fault is a verdict.

use deltalake_core::DeltaTableError;

/// Why a stage stopped. It is started again from the last durable position; nothing is lost.
#[derive(Debug, thiserror::Error)]
pub enum ProcessorError {
    /// Kafka, while doing this.
    #[error("{doing}: {source}")]
    Kafka {
        /// What was being done.
        doing: String,
        /// What Kafka said.
        source: rdkafka::error::KafkaError,
    },
    /// The subscription ended.
    #[error("{0}")]
    Subscription(String),
    /// The Delta table, while doing this.
    #[error("{doing}: {source}")]
    Delta {
        /// What was being done, to which table.
        doing: String,
        /// What the table said.
        source: Box<DeltaTableError>,
    },
    /// The object store, while doing this.
    #[error("{doing}: {source}")]
    Store {
        /// What was being done, to which object.
        doing: String,
        /// What the store said.
        source: object_store::Error,
    },
    /// Arrow or Parquet, while doing this.
    #[error("{doing}: {source}")]
    Parquet {
        /// What was being done, to which file.
        doing: String,
        /// What the library said.
        source: parquet::errors::ParquetError,
    },
    /// The catalog.
    #[error(transparent)]
    Catalog(#[from] catalog::CatalogError),
    /// A table of ours does not look like one.
    #[error("table {table} cannot be read: {what}")]
    Table {
        /// Which table.
        table: String,
        /// What is wrong with it.
        what: String,
    },
    /// Another worker has taken over this dataset.
    #[error("another worker committed to dataset {dataset} past our position: {what}")]
    Fenced {
        /// Which dataset.
        dataset: String,
        /// The two positions.
        what: String,
    },
}

impl From<failpoints::Injected> for ProcessorError {
    fn from(injected: failpoints::Injected) -> Self {
        Self::Subscription(injected.to_string())
    }
}

impl ProcessorError {
    pub(crate) fn delta(doing: impl Into<String>) -> impl FnOnce(DeltaTableError) -> Self {
        let doing = doing.into();
        move |source| Self::Delta {
            doing,
            source: Box::new(source),
        }
    }

    pub(crate) fn kafka(
        doing: impl Into<String>,
    ) -> impl FnOnce(rdkafka::error::KafkaError) -> Self {
        let doing = doing.into();
        move |source| Self::Kafka { doing, source }
    }

    pub(crate) fn store(doing: impl Into<String>) -> impl FnOnce(object_store::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Store { doing, source }
    }

    pub(crate) fn parquet(
        doing: impl Into<String>,
    ) -> impl FnOnce(parquet::errors::ParquetError) -> Self {
        let doing = doing.into();
        move |source| Self::Parquet { doing, source }
    }
}
