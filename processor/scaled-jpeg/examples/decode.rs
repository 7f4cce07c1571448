//! Decodes a JPEG to a PGM or PPM file.
//!
//! `decode IN.jpg 8|4|2 OUT.ppm [LUMA.pgm]` writes grey pictures as PGM, colour as
//! PPM, the luma by itself if asked, and prints what else the file told. Exit status 1 and the reason if it cannot.

use std::io::Write;
use std::process::ExitCode;

use scaled_jpeg::{Buffers, Layout, Scale, decode};

/// 200 megapixels: more than any phone takes.
const MAX_PIXELS: u64 = 200_000_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let [_, from, divisor, to, luma_to @ ..] = arguments else {
        return Err("usage: decode IN.jpg 8|4|2 OUT.ppm [LUMA.pgm]".into());
    };
    let scale = match divisor.as_str() {
        "8" => Scale::Eighth,
        "4" => Scale::Quarter,
        "2" => Scale::Half,
        _ => return Err("the scale is 8, 4 or 2".into()),
    };
    let jpeg = std::fs::read(from)?;
    let mut buffers = Buffers::new(MAX_PIXELS);
    let picture = decode(&jpeg, scale, &mut buffers)?;
    let kind = match picture.layout {
        Layout::Gray8 => "P5",
        Layout::Rgb8 => "P6",
    };
    let mut file = std::fs::File::create(to)?;
    write!(file, "{kind}\n{} {}\n255\n", picture.width, picture.height)?;
    file.write_all(picture.pixels)?;
    if let Some(to) = luma_to.first() {
        let luma = picture
            .luma
            .ok_or("the file has no luma of full resolution")?;
        let mut file = std::fs::File::create(to)?;
        write!(file, "P5\n{} {}\n255\n", picture.width, picture.height)?;
        for row in luma.rows() {
            file.write_all(row)?;
        }
    }
    println!(
        "{} x {}, quality {:.0}, detail {}, cut {:?}",
        picture.width,
        picture.height,
        picture.quality,
        picture.detail.map_or("unknown".into(), |detail| format!(
            "{:.1}",
            detail.mean_end()
        )),
        picture.cut,
    );
    Ok(())
}
