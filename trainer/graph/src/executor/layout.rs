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
    /// How many rows, border included, the slot holds at a time.
    pub rows: usize,
    /// Which of the rows, border included, is the slot's first.
    pub base: usize,
    /// Which slot of the arena.
    pub slot: usize,
}

impl Layout {
    /// Values from one row to the next.
    pub fn row(&self) -> usize {
        (self.border.left + self.shape.width + self.border.right) * self.pitch
    }

    /// The rows of the whole activation, border included.
    pub fn all_rows(&self) -> usize {
        self.border.top + self.shape.height + self.border.bottom
    }

    /// Values in the slot.
    pub fn num_values(&self) -> usize {
        self.rows * self.row()
    }

    /// Where the pixel (y, x) begins.
    pub fn place(&self, y: usize, x: usize) -> usize {
        (y + self.border.top - self.base) * self.row() + (x + self.border.left) * self.pitch
    }

    /// Where a window begins whose first pixel would be (y, x) if the padding were part
    /// of the picture.
    pub fn window(&self, y: usize, x: usize, padding: Padding) -> usize {
        (y + self.border.top - padding.top - self.base) * self.row()
            + (x + self.border.left - padding.left) * self.pitch
    }

    /// Writes the zeros around the picture; the slot held something else before.
    pub fn clear_border(&self, values: &mut [f32]) {
        let row = self.row();
        values[..self.border.top * row].fill(0.0);
        values[(self.rows - self.border.bottom) * row..self.num_values()].fill(0.0);
        self.clear_sides(values);
    }

    /// Writes the zeros before and after each row.
    pub fn clear_sides(&self, values: &mut [f32]) {
        let before = self.border.left * self.pitch;
        let after = self.row() - self.border.right * self.pitch;
        if self.border.left + self.border.right > 0 {
            for row in values[..self.num_values()].chunks_exact_mut(self.row()) {
                row[..before].fill(0.0);
                row[after..].fill(0.0);
            }
        }
    }

    /// Copies an activation out of its slot, without border and filling.
    pub fn copy(&self, slots: &[Vec<f32>], out: &mut [f32]) {
        let Shape {
            width, channels, ..
        } = self.shape;
        for (y, row) in out.chunks_exact_mut(width * channels).enumerate() {
            for (x, pixel) in row.chunks_exact_mut(channels).enumerate() {
                let start = self.place(y, x);
                pixel.copy_from_slice(&slots[self.slot][start..start + channels]);
            }
        }
    }
}
