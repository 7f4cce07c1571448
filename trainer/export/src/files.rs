//! The five model files of a bundle: their names, how each is written and read back, and
//! how close to the trained network each must be.

use std::sync::Arc;

use graph::{Executor, Graph};

use crate::int8::IntInterpreter;
use crate::network::Network;
use crate::parity::photo_bytes;
use crate::tflite::{Numbers, ReadTflite};
use crate::{
    Calibration, Certificate, ExportError, ModelInfo, write_coreml, write_onnx, write_tflite,
};

/// A file that holds a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ModelFile {
    /// `model.onnx`
    Onnx,
    /// `model.tflite`, float32
    Tflite,
    /// `model-float16.tflite`
    TfliteFloat16,
    /// `model-int8.tflite`
    TfliteInt8,
    /// `model.mlmodel`
    CoreMl,
}

impl ModelFile {
    /// All of them, in the order in which a manifest lists them.
    pub const ALL: [Self; 5] = [
        Self::Onnx,
        Self::Tflite,
        Self::TfliteFloat16,
        Self::TfliteInt8,
        Self::CoreMl,
    ];

    /// Its name in a bundle.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Onnx => "model.onnx",
            Self::Tflite => "model.tflite",
            Self::TfliteFloat16 => "model-float16.tflite",
            Self::TfliteInt8 => "model-int8.tflite",
            Self::CoreMl => "model.mlmodel",
        }
    }

    /// Writes the file.
    ///
    /// # Errors
    ///
    /// A graph or an info that no format could hold.
    pub fn write(
        self,
        graph: &Graph,
        info: &ModelInfo,
        calibration: &Calibration,
    ) -> Result<Vec<u8>, ExportError> {
        match self {
            Self::Onnx => write_onnx(graph, info),
            Self::Tflite => write_tflite(graph, info, Numbers::Float32),
            Self::TfliteFloat16 => write_tflite(graph, info, Numbers::Float16),
            Self::TfliteInt8 => write_tflite(graph, info, Numbers::Int8(calibration)),
            Self::CoreMl => write_coreml(graph, info),
        }
    }

    /// What is wrong with a file of this certificate, if anything.
    ///
    /// - float32: no logit differs by more than 0.001
    /// - float16 and int8: of the photos whose class is known, at most 1 in 100 fewer are
    ///   right than with the trained network; where no class is known, at most 1 in 100
    ///   (float16) or 5 in 100 (int8) get another answer. One photo is always allowed: of
    ///   30 photos it is 3 in 100 and says nothing
    #[must_use]
    pub fn objection(self, certificate: &Certificate) -> Option<String> {
        let num_photos = certificate.num_photos;
        let allowed = |per_100: usize| (num_photos * per_100 / 100).max(1) as f32;
        let photos = |share: f32| (share * num_photos as f32).round();
        let different = photos(1.0 - certificate.top1_agreement);
        let differs = |bar: f32| {
            let what = format!(
                "of {num_photos} photos {different} get another answer than from the trained network"
            );
            (different, bar, what)
        };
        let (found, bar, what) = match (self, certificate.top1_loss) {
            (Self::Onnx | Self::Tflite | Self::CoreMl, _) => {
                let difference = certificate.max_logit_difference;
                let what = format!("a logit is {difference} off that of the trained network");
                (difference, 1e-3, what)
            }
            (_, Some(loss)) => {
                let lost = photos(loss / 100.0);
                let what = format!(
                    "of {num_photos} photos it tells {lost} fewer right than the trained network"
                );
                (lost, allowed(1), what)
            }
            (Self::TfliteFloat16, None) => differs(allowed(1)),
            (Self::TfliteInt8, None) => differs(allowed(5)),
        };
        let holds = found <= bar && certificate.max_logit_difference.is_finite();
        (!holds).then(|| format!("{what}; at most {bar} is allowed"))
    }

    /// Reads a file back from its bytes, ready to be run.
    ///
    /// # Errors
    ///
    /// Bytes that are not a file as [`ModelFile::write`] writes it.
    pub fn read(self, bytes: &[u8]) -> Result<ReadModel, ExportError> {
        let network = match self {
            Self::Onnx => crate::onnx::read(bytes)?,
            Self::CoreMl => crate::coreml::read(bytes)?,
            Self::Tflite | Self::TfliteFloat16 | Self::TfliteInt8 => {
                match crate::tflite::read(bytes)? {
                    ReadTflite::Float(network) => network,
                    ReadTflite::Int8(network) => {
                        return Ok(ReadModel(Kind::Int8(IntInterpreter::new(network))));
                    }
                }
            }
        };
        let executor = Executor::new(&network.graph)?;
        let network = Arc::new(network);
        Ok(ReadModel(Kind::Float { network, executor }))
    }
}

/// A model as a file has it: floats run by `graph`'s executor, int8 by the interpreter of
/// this crate, which computes as TFLite's reference kernels do.
#[derive(Debug)]
pub struct ReadModel(Kind);

#[derive(Debug)]
enum Kind {
    Float {
        network: Arc<Network>,
        executor: Executor,
    },
    Int8(IntInterpreter),
}

impl ReadModel {
    /// The logits of a photo, given as the file takes it: RGB in 0..=1, rows by columns by
    /// channels. The int8 file takes bytes, and the values are rounded to those.
    ///
    /// # Errors
    ///
    /// A photo of another size.
    pub fn logits(&mut self, photo: &[f32]) -> Result<&[f32], ExportError> {
        match &mut self.0 {
            Kind::Float { network, executor } => {
                let means = network.mean.iter().cycle();
                let centred: Vec<f32> = photo.iter().zip(means).map(|(x, m)| x - m).collect();
                Ok(executor.run(&centred)?.logits)
            }
            Kind::Int8(interpreter) => {
                let input = interpreter.input();
                let num_values = input.num_values();
                if photo.len() != num_values {
                    let num_values = photo.len();
                    return Err(graph::InputError { num_values, input }.into());
                }
                Ok(interpreter.run(&photo_bytes(photo)))
            }
        }
    }

    /// Another one for another thread, with the same weights where they are large.
    #[must_use]
    pub fn share(&self) -> Self {
        Self(match &self.0 {
            Kind::Float { network, executor } => Kind::Float {
                network: Arc::clone(network),
                executor: executor.share(),
            },
            Kind::Int8(interpreter) => Kind::Int8(interpreter.share()),
        })
    }

    /// Whether two files hold the very same numbers in the very same order, whatever
    /// their format: one run proves both.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Kind::Float { network: a, .. }, Kind::Float { network: b, .. }) => a.computes_like(b),
            _ => false,
        }
    }
}
