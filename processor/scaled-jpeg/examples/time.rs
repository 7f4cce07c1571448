//! Times decoding at each scale beside a full decode by zune-jpeg.
//!
//! `time [-n ROUNDS] PHOTO.jpg ...` prints for each photo the minimum and the
//! median of the rounds in milliseconds, the ways in turn within each round, and
//! the median of full / 1/8 round by round.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use scaled_jpeg::{Buffers, Scale, decode};
use zune_core::bytestream::ZCursor;
use zune_jpeg::JpegDecoder;

const MAX_PIXELS: u64 = 200_000_000;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    let mut rounds = 15;
    if arguments.next_if_eq("-n").is_some() {
        let given = arguments.next().and_then(|number| number.parse().ok());
        rounds = given.filter(|&number| number > 0).unwrap_or(rounds);
    }
    println!("{:>7} {:>15} {:>15} {:>15} {:>15} {:>8}", "MB", "1/8 ms", "1/4 ms", "1/2 ms", "zune full ms", "full:1/8");
    for path in arguments {
        match time(&path, rounds) {
            Ok(line) => println!("{line} {path}"),
            Err(error) => {
                eprintln!("{path}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn time(path: &str, rounds: usize) -> Result<String, Box<dyn std::error::Error>> {
    let jpeg = std::fs::read(path)?;
    let mut buffers = Buffers::new(MAX_PIXELS);
    let mut times = [const { Vec::new() }; 4];
    for _ in 0..=rounds {
        for (scale, times) in Scale::ALL.into_iter().zip(&mut times) {
            let start = Instant::now();
            black_box(decode(black_box(&jpeg), scale, &mut buffers)?);
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        let start = Instant::now();
        black_box(JpegDecoder::new(ZCursor::new(black_box(&jpeg))).decode()?);
        times[3].push(start.elapsed().as_secs_f64() * 1e3);
    }
    let mut line = format!("{:>7.2}", jpeg.len() as f64 / 1e6);
    // The first round warms up.
    let mut ratios: Vec<f64> = times[3][1..].iter().zip(&times[0][1..]).map(|(full, ours)| full / ours).collect();
    for times in &mut times {
        let counted = &mut times[1..];
        counted.sort_by(f64::total_cmp);
        line += &format!(" {:>7.2} {:>7.2}", counted[0], counted[counted.len() / 2]);
    }
    ratios.sort_by(f64::total_cmp);
    line += &format!(" {:>8.2}", ratios[ratios.len() / 2]);
    Ok(line)
}
