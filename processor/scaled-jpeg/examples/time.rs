//! Times decoding at each scale beside a full decode by zune-jpeg.
//!
//! `time [-n ROUNDS] PHOTO.jpg ...` prints for each photo the minimum and the
//! median of the rounds in milliseconds, the ways in turn within each round, and
//! the median of full / 1/8 round by round. `time -s 8 PHOTO.jpg ...` prints
//! nothing but the minimum at that scale (8, 4 or 2), for scripts.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use scaled_jpeg::{Buffers, Scale, decode};
use zune_core::bytestream::ZCursor;
use zune_jpeg::JpegDecoder;

/// 200 megapixels: more than any phone takes.
const MAX_PIXELS: u64 = 200_000_000;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).peekable();
    let mut rounds = 15;
    if arguments.next_if_eq("-n").is_some() {
        rounds = arguments.next().ok_or("-n takes a number")?.parse()?;
    }
    let mut only = None;
    if arguments.next_if_eq("-s").is_some() {
        only = match arguments.next().as_deref() {
            Some("8") => Some(Scale::Eighth),
            Some("4") => Some(Scale::Quarter),
            Some("2") => Some(Scale::Half),
            _ => return Err("-s takes 8, 4 or 2".into()),
        };
    }
    if only.is_none() {
        println!(
            "     MB          1/8 ms          1/4 ms          1/2 ms    zune full ms full:1/8"
        );
    }
    for path in arguments {
        let jpeg = std::fs::read(&path)?;
        match only {
            Some(scale) => {
                let times = time(rounds, || time_scale(&jpeg, scale))?;
                println!("{:.3}", times[0]);
            }
            None => println!("{} {path}", compare(&jpeg, rounds)?),
        }
    }
    Ok(())
}

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Times of `rounds` runs in ascending order, after one that does not count.
fn time(rounds: usize, mut run: impl FnMut() -> Outcome<f64>) -> Outcome<Vec<f64>> {
    run()?;
    let mut times = (0..rounds.max(1))
        .map(|_| run())
        .collect::<Outcome<Vec<f64>>>()?;
    times.sort_by(f64::total_cmp);
    Ok(times)
}

thread_local! {
    static BUFFERS: std::cell::RefCell<Buffers> = std::cell::RefCell::new(Buffers::new(MAX_PIXELS));
}

/// Milliseconds of one decode, in buffers that have been used before.
fn time_scale(jpeg: &[u8], scale: Scale) -> Outcome<f64> {
    BUFFERS.with_borrow_mut(|buffers| {
        let start = Instant::now();
        black_box(decode(black_box(jpeg), scale, buffers)?);
        Ok(start.elapsed().as_secs_f64() * 1e3)
    })
}

fn compare(jpeg: &[u8], rounds: usize) -> Outcome<String> {
    let mut times = [const { Vec::new() }; 4];
    for _ in 0..=rounds.max(1) {
        for (scale, times) in Scale::ALL.into_iter().zip(&mut times) {
            times.push(time_scale(jpeg, scale)?);
        }
        let start = Instant::now();
        black_box(JpegDecoder::new(ZCursor::new(black_box(jpeg))).decode()?);
        times[3].push(start.elapsed().as_secs_f64() * 1e3);
    }
    let mut line = format!("{:>7.2}", jpeg.len() as f64 / 1e6);
    // The first round warms up.
    let pairs = times[3][1..].iter().zip(&times[0][1..]);
    let mut ratios: Vec<f64> = pairs.map(|(full, ours)| full / ours).collect();
    for times in &mut times {
        let counted = &mut times[1..];
        counted.sort_by(f64::total_cmp);
        line += &format!(" {:>7.2} {:>7.2}", counted[0], counted[counted.len() / 2]);
    }
    ratios.sort_by(f64::total_cmp);
    line += &format!(" {:>8.2}", ratios[ratios.len() / 2]);
    Ok(line)
}
