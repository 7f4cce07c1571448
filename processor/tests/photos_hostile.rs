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
    let deadline = Duration::from_secs(5);
    let threads = 2;
    let settings = PoolSettings {
        threads,
        limits: Limits {
            deadline,
            ..Limits::default()
        },
        ..PoolSettings::default()
    };
    let pool = Arc::new(DecodePool::new(settings).unwrap());
    let mut verdicts: BTreeMap<String, usize> = BTreeMap::new();
    let mut slowest = (Duration::ZERO, PathBuf::new());
    let mut tasks = tokio::task::JoinSet::new();
    let num_files = files.len();
    for path in files {
        if tasks.len() == threads {
            note(
                tasks.join_next().await.unwrap().unwrap(),
                &mut verdicts,
                &mut slowest,
            );
        }
        let pool = pool.clone();
        tasks.spawn(async move {
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
        });
    }
    while let Some(result) = tasks.join_next().await {
        note(result.unwrap(), &mut verdicts, &mut slowest);
    }
    println!("{num_files} hostile files: {verdicts:?}");
    println!("slowest {:?} {}", slowest.0, slowest.1.display());
    println!("largest size {} MiB", max_resident_mib());
    assert_eq!(verdicts.values().sum::<usize>(), num_files);
    assert!(num_files > 6000, "only {num_files} files were found");
    assert!(slowest.0 < deadline * 2, "{slowest:?}");
    assert!(max_resident_mib() < MAX_RESIDENT_MIB);
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
