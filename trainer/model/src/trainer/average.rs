//! A running average of what learns: often a better network than the last step's.

use burn_tensor::Tensor;

use crate::Network;

/// Averages of the learning parameters and their batch norms' statistics.
pub(crate) struct Average {
    pub decay: f64,
    /// Place in the network's parameters, and the average.
    pub parameters: Vec<(usize, Tensor<1>)>,
    /// Place in the network's statistics, and the average.
    pub statistics: Vec<(usize, Tensor<1>)>,
}

impl Average {
    pub(crate) fn new(network: &Network, first_trained: usize, decay: f64) -> Self {
        let parameters = network.parameters.iter().enumerate();
        let statistics = network.statistics.iter().enumerate();
        Self {
            decay,
            parameters: parameters
                .filter(|(_, parameter)| parameter.block >= first_trained)
                .map(|(at, parameter)| (at, parameter.value.clone()))
                .collect(),
            statistics: statistics
                .filter(|(_, statistic)| statistic.block >= first_trained)
                .map(|(at, statistic)| (at, statistic.value.clone()))
                .collect(),
        }
    }

    /// Moves towards the network after the step that followed `done` others.
    pub(crate) fn follow(&mut self, network: &Network, done: u64) {
        let kept = self.decay.min((1 + done) as f64 / (10 + done) as f64);
        let mix = |average: &mut Tensor<1>, value: &Tensor<1>| {
            *average = average.clone() * kept + value.clone() * (1.0 - kept);
        };
        for (at, average) in &mut self.parameters {
            mix(average, &network.parameters[*at].value);
        }
        for (at, average) in &mut self.statistics {
            mix(average, &network.statistics[*at].value);
        }
    }

    /// The network with the averages in place.
    pub(crate) fn network(&self, network: &Network) -> Network {
        let mut averaged = network.clone();
        for (at, average) in &self.parameters {
            averaged.parameters[*at].value = average.clone();
        }
        for (at, average) in &self.statistics {
            averaged.statistics[*at].value = average.clone();
        }
        averaged
    }
}
