//! Where pretrained weights come from. An architecture comes in; out comes a checked file
//! of weights, or why there is none.
//!
//! Looked at in this order: the file or folder that the operator names, the cache in the
//! data folder, and the publisher's official address, whose file is kept in the cache. A
//! download that broke off goes on where it stopped; a file is put in place only once
//! its hash is right.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt as _;
use graph::{Architecture, OfficialWeights, Weights};
use schemas::Sha256;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Mutex;

use crate::error::TrainerError;

/// How long a silent publisher is waited for.
const SILENCE: Duration = Duration::from_secs(20);

/// The longest file that is fetched: above ResNet-50's 102 MB.
const MAX_FETCHED_BYTES: u64 = 1 << 30;

/// One download at a time: a training and whoever computes embeddings may want the same
/// file, and would both write to what there is of it.
static FETCHING: Mutex<()> = Mutex::const_new(());

/// Where weights may come from.
#[derive(Debug, Clone)]
pub struct WeightsSource {
    /// A file, or a folder of files, that comes first.
    pub own: Option<PathBuf>,
    /// Where fetched files are kept.
    pub cache: PathBuf,
    /// Whether the publisher may be asked.
    pub fetch: bool,
}

/// Pretrained weights, and where they come from.
#[derive(Debug)]
pub struct Pretrained {
    /// The weights.
    pub weights: Weights,
    /// The file's name.
    pub name: String,
    /// The file's hash: the backbone's version.
    pub sha256: Sha256,
}

impl WeightsSource {
    /// Whether there are weights here: nothing is fetched for [`Self::pretrained`] then.
    pub fn has(&self, architecture: Architecture) -> bool {
        let cached = OfficialWeights::of(architecture)
            .is_some_and(|official| self.cache.join(official.file_name()).is_file());
        cached || self.find(architecture).is_some()
    }

    /// The architecture's ImageNet weights.
    ///
    /// # Errors
    /// There are none to be had, in words that say where they were looked for; or a file
    /// is there and is not what it should be.
    pub async fn pretrained(&self, architecture: Architecture) -> Result<Pretrained, TrainerError> {
        if let Some(path) = self.find(architecture) {
            return load(path).await;
        }
        let Some(official) = OfficialWeights::of(architecture) else {
            let detail = format!("nobody publishes ImageNet weights for {architecture}");
            return Err(TrainerError::refused("no_weights", detail).hint(
                "use mobilenet_v2 or a resnet, name a file of your own with TINTYPE_WEIGHTS, or \
                 train with mode scratch",
            ));
        };
        let cached = self.cache.join(official.file_name());
        if !cached.is_file() {
            if !self.fetch {
                let detail = format!("there are no weights for {architecture} here");
                return Err(TrainerError::refused("no_weights", detail)
                    .hint("name a file or a folder with TINTYPE_WEIGHTS"));
            }
            self.fetch(&official, &cached).await.map_err(|fault| {
                let detail = format!(
                    "there are no weights for {architecture} here, and {} cannot be fetched: \
                     {fault}",
                    official.url
                );
                TrainerError::refused("no_weights", detail).hint(
                    "fetch the file yourself and name it, or its folder, with TINTYPE_WEIGHTS; \
                     or train with mode scratch",
                )
            })?;
        }
        load(cached).await
    }

