//! A convolution, a depthwise one and a 1x1 one in a row, as in every block of a
//! MobileNet. Between them the picture has six times as many channels as outside and
//! would not fit the cache: so it is computed band by band, a few rows at a time, and
//! never exists as a whole. Each value is computed once, as it would be without bands.

use pulp::Arch;

use super::convolution::{Convolution, Source, Target};
use super::depthwise::Depthwise;
use super::layout::Layout;

/// What the widened rows of one band may take; larger bands fall out of a core's L2
/// cache, smaller ones read the weights more often.
const BAND_VALUES: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Bands {
    pub expand: Convolution,
    pub depthwise: Depthwise,
    pub project: Convolution,
    /// The band between the first two, and between the last two.
    pub between: [Layout; 2],
}

/// The layouts of a band between the three: `None` if the whole is small enough.
pub(super) fn layouts(depthwise: &Depthwise, [wide, after]: [Layout; 2]) -> Option<[Layout; 2]> {
    if wide.num_values() <= BAND_VALUES {
        return None;
    }
    let height = after.shape.height;
    let fits = |&num_rows: &usize| depthwise.rows_under(num_rows) * wide.row() <= BAND_VALUES;
    let most = (1..=height).take_while(fits).last().unwrap_or(1);
    // Bands of like height, rather than a thin last one.
    let num_rows = height.div_ceil(height.div_ceil(most));
    let wide_rows = depthwise.rows_under(num_rows).min(wide.rows);
    Some([
        Layout {
            rows: wide_rows,
            ..wide
        },
        Layout {
            rows: num_rows,
            ..after
        },
    ])
}

impl Bands {
    /// `bands`: room for the two between.
    pub fn run(
        &self,
        arch: Arch,
        slots: &[Vec<f32>],
        from: Source,
        bands: [&mut [f32]; 2],
        to: Target,
    ) {
        let [mut wide, mut after] = self.between;
        let [wide_values, after_values] = bands;
        wide.clear_sides(wide_values);
        let row = wide.row();
        // Rows of the wide activation, border included, that are there.
        let mut done = 0;
        for first in to.rows.clone().step_by(after.rows) {
            let rows = first..(first + after.rows).min(to.rows.end);
            let base = first * self.depthwise.stride[0];
            if base < done {
                wide_values.copy_within((base - wide.base) * row..(done - wide.base) * row, 0);
            }
            wide.base = base;
            let end = (base + self.depthwise.rows_under(rows.len())).min(wide.all_rows());
            let top = wide.border.top;
            let inner = done.max(base).clamp(top, top + wide.shape.height)
                ..end.clamp(top, top + wide.shape.height);
            for border in (done.max(base)..end).filter(|y| !inner.contains(y)) {
                wide_values[(border - base) * row..][..row].fill(0.0);
            }
            self.expand.run(
                arch,
                slots,
                from,
                Target {
                    values: wide_values,
                    layout: wide,
                    rows: inner.start - top..inner.end - top,
                },
            );
            done = end;
            after.base = first;
            self.depthwise.run(
                arch,
                Source {
                    values: wide_values,
                    layout: wide,
                },
                Target {
                    values: after_values,
                    layout: after,
                    rows: rows.clone(),
                },
            );
            self.project.run(
                arch,
                slots,
                Source {
                    values: after_values,
                    layout: after,
                },
                Target {
                    values: to.values,
                    layout: to.layout,
                    rows,
                },
            );
        }
    }
}
