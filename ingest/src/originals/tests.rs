//! Both kinds of store, and a remote one that fails in the ways that networks do.

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    PutMultipartOptions, PutResult,
};
use schemas::{DatasetId, Sha256};

use super::*;
use crate::IngestSettings;
use crate::admission::Admission;
use crate::photo::PhotoReader;

const BYTES: &[u8] = b"\xff\xd8\xff the bytes of a photo";

async fn photo() -> Photo {
    let admission = Admission::new(&IngestSettings::default());
    let mut reader = PhotoReader::new(1 << 20, admission.room(0).await.unwrap());
    reader.push(Bytes::from_static(BYTES)).await.unwrap();
    reader.finish().unwrap()
}

fn key() -> ObjectKey {
    ObjectKey::Original {
        dataset: DatasetId::for_name("cats").unwrap(),
        sha256: Sha256::of(BYTES),
    }
}

struct Folder {
    root: tempfile::TempDir,
    originals: Originals,
}

impl Folder {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let store = Arc::new(InMemory::new());
        let originals = Originals::new(store, Some(root.path().to_owned())).unwrap();
        Self { root, originals }
    }

    fn unfinished(&self) -> usize {
        fs::read_dir(self.root.path().join("incoming"))
            .unwrap()
            .count()
    }
}

#[tokio::test]
async fn a_local_original_is_its_bytes_however_often_it_is_put() {
    let folder = Folder::new();
    let key = key();
    for _ in 0..3 {
        folder.originals.put(&key, photo().await).await.unwrap();
        let path = folder.root.path().join(key.to_string());
        assert_eq!(fs::read(path).unwrap(), BYTES);
        assert_eq!(folder.unfinished(), 0);
    }
}

#[tokio::test]
async fn a_local_original_of_another_length_is_replaced() {
    let folder = Folder::new();
    let key = key();
    let path = folder.root.path().join(key.to_string());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, b"").unwrap();
    folder.originals.put(&key, photo().await).await.unwrap();
    assert_eq!(fs::read(path).unwrap(), BYTES);
}

#[tokio::test]
async fn a_folder_that_went_away_is_made_again() {
    let folder = Folder::new();
    let key = key();
    folder.originals.put(&key, photo().await).await.unwrap();
    fs::remove_dir_all(folder.root.path().join("originals")).unwrap();
    folder.originals.put(&key, photo().await).await.unwrap();
    assert_eq!(
        fs::read(folder.root.path().join(key.to_string())).unwrap(),
        BYTES
    );
}

#[tokio::test]
async fn what_a_killed_process_left_is_cleared_away_and_what_is_being_written_is_not() {
    let root = tempfile::tempdir().unwrap();
    let incoming = root.path().join("incoming");
    fs::create_dir(&incoming).unwrap();
    let (old, new) = (incoming.join("old"), incoming.join("new"));
    fs::write(&new, b"x").unwrap();
    let file = fs::File::create(&old).unwrap();
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(2 * 3600);
    file.set_modified(long_ago).unwrap();
    LocalOriginals::open(root.path().to_owned()).unwrap();
    assert!(!old.exists() && new.exists());
}

/// Does to the first puts what it is told, and then behaves.
#[derive(Debug)]
struct Faulty {
    inner: InMemory,
    fault: Fault,
    faults_left: AtomicU32,
    puts: AtomicU32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// The object is written, the reply is lost.
    ReplyLost,
    /// Nothing is written.
    Refused,
    /// Success is told, nothing is written.
    Swallowed,
}

impl Faulty {
    fn new(fault: Fault, times: u32) -> Arc<Self> {
        Arc::new(Self {
            inner: InMemory::new(),
            fault,
            faults_left: AtomicU32::new(times),
            puts: AtomicU32::new(0),
        })
    }

    async fn put_photo(self: &Arc<Self>) -> (Result<(), StoreError>, u32) {
        let originals = Originals::new(Arc::clone(self) as Arc<dyn ObjectStore>, None).unwrap();
        let put = originals.put(&key(), photo().await).await;
        (put, self.puts.load(Ordering::SeqCst))
    }
}

impl std::fmt::Display for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a faulty store")
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        at: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        self.puts.fetch_add(1, Ordering::SeqCst);
        let left = &self.faults_left;
        let is_faulty = left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
            .is_ok();
        if is_faulty && self.fault != Fault::ReplyLost {
            if self.fault == Fault::Swallowed {
                return Ok(PutResult {
                    e_tag: None,
                    version: None,
                });
            }
        } else {
            let put = self.inner.put_opts(at, payload, options).await;
            if !is_faulty {
                return put;
            }
        }
        Err(object_store::Error::Generic {
            store: "faulty",
            source: "the connection broke".into(),
        })
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.inner.get_opts(at, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &Path,
        to: &Path,
        options: CopyOptions,
    ) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_put_whose_reply_was_lost_is_found_and_not_repeated() {
    let store = Faulty::new(Fault::ReplyLost, 1);
    let (put, puts) = store.put_photo().await;
    assert!(put.is_ok());
    assert_eq!(puts, 1);
}

#[tokio::test(start_paused = true)]
async fn a_put_that_failed_is_tried_again_and_not_for_ever() {
    let (put, puts) = Faulty::new(Fault::Refused, 2).put_photo().await;
    assert!(put.is_ok());
    assert_eq!(puts, 3);
    let (put, puts) = Faulty::new(Fault::Refused, u32::MAX).put_photo().await;
    assert!(matches!(put, Err(StoreError::Remote(_))));
    assert_eq!(puts, 3);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_says_yes_and_holds_nothing_is_not_believed() {
    let (put, _) = Faulty::new(Fault::Swallowed, u32::MAX).put_photo().await;
    assert!(matches!(put, Err(StoreError::Lost)));
}

#[tokio::test(start_paused = true)]
async fn a_remote_original_that_is_there_is_taken_and_a_short_one_replaced() {
    let store = Faulty::new(Fault::Refused, 0);
    let key = key();
    let originals = Originals::new(Arc::clone(&store) as Arc<dyn ObjectStore>, None).unwrap();
    originals.put(&key, photo().await).await.unwrap();
    originals.put(&key, photo().await).await.unwrap();
    assert_eq!(store.puts.load(Ordering::SeqCst), 2);

    let at_key = Path::from(key.to_string());
    store
        .put(&at_key, PutPayload::from_static(b"short"))
        .await
        .unwrap();
    originals.put(&key, photo().await).await.unwrap();
    let stored = store.get(&at_key).await.unwrap().bytes().await.unwrap();
    assert_eq!(stored, BYTES);
}

#[test]
fn a_client_hears_what_is_wrong_with_the_disk_and_no_path() {
    use std::io::ErrorKind;
    for (kind, words) in [
        (ErrorKind::StorageFull, "the disk is full"),
        (ErrorKind::QuotaExceeded, "the disk is full"),
        (ErrorKind::ReadOnlyFilesystem, "it is read-only"),
        (ErrorKind::PermissionDenied, "it is read-only"),
        (ErrorKind::NotADirectory, "writing failed"),
    ] {
        let error = std::io::Error::new(kind, "/secret/path");
        assert_eq!(StoreError::from(error).to_string(), words);
    }
}