    /// A file of the operator's that is meant for this architecture.
    fn find(&self, architecture: Architecture) -> Option<PathBuf> {
        let own = self.own.as_ref()?;
        if own.is_file() {
            let stem = own.file_stem()?.to_str()?;
            return is_for(stem, architecture).then(|| own.clone());
        }
        let mut files: Vec<PathBuf> = std::fs::read_dir(own)
            .ok()?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                let extension = path.extension().and_then(|extension| extension.to_str());
                matches!(extension, Some("safetensors" | "pth" | "pt"))
            })
            .filter(|path| {
                let stem = path.file_stem().and_then(|stem| stem.to_str());
                stem.is_some_and(|stem| is_for(stem, architecture))
            })
            .collect();
        // Whatever order the folder lists them in.
        files.sort();
        files.into_iter().next()
    }

    async fn fetch(&self, official: &OfficialWeights, to: &Path) -> Result<(), FetchError> {
        let _turn = FETCHING.lock().await;
        if to.is_file() {
            return Ok(());
        }
        tokio::fs::create_dir_all(&self.cache).await?;
        let part = to.with_extension("part");
        let mut file = tokio::fs::File::options()
            .create(true)
            .append(true)
            .open(&part)
            .await?;
        let mut have = file.metadata().await?.len();
        let client = reqwest::Client::builder()
            .connect_timeout(SILENCE)
            .read_timeout(SILENCE)
            .build()?;
        let mut request = client.get(official.url);
        if have > 0 {
            request = request.header(reqwest::header::RANGE, format!("bytes={have}-"));
        }
        let answer = request.send().await?.error_for_status()?;
        if answer.status() != reqwest::StatusCode::PARTIAL_CONTENT {
            file.set_len(0).await?;
            have = 0;
        }
        let mut body = answer.bytes_stream();
        while let Some(bytes) = body.next().await {
            let bytes = bytes?;
            have += bytes.len() as u64;
            if have > MAX_FETCHED_BYTES {
                return Err(FetchError::TooLong);
            }
            file.write_all(&bytes).await?;
        }
        file.sync_all().await?;
        drop(file);
        if let Err(fault) = official.check(&part) {
            // Whatever it is, going on from it would not make it better.
            tokio::fs::remove_file(&part).await?;
            return Err(FetchError::Wrong(fault.to_string()));
        }
        tokio::fs::rename(&part, to).await?;
        Ok(())
    }
}

/// `mobilenet_v2`, `mobilenet_v2-b0353104` and `mobilenet_v2.imagenet` are files for
/// `mobilenet_v2`; `mobilenet_v2_0.5` is none.
fn is_for(stem: &str, architecture: Architecture) -> bool {
    let rest = stem.strip_prefix(&architecture.to_string());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.']))
}

async fn load(path: PathBuf) -> Result<Pretrained, TrainerError> {
    let reading = tokio::task::spawn_blocking(move || {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let sha256 = graph::sha256_of_file(&path)?;
        let weights = Weights::read(&path)?;
        Ok::<_, graph::WeightsError>(Pretrained {
            weights,
            name,
            sha256,
        })
    });
    let read = reading.await.map_err(|fault| TrainerError::Network {
        doing: "reading weights".into(),
        fault: fault.to_string(),
    })?;
    read.map_err(|fault| {
        let fault: Box<dyn std::error::Error> = Box::new(fault);
        let mut detail = fault.to_string();
        let mut source = fault.source();
        while let Some(cause) = source {
            detail.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        TrainerError::refused("bad_weights", detail)
            .hint("replace the file by the publisher's, or remove it to have it fetched")
    })
}

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{}", reqwest_words(.0))]
    Http(#[from] reqwest::Error),
    #[error("it is longer than any file of weights")]
    TooLong,
    #[error("what came is not the file: {0}")]
    Wrong(String),
}

/// The innermost cause: the outer ones only say that there is one.
fn reqwest_words(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_for_the_architecture_that_it_is_named_after() {
        let full: Architecture = "mobilenet_v2".parse().unwrap();
        let half: Architecture = "mobilenet_v2_0.5".parse().unwrap();
        assert!(is_for("mobilenet_v2", full));
        assert!(is_for("mobilenet_v2-b0353104", full));
        assert!(!is_for("mobilenet_v2_0.5", full));
        assert!(is_for("mobilenet_v2_0.5", half));
        assert!(!is_for("resnet50", full));
    }

    #[tokio::test]
    async fn where_there_are_no_weights_it_is_said_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let source = WeightsSource {
            own: None,
            cache: folder.path().join("weights"),
            fetch: false,
        };
        for name in ["mobilenet_v2", "mobilenet_v2_0.35"] {
            let error = source.pretrained(name.parse().unwrap()).await.unwrap_err();
            let fault = error.fault();
            assert_eq!(fault.code, "no_weights");
            assert!(fault.hint.unwrap().contains("TINTYPE_WEIGHTS"), "{name}");
        }
        let cut = folder.path().join("resnet18.safetensors");
        std::fs::write(&cut, [0; 12]).unwrap();
        let source = WeightsSource {
            own: Some(cut),
            ..source
        };
        let error = source
            .pretrained("resnet18".parse().unwrap())
            .await
            .unwrap_err();
        assert_eq!(error.fault().code, "bad_weights", "{error}");
    }
}
