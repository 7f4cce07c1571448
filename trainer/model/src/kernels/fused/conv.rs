//! A convolution of channels-last photos, by the way that suits it: 1x1 is a product of
//! matrices, depthwise has its own loops, all others gather their windows first.

use burn_dispatch::backends::flex::FlexTensor;

use super::columns::Columns;
use super::depthwise::Depthwise;
use super::{matrix, values};
use crate::plan::ConvShape;

/// A convolution and what it is applied to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub conv: ConvShape,
    pub photos: usize,
    /// Rows of the input.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
}

impl Shape {
    pub(super) fn output_sides(&self) -> [usize; 2] {
        [self.height, self.width].map(|side| self.conv.out_side(side))
    }

    pub(super) fn input(&self) -> [usize; 4] {
        [self.photos, self.height, self.width, self.conv.in_channels]
    }

    pub(super) fn output(&self) -> [usize; 4] {
        let [height, width] = self.output_sides();
        [self.photos, height, width, self.conv.out_channels]
    }

    /// Pixels of all photos, for convolutions that keep them.
    fn rows(&self) -> usize {
        self.photos * self.height * self.width
    }
}

/// A convolution with its weights in the order that its way wants.
pub(super) enum Convolution<'a> {
    Pointwise(Shape, &'a FlexTensor),
    Depthwise(Depthwise),
    Columns(Columns),
}

impl<'a> Convolution<'a> {
    /// `weights` are OIHW, flat.
    pub(super) fn new(shape: Shape, weights: &'a FlexTensor) -> Self {
        match shape.conv {
            ConvShape {
                depthwise: true, ..
            } => Self::Depthwise(Depthwise::new(shape, values(weights))),
            ConvShape {
                kernel: 1,
                stride: 1,
                ..
            } => Self::Pointwise(shape, weights),
            _ => Self::Columns(Columns::new(shape, values(weights))),
        }
    }

    pub(super) fn forward(&self, input: &FlexTensor) -> FlexTensor {
        match self {
            Self::Pointwise(shape, weights) => {
                let ConvShape {
                    in_channels,
                    out_channels,
                    ..
                } = shape.conv;
                let sizes = [shape.rows(), in_channels, out_channels];
                matrix::product(input, weights, sizes, true).reshape(shape.output().into())
            }
            Self::Depthwise(depthwise) => depthwise.forward(values(input)),
            Self::Columns(columns) => columns.forward(values(input)),
        }
    }

    /// The gradient of the input from that of the output.
    pub(super) fn input_gradient(&self, gradient: &FlexTensor) -> FlexTensor {
        match self {
            Self::Pointwise(shape, weights) => {
                let ConvShape {
                    in_channels,
                    out_channels,
                    ..
                } = shape.conv;
                let sizes = [shape.rows(), out_channels, in_channels];
                matrix::product(gradient, weights, sizes, false).reshape(shape.input().into())
            }
            Self::Depthwise(depthwise) => depthwise.input_gradient(values(gradient)),
            Self::Columns(columns) => columns.input_gradient(values(gradient)),
        }
    }

    /// The gradient of the weights: OIHW, flat.
    pub(super) fn weight_gradient(&self, input: &FlexTensor, gradient: &FlexTensor) -> FlexTensor {
        match self {
            Self::Pointwise(shape, _) => {
                let ConvShape {
                    in_channels,
                    out_channels,
                    ..
                } = shape.conv;
                let sizes = [shape.rows(), out_channels, in_channels];
                matrix::transposed_product(gradient, input, sizes)
            }
            Self::Depthwise(depthwise) => {
                depthwise.weight_gradient(values(input), values(gradient))
            }
            Self::Columns(columns) => columns.weight_gradient(values(input), values(gradient)),
        }
    }
}
