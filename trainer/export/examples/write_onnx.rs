//! `write_onnx ARCHITECTURE SIDE FILE`: the folded network with random weights as ONNX, for
//! comparing runtimes (`benches/embedding/choices.py`): time does not depend on the weights.

use std::collections::BTreeMap;

use export::{ModelInfo, write_onnx};
use graph::{Architecture, Graph, Weights};

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [architecture, side, file] = &arguments[..] else {
        return Err("usage: write_onnx ARCHITECTURE SIDE FILE".into());
    };
    let architecture: Architecture = architecture.parse()?;
    let side: usize = side.parse()?;
    let weights = Weights::random(architecture, 1000, 1);
    let graph = Graph::build(architecture, &weights, side)?;
    let info = ModelInfo {
        name: architecture.to_string(),
        version: "1".to_owned(),
        description: "random weights".to_owned(),
        author: "Tintype".to_owned(),
        license: "none".to_owned(),
        labels: (0..1000).map(|class| format!("class {class}")).collect(),
        input: architecture.input_spec_at(side)?,
        temperature: 1.0,
        extra: BTreeMap::new(),
    };
    std::fs::write(file, write_onnx(&graph, &info)?)?;
    Ok(())
}
