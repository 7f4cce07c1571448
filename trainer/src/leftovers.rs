//! What a training leaves in the object store beside its model: checkpoints, and files of
//! attempts that died while they stored theirs. Called when a training is over, whichever
//! way; removing twice is as good as once.

use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use schemas::training::Training;
use schemas::{ModelId, ObjectKey};

use crate::error::TrainerError;

/// Removes the training's checkpoints and the files of every attempt but those of `model`.
///
/// # Errors
/// The store fails; what is left then is only in the way.
pub async fn clear(
    objects: &dyn ObjectStore,
    training: &Training,
    model: Option<ModelId>,
) -> Result<(), TrainerError> {
    let name = String::new();
    let checkpoint = ObjectKey::Checkpoint {
        training: training.id,
        name,
    };
    clear_folder(objects, &checkpoint).await?;
    let attempts = (1..=training.attempts).map(|attempt| ModelId::of_attempt(training.id, attempt));
    for attempt in attempts.filter(|id| Some(*id) != model) {
        let name = String::new();
        clear_folder(
            objects,
            &ObjectKey::ModelFile {
                model: attempt,
                name,
            },
        )
        .await?;
    }
    Ok(())
}

async fn clear_folder(objects: &dyn ObjectStore, folder: &ObjectKey) -> Result<(), TrainerError> {
    let folder = Path::from(folder.to_string());
    let doing = || format!("removing what is left in {folder}");
    let mut left: Vec<Path> = objects
        .list(Some(&folder))
        .map(|found| found.map(|object| object.location))
        .try_collect()
        .await
        .map_err(TrainerError::store(doing()))?;
    // Manifests first: a part is never missed by one.
    left.sort_by_key(|path| path.extension() != Some("json"));
    for path in left {
        match objects.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(TrainerError::store(doing())(error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;
    use schemas::TrainingId;
    use schemas::training::{TrainingProgress, TrainingState};

    use super::*;

    #[tokio::test]
    async fn the_model_stays_and_what_other_attempts_left_goes() {
        let objects = InMemory::new();
        let training = Training {
            id: TrainingId::new(),
            dataset: "cats-aaaaaa".parse().unwrap(),
            state: TrainingState::Running,
            spec: crate::spec::preset_spec(schemas::training::Preset::Fast),
            queued_before: None,
            progress: TrainingProgress::default(),
            error: None,
            model_id: None,
            attempts: 3,
            created_at: chrono::Utc::now(),
            started_at: None,
            finished_at: None,
        };
        let of = |attempt| ModelId::of_attempt(training.id, attempt);
        let other = ModelId::new();
        let files = [
            format!("checkpoints/{}/00000001.json", training.id),
            format!("checkpoints/{}/00000001-state-x", training.id),
            format!("checkpoints/{}/00000001.json", TrainingId::new()),
            format!("models/{}/model.onnx", of(1)),
            format!("models/{}/model.onnx", of(2)),
            format!("models/{}/model.onnx", of(3)),
            format!("models/{other}/model.onnx"),
        ];
        for file in &files {
            let path = Path::from(file.as_str());
            objects.put(&path, "x".into()).await.unwrap();
        }
        for _ in 0..2 {
            clear(&objects, &training, Some(of(2))).await.unwrap();
            let left = objects.list(None).map_ok(|object| object.location);
            let mut left: Vec<String> = left.map_ok(String::from).try_collect().await.unwrap();
            left.sort();
            let mut expected = [&files[2], &files[4], &files[6]].map(Clone::clone);
            expected.sort();
            assert_eq!(left, expected);
        }
    }
}
