//! Thousands of files made to break decoders, through the pool: each gets a verdict in
//! time, no panic gets out, the process stays small, and the pool still works after.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use processor::prepare::{DecodePool, Limits, PoolSettings};
use schemas::{Format, Reason};

mod data;
use data::{data, files};

/// What the process may hold at its largest, test and file included.
const MAX_RESIDENT_MIB: u64 = 512;

#[tokio::test]
async fn every_hostile_file_gets_a_verdict_in_time_and_memory() {
    let Some(data) = data() else { return };
    let files = files(&data.join("hostile"));
    assert!(files.len() > 6000, "only {} files were found", files.len());
    let strict = Limits {
        deadline: Duration::from_secs(5),
        ..Limits::default()
    };
    // Most of these files are tiny: only without the limits on shape do they reach
    // the decoders. Frames and memory stay bounded, as they are for any caller.
    let loose = Limits {
        min_side: 1,
        max_aspect_ratio: f64::INFINITY,
        max_pixels: 200_000_000,
        ..strict.clone()
    };
    let num_photos = judge_all(&files, strict).await;
    let num_more = judge_all(&files, loose).await;
    assert!(num_photos > 500, "{num_photos}: the limits refuse too much");
    assert!(num_more > num_photos);
    let resident = max_resident_mib();
    println!("largest size {resident} MiB");
    assert!(resident < MAX_RESIDENT_MIB);
}

/// Puts every file through one pool; says how many became photos.
async fn judge_all(files: &[PathBuf], limits: Limits) -> usize {
    let deadline = limits.deadline;
    let threads = 2;
    let settings = PoolSettings {
        threads,
        limits,
        ..PoolSettings::default()
    };
    let pool = Arc::new(DecodePool::new(settings).unwrap());
    let mut verdicts: BTreeMap<String, usize> = BTreeMap::new();
    let mut slowest = (Duration::ZERO, PathBuf::new());
    let mut tasks = tokio::task::JoinSet::new();
    for path in files.iter().cloned() {
        if tasks.len() == threads {
            note(
                tasks.join_next().await.unwrap().unwrap(),
                &mut verdicts,
                &mut slowest,
            );
        }
        let pool = pool.clone();
        tasks.spawn(judge(pool, path));
    }
    while let Some(result) = tasks.join_next().await {
        note(result.unwrap(), &mut verdicts, &mut slowest);
    }
    println!("{} hostile files: {verdicts:?}", files.len());
    println!("slowest {:?} {}", slowest.0, slowest.1.display());
    assert_eq!(verdicts.values().sum::<usize>(), files.len());
    assert!(slowest.0 < deadline * 2, "{slowest:?}");
    assert_eq!(pool.num_late_threads(), 0);
    verdicts.get("photo").copied().unwrap_or(0)
}

async fn judge(pool: Arc<DecodePool>, path: PathBuf) -> (String, Duration, PathBuf) {
    let bytes = Bytes::from(std::fs::read(&path).unwrap());
    let sniffed = Format::sniff(&bytes);
    let start = Instant::now();
    let verdict = match pool.prepare(bytes).await {
        Ok(photo) => {
            assert!(sniffed.is_some_and(Format::is_picture), "{path:?}");
            assert_eq!(&photo.jpeg[..2], b"\xff\xd8", "{path:?}");
            "photo".to_owned()
        }
        Err(rejection) => {
            let reason = Reason::from_name(&rejection.reason);
            assert!(reason.is_some(), "{path:?}: {}", rejection.reason);
            assert!(!rejection.detail.is_empty(), "{path:?}");
            if reason == Some(Reason::DecoderFailure) {
                println!("{}: {}", path.display(), rejection.detail);
            }
            rejection.reason
        }
    };
    (verdict, start.elapsed(), path)
}

fn note(
    (verdict, took, path): (String, Duration, PathBuf),
    verdicts: &mut BTreeMap<String, usize>,
    slowest: &mut (Duration, PathBuf),
) {
    *verdicts.entry(verdict).or_default() += 1;
    if took > slowest.0 {
        *slowest = (took, path);
    }
}

/// The most memory this process ever had, as Linux counts.
fn max_resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib: u64 = line
        .and_then(|line| line.split_whitespace().nth(1))
        .and_then(|number| number.parse().ok())
        .unwrap();
    kib >> 10
}
