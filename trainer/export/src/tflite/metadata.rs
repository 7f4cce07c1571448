//! TFLite's metadata: what MediaPipe, ML Kit and the Task Library read to prepare a photo
//! and to name the scores. Field numbers are those of `metadata_schema.fbs`; float
//! models without `NormalizationOptions` are refused by all three.

use crate::LABELS_FILE;
use crate::ModelInfo;
use crate::flatbuffer::{Field, Table};

/// The name of the metadata's buffer.
pub(super) const BUFFER: &str = "TFLITE_METADATA";
/// The metadata's own file identifier.
pub(super) const IDENTIFIER: [u8; 4] = *b"M001";

/// The metadata's buffer for a model of this input side.
pub(super) fn metadata(info: &ModelInfo, side: u32) -> Vec<u8> {
    let subgraph = Table::new()
        .with(2, Field::Tables(vec![image(side)]))
        .with(3, Field::Tables(vec![score()]));
    Table::new()
        .str(0, "ImageClassifier")
        .str(1, &format!("{}: {}", info.name, info.description))
        .str(2, &info.version)
        .with(3, Field::Tables(vec![subgraph]))
        .str(4, &info.author)
        .str(5, &info.license)
        .str(7, "1.0.0")
        .finish(IDENTIFIER)
}

fn image(side: u32) -> Table {
    // One value for all channels: MediaPipe has no mean per channel.
    let normalization = Table::new()
        .with(0, Field::F32s(vec![0.0]))
        .with(1, Field::F32s(vec![255.0]));
    let unit = Table::new()
        .with(0, Field::U8(1))
        .with(1, Field::Table(normalization));
    let size = Table::new()
        .with(0, Field::U32(side))
        .with(1, Field::U32(side));
    let rgb = Table::new()
        .with(0, Field::I8(1))
        .with(1, Field::Table(size));
    tensor("image", "RGB, the middle square of the photo")
        .with(3, Field::Table(content(2, rgb)))
        .with(4, Field::Tables(vec![unit]))
}

fn score() -> Table {
    let labels = Table::new()
        .str(0, LABELS_FILE)
        .str(1, "the classes, one a line, in the order of the scores")
        .with(2, Field::I8(2));
    tensor("score", "the probability of each class")
        .with(3, Field::Table(content(1, Table::new())))
        .with(6, Field::Tables(vec![labels]))
}

/// A tensor whose values are in 0..=1.
fn tensor(name: &str, description: &str) -> Table {
    let stats = Table::new()
        .with(0, Field::F32s(vec![1.0]))
        .with(1, Field::F32s(vec![0.0]));
    Table::new()
        .str(0, name)
        .str(1, description)
        .with(5, Field::Table(stats))
}

/// Content of features (1) or of an image (2).
fn content(kind: u8, properties: Table) -> Table {
    Table::new()
        .with(0, Field::U8(kind))
        .with(1, Field::Table(properties))
}
