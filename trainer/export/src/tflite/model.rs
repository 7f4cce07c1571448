//! The tables of a TFLite model while they grow: buffers, tensors, operators.

use super::schema::{IDENTIFIER, VERSION, slot};
use crate::flatbuffer::{Field, Table};

/// A tensor's description.
pub(super) struct Tensor<'a> {
    pub name: &'a str,
    pub shape: &'a [usize],
    /// One of [`super::schema::kind`].
    pub kind: i8,
    /// The content of a constant.
    pub data: Option<Vec<u8>>,
    pub quantization: Option<Quantization>,
}

/// One scale, or one per place of `dimension`.
pub(super) struct Quantization {
    pub scales: Vec<f32>,
    pub zero_points: Vec<i64>,
    pub dimension: i32,
}

/// A model that is being built.
pub(super) struct ModelBuilder {
    /// Buffer 0 is empty: the one of tensors without content.
    buffers: Vec<Vec<u8>>,
    tensors: Vec<Table>,
    /// Operator and version.
    codes: Vec<(i32, i32)>,
    operators: Vec<Table>,
    metadata: Vec<Table>,
}

impl ModelBuilder {
    pub fn new() -> Self {
        Self {
            buffers: vec![Vec::new()],
            tensors: Vec::new(),
            codes: Vec::new(),
            operators: Vec::new(),
            metadata: Vec::new(),
        }
    }

    /// Adds a tensor and returns its index.
    pub fn tensor(&mut self, tensor: Tensor<'_>) -> i32 {
        let shape = tensor.shape.iter().map(|&size| size as i32).collect();
        let buffer = tensor.data.map_or(0, |data| self.buffer(data));
        let mut table = Table::new()
            .with(slot::tensor::SHAPE, Field::I32s(shape))
            .with(slot::tensor::KIND, Field::I8(tensor.kind))
            .with(slot::tensor::BUFFER, Field::U32(buffer))
            .str(slot::tensor::NAME, tensor.name);
        if let Some(quantization) = tensor.quantization {
            let parameters = Table::new()
                .with(slot::quantization::SCALE, Field::F32s(quantization.scales))
                .with(
                    slot::quantization::ZERO_POINT,
                    Field::I64s(quantization.zero_points),
                )
                .with(
                    slot::quantization::DIMENSION,
                    Field::I32(quantization.dimension),
                );
            table = table.with(slot::tensor::QUANTIZATION, Field::Table(parameters));
        }
        self.tensors.push(table);
        (self.tensors.len() - 1) as i32
    }

    fn buffer(&mut self, data: Vec<u8>) -> u32 {
        self.buffers.push(data);
        (self.buffers.len() - 1) as u32
    }

    /// Adds a step of `operator`, of the version that its numbers need.
    pub fn operator(
        &mut self,
        operator: (i32, i32),
        inputs: &[i32],
        output: i32,
        (options_kind, options): (u8, Table),
    ) {
        let known = self.codes.iter().position(|code| *code == operator);
        let code = known.unwrap_or_else(|| {
            self.codes.push(operator);
            self.codes.len() - 1
        });
        self.operators.push(
            Table::new()
                .with(slot::step::CODE, Field::U32(code as u32))
                .with(slot::step::INPUTS, Field::I32s(inputs.to_vec()))
                .with(slot::step::OUTPUTS, Field::I32s(vec![output]))
                .with(slot::step::OPTIONS_KIND, Field::U8(options_kind))
                .with(slot::step::OPTIONS, Field::Table(options)),
        );
    }

    /// Adds a named buffer for readers other than the interpreter.
    pub fn metadata(&mut self, name: &str, data: Vec<u8>) {
        let buffer = self.buffer(data);
        self.metadata
            .push(Table::new().str(0, name).with(1, Field::U32(buffer)));
    }

    /// The file, with `input` and `output` under the signature `serving_default`.
    pub fn finish(self, description: &str, input: (&str, i32), output: (&str, i32)) -> Vec<u8> {
        let code = |&(operator, version): &(i32, i32)| {
            Table::new()
                .with(slot::code::OLD, Field::I8(operator as i8))
                .with(slot::code::VERSION, Field::I32(version))
                .with(slot::code::BUILTIN, Field::I32(operator))
        };
        let named = |(name, tensor): (&str, i32)| {
            Field::Tables(vec![
                Table::new().str(0, name).with(1, Field::U32(tensor as u32)),
            ])
        };
        let signature = Table::new()
            .with(0, named(input))
            .with(1, named(output))
            .str(2, "serving_default")
            .with(4, Field::U32(0));
        let subgraph = Table::new()
            .with(slot::subgraph::TENSORS, Field::Tables(self.tensors))
            .with(slot::subgraph::INPUTS, Field::I32s(vec![input.1]))
            .with(slot::subgraph::OUTPUTS, Field::I32s(vec![output.1]))
            .with(slot::subgraph::OPERATORS, Field::Tables(self.operators))
            .str(slot::subgraph::NAME, "main");
        let buffer = |data: Vec<u8>| {
            let table = Table::new();
            if data.is_empty() {
                return table;
            }
            table.with(slot::ONLY, Field::Bytes(data))
        };
        Table::new()
            .with(slot::model::VERSION, Field::U32(VERSION))
            .with(
                slot::model::OPERATOR_CODES,
                Field::Tables(self.codes.iter().map(code).collect()),
            )
            .with(slot::model::SUBGRAPHS, Field::Tables(vec![subgraph]))
            .str(slot::model::DESCRIPTION, description)
            .with(
                slot::model::BUFFERS,
                Field::Tables(self.buffers.into_iter().map(buffer).collect()),
            )
            .with(slot::model::METADATA, Field::Tables(self.metadata))
            .with(slot::model::SIGNATURES, Field::Tables(vec![signature]))
            .finish(IDENTIFIER)
    }
}
