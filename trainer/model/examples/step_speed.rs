//! Photos per second of training steps and of frozen forwards, for a script that asks
//! again and again: each line read is answered by the seconds that one repetition took.
//!
//! `step_speed WORK NETWORK SIDE PHOTOS DEVICE`, where the work is a `step` of all weights or of
//! the `head` alone, the `frozen` forward of the network that is trained, or that of the folded
//! network, by which the preset `fast` computes features. Threads are as many as rayon has.

use std::io::{BufRead, Write};
use std::num::NonZeroUsize;
use std::time::Instant;

use anyhow::{Context, bail};
use graph::{Architecture, Executor, Graph, Weights, Width};
use model::{Batch, Device, Images, Network, Precision, Settings, Trainable, Trainer};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |name| arguments.next().with_context(|| format!("no {name} given"));
    let what = next("kind of work")?;
    let architecture = match next("network")?.as_str() {
        "mobilenet_v2" => Architecture::MobileNetV2(Width::Full),
        "resnet18" => Architecture::ResNet18,
        "resnet50" => Architecture::ResNet50,
        other => bail!("no network {other}"),
    };
    let side: usize = next("side")?.parse()?;
    let photos: usize = next("number of photos")?.parse()?;
    let device = match next("device")?.as_str() {
        "unfused" => Device::cpu_unfused(Precision::F32),
        "cuda-bf16" => Device::open("cuda", Precision::Bf16)?,
        other => Device::open(other, Precision::F32)?,
    };
    let network = Network::random(architecture, 6, 1, &device)?;
    let values = (0..photos * 3 * side * side).map(|at| (at * 7919 % 1009) as f32 / 500.0 - 1.0);
    let images = Images {
        values: values.collect(),
        side,
    };
    let batch = Batch {
        images,
        labels: (0..photos as u32).map(|at| at % 6).collect(),
    };
    let trainable = if what == "head" {
        Trainable::Head
    } else {
        Trainable::All
    };
    let settings = Settings {
        trainable,
        head_rate: 1e-4,
        backbone_rate: 1e-4,
        ..Settings::default()
    };
    let mut trainer = Trainer::new(network, settings)?;
    let frozen = trainer.network().clone();
    let mut frozen = frozen.evaluator();
    let weights = Weights::random(architecture, 6, 1);
    let folded = Graph::build(architecture, &weights, side)?;
    let num_threads = NonZeroUsize::new(rayon::current_num_threads()).context("no threads")?;
    let mut folded = Executor::new(&folded)?.with_threads(num_threads);
    for line in std::io::stdin().lock().lines() {
        line?;
        let start = Instant::now();
        match what.as_str() {
            "step" | "head" => drop(trainer.step(&batch)?),
            "frozen" => drop(frozen.features(&batch.images)?),
            "folded" => drop(folded.run(&batch.images.values)?.features.to_vec()),
            other => bail!("no work {other}"),
        }
        println!("{}", start.elapsed().as_secs_f64());
        std::io::stdout().flush()?;
    }
    Ok(())
}
