//! The steps that cost little: the photo's copy, pools, and sums that no convolution
//! takes along. They are plain loops, which the compiler vectorises for the machine at
//! hand inside `dispatch`.

use pulp::Arch;

use super::convolution::limits;
use super::layout::Layout;
use crate::graph::{Activation, Pool};

pub(super) fn copy_photo(photo: &[f32], layout: Layout, out: &mut [f32]) {
    let channels = layout.shape.channels;
    for (y, row) in photo
        .chunks_exact(layout.shape.width * channels)
        .enumerate()
    {
        let start = layout.place(y, 0);
        if layout.pitch == channels {
            out[start..start + row.len()].copy_from_slice(row);
            continue;
        }
        let pixels = out[start..].chunks_exact_mut(layout.pitch);
        for (out, pixel) in pixels.zip(row.chunks_exact(channels)) {
            out[..channels].copy_from_slice(pixel);
            out[channels..].fill(0.0);
        }
    }
}

/// Padding counts as minus infinity: a window is cut to the picture.
pub(super) fn max_pool(
    arch: Arch,
    pool: Pool,
    input: &[f32],
    from: Layout,
    to: Layout,
    out: &mut [f32],
) {
    arch.dispatch(|| {
        for y in 0..to.shape.height {
            for x in 0..to.shape.width {
                let start = to.place(y, x);
                let pixel = &mut out[start..start + to.pitch];
                pixel.fill(f32::NEG_INFINITY);
                let rows = (y * pool.stride[0]..y * pool.stride[0] + pool.kernel[0])
                    .filter_map(|row| row.checked_sub(pool.padding.top))
                    .filter(|&row| row < from.shape.height);
                for row in rows {
                    let columns = (x * pool.stride[1]..x * pool.stride[1] + pool.kernel[1])
                        .filter_map(|column| column.checked_sub(pool.padding.left))
                        .filter(|&column| column < from.shape.width);
                    for column in columns {
                        let start = from.place(row, column);
                        for (largest, &value) in pixel.iter_mut().zip(&input[start..]) {
                            *largest = if value > *largest { value } else { *largest };
                        }
                    }
                }
            }
        }
    });
}

pub(super) fn average(arch: Arch, input: &[f32], from: Layout, to: Layout, out: &mut [f32]) {
    arch.dispatch(|| {
        let start = to.place(0, 0);
        let sums = &mut out[start..start + to.pitch];
        sums.fill(0.0);
        for y in 0..from.shape.height {
            for x in 0..from.shape.width {
                for (sum, value) in sums.iter_mut().zip(&input[from.place(y, x)..]) {
                    *sum += value;
                }
            }
        }
        let num_pixels = (from.shape.height * from.shape.width) as f32;
        sums.iter_mut().for_each(|sum| *sum /= num_pixels);
    });
}

pub(super) fn add(
    arch: Arch,
    [(a, a_layout), (b, b_layout)]: [(&[f32], Layout); 2],
    activation: Activation,
    to: Layout,
    out: &mut [f32],
) {
    let [low, high] = limits(activation);
    arch.dispatch(|| {
        let width = to.shape.width * to.pitch;
        for y in 0..to.shape.height {
            let start = to.place(y, 0);
            let a = &a[a_layout.place(y, 0)..][..width];
            let b = &b[b_layout.place(y, 0)..][..width];
            for ((out, a), b) in out[start..start + width].iter_mut().zip(a).zip(b) {
                *out = (a + b).max(low).min(high);
            }
        }
    });
}
