//! Which kinds of photo there are: `clusters < embeddings > kinds`. A line on standard input
//! is an embedding's numbers with spaces between them, in the order in which the photos come.
//! A line out is a photo: the kind that it was given when it came (`-` before the first fit), the
//! kind by the last fit, and 1 if it was an outlier. On standard error: the fits, and what the slowest
//! took. benches/peers/clusters.py compares them with k-means.

use std::collections::HashMap;
use std::io::BufRead as _;
use std::time::{Duration, Instant};

use processor::organize::clusters::Clusters;
use schemas::CaptureId;

const NETWORK: &str = "one";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut clusters = Clusters::default();
    let mut photos = Vec::new();
    let mut newest: HashMap<CaptureId, i64> = HashMap::new();
    let (mut slowest, mut num_fits, mut placing) = (Duration::ZERO, 0, Duration::ZERO);
    for line in std::io::stdin().lock().lines() {
        let numbers: Result<Vec<f32>, _> = line?.split(' ').map(str::parse).collect();
        let embedding = numbers?;
        if clusters.needs_fit(NETWORK) {
            let began = Instant::now();
            let moved = clusters.fit(NETWORK);
            slowest = slowest.max(began.elapsed());
            num_fits += 1;
            newest.extend(moved.iter().map(|moved| (moved.id, moved.place.cluster)));
        }
        let began = Instant::now();
        let place = clusters.place(NETWORK, &embedding);
        placing += began.elapsed();
        let id = CaptureId::new();
        clusters.add(NETWORK, id, &embedding, place.as_ref());
        newest.extend(place.map(|place| (id, place.cluster)));
        photos.push((id, place));
    }
    let began = Instant::now();
    let moved = clusters.fit_now(NETWORK);
    slowest = slowest.max(began.elapsed());
    newest.extend(moved.iter().map(|moved| (moved.id, moved.place.cluster)));
    for (id, place) in &photos {
        let word = |cluster: Option<i64>| cluster.map_or_else(|| "-".into(), |c| c.to_string());
        let told = word(place.map(|place| place.cluster));
        let is_outlier = place.is_some_and(|place| place.is_outlier);
        println!(
            "{told} {} {}",
            word(newest.get(id).copied()),
            u8::from(is_outlier)
        );
    }
    let each = placing.as_secs_f64() * 1e3 / photos.len().max(1) as f64;
    eprintln!("{num_fits} fits, the slowest {slowest:.2?}; {each:.3} ms to place a photo");
    Ok(())
}
