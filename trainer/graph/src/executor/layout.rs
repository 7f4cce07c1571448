//! How an activation lies in its slot. Each pixel has its channels side by side, filled
//! up with zeros to whole SIMD vectors; around the picture lie the zeros that the
//! convolutions reading it ask for, so that no inner loop meets an edge.

use crate::graph::{Padding, Shape};

#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub shape: Shape,
    /// Values from one pixel to the next.
    pub pitch: usize,
    pub border: Padding,
    /// Which slot of the arena.
    pub slot: usize,
}

impl Layout {
    /// Values from one row to the next.
    pub fn row(&self) -> usize {
        (self.border.left + self.shape.width + self.border.right) * self.pitch
    }

    pub fn num_values(&self) -> usize {
        (self.border.top + self.shape.height + self.border.bottom) * self.row()
    }

    /// Where the pixel (y, x) begins.
    pub fn place(&self, y: usize, x: usize) -> usize {
        (y + self.border.top) * self.row() + (x + self.border.left) * self.pitch
    }

    /// Where a window begins that lies over the pixel (0, 0) with this much before it.
    pub fn window(&self, padding: Padding) -> usize {
        (self.border.top - padding.top) * self.row()
            + (self.border.left - padding.left) * self.pitch
    }

    /// Writes the zeros around the picture; the slot held something else before.
    pub fn clear_border(&self, values: &mut [f32]) {
        let row = self.row();
        let inner = self.place(0, 0) - self.border.left * self.pitch;
        let end = inner + self.shape.height * row;
        values[..inner].fill(0.0);
        values[end..self.num_values()].fill(0.0);
        if self.border.left + self.border.right > 0 {
            for row in values[inner..end].chunks_exact_mut(row) {
                row[..self.border.left * self.pitch].fill(0.0);
                let after = row.len() - self.border.right * self.pitch;
                row[after..].fill(0.0);
            }
        }
    }

    /// Copies an activation of one pixel.
    pub fn copy_vector(&self, slots: &[Vec<f32>], out: &mut [f32]) {
        let start = self.place(0, 0);
        out.copy_from_slice(&slots[self.slot][start..start + self.shape.channels]);
    }
}
