//! The two products that learning needs, over threads, and always with the same sums:
//! rows are cut into blocks of a fixed size, whatever the number of threads.

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2};

/// Rows of a block. Smaller, and threads start for nothing; larger, and few rows leave
/// cores idle.
const BLOCK_ROWS: usize = 512;

/// Rows of one width.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    values: &'a [f32],
    width: usize,
}

impl<'a> Rows<'a> {
    /// `values` are rows of `width` values each.
    pub fn new(values: &'a [f32], width: usize) -> Self {
        assert!(
            width > 0 && values.len().is_multiple_of(width),
            "whole rows"
        );
        Self { values, width }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.values.len() / self.width
    }

    /// The row at `i`.
    pub fn row(&self, i: usize) -> &'a [f32] {
        &self.values[i * self.width..(i + 1) * self.width]
    }

    fn view(&self) -> ArrayView2<'a, f32> {
        ArrayView2::from_shape((self.len(), self.width), self.values).expect("whole rows")
    }
}

/// `x` (n x d) times the transpose of `weights` (k x d): n x k.
pub fn times_transposed(x: Rows<'_>, weights: &[f32]) -> Vec<f32> {
    let weights = Rows::new(weights, x.width);
    let num_outputs = weights.len();
    let mut product = vec![0.0; x.len() * num_outputs];
    let blocks: Vec<_> = x
        .values
        .chunks(BLOCK_ROWS * x.width)
        .zip(product.chunks_mut(BLOCK_ROWS * num_outputs))
        .collect();
    over_threads(blocks, |(x_block, out)| {
        let x_block = Rows::new(x_block, x.width);
        let shape = (x_block.len(), num_outputs);
        let mut out = ArrayViewMut2::from_shape(shape, out).expect("a block's rows");
        general_mat_mul(1.0, &x_block.view(), &weights.view().t(), 0.0, &mut out);
    });
    product
}

/// The transpose of `g` (n x k) times `x` (n x d): k x d.
pub fn transposed_times(g: Rows<'_>, x: Rows<'_>) -> Vec<f32> {
    let shape = (g.width, x.width);
    let blocks: Vec<_> = g
        .values
        .chunks(BLOCK_ROWS * g.width)
        .zip(x.values.chunks(BLOCK_ROWS * x.width))
        .map(|(g, x)| (g, x, Vec::new()))
        .collect();
    // A few blocks at a time: their products are as large as the weights.
    let mut sum = vec![0.0f32; shape.0 * shape.1];
    let mut blocks = blocks.into_iter();
    loop {
        let mut some: Vec<_> = blocks.by_ref().take(2 * num_threads()).collect();
        if some.is_empty() {
            return sum;
        }
        over_threads(some.iter_mut().collect(), |(g_block, x_block, out)| {
            *out = vec![0.0f32; shape.0 * shape.1];
            let mut out = ArrayViewMut2::from_shape(shape, out).expect("k x d values");
            let g_block = Rows::new(g_block, g.width);
            let x_block = Rows::new(x_block, x.width);
            general_mat_mul(1.0, &g_block.view().t(), &x_block.view(), 0.0, &mut out);
        });
        for (_, _, part) in &some {
            for (sum, part) in sum.iter_mut().zip(part) {
                *sum += part;
            }
        }
    }
}

fn num_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Does `work` for each item, on as many threads as there are cores.
fn over_threads<T: Send>(items: Vec<T>, work: impl Fn(T) + Sync) {
    let num_threads = num_threads().min(items.len());
    if num_threads <= 1 {
        items.into_iter().for_each(work);
        return;
    }
    let items = std::sync::Mutex::new(items.into_iter());
    let next = || {
        let mut items = items
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        items.next()
    };
    std::thread::scope(|scope| {
        for _ in 0..num_threads {
            scope.spawn(|| {
                while let Some(item) = next() {
                    work(item);
                }
            });
        }
    });
}
