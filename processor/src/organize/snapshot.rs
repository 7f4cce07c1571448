//! What a dataset's index knew at one version of its tables, beside them in the store: a warm
//! start reads this and the rows that came since, instead of every row there ever was.
//!
//! It is a cache. The tables are the truth: a snapshot that is damaged, missing, or does not
//! fit what the tables say is passed over, and all rows are read. It is a row of
//! length-delimited [`Frame`]s, the last of which has the SHA-256 of all others.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::{Buf as _, Bytes, BytesMut};
use futures::TryStreamExt as _;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use prost::Message as _;
use schemas::{DatasetId, ObjectKey};
use sha2::{Digest as _, Sha256};

use super::index::Index;

mod frames;
pub use frames::{Detail, Frame, Head, KeptPhoto, Look, Photo, Space};

/// What the bytes mean. Another number, and the snapshot is passed over.
const FORMAT: u32 = 1;

/// A larger one is not written, and the tables are read instead: about two million photos,
/// and the memory that writing takes. A frame is never so large.
const MAX_BYTES: usize = 512 << 20;

/// Larger frames only take memory; smaller ones cost a few bytes each.
const FRAME_ITEMS: usize = 4_096;

/// Parts of an upload that is larger than one.
const PART_BYTES: usize = 8 << 20;

/// Kept of a dataset. The newest may be too new to tell a dead process's last outcomes again;
/// the one before it is not.
const KEPT: usize = 2;

/// Rows that came since the last snapshot, before the next is written: at least so many, ...
const MIN_ROWS: usize = 2_000;
/// ... and this part of all, so that what writing costs a photo does not grow.
const ROWS_PART: usize = 8;

/// Whether so many new rows of so many are worth a snapshot.
pub fn is_due(num_new: usize, num_all: usize) -> bool {
    num_new >= MIN_ROWS.max(num_all / ROWS_PART)
}

/// An index and the rows that it covers.
#[derive(Default)]
pub struct Snapshot {
    /// Data files of both tables whose rows the index has.
    pub files: HashSet<String>,
    /// What is known of these rows.
    pub index: Index,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} captures of {} files",
            self.index.len(),
            self.files.len()
        )
    }
}

/// A snapshot as bytes, still to be written.
pub struct Encoded {
    frames: Vec<Bytes>,
    num_bytes: usize,
}

/// Turns an index into bytes; none if it is too large. `files` are those whose rows it has,
/// `position` is the last offset of `partition` among these.
pub fn encode(index: &Index, files: Vec<String>, partition: i32, position: i64) -> Option<Encoded> {
    let mut encoded = Encoded {
        frames: Vec::new(),
        num_bytes: 0,
    };
    let mut digest = Sha256::new();
    let mut put = |frame: Frame| {
        let bytes = Bytes::from(frame.encode_length_delimited_to_vec());
        digest.update(&bytes);
        encoded.num_bytes += bytes.len();
        encoded.frames.push(bytes);
        encoded.num_bytes <= MAX_BYTES
    };
    let head = Head {
        format: FORMAT,
        partition,
        position,
    };
    let is_whole = put(Frame {
        head: Some(head),
        ..Frame::default()
    }) && files.chunks(FRAME_ITEMS).all(|files| {
        put(Frame {
            files: files.to_vec(),
            ..Frame::default()
        })
    }) && index.save(FRAME_ITEMS, &mut put);
    let end = Frame {
        digest: digest.finalize().to_vec(),
        ..Frame::default()
    };
    encoded
        .frames
        .push(end.encode_length_delimited_to_vec().into());
    is_whole.then_some(encoded)
}

/// Writes a snapshot of the photos table's `version`, and removes those that it replaces. A
/// failure is logged: the tables have everything.
pub async fn write(store: Arc<dyn ObjectStore>, dataset: DatasetId, version: i64, of: Encoded) {
    let key = ObjectKey::Snapshot {
        dataset: dataset.clone(),
        name: format!("{version:020}-{}", uuid::Uuid::now_v7().simple()),
    };
    let num_bytes = of.num_bytes;
    if let Err(error) = put(&store, &key, of).await {
        tracing::warn!(%error, %key, "the index could not be kept; the next start reads the tables");
        return;
    }
    tracing::info!(%dataset, version, num_bytes, "index kept");
    if let Err(error) = remove_old(&store, &dataset).await {
        tracing::warn!(%error, %dataset, "old snapshots could not be removed; the next one tries again");
    }
}

