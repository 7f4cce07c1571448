//! Times searches: `search CODES QUERIES RADIUS`. Both files hold codes of 8 bytes, little
//! endian. For each line on standard input (`scan`, `within`, `one` or `build`) it does that
//! once and prints a line: seconds and the number of hits. `one` is `within` with the queries
//! eight at a time, as a photo asks.

use std::io::{BufRead, Write};
use std::time::Instant;

use duplicate_index::Index;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [codes, queries, radius] = &arguments[..] else {
        return Err("usage: search CODES QUERIES RADIUS".into());
    };
    let codes = read(codes)?;
    let queries = read(queries)?;
    let radius: u32 = radius.parse()?;
    let index = Index::from_codes(codes.clone());
    eprintln!("{} codes, {} bytes", index.len(), index.num_bytes());
    for line in std::io::stdin().lock().lines() {
        let mut num_hits = 0u64;
        let began = Instant::now();
        match line?.trim() {
            "scan" => index.scan_all(&queries, radius, |_| num_hits += 1),
            "within" => index.within(&queries, radius, |_| num_hits += 1),
            "one" => queries
                .chunks(8)
                .for_each(|eight| index.within(eight, radius, |_| num_hits += 1)),
            "build" => num_hits = Index::from_codes(codes.clone()).len() as u64,
            other => return Err(format!("{other:?} is none of scan, within, one, build").into()),
        }
        println!("{} {num_hits}", began.elapsed().as_secs_f64());
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn read(path: &str) -> Result<Vec<u64>, Box<dyn std::error::Error>> {
    let bytes = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
    let (codes, []) = bytes.as_chunks::<8>() else {
        return Err(format!("{path}: not a multiple of 8 bytes").into());
    };
    Ok(codes.iter().map(|code| u64::from_le_bytes(*code)).collect())
}
