//! The blocks that do not learn, on the CPU: photos come in, what the first learning block
//! reads goes out. Their batch norms are folded into their convolutions once, and
//! `graph`'s executor runs them, three times as fast as the layers that keep what
//! learning needs. On other devices nothing is done here.

use std::num::NonZeroUsize;

use burn_tensor::{Tensor, TensorData};
use graph::{Executor, Graph, Op};

use crate::batch::Images;
use crate::device::Kernels;
use crate::kernels;
use crate::{ModelError, Network};

/// The frozen blocks of one network, prepared when the first batch comes. Whoever keeps it
/// sees to it that their numbers stay as they are.
#[derive(Debug, Default)]
pub(crate) struct Frozen(Option<Prepared>);

#[derive(Debug)]
struct Prepared {
    executor: Executor,
    /// Height and width of the photos.
    side: usize,
}

impl Frozen {
    /// What the block `first_trained` reads, rows by columns by channels (the global pool, if
    /// no block learns); none where the layers themselves are to compute it.
    pub(crate) fn run(
        &mut self,
        network: &Network,
        first_trained: usize,
        images: &Images,
    ) -> Result<Option<Tensor<4>>, ModelError> {
        let device = network.device();
        if first_trained == 0 || !matches!(device.kernels, Kernels::Fused) {
            return Ok(None);
        }
        let count = images.count()?;
        let prepared = match &mut self.0 {
            Some(prepared) if prepared.side == images.side => prepared,
            other => other.insert(Prepared::new(network, first_trained, images.side)?),
        };
        let results = prepared.executor.run(&kernels::channels_last(images));
        let values = results.map_err(fault)?.features.to_vec();
        let shape = prepared.executor.output();
        let data = TensorData::new(values, [count, shape.height, shape.width, shape.channels]);
        Ok(Some(Tensor::from_data(data, &device.burn)))
    }
}

impl Prepared {
    fn new(network: &Network, first_trained: usize, side: usize) -> Result<Self, ModelError> {
        let architecture = network.architecture();
        let graph = Graph::build(
            architecture,
            &network.to_weights()?,
            architecture.sides()[0],
        );
        let mut graph = graph.map_err(fault)?;
        // Convolutions do not mind the side; whoever trains has chosen one.
        (graph.input.height, graph.input.width) = (side, side);
        // The first block that learns begins with a convolution of this name.
        let learning = network.blocks.get(first_trained).map(|block| {
            let name = &network.parameters[block.units[0].weight].name;
            name.trim_end_matches(".weight")
        });
        let reader = graph.nodes.iter().find(|node| match learning {
            Some(name) => node.name == name,
            None => node.op == Op::GlobalAveragePool,
        });
        let last = reader.and_then(|node| node.inputs.first().copied());
        let last = last.ok_or_else(|| fault("the graph has other blocks"))?;
        let executor = Executor::new(&graph.up_to(last).map_err(fault)?).map_err(fault)?;
        let num_threads = NonZeroUsize::new(rayon::current_num_threads());
        Ok(Self {
            executor: executor.with_threads(num_threads.unwrap_or(NonZeroUsize::MIN)),
            side,
        })
    }
}

fn fault(reason: impl ToString) -> ModelError {
    let reason = reason.to_string();
    ModelError::Frozen { reason }
}
