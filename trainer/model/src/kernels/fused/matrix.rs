//! Products of matrices, through burn's CPU backend, in pieces that depend on the
//! lengths alone: each piece is computed by one thread, pieces are added in order.

use burn_backend::DType;
use burn_backend::ops::FloatTensorOps;
use burn_dispatch::backends::Flex;
use burn_dispatch::backends::flex::{FlexTensor, Layout};
use burn_std::{Bytes, Shape};

/// Below this many rows, packing the matrices costs more than the threads gain.
const MIN_ROWS: usize = 256;

/// A tensor of these values.
pub(super) fn tensor(values: Vec<f32>, shape: &[usize]) -> FlexTensor {
    debug_assert_eq!(values.len(), shape.iter().product::<usize>());
    FlexTensor::new(
        Bytes::from_elems(values),
        Layout::contiguous(Shape::from(shape.to_vec())),
        DType::F32,
    )
}

/// `left` (`rows x inner`) times `right` (`inner x columns`), or times the transpose of
/// `right` (`columns x inner`): `rows x columns`.
pub(super) fn product(
    left: &FlexTensor,
    right: &FlexTensor,
    [rows, inner, columns]: [usize; 3],
    transposed: bool,
) -> FlexTensor {
    let pieces = pieces(rows, 64);
    let left = left.reshape(Shape::from(vec![pieces, rows / pieces, inner]));
    let right = match transposed {
        true => right
            .reshape(Shape::from(vec![1, columns, inner]))
            .transpose(1, 2),
        false => right.reshape(Shape::from(vec![1, inner, columns])),
    };
    Flex::float_matmul(left, right)
}

/// The transpose of `left` (`rows x outer`) times `right` (`rows x inner`):
/// `outer x inner`.
pub(super) fn transposed_product(
    left: &FlexTensor,
    right: &FlexTensor,
    [rows, outer, inner]: [usize; 3],
) -> FlexTensor {
    let pieces = pieces(rows, 8);
    let left = left
        .reshape(Shape::from(vec![pieces, rows / pieces, outer]))
        .transpose(1, 2);
    let right = right.reshape(Shape::from(vec![pieces, rows / pieces, inner]));
    let parts = Flex::float_matmul(left, right);
    let parts = parts.as_slice::<f32>().expect("a product is contiguous");
    let mut parts = parts.chunks_exact(outer * inner);
    let mut sum = parts.next().expect("at least one piece").to_vec();
    for part in parts {
        for (sum, value) in sum.iter_mut().zip(part) {
            *sum += value;
        }
    }
    tensor(sum, &[outer * inner])
}

/// Into how many equal pieces to cut so many rows: as many as `most`, if they keep
/// [`MIN_ROWS`] rows; else the fewest from 4 on, from which the backend gives each piece
/// to one thread; else 1.
fn pieces(rows: usize, most: usize) -> usize {
    let fits = |pieces: &usize| rows.is_multiple_of(*pieces);
    let large = (4..=most)
        .rev()
        .find(|pieces| fits(pieces) && rows / pieces >= MIN_ROWS);
    large.or_else(|| (4..=most).find(fits)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::pieces;

    #[test]
    fn pieces_are_equal_and_not_too_small() {
        assert_eq!(pieces(16 * 112 * 112, 64), 64);
        assert_eq!(pieces(16 * 7 * 7, 64), 4); // 196 rows: still four threads
        assert_eq!(pieces(32 * 7 * 7, 64), 4);
        assert_eq!(pieces(32 * 14 * 14, 8), 8);
        assert_eq!(pieces(3, 64), 1);
        for rows in 1..5000 {
            assert!(rows % pieces(rows, 64) == 0, "{rows}");
        }
    }
}
