//! The tensors of a file: activations, and weights in the numbers that are asked for.

use graph::{NodeId, Op, Shape};
use half::f16;

use super::{Stored, Writer};
use crate::int8::{IntConv, Quant};
use crate::tflite::model::{Quantization, Tensor};
use crate::tflite::schema::kind;
use crate::weights::to_hwo;

impl Writer<'_> {
    /// The tensor that a node computes.
    pub(super) fn activation(&mut self, id: NodeId, name: &str) -> i32 {
        let Shape {
            height,
            width,
            channels,
        } = self.network.shapes[id];
        let vector = matches!(
            self.network.graph.nodes[id].op,
            Op::GlobalAveragePool | Op::Linear(_)
        );
        match self.stored {
            Stored::Int8(int8) => {
                let quant = int8.nodes[id].quant;
                self.quantized(name, &[1, height, width, channels], kind::INT8, quant, None)
            }
            _ if vector => self.plain(name, &[1, channels], kind::FLOAT32, None),
            _ => self.plain(name, &[1, height, width, channels], kind::FLOAT32, None),
        }
    }

    pub(super) fn float_weights(
        &mut self,
        name: &str,
        shape: &[usize],
        weights: &[f32],
        bias: &[f32],
    ) -> [i32; 2] {
        let weight_name = format!("{name}.weight");
        let weights = if matches!(self.stored, Stored::Float16) {
            let bytes = weights.iter().flat_map(|&w| f16::from_f32(w).to_le_bytes());
            let bytes = Some(bytes.collect());
            let small = self.plain(
                &format!("{weight_name}.float16"),
                shape,
                kind::FLOAT16,
                bytes,
            );
            let wide = self.plain(&weight_name, shape, kind::FLOAT32, None);
            self.dequantize(small, wide, 3);
            wide
        } else {
            self.floats(&weight_name, shape, weights)
        };
        [
            weights,
            self.floats(&format!("{name}.bias"), &[bias.len()], bias),
        ]
    }

    pub(super) fn int_weights(
        &mut self,
        name: &str,
        conv: &IntConv,
        shape: [usize; 4],
        input: Quant,
    ) -> [i32; 2] {
        let depthwise = conv.groups > 1;
        let ordered = if depthwise {
            to_hwo(&conv.weights, conv.out_channels)
        } else {
            conv.weights.clone()
        };
        let zero_points = vec![0; conv.out_channels];
        let weights = self.builder.tensor(Tensor {
            name: &format!("{name}.weight"),
            shape: &shape,
            kind: kind::INT8,
            data: Some(ordered.iter().map(|&w| w as u8).collect()),
            quantization: Some(Quantization {
                scales: conv.scales.clone(),
                zero_points: zero_points.clone(),
                dimension: if depthwise { 3 } else { 0 },
            }),
        });
        let bias = self.builder.tensor(Tensor {
            name: &format!("{name}.bias"),
            shape: &[conv.out_channels],
            kind: kind::INT32,
            data: Some(conv.bias.iter().flat_map(|b| b.to_le_bytes()).collect()),
            quantization: Some(Quantization {
                scales: conv
                    .scales
                    .iter()
                    .map(|scale| scale * input.scale)
                    .collect(),
                zero_points,
                dimension: 0,
            }),
        });
        [weights, bias]
    }

    pub(super) fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) -> i32 {
        let bytes = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        self.plain(name, shape, kind::FLOAT32, Some(bytes))
    }

    pub(super) fn plain(
        &mut self,
        name: &str,
        shape: &[usize],
        kind: i8,
        data: Option<Vec<u8>>,
    ) -> i32 {
        self.builder.tensor(Tensor {
            name,
            shape,
            kind,
            data,
            quantization: None,
        })
    }

    pub(super) fn quantized(
        &mut self,
        name: &str,
        shape: &[usize],
        kind: i8,
        quant: Quant,
        data: Option<Vec<u8>>,
    ) -> i32 {
        self.builder.tensor(Tensor {
            name,
            shape,
            kind,
            data,
            quantization: Some(Quantization {
                scales: vec![quant.scale],
                zero_points: vec![i64::from(quant.zero_point)],
                dimension: 0,
            }),
        })
    }
}
