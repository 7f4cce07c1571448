//! `preprocess SPEC PHOTOS`: the hash of the input that training makes of each photo. SPEC is a
//! `preprocess.json`; PHOTOS holds, one after another, width and height as big-endian 32-bit
//! numbers and the photo's RGB bytes. The Kotlin suite compares its binding with this.

use std::error::Error;

use schemas::{InputSpec, input_sha256};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, spec, photos] = arguments.as_slice() else {
        return Err("usage: preprocess SPEC PHOTOS".into());
    };
    let spec: InputSpec = serde_json::from_slice(&std::fs::read(spec)?)?;
    let photos = std::fs::read(photos)?;
    let mut rest = photos.as_slice();
    while let Some((head, body)) = rest.split_at_checked(8) {
        let number =
            |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (width, height) = (number(0) as usize, number(4) as usize);
        let Some((rgb, next)) = body.split_at_checked(width * height * 3) else {
            return Err("the last photo is cut off".into());
        };
        println!("{}", input_sha256(&spec.preprocess(rgb, width, height)?));
        rest = next;
    }
    Ok(())
}
