//! The publishers' official files of ImageNet weights: where they are, and how to know
//! them. Fetching is the trainer's affair; here is the table and the check.

use std::path::Path;

use schemas::Sha256;

use crate::architecture::{Architecture, Width};
use crate::weights::{WeightsError, sha256_of_file};

/// An official file. torchvision publishes the first eight hex digits of the SHA-256 as
/// part of the name, and nothing longer: this prefix is what is pinned. It finds damage
/// and a wrong file; who controls the address could still make another file fit it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfficialWeights {
    /// What they are weights of.
    pub architecture: Architecture,
    /// Where they are published.
    pub url: &'static str,
    /// The first hex digits of the file's SHA-256.
    pub sha256_prefix: &'static str,
}

/// torchvision's `IMAGENET1K_V1` files, of one recipe for all. The narrow MobileNetV2
/// have none; they begin from scratch or from the user's file.
pub const OFFICIAL_WEIGHTS: [OfficialWeights; 4] = [
    OfficialWeights {
        architecture: Architecture::MobileNetV2(Width::Full),
        url: "https://download.pytorch.org/models/mobilenet_v2-b0353104.pth",
        sha256_prefix: "b0353104",
    },
    OfficialWeights {
        architecture: Architecture::ResNet18,
        url: "https://download.pytorch.org/models/resnet18-f37072fd.pth",
        sha256_prefix: "f37072fd",
    },
    OfficialWeights {
        architecture: Architecture::ResNet34,
        url: "https://download.pytorch.org/models/resnet34-b627a593.pth",
        sha256_prefix: "b627a593",
    },
    OfficialWeights {
        architecture: Architecture::ResNet50,
        url: "https://download.pytorch.org/models/resnet50-0676ba61.pth",
        sha256_prefix: "0676ba61",
    },
];

impl OfficialWeights {
    /// Those of an architecture, if there are any.
    pub fn of(architecture: Architecture) -> Option<Self> {
        OFFICIAL_WEIGHTS
            .into_iter()
            .find(|official| official.architecture == architecture)
    }

    /// The file's name.
    pub fn file_name(&self) -> &'static str {
        self.url.rsplit('/').next().unwrap_or(self.url)
    }

    /// Whether a file is this one; its full hash.
    ///
    /// # Errors
    /// [`WeightsError::Hash`] if it is not, [`WeightsError::File`] if it cannot be read.
    pub fn check(&self, path: &Path) -> Result<Sha256, WeightsError> {
        let found = sha256_of_file(path)?;
        if found.to_string().starts_with(self.sha256_prefix) {
            return Ok(found);
        }
        Err(WeightsError::Hash {
            path: path.to_owned(),
            expected: format!("{}...", self.sha256_prefix),
            found,
        })
    }
}
