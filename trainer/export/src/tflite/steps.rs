//! The bytes of a `.tflite` as tensors and steps, checked, still without a meaning.

use super::schema::{IDENTIFIER, VERSION, slot};
use crate::flatbuffer::TableRef;

type Read<T> = Result<T, String>;

/// A tensor with its content, if it is a constant.
pub(super) struct TensorView<'a> {
    pub name: &'a str,
    pub shape: Vec<usize>,
    pub kind: i8,
    pub data: &'a [u8],
    pub scales: Vec<f32>,
    pub zero_points: Vec<i64>,
    pub dimension: i32,
}

/// An operator with its tensors and options.
pub(super) struct StepView<'a> {
    pub operator: i32,
    pub inputs: Vec<usize>,
    pub output: usize,
    pub options: TableRef<'a>,
}

/// A model's only subgraph.
pub(super) struct ModelView<'a> {
    pub description: &'a str,
    pub tensors: Vec<TensorView<'a>>,
    pub steps: Vec<StepView<'a>>,
    pub input: usize,
    pub output: usize,
    /// Buffers with names: name, content.
    pub metadata: Vec<(&'a str, &'a [u8])>,
}

impl<'a> ModelView<'a> {
    pub fn read(bytes: &'a [u8]) -> Read<Self> {
        let model = TableRef::root(bytes, IDENTIFIER)?;
        if model.u32(slot::model::VERSION, 0)? != VERSION {
            return Err("another version of the schema".to_owned());
        }
        let buffers = model.tables(slot::model::BUFFERS)?;
        let buffers: Vec<&[u8]> = buffers
            .iter()
            .map(|buffer| buffer.bytes(slot::ONLY))
            .collect::<Read<_>>()?;
        let codes = model.tables(slot::model::OPERATOR_CODES)?;
        let codes: Vec<i32> = codes
            .iter()
            .map(|code| code.i32(slot::code::BUILTIN, 0))
            .collect::<Read<_>>()?;
        let subgraphs = model.tables(slot::model::SUBGRAPHS)?;
        let [subgraph] = &subgraphs[..] else {
            return Err(format!("{} subgraphs", subgraphs.len()));
        };
        let tensors = subgraph.tables(slot::subgraph::TENSORS)?;
        let tensors: Vec<_> = tensors
            .iter()
            .map(|tensor| TensorView::read(tensor, &buffers))
            .collect::<Read<_>>()?;
        let steps = subgraph.tables(slot::subgraph::OPERATORS)?;
        let steps = steps
            .iter()
            .map(|step| StepView::read(step, &codes, tensors.len()))
            .collect::<Read<_>>()?;
        let metadata = model.tables(slot::model::METADATA)?;
        let metadata = metadata.iter().map(|entry| {
            let buffer = buffers.get(entry.u32(1, 0)? as usize);
            Ok((entry.str(0)?, *buffer.ok_or("metadata without a buffer")?))
        });
        Ok(Self {
            description: model.str(slot::model::DESCRIPTION)?,
            input: only(&subgraph.i32s(slot::subgraph::INPUTS)?, tensors.len())?,
            output: only(&subgraph.i32s(slot::subgraph::OUTPUTS)?, tensors.len())?,
            metadata: metadata.collect::<Read<_>>()?,
            tensors,
            steps,
        })
    }
}

impl<'a> TensorView<'a> {
    fn read(table: &TableRef<'a>, buffers: &[&'a [u8]]) -> Read<Self> {
        let buffer = table.u32(slot::tensor::BUFFER, 0)? as usize;
        let data = buffers.get(buffer).ok_or("a tensor without a buffer")?;
        let mut tensor = Self {
            name: table.str(slot::tensor::NAME)?,
            shape: Vec::new(),
            kind: table.i8(slot::tensor::KIND, 0)?,
            data,
            scales: Vec::new(),
            zero_points: Vec::new(),
            dimension: 0,
        };
        let shape = table.i32s(slot::tensor::SHAPE)?;
        let shape: Result<_, _> = shape.iter().map(|&size| usize::try_from(size)).collect();
        tensor.shape = shape.map_err(|_| format!("{} has a shape below 0", tensor.name))?;
        if let Ok(quantization) = table.table(slot::tensor::QUANTIZATION) {
            tensor.scales = quantization.f32s(slot::quantization::SCALE)?;
            tensor.zero_points = quantization.i64s(slot::quantization::ZERO_POINT)?;
            tensor.dimension = quantization.i32(slot::quantization::DIMENSION, 0)?;
        }
        Ok(tensor)
    }

    /// The content of a constant of this kind, which must have as many values as its
    /// shape says.
    pub fn content<const N: usize>(&self, kind: i8) -> Read<&'a [[u8; N]]> {
        let (values, rest) = self.data.as_chunks::<N>();
        let size = |size: usize, &axis: &usize| size.checked_mul(axis);
        let expected = self.shape.iter().try_fold(1_usize, size);
        if self.kind != kind || !rest.is_empty() || expected != Some(values.len()) {
            return Err(format!(
                "{} is no constant of its shape and type",
                self.name
            ));
        }
        Ok(values)
    }
}

impl<'a> StepView<'a> {
    fn read(table: &TableRef<'a>, codes: &[i32], num_tensors: usize) -> Read<Self> {
        let code = table.u32(slot::step::CODE, 0)? as usize;
        let inputs = table.i32s(slot::step::INPUTS)?;
        let inputs = inputs.iter().map(|&input| index(input, num_tensors));
        Ok(Self {
            operator: *codes.get(code).ok_or("a step without an operator")?,
            inputs: inputs.collect::<Read<_>>()?,
            output: only(&table.i32s(slot::step::OUTPUTS)?, num_tensors)?,
            options: table.table(slot::step::OPTIONS)?,
        })
    }

    /// The tensor at a place among the inputs.
    pub fn input(&self, at: usize) -> Read<usize> {
        let input = self.inputs.get(at).copied();
        input.ok_or_else(|| format!("a step without input {at}"))
    }
}

fn only(tensors: &[i32], num_tensors: usize) -> Read<usize> {
    match tensors {
        [tensor] => index(*tensor, num_tensors),
        _ => Err(format!("{} tensors where one is expected", tensors.len())),
    }
}

fn index(tensor: i32, num_tensors: usize) -> Read<usize> {
    let index = usize::try_from(tensor)
        .ok()
        .filter(|&index| index < num_tensors);
    index.ok_or_else(|| format!("no tensor {tensor}"))
}
