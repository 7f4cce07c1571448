//! PyTorch's `.pth` files: a zip of a pickle and one record per storage (since 1.6), or
//! pickles followed by the storages (before). Comes in: the bytes. Goes out: the float
//! tensors of the state dictionary, alone or wrapped as `{"state_dict": ...}`, strides
//! honoured; whole numbers (`num_batches_tracked`) are left out.

use std::collections::{BTreeMap, HashMap};

use super::number::Number;
use super::pickle::{self, Pickle, Value, View};
use super::{MAX_FILE_BYTES, Tensor, Weights, WeightsError};

mod zip;

/// What the old format begins with: a pickle of the number 0x1950a86a20f9469cfc6c.
const OLD_MAGIC: [u8; 15] = *b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";

/// Whether these are the first bytes of such a file.
pub(super) fn is_pytorch(bytes: &[u8]) -> bool {
    bytes.starts_with(zip::MAGIC) || bytes.starts_with(&OLD_MAGIC)
}

pub(super) fn read(bytes: &[u8]) -> Result<Weights, WeightsError> {
    let read = if bytes.starts_with(zip::MAGIC) {
        read_new(bytes)
    } else {
        read_old(bytes)
    };
    read.map_err(|fault| WeightsError::Format {
        format: "PyTorch",
        fault,
    })
}

fn read_new(bytes: &[u8]) -> Result<Weights, String> {
    let records = zip::records(bytes)?;
    let main = records
        .keys()
        .find(|name| name.ends_with("/data.pkl"))
        .ok_or("the zip has no data.pkl; is this a TorchScript or another archive?")?;
    let prefix = main.strip_suffix("data.pkl").expect("it was found by it");
    if let Some(order) = records.get(&format!("{prefix}byteorder"))
        && order.trim_ascii() != b"little"
    {
        return Err("its numbers are big-endian".to_owned());
    }
    let pickle = pickle::read(&mut &records[main][..])?;
    weights(&pickle, |key| {
        records.get(&format!("{prefix}data/{key}")).copied()
    })
}

fn read_old(bytes: &[u8]) -> Result<Weights, String> {
    let mut rest = bytes;
    for _magic_version_machine in 0..3 {
        skip_pickle(&mut rest)?;
    }
    let pickle = pickle::read(&mut rest)?;
    let keys = pickle::read(&mut rest)?;
    let Value::Sequence(ids) = &keys.values[keys.root] else {
        return Err("the list of storages is missing".to_owned());
    };
    let sizes: HashMap<&str, usize> = pickle
        .values
        .iter()
        .filter_map(|value| match value {
            Value::Storage(storage) => Some((&*storage.key, storage.size_bytes)),
            _ => None,
        })
        .collect();
    let mut storages = HashMap::new();
    for &id in ids {
        let Value::Text(key) = &keys.values[id] else {
            return Err("a storage without a name".to_owned());
        };
        let size_bytes = sizes
            .get(&**key)
            .ok_or_else(|| format!("storage {key} belongs to no tensor"))?;
        let cut = || format!("storage {key} goes beyond the file's end");
        let (length, data) = rest.split_first_chunk().ok_or_else(cut)?;
        let num_bytes = usize::try_from(i64::from_le_bytes(*length))
            .ok()
            .and_then(|n| n.checked_mul(*size_bytes))
            .ok_or_else(cut)?;
        let (data, behind) = data.split_at_checked(num_bytes).ok_or_else(cut)?;
        storages.insert(key.clone(), data);
        rest = behind;
    }
    weights(&pickle, |key| storages.get(key).copied())
}

fn skip_pickle(rest: &mut &[u8]) -> Result<(), String> {
    pickle::read(rest).map(drop)
}

/// The tensors of a pickle, their numbers fetched by the key of their storage.
fn weights<'a>(
    pickle: &Pickle,
    storage: impl Fn(&str) -> Option<&'a [u8]>,
) -> Result<Weights, String> {
    let mut entries = dict(pickle, pickle.root).ok_or("its content is no dictionary")?;
    for wrapper in ["state_dict", "model"] {
        if let Some(&(_, inner)) = entries.iter().find(|(key, _)| *key == wrapper) {
            entries = dict(pickle, inner).ok_or(format!("its {wrapper} is no dictionary"))?;
            break;
        }
    }
    let mut left = MAX_FILE_BYTES as usize / size_of::<f32>();
    let mut tensors = BTreeMap::new();
    for (name, id) in entries {
        let Value::Tensor(view) = &pickle.values[id] else {
            return Err(format!("entry {name} is no tensor"));
        };
        let Some(number) = view.storage.number else {
            continue;
        };
        let fault = |fault: &str| format!("tensor {name} of shape {:?}: {fault}", view.shape);
        let data = storage(&view.storage.key).ok_or_else(|| fault("its numbers are missing"))?;
        let num_values = check(view, number, data).map_err(fault)?;
        left = left
            .checked_sub(num_values)
            .ok_or("its tensors have more than 1 GiB together")?;
        // Training on several GPUs puts this before each name.
        let name = name.strip_prefix("module.").unwrap_or(name).to_owned();
        tensors.insert(name, tensor(view, number, data, num_values));
    }
    Ok(Weights { tensors })
}

fn dict(pickle: &Pickle, id: pickle::Id) -> Option<Vec<(&str, pickle::Id)>> {
    let Value::Dict(entries) = &pickle.values[id] else {
        return None;
    };
    let named = entries.iter().filter_map(|&(key, value)| {
        if let Value::Text(key) = &pickle.values[key] {
            Some((key.as_str(), value))
        } else {
            None
        }
    });
    Some(named.collect())
}

/// How many values the view has, if all of them lie inside `data`.
fn check(view: &View, number: Number, data: &[u8]) -> Result<usize, &'static str> {
    let stored = data.len() / number.size_bytes();
    if view.storage.num_values > stored {
        return Err("its storage is shorter than it says");
    }
    if view.shape.len() != view.strides.len() {
        return Err("it has another number of strides");
    }
    let num_values = view
        .shape
        .iter()
        .try_fold(1usize, |product, &n| product.checked_mul(n))
        .ok_or("it is too large")?;
    if num_values == 0 {
        return Ok(0);
    }
    let last = view
        .shape
        .iter()
        .zip(&view.strides)
        .try_fold(view.offset, |last, (&n, &stride)| {
            last.checked_add((n - 1).checked_mul(stride)?)
        });
    // A view that repeats its storage could be any size; no state dictionary has one.
    if last.is_none_or(|last| last >= stored) || num_values > stored {
        return Err("it goes beyond its storage");
    }
    Ok(num_values)
}

/// The numbers of a checked view, row-major.
fn tensor(view: &View, number: Number, data: &[u8], num_values: usize) -> Tensor {
    let size = number.size_bytes();
    let mut values = Vec::with_capacity(num_values);
    let mut index = vec![0; view.shape.len()];
    let mut place = view.offset;
    while values.len() < num_values {
        values.push(number.value(&data[place * size..]));
        for axis in (0..index.len()).rev() {
            index[axis] += 1;
            place += view.strides[axis];
            if index[axis] < view.shape[axis] {
                break;
            }
            place -= index[axis] * view.strides[axis];
            index[axis] = 0;
        }
    }
    Tensor {
        shape: view.shape.clone(),
        values,
    }
}
