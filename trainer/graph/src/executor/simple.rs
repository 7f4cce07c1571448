//! The steps that cost little: the photo's copy, pools, and sums that no convolution
//! takes along. They are plain loops, which the compiler vectorises for the machine at
//! hand inside `dispatch`.

use pulp::Arch;

use super::convolution::{Source, Target, limits};
use crate::graph::{Activation, Pool};

pub(super) fn copy_photo(photo: &[f32], to: Target) {
    let (layout, out) = (to.layout, to.values);
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
pub(super) fn max_pool(arch: Arch, pool: Pool, from: Source, to: Target) {
    let (input, source) = (from.values, from.layout);
    let (out, target) = (to.values, to.layout);
    arch.dispatch(|| {
        for y in 0..target.shape.height {
            for x in 0..target.shape.width {
                let start = target.place(y, x);
                let pixel = &mut out[start..start + target.pitch];
                pixel.fill(f32::NEG_INFINITY);
                let rows = (y * pool.stride[0]..y * pool.stride[0] + pool.kernel[0])
                    .filter_map(|row| row.checked_sub(pool.padding.top))
                    .filter(|&row| row < source.shape.height);
                for row in rows {
                    let columns = (x * pool.stride[1]..x * pool.stride[1] + pool.kernel[1])
                        .filter_map(|column| column.checked_sub(pool.padding.left))
                        .filter(|&column| column < source.shape.width);
                    for column in columns {
                        let values = &input[source.place(row, column)..][..source.pitch];
                        for (largest, &value) in pixel.iter_mut().zip(values) {
                            *largest = if value > *largest { value } else { *largest };
                        }
                    }
                }
            }
        }
    });
}

pub(super) fn average(arch: Arch, from: Source, to: Target) {
    let (input, source) = (from.values, from.layout);
    arch.dispatch(|| {
        let start = to.layout.place(0, 0);
        let sums = &mut to.values[start..start + to.layout.pitch];
        sums.fill(0.0);
        for y in 0..source.shape.height {
            for x in 0..source.shape.width {
                let values = &input[source.place(y, x)..][..source.pitch];
                for (sum, value) in sums.iter_mut().zip(values) {
                    *sum += value;
                }
            }
        }
        let num_pixels = (source.shape.height * source.shape.width) as f32;
        sums.iter_mut().for_each(|sum| *sum /= num_pixels);
    });
}

pub(super) fn add(arch: Arch, [a, b]: [Source; 2], activation: Activation, to: Target) {
    let [low, high] = limits(activation);
    let (out, layout) = (to.values, to.layout);
    arch.dispatch(|| {
        let width = layout.shape.width * layout.pitch;
        for y in 0..layout.shape.height {
            let start = layout.place(y, 0);
            let a = &a.values[a.layout.place(y, 0)..][..width];
            let b = &b.values[b.layout.place(y, 0)..][..width];
            for ((out, a), b) in out[start..start + width].iter_mut().zip(a).zip(b) {
                *out = (a + b).max(low).min(high);
            }
        }
    });
}
