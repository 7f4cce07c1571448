//! Tables as they are opened: made if they are not there, and given the columns that have come
//! since they were made.

use deltalake_core::kernel::StructType;
use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel as _;
use deltalake_core::kernel::transaction::CommitProperties;
use deltalake_core::operations::create::CreateBuilder;
use deltalake_core::protocol::SaveMode;
use deltalake_core::{DeltaTable, DeltaTableBuilder, DeltaTableError};
use schemas::{ObjectKey, table};

use crate::error::ProcessorError;
use crate::objects::ObjectRoot;
use crate::organize::put::{MAX_TRIES, pause};

/// The table of `key`, made empty with `columns` if it is not there.
pub(super) async fn open_or_create<E: std::fmt::Display>(
    root: &ObjectRoot,
    key: &ObjectKey,
    columns: Result<StructType, E>,
) -> Result<DeltaTable, ProcessorError> {
    let columns = columns.map_err(|error| ProcessorError::Table {
        table: key.to_string(),
        what: format!("its columns: {error}"),
    })?;
    let url = root.table_url(key);
    let build = || {
        DeltaTableBuilder::from_url(url.clone())
            .and_then(|builder| {
                builder
                    .with_storage_backend(root.outer(), url.clone())
                    .build()
            })
            .map_err(ProcessorError::delta(format!("opening {key}")))
    };
    let mut table = build()?;
    match table.load().await {
        Ok(()) => return with_columns(table, &columns, key).await,
        Err(DeltaTableError::NotATable(_) | DeltaTableError::InvalidTableLocation(_)) => {}
        Err(error) => {
            // A folder without a log is a table that is not there yet; anything else is an error.
            let exists = table.verify_deltatable_existence().await;
            if !matches!(exists, Ok(false)) {
                return Err(ProcessorError::delta(format!("opening {key}"))(error));
            }
        }
    }
    let created = CreateBuilder::new()
        .with_log_store(table.log_store())
        .with_save_mode(SaveMode::ErrorIfExists)
        .with_columns(columns.fields().cloned())
        .await;
    match created {
        Ok(created) => Ok(created),
        Err(error) => {
            // Somebody else made it, or our own answer was lost: read before judging.
            let mut table = build()?;
            match table.load().await {
                Ok(()) => with_columns(table, &columns, key).await,
                Err(_) => Err(ProcessorError::delta(format!("creating {key}"))(error)),
            }
        }
    }
}

/// The same table of photos with all columns of today.
///
/// # Errors
/// It cannot be read or written.
pub(crate) async fn with_photo_columns(
    table: DeltaTable,
    key: &ObjectKey,
) -> Result<DeltaTable, ProcessorError> {
    let columns: Result<StructType, _> = table::photos().as_ref().try_into_kernel();
    let columns = columns.map_err(|error| ProcessorError::Table {
        table: key.to_string(),
        what: format!("its columns: {error}"),
    })?;
    with_columns(table, &columns, key).await
}

/// Adds the columns that have come since the table was made; its older rows are null
/// there. Done before anything is written with them, and only once: what somebody else
/// has added meanwhile is found by reading again.
async fn with_columns(
    mut table: DeltaTable,
    columns: &StructType,
    key: &ObjectKey,
) -> Result<DeltaTable, ProcessorError> {
    let doing = || ProcessorError::delta(format!("adding columns to {key}"));
    let mut tries = 0;
    loop {
        tries += 1;
        let known = table.snapshot().map_err(doing())?.schema();
        let missing: Vec<_> = columns
            .fields()
            .filter(|column| known.field(column.name()).is_none())
            .cloned()
            .collect();
        if missing.is_empty() {
            return Ok(table);
        }
        let names: Vec<_> = missing.iter().map(|column| column.name().clone()).collect();
        let properties = CommitProperties::default()
            .with_max_retries(0)
            .with_cleanup_expired_logs(Some(false));
        let added = table
            .clone()
            .add_columns()
            .with_fields(missing)
            .with_commit_properties(properties)
            .await;
        match added {
            Ok(_) => tracing::info!(table = %key, ?names, "columns added"),
            Err(error) if tries >= MAX_TRIES => return Err(doing()(error)),
            Err(error) => {
                tracing::warn!(%error, table = %key, tries, "adding columns failed; reading and trying again");
                pause(tries).await;
            }
        }
        table.update_state().await.map_err(doing())?;
    }
}
