//! How well photos fit their labels: `plausibility [--stream] < photos > scores`. A line on
//! standard input is a label, a tab, and the embedding's numbers with spaces between them.
//! Each photo is judged by all others or, with `--stream`, by those before it, as a table
//! that fills judges it. A line out is the score, or `-` where there is none, a tab, and the
//! label that the photo looks like. benches/embedding/flips.py compares it with cleanlab.

use std::io::BufRead as _;

use processor::organize::plausibility::{Fit, Looks};
use schemas::CaptureId;

const NETWORK: &str = "one";

struct Photo {
    id: CaptureId,
    label: String,
    embedding: Vec<f32>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let streams = std::env::args().any(|word| word == "--stream");
    let mut photos = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (label, numbers) = line.split_once('\t').ok_or("a line has no tab")?;
        let embedding: Result<Vec<f32>, _> = numbers.split(' ').map(str::parse).collect();
        photos.push(Photo {
            id: CaptureId::new(),
            label: label.to_owned(),
            embedding: embedding?,
        });
    }
    let mut before = Looks::default();
    for (at, photo) in photos.iter().enumerate() {
        let fit = if streams {
            let fit = before.fit(NETWORK, &photo.label, &photo.embedding);
            before.add(NETWORK, photo.id, &photo.label, &photo.embedding);
            fit
        } else {
            let mut others = Looks::default();
            for other in photos[..at].iter().chain(&photos[at + 1..]) {
                others.add(NETWORK, other.id, &other.label, &other.embedding);
            }
            others.fit(NETWORK, &photo.label, &photo.embedding)
        };
        match fit {
            Some(Fit { score, looks_like }) => println!("{score}\t{looks_like}"),
            None => println!("-\t"),
        }
    }
    Ok(())
}
