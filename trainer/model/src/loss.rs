//! Cross entropy with class weights and label smoothing, as PyTorch's
//! `CrossEntropyLoss` defines it; the mean is over the weights of the whole batch.

use burn_tensor::{Tensor, TensorData, activation};

/// What each photo should give, and by how much it counts.
pub(crate) struct Targets {
    /// `[n, classes]`, divided by the batch's weight: the loss is minus the sum of its
    /// product with the log-probabilities.
    shares: Vec<f32>,
    num_classes: usize,
}

/// How the classes count.
pub(crate) struct Weighing<'a> {
    pub class_weights: Option<&'a [f32]>,
    /// This share of each target is spread over all classes.
    pub smoothing: f64,
    pub num_classes: usize,
}

impl Weighing<'_> {
    fn weight(&self, class: usize) -> f64 {
        self.class_weights
            .map_or(1.0, |weights| f64::from(weights[class]))
    }

    /// The weight of all these photos together.
    pub(crate) fn total(&self, labels: &[u32]) -> f64 {
        labels
            .iter()
            .map(|label| self.weight(*label as usize))
            .sum()
    }

    /// The targets of some of a batch's photos, when the whole batch weighs `total`.
    pub(crate) fn targets(&self, labels: &[u32], total: f64) -> Targets {
        let num_classes = self.num_classes;
        let spread = self.smoothing / num_classes as f64;
        let mut shares = Vec::with_capacity(labels.len() * num_classes);
        for label in labels {
            for class in 0..num_classes {
                let own = if class == *label as usize {
                    1.0 - self.smoothing
                } else {
                    0.0
                };
                shares.push((self.weight(class) * (own + spread) / total) as f32);
            }
        }
        Targets {
            shares,
            num_classes,
        }
    }
}

impl Targets {
    /// The loss on the tape: `[1]`.
    pub(crate) fn loss(&self, logits: Tensor<2>, device: &burn_tensor::Device) -> Tensor<1> {
        let shape = [self.shares.len() / self.num_classes, self.num_classes];
        let shares = Tensor::<2>::from_data(TensorData::new(self.shares.clone(), shape), device);
        (activation::log_softmax(logits, 1) * shares).sum().neg()
    }

    /// The same loss from logits on the host, in 64 bit, and how many photos have their
    /// class on top.
    pub(crate) fn judge(&self, logits: &[f32], labels: &[u32]) -> (f64, usize) {
        let rows = logits.chunks_exact(self.num_classes);
        let shares = self.shares.chunks_exact(self.num_classes);
        let mut loss = 0.0;
        let mut correct = 0;
        for ((row, shares), label) in rows.zip(shares).zip(labels) {
            let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = row.iter().map(|logit| f64::from(logit - top).exp()).sum();
            for (logit, share) in row.iter().zip(shares) {
                loss -= f64::from(*share) * (f64::from(logit - top) - sum.ln());
            }
            let best = row.iter().position(|logit| *logit == top);
            correct += usize::from(best == Some(*label as usize));
        }
        (loss, correct)
    }
}

#[cfg(test)]
mod tests;
