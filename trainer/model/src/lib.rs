//! Trainable MobileNetV2 and ResNet, and the step-by-step core of training them.
//!
//! In come weights by torchvision's names ([`graph::Weights`]), photos as normalised
//! planes ([`Images`]) and labels; out go weights by the same names, features, logits
//! and a state that can be stored. Files, tables, jobs and checkpoints are the
//! trainer's affair. On the CPU the same state and the same batches give the same
//! bits, however many threads there are; a GPU promises only a tolerance.
//!
//! ```no_run
//! # fn main() -> Result<(), model::ModelError> {
//! # let (weights, batch) = (graph::Weights::default(), model::Batch::default());
//! use model::{Device, Network, Settings, Trainable, Trainer};
//!
//! let device = Device::cpu();
//! let network = Network::from_weights(graph::Architecture::ResNet18, &weights, 6, 1, &device)?;
//! let mut trainer = Trainer::new(network, Settings { trainable: Trainable::Head, ..Settings::default() })?;
//! let report = trainer.step(&batch)?;
//! println!("loss {}", report.loss);
//! let weights = trainer.network().to_weights()?;
//! # Ok(())
//! # }
//! ```

mod error;
pub use error::ModelError;

mod batch;
pub use batch::{Batch, Images};

mod device;
pub use device::{Device, Precision};

mod plan;

mod initial;

mod parameters;

mod kernels;

mod frozen;

mod evaluator;
pub use evaluator::Evaluator;

mod network;
pub use network::{HeadOrigin, Network, Trainable};

mod random;

mod loss;

mod schedule;
pub use schedule::Schedule;

mod optimizer;
pub use optimizer::Optimizer;

mod settings;
pub use settings::Settings;

mod trainer;
pub use trainer::{StepReport, Trainer};

mod state;
pub use state::TrainerState;
