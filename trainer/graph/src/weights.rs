//! Weights by name, as publishers' files hold them. Comes in: a `.safetensors` or a
//! PyTorch `.pth` file, whatever it is called. Goes out: 32-bit floats with their
//! shapes. A file that lies about a length or an offset is refused with the name of the
//! tensor, and nothing that a file holds is ever executed.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use schemas::Sha256;
use sha2::Digest as _;

mod number;
mod pickle;
mod pytorch;
mod safetensors;

/// An array of numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Lengths, outermost first.
    pub shape: Vec<usize>,
    /// The values, row-major; as many as the product of `shape`.
    pub values: Vec<f32>,
}

/// Weights by name, with torchvision's names (`features.0.0.weight`, ...).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Weights {
    /// The tensors.
    pub tensors: BTreeMap<String, Tensor>,
}

/// Why a file of weights cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file cannot be read or written.
    #[error("weights file {}: {action}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// The file is neither of the two formats, or breaks its rules.
    #[error("not a usable {format} file: {fault}")]
    Format {
        /// `safetensors` or `PyTorch`.
        format: &'static str,
        /// What is wrong, and where.
        fault: String,
    },
    /// The file has another hash than was asked for.
    #[error("weights file {}: SHA-256 is {found}, expected {expected}", path.display())]
    Hash {
        /// Which file.
        path: PathBuf,
        /// The hash, or its first hex digits.
        expected: String,
        /// The file's hash.
        found: Sha256,
    },
}

/// Larger than every network here (ResNet-50 has 102 MB); keeps a wrong file from
/// filling the memory.
const MAX_FILE_BYTES: u64 = 1 << 30;

impl Tensor {
    /// A tensor.
    ///
    /// # Panics
    /// If the number of values is not the product of `shape`.
    pub fn new(shape: impl Into<Vec<usize>>, values: Vec<f32>) -> Self {
        let shape = shape.into();
        assert_eq!(
            shape.iter().product::<usize>(),
            values.len(),
            "a tensor of shape {shape:?} has as many values"
        );
        Self { shape, values }
    }
}

impl Weights {
    /// The weights in a file of either format; the first bytes tell which.
    ///
    /// # Errors
    /// [`WeightsError::File`] if it cannot be read or has more than 1 GiB,
    /// [`WeightsError::Format`] if it is no such file.
    pub fn read(path: &Path) -> Result<Self, WeightsError> {
        let fault = |action| {
            move |source| WeightsError::File {
                path: path.to_owned(),
                action,
                source,
            }
        };
        let file = std::fs::File::open(path).map_err(fault("opening it"))?;
        let mut bytes = Vec::new();
        file.take(MAX_FILE_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(fault("reading it"))?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            let source = io::Error::other(format!("more than {MAX_FILE_BYTES} bytes"));
            return Err(fault("reading it")(source));
        }
        Self::from_bytes(&bytes)
    }

    /// The weights in the bytes of a file of either format.
    ///
    /// # Errors
    /// [`WeightsError::Format`]
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WeightsError> {
        if pytorch::is_pytorch(bytes) {
            pytorch::read(bytes)
        } else {
            safetensors::read(bytes)
        }
    }

    /// Writes `.safetensors`, float32, tensors by name; equal weights give equal bytes.
    /// The metadata is kept beside them; `format` is always `pt`.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_safetensors(
        &self,
        out: &mut impl Write,
        metadata: &BTreeMap<String, String>,
    ) -> io::Result<()> {
        safetensors::write(self, out, metadata)
    }

    /// [`Self::write_safetensors`] into memory.
    pub fn to_safetensors(&self, metadata: &BTreeMap<String, String>) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write_safetensors(&mut bytes, metadata)
            .expect("memory takes what is written");
        bytes
    }

    /// How many numbers these are.
    pub fn num_values(&self) -> usize {
        self.tensors
            .values()
            .map(|tensor| tensor.values.len())
            .sum()
    }
}

/// The SHA-256 of a file, read in pieces.
///
/// # Errors
/// [`WeightsError::File`]
pub fn sha256_of_file(path: &Path) -> Result<Sha256, WeightsError> {
    let mut hasher = sha2::Sha256::new();
    std::fs::File::open(path)
        .and_then(|mut file| io::copy(&mut file, &mut hasher))
        .map_err(|source| WeightsError::File {
            path: path.to_owned(),
            action: "hashing it",
            source,
        })?;
    Ok(Sha256::from(<[u8; 32]>::from(hasher.finalize())))
}

#[cfg(test)]
mod tests;
