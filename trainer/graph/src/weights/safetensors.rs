//! The `.safetensors` format: eight bytes of length, a JSON header, raw numbers. Every
//! offset is checked as the format's specification asks: the tensors lie one behind the
//! other, without gap or overlap, to the end of the file.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use super::number::Number;
use super::{Tensor, Weights, WeightsError};

/// The limit of the reference implementation.
const MAX_HEADER_BYTES: usize = 100_000_000;

#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Tensor(TensorEntry),
    #[expect(
        dead_code,
        reason = "it is checked to be texts, and says nothing of the weights"
    )]
    Metadata(BTreeMap<String, String>),
}

#[derive(Serialize, Deserialize)]
struct TensorEntry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

pub(super) fn read(bytes: &[u8]) -> Result<Weights, WeightsError> {
    let (header, data) = split(bytes)?;
    let entries: BTreeMap<String, Entry> = serde_json::from_slice(header)
        .map_err(|error| fault(format!("its header is not the JSON expected: {error}")))?;
    let mut entries: Vec<(String, TensorEntry)> = entries
        .into_iter()
        .filter_map(|(name, entry)| match entry {
            Entry::Tensor(entry) => Some((name, entry)),
            Entry::Metadata(_) => None,
        })
        .collect();
    entries.sort_by_key(|(_, entry)| entry.data_offsets);

    let mut end = 0;
    let mut tensors = BTreeMap::new();
    for (name, entry) in entries {
        let [start, stop] = entry.data_offsets;
        if start != end || stop < start || stop > data.len() {
            return Err(fault(format!(
                "tensor {name} claims bytes {start} to {stop}, but the one before ends at {end} \
                 and the data at {}",
                data.len()
            )));
        }
        end = stop;
        // What counts batches is no weight; nothing here uses whole numbers.
        if let Some(number) = number(&name, &entry.dtype)? {
            let num_bytes = entry
                .shape
                .iter()
                .try_fold(number.size_bytes(), |product, &n| product.checked_mul(n));
            if num_bytes != Some(stop - start) {
                return Err(fault(format!(
                    "tensor {name} of shape {:?} and type {} has {} bytes",
                    entry.shape,
                    entry.dtype,
                    stop - start
                )));
            }
            let values = number.values(&data[start..stop]);
            tensors.insert(
                name,
                Tensor {
                    shape: entry.shape,
                    values,
                },
            );
        }
    }
    if end != data.len() {
        return Err(fault(format!(
            "the tensors end at byte {end} of {}",
            data.len()
        )));
    }
    Ok(Weights { tensors })
}

/// The header and what follows it.
fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), WeightsError> {
    let (length, rest) = bytes
        .split_first_chunk()
        .ok_or_else(|| fault(format!("it has {} bytes", bytes.len())))?;
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
    if length > MAX_HEADER_BYTES || length > rest.len() {
        return Err(fault(format!(
            "a header of {length} bytes is announced, {} bytes follow",
            rest.len()
        )));
    }
    Ok(rest.split_at(length))
}

fn number(name: &str, dtype: &str) -> Result<Option<Number>, WeightsError> {
    Ok(match dtype {
        "F64" => Some(Number::F64),
        "F32" => Some(Number::F32),
        "F16" => Some(Number::F16),
        "BF16" => Some(Number::Bf16),
        "I64" | "U64" | "I32" | "U32" | "I16" | "U16" | "I8" | "U8" | "BOOL" => None,
        _ => {
            return Err(fault(format!(
                "tensor {name} has the unknown type {dtype:?}"
            )));
        }
    })
}

fn fault(fault: String) -> WeightsError {
    WeightsError::Format {
        format: "safetensors",
        fault,
    }
}

pub(super) fn write(
    weights: &Weights,
    out: &mut impl Write,
    metadata: &BTreeMap<String, String>,
) -> io::Result<()> {
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Written<'a> {
        Tensor(TensorEntry),
        Metadata(BTreeMap<&'a str, &'a str>),
    }
    let mut entries = BTreeMap::new();
    let mut about: BTreeMap<&str, &str> = metadata.iter().map(|(k, v)| (&**k, &**v)).collect();
    about.insert("format", "pt");
    entries.insert("__metadata__", Written::Metadata(about));
    let mut end = 0;
    for (name, tensor) in &weights.tensors {
        let start = end;
        end += 4 * tensor.values.len();
        let entry = TensorEntry {
            dtype: "F32".to_owned(),
            shape: tensor.shape.clone(),
            data_offsets: [start, end],
        };
        entries.insert(name, Written::Tensor(entry));
    }
    let mut header = serde_json::to_vec(&entries)?;
    // Numbers begin at a multiple of eight, so that readers can map the file.
    header.resize(header.len().next_multiple_of(8), b' ');
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    let mut piece = Vec::new();
    for tensor in weights.tensors.values() {
        for values in tensor.values.chunks(1 << 14) {
            piece.clear();
            piece.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            out.write_all(&piece)?;
        }
    }
    Ok(())
}
