//! What a network says of photos: `logits ARCHITECTURE WEIGHTS [SIDE] < photos > logits`.
//! A photo on standard input is its width and height as 32-bit integers and its RGB
//! bytes; on standard output are as many 32-bit floats as there are classes, all
//! little-endian. benches/reference/logits.py compares them with PyTorch's. With `--features`
//! it is the pooled features that come out (benches/embedding).

use std::io::{Read, Write};

use graph::{Architecture, Executor, Graph, Weights};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let wants_features = arguments.iter().any(|word| word == "--features");
    arguments.retain(|word| word != "--features");
    let [architecture, weights, rest @ ..] = arguments.as_slice() else {
        return Err(
            "usage: logits ARCHITECTURE WEIGHTS [SIDE] [--features] < photos > logits".into(),
        );
    };
    let architecture: Architecture = architecture.parse()?;
    let weights = Weights::read(weights.as_ref())?;
    let side = rest.first().map_or(Ok(224), |side| side.parse())?;
    let graph = Graph::build(architecture, &weights, side)?;
    let spec = architecture.input_spec_at(side)?;
    let mut executor = Executor::new(&graph)?;

    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes)?;
    let mut rest = bytes.as_slice();
    let mut out = std::io::stdout().lock();
    while let Some((size, photos)) = rest.split_first_chunk::<8>() {
        let side = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes) as usize;
        let (width, _) = size.split_first_chunk().ok_or("no width")?;
        let (height, _) = size[4..].split_first_chunk().ok_or("no height")?;
        let (width, height) = (side(width), side(height));
        let (rgb, behind) = photos
            .split_at_checked(width * height * 3)
            .ok_or("a photo is cut short")?;
        let input = spec.preprocess(rgb, width, height)?;
        let results = executor.run(&input)?;
        let values = if wants_features {
            results.features
        } else {
            results.logits
        };
        for value in values {
            out.write_all(&value.to_le_bytes())?;
        }
        rest = behind;
    }
    Ok(())
}
