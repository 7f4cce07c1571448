//! The orders in which formats keep a convolution's weights. Ours is OHWI, as TFLite's;
//! ONNX and Core ML keep OIHW; TFLite's depthwise weights are 1HWO.

use graph::Conv2d;

/// OHWI to OIHW.
pub(crate) fn to_oihw(conv: &Conv2d) -> Vec<f32> {
    let [kernel, group_channels] = sizes(conv);
    transpose(&conv.weights, kernel, group_channels)
}

/// OIHW to OHWI, for a convolution that is otherwise complete.
pub(crate) fn from_oihw(conv: &Conv2d, weights: &[f32]) -> Vec<f32> {
    let [kernel, group_channels] = sizes(conv);
    transpose(weights, group_channels, kernel)
}

/// A depthwise convolution's OHW1 to 1HWO.
pub(crate) fn to_hwo<T: Copy>(weights: &[T], channels: usize) -> Vec<T> {
    let kernel = weights.len() / channels.max(1);
    (0..weights.len())
        .map(|at| weights[at % channels * kernel + at / channels])
        .collect()
}

/// A depthwise convolution's 1HWO to OHW1.
pub(crate) fn from_hwo<T: Copy>(weights: &[T], channels: usize) -> Vec<T> {
    let kernel = weights.len() / channels.max(1);
    (0..weights.len())
        .map(|at| weights[at % kernel * channels + at / kernel])
        .collect()
}

fn sizes(conv: &Conv2d) -> [usize; 2] {
    let kernel = conv.kernel[0] * conv.kernel[1];
    let group_channels = if conv.groups == 1 {
        conv.in_channels
    } else {
        1
    };
    [kernel, group_channels]
}

/// Swaps the two inner axes, of `rows` and `columns`, of every block.
fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut swapped = Vec::with_capacity(values.len());
    for block in values.chunks_exact((rows * columns).max(1)) {
        for column in 0..columns {
            swapped.extend((0..rows).map(|row| block[row * columns + column]));
        }
    }
    swapped
}
