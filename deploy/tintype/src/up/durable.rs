//! A local folder as an object store that keeps what it has confirmed through a power cut.
//! `object_store` writes and renames local files without syncing them; here the file and
//! every folder entry on the way to it are on the disk before a write returns. Reading,
//! listing and deleting are its own.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
    UploadPart,
};

/// Folders that are remembered as durable. More take memory for what a few syncs re-establish.
const MAX_REMEMBERED_FOLDERS: usize = 1 << 14;

/// The store; clones share what they know.
#[derive(Debug, Clone)]
pub struct DurableFolder {
    inner: Arc<LocalFileSystem>,
    sync: Sync,
}

/// What brings files onto the disk.
#[derive(Debug, Clone)]
struct Sync {
    /// Above it nothing is ours.
    root: PathBuf,
    durable: Arc<Mutex<HashSet<PathBuf>>>,
}

impl DurableFolder {
    /// A store that is rooted at `/`, of which the folder `root` is used.
    pub fn new(root: &FilePath) -> Self {
        Self {
            inner: Arc::new(LocalFileSystem::new()),
            sync: Sync {
                root: root.to_owned(),
                durable: Arc::default(),
            },
        }
    }

    async fn sync(&self, location: &Path) -> Result<()> {
        let file = self.inner.path_to_filesystem(location)?;
        self.sync.clone().file(file).await
    }
}

impl Sync {
    async fn file(self, path: PathBuf) -> Result<()> {
        let synced = tokio::task::spawn_blocking(move || {
            let synced = self.sync_now(&path);
            synced.map_err(|source| Error::Generic {
                store: "durable folder",
                source: format!("syncing {}: {source}", path.display()).into(),
            })
        });
        synced.await?
    }

    fn sync_now(&self, path: &FilePath) -> io::Result<()> {
        File::open(path)?.sync_all()?;
        let Some(folder) = path.parent() else {
            return Ok(());
        };
        File::open(folder)?.sync_all()?;
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if durable.contains(folder) {
            return Ok(());
        }
        let above = folder.ancestors().skip(1);
        for above in above.take_while(|above| above.starts_with(&self.root)) {
            File::open(above)?.sync_all()?;
        }
        if durable.len() >= MAX_REMEMBERED_FOLDERS {
            durable.clear();
        }
        durable.insert(folder.to_owned());
        Ok(())
    }
}

impl fmt::Display for DurableFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "durable folder {}", self.sync.root.display())
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for DurableFolder {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let result = self.inner.put_opts(location, payload, options).await?;
        self.sync(location).await?;
        Ok(result)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(DurableUpload {
            inner: self.inner.put_multipart_opts(location, options).await?,
            path: self.inner.path_to_filesystem(location)?,
            sync: self.sync.clone(),
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await?;
        self.sync(to).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await?;
        self.sync(to).await
    }
}

/// An upload in parts, synced when it is whole.
#[derive(Debug)]
struct DurableUpload {
    inner: Box<dyn MultipartUpload>,
    path: PathBuf,
    sync: Sync,
}

#[async_trait]
impl MultipartUpload for DurableUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let result = self.inner.complete().await?;
        self.sync.clone().file(self.path.clone()).await?;
        Ok(result)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt as _;

    use super::*;

    #[tokio::test]
    async fn it_keeps_what_it_is_given_whole_or_in_parts() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("with a space");
        std::fs::create_dir(&root).unwrap();
        let store = DurableFolder::new(&root);
        let at = |name: &str| Path::from_absolute_path(root.join(name)).unwrap();
        let whole = at("a/b/whole");
        store.put(&whole, "1".into()).await.unwrap();
        let mut parts = store.put_multipart(&at("a/parts")).await.unwrap();
        parts.put_part("23".into()).await.unwrap();
        parts.complete().await.unwrap();
        store.copy(&whole, &at("copy")).await.unwrap();
        for (name, content) in [("a/b/whole", "1"), ("a/parts", "23"), ("copy", "1")] {
            let found = std::fs::read_to_string(root.join(name)).unwrap();
            assert_eq!(found, content, "{name}");
        }
        let num_known = store.sync.durable.lock().unwrap().len();
        assert_eq!(num_known, 3, "each folder is made durable once");
    }
}
