//! How long one photo takes: `speed ARCHITECTURE SIDE [SAMPLES]` prints the median and
//! the fastest sample in milliseconds, one thread, one photo at a time, random weights. With
//! `--serve` it measures once per line on standard input, so that a script can take
//! turns with other runtimes (benches/reference/speed.py). On Linux the time is that
//! on the processor, so that other work on the machine counts as little as it can.

use std::io::BufRead;
use std::time::Instant;

use graph::{Architecture, Executor, Graph, Weights};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [architecture, side, rest @ ..] = arguments.as_slice() else {
        return Err("usage: speed ARCHITECTURE SIDE [SAMPLES | --serve]".into());
    };
    let architecture: Architecture = architecture.parse()?;
    let weights = Weights::random(architecture, 1000, 1);
    let graph = Graph::build(architecture, &weights, side.parse()?)?;
    let mut executor = Executor::new(&graph)?;
    let length = graph.input.num_values();
    let photo: Vec<f32> = (0..length)
        .map(|i| (i * 7919 % 1024) as f32 / 256.0 - 2.0)
        .collect();
    // The kernel brings its count up to date some hundred times a second, so a sample
    // is several runs.
    let mut begun = Instant::now();
    executor.run(&photo)?;
    let num_runs = (0.1 / begun.elapsed().as_secs_f64()).ceil();
    let mut sample = || -> Result<f64, graph::InputError> {
        begun = Instant::now();
        let begun_cpu = cpu_ns();
        for _ in 0..num_runs as usize {
            executor.run(&photo)?;
        }
        let ns = match (begun_cpu, cpu_ns()) {
            (Some(begun), Some(ended)) => ended - begun,
            _ => begun.elapsed().as_secs_f64() * 1e9,
        };
        Ok(ns / 1e6 / num_runs)
    };
    if rest.first().is_some_and(|word| word == "--serve") {
        for line in std::io::stdin().lock().lines() {
            line?;
            println!("{}", sample()?);
        }
        return Ok(());
    }
    let num_samples: usize = rest.first().map_or(Ok(20), |word| word.parse())?;
    let mut times = (0..num_samples)
        .map(|_| sample())
        .collect::<Result<Vec<f64>, _>>()?;
    times.sort_by(f64::total_cmp);
    println!(
        "{architecture} at {side}: median {:.3} ms, fastest {:.3} ms",
        times[times.len() / 2],
        times[0]
    );
    Ok(())
}

/// The time this thread has been on a processor.
fn cpu_ns() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok()
}
