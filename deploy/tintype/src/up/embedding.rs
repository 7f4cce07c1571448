//! Gives photos their embeddings. The backbone's weights are looked for where trainings look
//! for them; what has to be fetched is fetched beside everything else, and until it is
//! there, or if it never comes, photos go without.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use graph::EMBEDDING_BACKBONE;
use processor::prepare::{Embedder, Embedding};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use trainer::WeightsSource;

use crate::cli::{Exit, Failure};

/// How long to wait after a download that failed. The laptop may be offline for the day; a
/// training that fetches the weights meanwhile is noticed after this as well.
const AGAIN_AFTER: Duration = Duration::from_secs(600);

/// Whether photos get embeddings, in words for `/readyz` and `tintype status`.
#[derive(Debug, Clone)]
pub struct EmbeddingStatus(Arc<RwLock<String>>);

impl EmbeddingStatus {
    fn new(words: impl Into<String>) -> Self {
        Self(Arc::new(RwLock::new(words.into())))
    }

    /// What it says now.
    pub fn words(&self) -> String {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn say(&self, words: impl Into<String>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = words.into();
    }
}

/// What runs until the embedder is there, and how it stands.
pub struct Begun {
    /// How it stands.
    pub status: EmbeddingStatus,
    /// Ends when there is nothing more to try, or at the shutdown.
    pub task: JoinHandle<()>,
}

/// Begins to embed, at once if there are weights here, else when they have come. Never
/// waits for the network, and never fails: a photo without embedding is a photo.
pub async fn begin(
    is_on: bool,
    weights: WeightsSource,
    embedding: Embedding,
    shutdown: CancellationToken,
) -> Begun {
    let nothing = || tokio::spawn(async {});
    if !is_on {
        let status = EmbeddingStatus::new("off: embed = false");
        return Begun {
            status,
            task: nothing(),
        };
    }
    let status = EmbeddingStatus::new("none yet: looking for weights");
    let begin = Begin {
        weights,
        embedding,
        status: status.clone(),
    };
    if begin.weights.has(EMBEDDING_BACKBONE.architecture) || !begin.weights.fetch {
        if let Err(fault) = begin.once().await {
            begin.is_without(&fault, "");
        }
        return Begun {
            status,
            task: nothing(),
        };
    }
    status.say("none yet: fetching weights");
    let task = tokio::spawn(async move {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = begin.until_there() => {}
        }
    });
    Begun { status, task }
}

/// What embeds photos, by the weights that are to be had.
///
/// # Errors
/// There are none, or they are not what they should be.
pub async fn embedder(weights: &WeightsSource) -> anyhow::Result<Embedder> {
    let pretrained = weights.pretrained(EMBEDDING_BACKBONE.architecture).await;
    let pretrained = pretrained.map_err(|error| {
        let fault = error.fault();
        let failure = Failure::new(Exit::Failed, "no_weights", error.to_string());
        match fault.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })?;
    let embedder = tokio::task::spawn_blocking(move || {
        Embedder::new(EMBEDDING_BACKBONE, &pretrained.weights, pretrained.sha256)
    });
    Ok(embedder.await??)
}

struct Begin {
    weights: WeightsSource,
    embedding: Embedding,
    status: EmbeddingStatus,
}

impl Begin {
    async fn until_there(&self) {
        let mut told = false;
        while let Err(fault) = self.once().await {
            if !told {
                self.is_without(&fault, "; it is tried again every ten minutes");
                told = true;
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    async fn once(&self) -> Result<(), String> {
        let embedder = embedder(&self.weights).await;
        let embedder = embedder.map_err(|fault| fault.to_string())?;
        let model = embedder.model();
        self.embedding.begin(embedder);
        self.status.say(format!("by {model}"));
        tracing::info!(%model, "photos get embeddings");
        Ok(())
    }

    fn is_without(&self, fault: &str, then: &str) {
        tracing::warn!(
            "photos get no embedding, which trainings will make up for: {fault}{then}. \
             TINTYPE_EMBED=false leaves embeddings out for good"
        );
        self.status.say(format!("none: {fault}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn begun(is_on: bool, folder: &std::path::Path) -> (Begun, Embedding) {
        let weights = WeightsSource {
            own: Some(folder.to_owned()),
            cache: folder.join("cache"),
            fetch: false,
        };
        let embedding = Embedding::default();
        let token = CancellationToken::new();
        let begun = begin(is_on, weights, embedding.clone(), token).await;
        (begun, embedding)
    }

    #[tokio::test]
    async fn weights_at_hand_begin_it_and_without_them_it_is_said_why_not() {
        let folder = tempfile::tempdir().unwrap();
        let (none, embedding) = begun(true, folder.path()).await;
        assert!(
            none.status
                .words()
                .starts_with("none: there are no weights")
        );
        assert!(embedding.embedder().is_none());

        let file = folder.path().join("mobilenet_v2.safetensors");
        std::fs::write(&file, [0; 9]).unwrap();
        let (damaged, embedding) = begun(true, folder.path()).await;
        assert!(damaged.status.words().starts_with("none: not a usable"));
        assert!(embedding.embedder().is_none());

        let weights = graph::Weights::random(EMBEDDING_BACKBONE.architecture, 2, 1);
        std::fs::write(&file, weights.to_safetensors(&Default::default())).unwrap();
        let (there, embedding) = begun(true, folder.path()).await;
        let model = embedding.embedder().unwrap().model();
        assert_eq!(there.status.words(), format!("by {model}"));

        let (off, embedding) = begun(false, folder.path()).await;
        assert!(off.status.words().starts_with("off"));
        assert!(embedding.embedder().is_none());
    }
}
