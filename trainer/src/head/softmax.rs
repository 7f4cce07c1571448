//! Softmax and cross entropy, safe against overflow, with sums in 64 bits.

/// Turns a row of logits into probabilities, in place; returns the logarithm of the sum
/// of their exponentials.
pub fn softmax(row: &mut [f32]) -> f32 {
    let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0f32;
    for value in row.iter_mut() {
        *value = (*value - top).exp();
        sum += *value;
    }
    for value in row.iter_mut() {
        *value /= sum;
    }
    top + sum.ln()
}

/// The mean of `-ln p(class)` over rows of logits.
pub fn mean_cross_entropy(logits: &[f32], classes: &[u32], num_classes: usize) -> f32 {
    let mut sum = 0.0f64;
    for (row, &class) in logits.chunks_exact(num_classes).zip(classes) {
        let mut probabilities = row.to_vec();
        let log_sum = softmax(&mut probabilities);
        sum += f64::from(log_sum - row[class as usize]);
    }
    (sum / classes.len().max(1) as f64) as f32
}

/// Replaces each row of logits by the gradient of its weighted, smoothed cross entropy
/// over `num_rows`, and returns the weighted mean.
pub fn gradient_in_place(
    logits: &mut [f32],
    classes: &[u32],
    class_weights: &[f32],
    label_smoothing: f32,
) -> f64 {
    let num_classes = class_weights.len();
    let scale = 1.0 / classes.len().max(1) as f32;
    let spread = label_smoothing / num_classes as f32;
    let mut loss = 0.0f64;
    for (row, &class) in logits.chunks_exact_mut(num_classes).zip(classes) {
        let weight = class_weights[class as usize];
        let own = row[class as usize];
        let mean = row.iter().sum::<f32>() / num_classes as f32;
        let log_sum = softmax(row);
        let entropy = log_sum - (1.0 - label_smoothing) * own - label_smoothing * mean;
        loss += f64::from(weight * entropy);
        for (k, value) in row.iter_mut().enumerate() {
            let hit = if k == class as usize {
                1.0 - label_smoothing
            } else {
                0.0
            };
            *value = (*value - hit - spread) * weight * scale;
        }
    }
    loss * f64::from(scale)
}
