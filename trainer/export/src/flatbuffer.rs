//! FlatBuffers without generated code: tables are built as trees of numbered fields and
//! read by field number with every offset checked. Written by hand because generated
//! code needs `unsafe`, and because weights must lie at multiples of 16 bytes, which the
//! `flatbuffers` crate cannot ask for. Format: google/flatbuffers `docs/source/internals.md`.

use std::collections::BTreeMap;

mod read;
pub(crate) use read::TableRef;

/// Where the bytes of a `[ubyte]` lie: TFLite's `force_align: 16`.
const BYTES_ALIGNMENT: usize = 16;

/// A value of a field.
#[derive(Debug, Clone)]
pub(crate) enum Field {
    I8(i8),
    U8(u8),
    Bool(bool),
    I32(i32),
    U32(u32),
    F32(f32),
    Str(String),
    Bytes(Vec<u8>),
    I32s(Vec<i32>),
    I64s(Vec<i64>),
    F32s(Vec<f32>),
    Table(Table),
    Tables(Vec<Table>),
}

/// Vectors that are written once, at the end, and who points to them. These are the zero
/// points of channels, all 0: each by itself would make an int8 model larger by 6 %.
type Shared = BTreeMap<Vec<i64>, Vec<usize>>;

/// A table: numbers of fields and their values.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    fields: Vec<(u16, Field)>,
}

impl Table {
    pub fn new() -> Self {
        Self::default()
    }

    /// With field number `slot`; each is given once.
    pub fn with(mut self, slot: u16, field: Field) -> Self {
        self.fields.push((slot, field));
        self
    }

    pub fn str(self, slot: u16, text: &str) -> Self {
        self.with(slot, Field::Str(text.to_owned()))
    }

    /// The buffer whose root is this table.
    pub fn finish(self, identifier: [u8; 4]) -> Vec<u8> {
        let mut bytes = vec![0; 4];
        bytes.extend(identifier);
        let mut shared = Shared::new();
        self.write(&mut bytes, 0, &mut shared);
        for (values, places) in shared {
            let first = places.first().copied().unwrap_or_default();
            vector(&mut bytes, first, values.len(), 8);
            let target = bytes.len() - 4;
            for place in places {
                point(&mut bytes, place, target);
            }
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
        bytes.resize(bytes.len().next_multiple_of(BYTES_ALIGNMENT), 0);
        bytes
    }

    /// Appends the table and all below it, and makes the offset at `place` point to it.
    fn write(mut self, bytes: &mut Vec<u8>, place: usize, shared: &mut Shared) {
        // Fields of four bytes first, so that none needs a gap.
        self.fields
            .sort_by_key(|(slot, field)| (field.is_small(), *slot));
        let num_slots = self.fields.iter().map(|(slot, _)| *slot + 1).max();
        let mut offsets = vec![0_u16; usize::from(num_slots.unwrap_or(0))];
        let mut size = 4_u16;
        for (slot, field) in &self.fields {
            offsets[usize::from(*slot)] = size;
            size += if field.is_small() { 1 } else { 4 };
        }
        let vtable_bytes = 4 + 2 * offsets.len();
        align(bytes, vtable_bytes, 4);
        bytes.extend((vtable_bytes as u16).to_le_bytes());
        bytes.extend(size.to_le_bytes());
        bytes.extend(offsets.iter().flat_map(|offset| offset.to_le_bytes()));
        let table = bytes.len();
        point(bytes, place, table);
        bytes.extend((vtable_bytes as i32).to_le_bytes());
        let mut below = Vec::new();
        for (_, field) in self.fields {
            let place = bytes.len();
            if let Some(field) = field.write_inline(bytes) {
                below.push((place, field));
            }
        }
        for (place, field) in below {
            field.write_below(bytes, place, shared);
        }
    }
}

impl Field {
    fn is_small(&self) -> bool {
        matches!(self, Self::I8(_) | Self::U8(_) | Self::Bool(_))
    }

    /// Appends what stands in the table itself; gives the field back if that is only an
    /// offset, still to be filled in.
    fn write_inline(self, bytes: &mut Vec<u8>) -> Option<Self> {
        match self {
            Self::I8(value) => bytes.extend(value.to_le_bytes()),
            Self::U8(value) => bytes.push(value),
            Self::Bool(value) => bytes.push(u8::from(value)),
            Self::I32(value) => bytes.extend(value.to_le_bytes()),
            Self::U32(value) => bytes.extend(value.to_le_bytes()),
            Self::F32(value) => bytes.extend(value.to_le_bytes()),
            other => {
                bytes.extend([0; 4]);
                return Some(other);
            }
        }
        None
    }

    /// Appends what the offset at `place` shall point to.
    fn write_below(self, bytes: &mut Vec<u8>, place: usize, shared: &mut Shared) {
        match self {
            Self::Str(text) => {
                vector(bytes, place, text.len(), 4);
                bytes.extend(text.as_bytes());
                bytes.push(0);
            }
            Self::Bytes(values) => {
                vector(bytes, place, values.len(), BYTES_ALIGNMENT);
                bytes.extend(values);
            }
            Self::I32s(values) => {
                vector(bytes, place, values.len(), 4);
                bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            }
            Self::I64s(values) => shared.entry(values).or_default().push(place),
            Self::F32s(values) => {
                vector(bytes, place, values.len(), 4);
                bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            }
            Self::Table(table) => table.write(bytes, place, shared),
            Self::Tables(tables) => {
                vector(bytes, place, tables.len(), 4);
                let first = bytes.len();
                bytes.resize(first + 4 * tables.len(), 0);
                for (at, table) in tables.into_iter().enumerate() {
                    table.write(bytes, first + 4 * at, shared);
                }
            }
            // Written inline, never handed here.
            Self::I8(_) | Self::U8(_) | Self::Bool(_) => {}
            Self::I32(_) | Self::U32(_) | Self::F32(_) => {}
        }
    }
}

/// Begins a vector whose elements lie at multiples of `alignment`.
fn vector(bytes: &mut Vec<u8>, place: usize, len: usize, alignment: usize) {
    align(bytes, 4, alignment);
    let target = bytes.len();
    point(bytes, place, target);
    bytes.extend((len as u32).to_le_bytes());
}

/// Fills up so that what comes after `ahead` more bytes is aligned.
fn align(bytes: &mut Vec<u8>, ahead: usize, alignment: usize) {
    let end = (bytes.len() + ahead).next_multiple_of(alignment);
    bytes.resize(end - ahead, 0);
}

fn point(bytes: &mut [u8], place: usize, target: usize) {
    let offset = ((target - place) as u32).to_le_bytes();
    bytes[place..place + 4].copy_from_slice(&offset);
}
