//! Writes a data file under a name that nobody else has; a retry begins with a look.

use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload};
use schemas::ObjectKey;

use crate::error::ProcessorError;

/// How often it is tried before the worker gives up.
pub(crate) const MAX_TRIES: u32 = 5;

/// Writes `bytes` as the file `name` of a table: until a commit names it, it is nothing.
///
/// # Errors
/// The store fails on and on.
pub(crate) async fn put_new(
    store: &Arc<dyn ObjectStore>,
    table: &ObjectKey,
    name: &str,
    bytes: Vec<u8>,
) -> Result<(), ProcessorError> {
    let num_bytes = bytes.len();
    let key = Path::from(format!("{table}/{name}"));
    let payload = PutPayload::from(bytes);
    let mut tries = 0;
    loop {
        tries += 1;
        let options = PutOptions::from(PutMode::Create);
        match store.put_opts(&key, payload.clone(), options).await {
            Ok(_) => return Ok(()),
            // Nobody else has this name: an earlier try arrived though its answer did not.
            Err(object_store::Error::AlreadyExists { .. }) => {
                let doing = ProcessorError::store(format!("reading back {key}"));
                let found = store.head(&key).await.map_err(doing)?;
                if found.size == num_bytes as u64 {
                    return Ok(());
                }
                return Err(ProcessorError::Table {
                    table: table.to_string(),
                    what: format!("{key} has {} bytes and should have {num_bytes}", found.size),
                });
            }
            Err(error) if tries >= MAX_TRIES => {
                return Err(ProcessorError::store(format!("writing {key}"))(error));
            }
            Err(error) => {
                tracing::warn!(%error, %key, tries, "writing a shard failed; trying again");
                pause(tries).await;
            }
        }
    }
}

/// Waits before the next try, a little longer each time and never as long as others.
pub(crate) async fn pause(tries: u32) {
    let jitter_ms = uuid::Uuid::now_v7().as_u64_pair().1 % 100;
    tokio::time::sleep(Duration::from_millis((100 << tries.min(5)) + jitter_ms)).await;
}
