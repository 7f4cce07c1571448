//! What the pool promises beyond the steps: bounds, verdicts for the late and for the
//! panicking, and that it goes on.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::prepare::tests::pictures::{jpeg, rgb_png, scene};

fn settings(threads: usize) -> PoolSettings {
    PoolSettings {
        threads,
        queue: 1,
        ..PoolSettings::default()
    }
}

#[tokio::test]
async fn many_photos_at_once_each_get_the_verdict_that_they_get_alone() {
    let pool = Arc::new(DecodePool::new(settings(3)).unwrap());
    let limits = Limits::default();
    let files: Vec<Bytes> = (0..12)
        .map(|i| match i % 3 {
            0 => jpeg(&scene(300 + i * 8, 260)),
            1 => rgb_png(&scene(280, 270 + i)),
            _ => b"no picture".to_vec(),
        })
        .map(Bytes::from)
        .collect();
    let mut tasks = tokio::task::JoinSet::new();
    for (i, file) in files.iter().cloned().enumerate() {
        let pool = pool.clone();
        tasks.spawn(async move { (i, pool.prepare(file).await) });
    }
    let mut num_photos = 0;
    while let Some(result) = tasks.join_next().await {
        let (i, result) = result.unwrap();
        num_photos += usize::from(result.is_ok());
        assert_eq!(
            result,
            crate::prepare::prepare(&files[i], &limits),
            "file {i}"
        );
    }
    assert_eq!(num_photos, 8);
}

#[tokio::test]
async fn a_small_memory_budget_is_shared_and_never_exceeded() {
    let file = Bytes::from(rgb_png(&scene(800, 600)));
    let need = inspect(&file, &Limits::default()).unwrap().decode_bytes;
    let pool = DecodePool::new(PoolSettings {
        memory_bytes: need * 3 / 2,
        ..settings(4)
    })
    .unwrap();
    let results = futures::future::join_all((0..8).map(|_| pool.prepare(file.clone()))).await;
    assert!(results.iter().all(Result::is_ok));

    let too_small = DecodePool::new(PoolSettings {
        memory_bytes: need / 2,
        ..settings(1)
    })
    .unwrap();
    let rejection = too_small.prepare(file).await.unwrap_err();
    assert_eq!(rejection.reason, Reason::DecodeMemory.as_str());
}

#[tokio::test]
async fn a_photo_past_its_deadline_gets_its_verdict() {
    let pool = DecodePool::new(PoolSettings {
        limits: Limits {
            deadline: Duration::ZERO,
            ..Limits::default()
        },
        ..settings(1)
    })
    .unwrap();
    for _ in 0..4 {
        let file = Bytes::from(jpeg(&scene(600, 400)));
        let rejection = pool.prepare(file).await.unwrap_err();
        assert_eq!(rejection.reason, Reason::DecodeDeadline.as_str());
    }
}

/// A decoder that cannot be stopped: enters like any photo, and stays until told.
struct Stuck {
    release: Arc<AtomicUsize>,
    thread: thread::JoinHandle<bool>,
}

fn occupy(pool: &DecodePool) -> (Stuck, oneshot::Receiver<Result<Photo, Rejection>>) {
    let (reply, verdict) = oneshot::channel();
    let caller = Caller {
        wants: Wants::Picture,
        reply,
        _permit: None,
    };
    let ticket = pool.lane.shared.enter(caller);
    let release = Arc::new(AtomicUsize::new(0));
    let (shared, wait) = (pool.lane.shared.clone(), release.clone());
    let thread = thread::spawn(move || {
        while wait.load(Ordering::Acquire) == 0 {
            thread::park();
        }
        let refusal = Refusal::new(Reason::Corrupt, "came back");
        let (caller, goes_on) = shared.leave(ticket);
        if let Some(caller) = caller {
            caller.answer(Err(refusal.into()));
        }
        goes_on
    });
    (Stuck { release, thread }, verdict)
}

impl Stuck {
    /// Lets it come back; says whether its thread goes on.
    fn release(self) -> bool {
        self.release.store(1, Ordering::Release);
        self.thread.thread().unpark();
        self.thread.join().unwrap()
    }
}

