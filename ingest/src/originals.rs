//! The object store, as far as originals go: a photo comes in, and when this says
//! yes, its bytes lie under their hash and survive a power cut.
//!
//! Writing is create-only, and every retry begins with a read: a failure may have
//! come after the bytes were already there.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload};
use schemas::ObjectKey;
use tracing::warn;

use crate::photo::Photo;

mod local;
use local::LocalOriginals;

/// How often one photo is tried. More keep a client waiting for a store that is down;
/// fewer refuse on a single lost packet.
const ATTEMPTS: u32 = 3;
/// How long one photo may take, retries included. Longer outlasts a client's patience;
/// shorter refuses large photos on slow links to the store.
const DEADLINE: Duration = Duration::from_secs(25);
/// The first pause between tries; it doubles.
const PAUSE: Duration = Duration::from_millis(200);
/// How long a readiness probe may take.
const PROBE_DEADLINE: Duration = Duration::from_secs(5);

/// Why a store did not take something. The words are fit for a client: no paths, no
/// addresses; the source has the rest.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("the disk is full")]
    Full(#[source] std::io::Error),
    #[error("it is read-only")]
    ReadOnly(#[source] std::io::Error),
    #[error("writing failed")]
    Io(#[source] std::io::Error),
    #[error("writing failed")]
    Remote(#[source] object_store::Error),
    #[error("it took the bytes but does not show them")]
    Lost,
    #[error("it does not answer")]
    Deadline,
    #[error("writing was broken off")]
    Broken(#[source] tokio::task::JoinError),
}

/// Where originals go.
pub(crate) enum Originals {
    /// A local folder, written by [`LocalOriginals`]: `object_store` does not `fsync`.
    Local(Arc<LocalOriginals>),
    /// Anything else.
    Remote(Arc<dyn ObjectStore>),
}

impl Originals {
    /// `local_root` is the folder that `store` stands for, if it stands for one.
    ///
    /// # Errors
    /// The folder for unfinished files cannot be made.
    pub(crate) fn new(
        store: Arc<dyn ObjectStore>,
        local_root: Option<PathBuf>,
    ) -> Result<Self, std::io::Error> {
        Ok(match local_root {
            Some(root) => Self::Local(Arc::new(LocalOriginals::open(root)?)),
            None => Self::Remote(store),
        })
    }

    /// Stores a photo under its key, and gives its memory back.
    pub(crate) async fn put(&self, key: &ObjectKey, photo: Photo) -> Result<(), StoreError> {
        match self {
            // `Remote` has these points in its store.
            Self::Local(folder) => {
                let injected = |_| StoreError::Deadline;
                failpoints::before("store.put", "original")
                    .await
                    .map_err(injected)?;
                let (folder, key) = (Arc::clone(folder), key.to_string());
                let write = move || folder.put(&key, &photo.pieces, photo.num_bytes);
                tokio::task::spawn_blocking(write)
                    .await
                    .map_err(StoreError::Broken)?
                    .map_err(StoreError::from)?;
                failpoints::after("store.put", "original")
                    .await
                    .map_err(injected)
            }
            Self::Remote(store) => {
                let at = Path::from(key.to_string());
                let put = put_once(store.as_ref(), &at, &photo.pieces, photo.num_bytes);
                let done = tokio::time::timeout(DEADLINE, put).await;
                done.unwrap_or(Err(StoreError::Deadline))
            }
        }
    }

    /// Whether the store takes a byte now.
    pub(crate) async fn probe(&self) -> Result<(), StoreError> {
        let probe = async {
            match self {
                Self::Local(folder) => {
                    let folder = Arc::clone(folder);
                    tokio::task::spawn_blocking(move || folder.probe())
                        .await
                        .map_err(StoreError::Broken)?
                        .map_err(StoreError::from)
                }
                Self::Remote(store) => store
                    .put(&Path::from("probes/ingest"), PutPayload::from_static(b"1"))
                    .await
                    .map(drop)
                    .map_err(StoreError::Remote),
            }
        };
        let done = tokio::time::timeout(PROBE_DEADLINE, probe).await;
        done.unwrap_or(Err(StoreError::Deadline))
    }
}

/// Writes an object that is written once: whoever finds it there already has written it.
pub(crate) async fn put_once(
    store: &dyn ObjectStore,
    at: &Path,
    pieces: &[Bytes],
    num_bytes: u64,
) -> Result<(), StoreError> {
    let payload: PutPayload = pieces.iter().cloned().collect();
    let mut mode = PutMode::Create;
    let mut failure = StoreError::Lost;
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            tokio::time::sleep(PAUSE * 2_u32.pow(attempt - 1)).await;
        }
        let options = PutOptions::from(mode.clone());
        let put = store.put_opts(at, payload.clone(), options).await;
        // Yes, no and "exists already" may all be wrong after a lost reply; what the
        // store shows is not.
        match (store.head(at).await, put) {
            (Ok(object), _) if object.size == num_bytes => return Ok(()),
            (Ok(object), _) => {
                warn!(
                    object = %at, stored_bytes = object.size, num_bytes,
                    "a stored object is not what its name says; it is replaced"
                );
                mode = PutMode::Overwrite;
            }
            (Err(object_store::Error::NotFound { .. }), Ok(_)) => failure = StoreError::Lost,
            (Err(_), Err(error)) | (Err(error), Ok(_)) => failure = StoreError::Remote(error),
        }
    }
    Err(failure)
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind::{
            PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
        };
        match error.kind() {
            StorageFull | QuotaExceeded => Self::Full(error),
            ReadOnlyFilesystem | PermissionDenied => Self::ReadOnly(error),
            _ => Self::Io(error),
        }
    }
}

#[cfg(test)]
mod tests;
