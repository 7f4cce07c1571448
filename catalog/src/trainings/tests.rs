//! One worker at a time, whatever dies.

use schemas::http::Scope;
use schemas::training::{Model, Preset};

use super::*;
use crate::testing::TestCatalog;

fn spec() -> TrainingSpec {
    let json = r#"{"preset": "fast", "mode": "head", "architecture": "mobilenet_v2",
        "weights": "imagenet", "input_size": 224,
        "head": {"hidden": 0, "regularisation": [1.0], "max_iterations": 10},
        "phases": [], "batch_size": 1, "accumulate": 1, "label_smoothing": 0.0,
        "class_weights": "none", "augment": {"min_crop": 1.0, "flip": false, "jitter": 0.0,
        "rotation_degrees": 0.0, "erasing": 0.0}, "ema": 0.0, "early_stop": 0,
        "clip_norm": 0.0, "device": "cpu", "precision": "f32", "seed": 1,
        "checkpoint_every_s": 60}"#;
    let spec: TrainingSpec = serde_json::from_str(json).unwrap();
    assert_eq!(spec.preset, Preset::Fast);
    spec
}

fn progress(stage: &str) -> TrainingProgress {
    TrainingProgress {
        stage: stage.into(),
        ..TrainingProgress::default()
    }
}

#[tokio::test]
async fn one_worker_has_a_training_and_a_lost_one_is_fenced_off() {
    let test = TestCatalog::open().await;
    let dataset = test.dataset("main", "cats", &[]).await;
    let (_, principal) = test.key("main", &[Scope::Read]).await;
    let catalog = &test.catalog;
    let made = catalog.create_training("main", &dataset.id, &spec()).await;
    let id = made.unwrap().id;
    let first = catalog.lease_training("one").await.unwrap().unwrap();
    assert_eq!(first.training.id, id);
    assert!(catalog.lease_training("two").await.unwrap().is_none());

    test.clock.advance(TRAINING_LEASE / 2);
    let standing = catalog.report_training(&first, &progress("reading")).await;
    assert_eq!(standing.unwrap(), Standing::Held);
    test.clock
        .advance(TRAINING_LEASE / 2 + Duration::from_secs(1));
    assert!(
        catalog.lease_training("two").await.unwrap().is_none(),
        "a report renews the lease"
    );

    test.clock.advance(TRAINING_LEASE);
    let second = catalog.lease_training("two").await.unwrap().unwrap();
    assert_eq!(second.training.attempts, 2);
    let standing = catalog.report_training(&first, &progress("late")).await;
    assert_eq!(standing.unwrap(), Standing::Lost);
    let fault = TrainingFault {
        code: "late".into(),
        detail: "late".into(),
        hint: None,
    };
    catalog
        .end_training(&first, &progress("late"), &TrainingEnd::Fault(fault))
        .await
        .unwrap();
    let found = catalog
        .find_training(&principal, id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        found.state,
        TrainingState::Running,
        "the late end is no end"
    );

    let model = model(&dataset.id, id);
    let entered = catalog.add_model("main", &model).await.unwrap();
    catalog
        .end_training(&second, &progress("done"), &TrainingEnd::Model(entered))
        .await
        .unwrap();
    let found = catalog
        .find_training(&principal, id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.state, TrainingState::Succeeded);
    assert_eq!(found.model_id, Some(model.id));
    assert!(catalog.lease_training("three").await.unwrap().is_none());
}

#[tokio::test]
async fn a_training_makes_one_model_however_often_it_is_entered() {
    let test = TestCatalog::open().await;
    let dataset = test.dataset("main", "cats", &[]).await;
    let (_, principal) = test.key("main", &[Scope::Read]).await;
    let (_, stranger) = test.key("other", &[Scope::Read]).await;
    let training = TrainingId::new();
    let first = model(&dataset.id, training);
    let second = model(&dataset.id, training);
    let catalog = &test.catalog;
    assert_eq!(catalog.add_model("main", &first).await.unwrap(), first.id);
    assert_eq!(catalog.add_model("main", &second).await.unwrap(), first.id);
    let listed = catalog.list_models(&principal, None).await.unwrap();
    assert_eq!(listed, std::slice::from_ref(&first));
    assert!(
        catalog
            .find_model(&stranger, first.id)
            .await
            .unwrap()
            .is_none()
    );
    catalog.forget_model(first.id).await.unwrap();
    assert!(
        catalog
            .find_model(&principal, first.id)
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn a_training_that_is_called_off_ends_now_or_at_its_workers_next_report() {
    let test = TestCatalog::open().await;
    let dataset = test.dataset("main", "cats", &[]).await;
    let (_, principal) = test.key("main", &[Scope::Read]).await;
    let catalog = &test.catalog;
    let make = || catalog.create_training("main", &dataset.id, &SPEC);
    static SPEC: std::sync::LazyLock<TrainingSpec> = std::sync::LazyLock::new(spec);
    let running = make().await.unwrap().id;
    let lease = catalog.lease_training("one").await.unwrap().unwrap();
    let waiting = make().await.unwrap().id;
    for id in [running, waiting] {
        catalog.cancel_training(id).await.unwrap();
    }
    let state = async |id| {
        catalog
            .find_training(&principal, id)
            .await
            .unwrap()
            .unwrap()
            .state
    };
    assert_eq!(state(waiting).await, TrainingState::Cancelled);
    assert_eq!(state(running).await, TrainingState::Running);
    let standing = catalog.report_training(&lease, &progress("x")).await;
    assert_eq!(standing.unwrap(), Standing::CalledOff);
    catalog
        .end_training(&lease, &progress("x"), &TrainingEnd::Cancelled)
        .await
        .unwrap();
    assert_eq!(state(running).await, TrainingState::Cancelled);
    assert!(catalog.lease_training("two").await.unwrap().is_none());
}

#[tokio::test]
async fn trainings_are_their_owners_alone() {
    let test = TestCatalog::open().await;
    let dataset = test.dataset("main", "cats", &[]).await;
    let (_, stranger) = test.key("other", &[Scope::Admin]).await;
    let spec = spec();
    let made = test.catalog.create_training("main", &dataset.id, &spec);
    let id = made.await.unwrap().id;
    assert!(
        test.catalog
            .find_training(&stranger, id)
            .await
            .unwrap()
            .is_none()
    );
    let listed = test.catalog.list_trainings(&stranger, None).await.unwrap();
    assert!(listed.is_empty());
}

fn model(dataset: &DatasetId, training: TrainingId) -> Model {
    Model {
        id: ModelId::new(),
        name: "cats".into(),
        dataset: dataset.clone(),
        training,
        parent: None,
        architecture: "mobilenet_v2".into(),
        table_version: 3,
        labels: vec!["a".into(), "b".into()],
        accuracy: Some(0.5),
        evaluation: serde_json::json!({}),
        files: Vec::new(),
        created_at: time(1_700_000_000_000_000),
    }
}