#[tokio::test]
async fn a_stuck_decoder_is_answered_for_replaced_and_taken_back() {
    let pool = DecodePool::new(PoolSettings {
        max_late_threads: 1,
        limits: Limits {
            deadline: Duration::from_millis(40),
            ..Limits::default()
        },
        ..settings(2)
    })
    .unwrap();
    let (first, verdict) = occupy(&pool);
    let rejection = verdict.await.unwrap().unwrap_err();
    assert_eq!(rejection.reason, Reason::DecodeDeadline.as_str());
    assert_eq!(pool.num_late_threads(), 1);
    assert_eq!(pool.lane.shared.lock().num_workers, 2, "it was replaced");

    let (second, verdict) = occupy(&pool);
    verdict.await.unwrap().unwrap_err();
    assert_eq!(pool.num_late_threads(), 2);
    assert_eq!(
        pool.lane.shared.lock().num_workers,
        1,
        "beyond the cap it was not"
    );

    assert!(second.release(), "its thread is needed again");
    assert!(!first.release(), "its place is taken");
    assert_eq!(pool.num_late_threads(), 0);
    assert_eq!(pool.lane.shared.lock().num_workers, 2);
    let text = pool.prepare(Bytes::from_static(b"text")).await.unwrap_err();
    assert_eq!(text.reason, Reason::NotAnImage.as_str());
}

#[tokio::test]
async fn a_decoder_that_comes_back_in_time_answers_itself() {
    let pool = DecodePool::new(settings(1)).unwrap();
    let (stuck, verdict) = occupy(&pool);
    assert!(stuck.release());
    assert_eq!(verdict.await.unwrap().unwrap_err().detail, "came back");
    assert_eq!(pool.num_late_threads(), 0);
}

#[test]
fn a_panic_is_a_verdict_with_its_words() {
    let worker = thread::Builder::new().name(format!("{THREAD_PREFIX}worker"));
    quiet_panics();
    let thread = worker.spawn(|| guarded::<()>(|| panic!("index 9 out of range {}", 7)));
    let refusal = thread.unwrap().join().unwrap().unwrap_err();
    assert_eq!(refusal.reason, Reason::DecoderFailure);
    assert!(
        refusal.detail.contains("index 9 out of range 7"),
        "{}",
        refusal.detail
    );
}

#[tokio::test]
async fn callers_that_give_up_leave_no_trace() {
    let pool = DecodePool::new(settings(1)).unwrap();
    for _ in 0..20 {
        let file = Bytes::from(jpeg(&scene(400, 300)));
        let _ = tokio::time::timeout(Duration::from_micros(50), pool.prepare(file)).await;
    }
    let file = Bytes::from(jpeg(&scene(400, 300)));
    assert!(pool.prepare(file).await.is_ok());
    let every_place =
        tokio::time::timeout(Duration::from_secs(5), pool.lane.admission.acquire_many(2));
    assert!(every_place.await.is_ok(), "a place was lost");
}

/// A pool whose photos get embeddings of a network with random weights.
fn embedding_pool() -> DecodePool {
    let backbone = graph::Backbone {
        side: 96,
        ..graph::EMBEDDING_BACKBONE
    };
    let weights = graph::Weights::random(backbone.architecture, 2, 1);
    let settings = settings(2);
    let sha256 = schemas::Sha256::of(b"weights");
    let embedder = crate::prepare::Embedder::new(backbone, &weights, sha256).unwrap();
    settings.embedding.begin(embedder);
    DecodePool::new(settings).unwrap()
}

#[tokio::test]
async fn a_photo_gets_the_embedding_of_the_jpeg_that_it_becomes_and_a_picture_gets_none() {
    let pool = embedding_pool();
    let file = Bytes::from(jpeg(&scene(300, 260)));
    let photo = pool.prepare(file.clone()).await.unwrap();
    assert_eq!(photo.embedding.len(), 1280);
    assert!(photo.embedding_model.starts_with("mobilenet_v2@96:"));
    let embedder = pool.lane.shared.settings.embedding.embedder().unwrap();
    assert_eq!(embedder.embed(&photo.jpeg).unwrap(), photo.embedding);
    let picture = pool.prepare_picture(file).await.unwrap();
    assert_eq!((picture.embedding.len(), &picture.jpeg), (0, &photo.jpeg));
    let refused = pool.prepare(Bytes::from_static(b"none")).await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn a_photo_whose_embedding_fails_is_a_photo_all_the_same() {
    let pool = embedding_pool();
    let mut photo = pool
        .prepare(Bytes::from(jpeg(&scene(300, 260))))
        .await
        .unwrap();
    photo.embedding.clear();
    photo.embedding_model.clear();
    photo.jpeg = Bytes::from_static(b"no jpeg");
    let embedding = &pool.lane.shared.settings.embedding;
    embedding.complete(&mut photo);
    assert_eq!((photo.embedding.len(), photo.embedding_model.len()), (0, 0));
}
