//! What can go wrong: weights, batches, settings, states and devices.

/// Why a network or a step could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The weights are those of another network, or only a part.
    #[error("weights for {architecture}: no tensor {name}")]
    MissingTensor {
        /// For which network.
        architecture: String,
        /// Which tensor is not there.
        name: String,
    },
    /// A tensor has another shape than the network wants.
    #[error("weights for {architecture}: {name} has the shape {found:?}, not {expected:?}")]
    TensorShape {
        /// For which network.
        architecture: String,
        /// Which tensor.
        name: String,
        /// What the network wants.
        expected: Vec<usize>,
        /// What was given.
        found: Vec<usize>,
    },
    /// A network without classes.
    #[error("a network needs at least one class")]
    NoClasses,
    /// The number of values is not that of whole photos.
    #[error("{found} values are no photos of 3 x {side} x {side}")]
    ImageSize {
        /// Values given.
        found: usize,
        /// Height and width said.
        side: usize,
    },
    /// A batch cannot be trained on.
    #[error("batch: {reason}")]
    Batch {
        /// What is wrong with it.
        reason: String,
    },
    /// Settings that contradict each other or the network.
    #[error("training settings: {reason}")]
    Settings {
        /// What is wrong with them.
        reason: String,
    },
    /// The loss is infinite or no number: the rate is too high, or the photos are broken.
    #[error("the loss of step {step} is {loss}")]
    Diverged {
        /// Steps done before it.
        step: u64,
        /// What it was.
        loss: f64,
    },
    /// A stored state is not of this trainer, or damaged.
    #[error("training state: {reason}")]
    State {
        /// What does not fit.
        reason: String,
    },
    /// No such device, or not compiled in.
    #[error("device {name:?}: {reason}")]
    NoDevice {
        /// What was asked for.
        name: String,
        /// Why it cannot be had.
        reason: String,
    },
    /// The layers that do not learn cannot be computed ahead: their numbers are not finite.
    #[error("the frozen layers cannot be folded: {reason}")]
    Frozen {
        /// What is wrong with them.
        reason: String,
    },
    /// The device failed, for want of memory perhaps.
    #[error("the device failed while {doing}: {reason}")]
    Device {
        /// What was being done.
        doing: &'static str,
        /// What it said.
        reason: String,
    },
}

impl ModelError {
    /// Whether the device had too little memory, so that the same batch in more parts may do.
    /// Devices tell it in words alone; these are those of cubecl and of CUDA's driver.
    pub fn is_out_of_memory(&self) -> bool {
        let Self::Device { reason, .. } = self else {
            return false;
        };
        let reason = reason.to_lowercase().replace(['-', '_', ' '], "");
        ["outofmemory", "buffertoobig"]
            .iter()
            .any(|words| reason.contains(words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_memory_is_told_from_other_failures() {
        let device = |reason: &str| ModelError::Device {
            doing: "computing a training step",
            reason: reason.to_owned(),
        };
        assert!(device("An out-of-memory error happened during launch").is_out_of_memory());
        assert!(device("CUDA_ERROR_OUT_OF_MEMORY").is_out_of_memory());
        assert!(!device("an illegal memory access was encountered").is_out_of_memory());
        assert!(!ModelError::NoClasses.is_out_of_memory());
    }
}