async fn put(
    store: &Arc<dyn ObjectStore>,
    key: &ObjectKey,
    of: Encoded,
) -> object_store::Result<()> {
    let path = Path::from(key.to_string());
    let mut writer = BufWriter::with_capacity(store.clone(), path, PART_BYTES);
    for frame in of.frames {
        if let Err(error) = writer.put(frame).await {
            // What came of it is nothing: the object appears when it is whole.
            let _ = writer.abort().await;
            return Err(error);
        }
    }
    tokio::io::AsyncWriteExt::shutdown(&mut writer)
        .await
        .map_err(|error| object_store::Error::Generic {
            store: "snapshot",
            source: error.into(),
        })
}

async fn remove_old(store: &Arc<dyn ObjectStore>, dataset: &DatasetId) -> object_store::Result<()> {
    for old in list(store, dataset).await?.into_iter().skip(KEPT) {
        store.delete(&old).await?;
    }
    Ok(())
}

/// All of a dataset, the newest first.
async fn list(
    store: &Arc<dyn ObjectStore>,
    dataset: &DatasetId,
) -> object_store::Result<Vec<Path>> {
    let folder = Path::from(format!("{}/{dataset}", schemas::SNAPSHOTS));
    let mut found: Vec<_> = store
        .list(Some(&folder))
        .map_ok(|object| object.location)
        .try_collect()
        .await?;
    found.sort_unstable_by(|a, b| b.cmp(a));
    Ok(found)
}

/// The newest snapshot of which nothing need be told again: all of its records of
/// `partition` stand before offset `tell_from`.
pub async fn newest(
    store: &Arc<dyn ObjectStore>,
    dataset: &DatasetId,
    partition: i32,
    tell_from: i64,
) -> Option<Snapshot> {
    let found = match list(store, dataset).await {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(%error, %dataset, "the kept index cannot be found; reading the tables");
            return None;
        }
    };
    let fits = |head: &Head| head.partition == partition && head.position < tell_from;
    for path in found {
        match read(store, &path, &fits).await {
            Ok(Some(snapshot)) => return Some(snapshot),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, %path, "a kept index cannot be used");
            }
        }
    }
    None
}

/// Why a snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("{0}")]
    Store(#[from] object_store::Error),
    #[error("it is of another format")]
    Format,
    #[error("it is cut or damaged")]
    Damaged,
}

/// None if its head does not fit.
async fn read(
    store: &Arc<dyn ObjectStore>,
    path: &Path,
    fits: &impl Fn(&Head) -> bool,
) -> Result<Option<Snapshot>, Unusable> {
    let mut chunks = store.get(path).await?.into_stream();
    let (mut rest, mut digest) = (BytesMut::new(), Sha256::new());
    let (mut snapshot, mut has_head) = (Snapshot::default(), false);
    while let Some(chunk) = chunks.try_next().await? {
        rest.extend_from_slice(&chunk);
        while let Some((num_bytes, frame)) = next_frame(&rest)? {
            if !frame.digest.is_empty() {
                let is_whole = frame.digest == digest.finalize().as_slice();
                let is_end = rest.len() == num_bytes && chunks.try_next().await?.is_none();
                return (is_whole && is_end && has_head)
                    .then_some(Some(snapshot))
                    .ok_or(Unusable::Damaged);
            }
            digest.update(&rest[..num_bytes]);
            rest.advance(num_bytes);
            if let Some(head) = &frame.head {
                if head.format != FORMAT {
                    return Err(Unusable::Format);
                }
                if !fits(head) {
                    return Ok(None);
                }
                has_head = true;
            }
            if !has_head {
                return Err(Unusable::Format);
            }
            snapshot.files.extend(frame.files.iter().cloned());
            snapshot.index.restore(frame).ok_or(Unusable::Damaged)?;
        }
    }
    Err(Unusable::Damaged)
}

/// The first frame and its length, if it is there as a whole.
fn next_frame(bytes: &[u8]) -> Result<Option<(usize, Frame)>, Unusable> {
    // A length takes ten bytes at most.
    let Ok(len) = prost::decode_length_delimiter(bytes) else {
        return if bytes.len() < 10 {
            Ok(None)
        } else {
            Err(Unusable::Damaged)
        };
    };
    if len > MAX_BYTES {
        return Err(Unusable::Damaged);
    }
    let num_bytes = len + prost::length_delimiter_len(len);
    let Some(frame) = bytes.get(num_bytes - len..num_bytes) else {
        return Ok(None);
    };
    let frame = Frame::decode(frame).map_err(|_| Unusable::Damaged)?;
    Ok(Some((num_bytes, frame)))
}

#[cfg(test)]
mod tests;
