//! A folded network becomes the files that phones and servers run: ONNX, TFLite in
//! float32, float16 and int8, and Core ML. Each file is read back from its bytes, run on
//! photos and compared with the trained network; what does not hold is not published.
//!
//! [`export`] does all of it and answers with a [`Bundle`]. The writers can be called
//! alone: [`write_onnx`], [`write_tflite`], [`write_coreml`].
//!
//! **Every file takes plain RGB in 0..=1** (`preprocess.json` says mean 0, std 1; the int8
//! file takes the bytes themselves). The mean and std that the network was trained with
//! are inside; [`ModelInfo::file_input`] says why.
//!
//! | file | input | output |
//! |---|---|---|
//! | `model.onnx` | `image`, `[N,3,H,W]` | `logits` and `probabilities`, `[N,classes]` |
//! | `model.tflite`, `model-float16.tflite` | `image`, `[1,H,W,3]` float32 | `score`: probabilities |
//! | `model-int8.tflite` | `image`, `[1,H,W,3]` uint8 | `score`: probabilities, float32 |
//! | `model.mlmodel` | `image`, an RGB picture | `classLabel` and `classLabelProbs` |

mod error;
pub use error::{ExportError, SourceError};

mod photos;
pub use photos::PhotoSource;

mod info;
pub use info::{LABELS_FILE, ModelInfo};

mod network;

mod interpret;
pub use interpret::Interpreter;

mod calibrate;
pub use calibrate::{Calibration, Range};

mod weights;

mod onnx;
pub use onnx::write_onnx;

mod flatbuffer;

mod zip;

mod int8;

mod tflite;
pub use tflite::{Numbers, write_tflite};

mod coreml;
pub use coreml::write_coreml;

mod files;
pub use files::{ModelFile, ReadModel};

mod parity;
pub use parity::{Certificate, Sample};

mod bundle;
pub use bundle::{Bundle, BundleFile, Export, FileEntry, Manifest, Refused, export};
