//! Where a network computes: the CPU, or an NVIDIA GPU when compiled in.
//!
//! One binary chooses at run time. On the CPU the layers are this crate's own kernels
//! (NHWC, fused); elsewhere they are burn's (NCHW).

use std::path::Path;

use crate::ModelError;

/// How activations are held during training. Weights, batch norm, loss and optimiser
/// are always 32 bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 32 bit.
    #[default]
    F32,
    /// bfloat16: half the memory traffic, on a GPU.
    Bf16,
}

/// Where a network computes.
#[derive(Debug, Clone)]
pub struct Device {
    pub(crate) burn: burn_tensor::Device,
    pub(crate) kernels: Kernels,
    pub(crate) precision: Precision,
}

/// Whose layers are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernels {
    /// This crate's, on the CPU; activations are `[n, height, width, channels]`.
    Fused,
    /// burn's; activations are `[n, channels, height, width]`.
    Burn,
}

impl Device {
    /// The CPU, with all threads of rayon's pool.
    pub fn cpu() -> Self {
        Self {
            burn: burn_tensor::Device::flex(),
            kernels: Kernels::Fused,
            precision: Precision::F32,
        }
    }

    /// The CPU with burn's own kernels: the same arithmetic, several times slower.
    /// It is what the fused kernels are checked against.
    pub fn cpu_unfused(precision: Precision) -> Self {
        Self {
            burn: burn_tensor::Device::flex(),
            kernels: Kernels::Burn,
            precision,
        }
    }

    /// The NVIDIA GPU of this number.
    #[cfg(feature = "cuda")]
    pub fn cuda(index: usize, precision: Precision) -> Self {
        Self {
            burn: burn_tensor::Device::cuda(index),
            kernels: Kernels::Burn,
            precision,
        }
    }

    /// Where compiled kernels, and the timings that chose among them, are kept from now on,
    /// so that the next process need not make them again. What stands there may be lost at
    /// any time. Of no effect after the first use of a GPU, and in a build without CUDA.
    pub fn keep_kernels_in(directory: &Path) {
        #[cfg(feature = "cuda")]
        {
            use cubecl::config::{CubeClRuntimeConfig, RuntimeConfig as _, cache::CacheConfig};
            let mut config = CubeClRuntimeConfig::default().override_from_env();
            config.environment.path = CacheConfig::Directory(directory.to_owned());
            CubeClRuntimeConfig::try_set(config);
        }
        #[cfg(not(feature = "cuda"))]
        let _ = directory;
    }

    /// The device of a setting: `cpu`, `cuda` or `cuda:1`.
    ///
    /// # Errors
    /// [`ModelError::NoDevice`] for another name, for `cuda` in a build without it, and for
    /// [`Precision::Bf16`] on the CPU.
    pub fn open(name: &str, precision: Precision) -> Result<Self, ModelError> {
        let fault = |reason: &str| {
            Err(ModelError::NoDevice {
                name: name.to_owned(),
                reason: reason.to_owned(),
            })
        };
        let index = match name.split_once(':') {
            Some(("cuda", index)) => index.parse::<usize>().ok(),
            None if name == "cuda" => Some(0),
            _ => None,
        };
        match (name, index) {
            ("cpu", _) if precision == Precision::F32 => Ok(Self::cpu()),
            ("cpu", _) => fault("bf16 is for GPUs"),
            (_, Some(index)) => match Self::open_cuda(index, precision) {
                Some(device) => Ok(device),
                None => fault("this build has no CUDA"),
            },
            _ => fault("no such device: cpu, cuda or cuda:<number>"),
        }
    }

    #[cfg(feature = "cuda")]
    fn open_cuda(index: usize, precision: Precision) -> Option<Self> {
        Some(Self::cuda(index, precision))
    }

    #[cfg(not(feature = "cuda"))]
    fn open_cuda(_index: usize, _precision: Precision) -> Option<Self> {
        None
    }

    /// Whether the same state and batches give the same bits.
    pub fn is_deterministic(&self) -> bool {
        matches!(self.burn, ref burn if *burn == burn_tensor::Device::flex())
    }
}
