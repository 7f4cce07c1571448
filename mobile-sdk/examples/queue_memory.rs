//! What a queue of many photos takes in memory and time:
//! `cargo run --release -p mobile-sdk --example queue_memory -- [PHOTOS]`, on Linux. Run
//! again in the printed folder, it only opens what is there, as an app's next start does.

use std::error::Error;
use std::time::Instant;

use tintype_mobile::{Photo, Policy, Settings, Uploads};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let num_photos: u32 = arguments.next().as_deref().unwrap_or("10000").parse()?;
    let is_second = arguments.next();
    let folder = is_second.clone().unwrap_or_else(|| {
        let folder = std::env::temp_dir().join(format!("queue-{}", std::process::id()));
        folder.display().to_string()
    });
    let before = resident_kib()?;
    let begun = Instant::now();
    let settings = Settings {
        folder: folder.clone(),
        server: "https://photos.example.org".into(),
        key: "tt_none".into(),
        dataset: "cups".into(),
        device: None,
    };
    let queue = Uploads::open(settings, Policy::default(), None)?;
    println!(
        "opened in {:.0} ms, {} KiB above the {before} KiB of the empty program",
        begun.elapsed().as_secs_f64() * 1e3,
        resident_kib()?.saturating_sub(before)
    );
    if is_second.is_none() {
        let begun = Instant::now();
        for number in 0..num_photos {
            let photo = Photo {
                label: format!("label {}", number % 24),
                captured_at: Some("2026-05-04T10:30:00+02:00".into()),
                metadata: [("room".to_owned(), "kitchen".to_owned())].into(),
            };
            queue.add(photo, bitmap(number))?;
        }
        println!(
            "{num_photos} photos taken in, {:.2} ms each, {} KiB above the empty program",
            begun.elapsed().as_secs_f64() * 1e3 / f64::from(num_photos),
            resident_kib()?.saturating_sub(before)
        );
        println!("folder: {folder}");
    } else {
        println!("{} photos are there", queue.items().len());
    }
    Ok(())
}

/// A bitmap of its own for each number, 32 pixels each way.
fn bitmap(number: u32) -> Vec<u8> {
    const SIDE: u32 = 32;
    let mut state = number.wrapping_mul(2_654_435_761) | 1;
    let pixels = (0..SIDE * SIDE * 3).map(|_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    });
    let num_bytes = SIDE * SIDE * 3;
    let mut file = b"BM".to_vec();
    file.extend((54 + num_bytes).to_le_bytes());
    file.extend([0, 0, 0, 0, 54, 0, 0, 0, 40, 0, 0, 0]);
    file.extend(SIDE.to_le_bytes());
    file.extend(SIDE.to_le_bytes());
    file.extend([1, 0, 24, 0]);
    file.extend([0; 24]);
    file.extend(pixels);
    file
}

fn resident_kib() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let words = line.unwrap_or_default().split_whitespace();
    Ok(words.clone().nth(1).unwrap_or("0").parse()?)
}
