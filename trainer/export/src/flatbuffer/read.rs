//! Tables out of bytes that may be anything: every offset is checked before it is
//! followed, so a damaged file is an error and never a panic.

type Read<T> = Result<T, String>;

/// A table in a buffer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TableRef<'a> {
    bytes: &'a [u8],
    at: usize,
    vtable: usize,
    vtable_bytes: usize,
}

impl<'a> TableRef<'a> {
    /// The root of a buffer with this identifier.
    pub fn root(bytes: &'a [u8], identifier: [u8; 4]) -> Read<Self> {
        if bytes.get(4..8) != Some(&identifier) {
            return Err(format!("not a {} file", identifier.escape_ascii()));
        }
        Self::at(bytes, offset(bytes, 0)?)
    }

    fn at(bytes: &'a [u8], at: usize) -> Read<Self> {
        let back = i32::from_le_bytes(array(bytes, at)?);
        let vtable = i64::try_from(at).ok().map(|at| at - i64::from(back));
        let vtable = vtable.and_then(|place| usize::try_from(place).ok());
        let vtable = vtable.ok_or_else(|| format!("a table at {at} without fields"))?;
        let vtable_bytes = usize::from(u16::from_le_bytes(array(bytes, vtable)?));
        if vtable_bytes < 4 || vtable + vtable_bytes > bytes.len() {
            return Err(format!("the list of fields at {vtable} is cut off"));
        }
        Ok(Self {
            bytes,
            at,
            vtable,
            vtable_bytes,
        })
    }

    pub fn i8(&self, slot: u16, default: i8) -> Read<i8> {
        self.scalar(slot, i8::from_le_bytes, default)
    }

    pub fn i32(&self, slot: u16, default: i32) -> Read<i32> {
        self.scalar(slot, i32::from_le_bytes, default)
    }

    pub fn u32(&self, slot: u16, default: u32) -> Read<u32> {
        self.scalar(slot, u32::from_le_bytes, default)
    }

    /// The table in a field that must be there.
    pub fn table(&self, slot: u16) -> Read<Self> {
        let at = self.target(slot)?;
        Self::at(
            self.bytes,
            at.ok_or_else(|| format!("field {slot} is missing"))?,
        )
    }

    pub fn str(&self, slot: u16) -> Read<&'a str> {
        let bytes = self.elements(slot, 1)?;
        std::str::from_utf8(bytes).map_err(|_| format!("field {slot} is no text"))
    }

    /// An absent vector is an empty one, here and below.
    pub fn bytes(&self, slot: u16) -> Read<&'a [u8]> {
        self.elements(slot, 1)
    }

    pub fn i32s(&self, slot: u16) -> Read<Vec<i32>> {
        let (values, _) = self.elements(slot, 4)?.as_chunks();
        Ok(values
            .iter()
            .map(|&value| i32::from_le_bytes(value))
            .collect())
    }

    pub fn i64s(&self, slot: u16) -> Read<Vec<i64>> {
        let (values, _) = self.elements(slot, 8)?.as_chunks();
        Ok(values
            .iter()
            .map(|&value| i64::from_le_bytes(value))
            .collect())
    }

    pub fn f32s(&self, slot: u16) -> Read<Vec<f32>> {
        let (values, _) = self.elements(slot, 4)?.as_chunks();
        Ok(values
            .iter()
            .map(|&value| f32::from_le_bytes(value))
            .collect())
    }

    pub fn tables(&self, slot: u16) -> Read<Vec<Self>> {
        let num_tables = self.elements(slot, 4)?.len() / 4;
        let Some(at) = self.target(slot)? else {
            return Ok(Vec::new());
        };
        let table = |index: usize| Self::at(self.bytes, offset(self.bytes, at + 4 + 4 * index)?);
        (0..num_tables).map(table).collect()
    }

    /// The place of a field, if the table has it.
    fn place(&self, slot: u16) -> Read<Option<usize>> {
        let entry = 4 + 2 * usize::from(slot);
        if entry + 2 > self.vtable_bytes {
            return Ok(None);
        }
        let offset = u16::from_le_bytes(array(self.bytes, self.vtable + entry)?);
        Ok((offset != 0).then(|| self.at + usize::from(offset)))
    }

    fn scalar<T, const N: usize>(
        &self,
        slot: u16,
        parse: impl Fn([u8; N]) -> T,
        default: T,
    ) -> Read<T> {
        match self.place(slot)? {
            Some(place) => Ok(parse(array(self.bytes, place)?)),
            None => Ok(default),
        }
    }

    fn target(&self, slot: u16) -> Read<Option<usize>> {
        let place = self.place(slot)?;
        place.map(|place| offset(self.bytes, place)).transpose()
    }

    fn elements(&self, slot: u16, element_bytes: usize) -> Read<&'a [u8]> {
        let Some(at) = self.target(slot)? else {
            return Ok(&[]);
        };
        let len = u32::from_le_bytes(array(self.bytes, at)?) as usize;
        let end = len
            .checked_mul(element_bytes)
            .and_then(|n| n.checked_add(at + 4));
        let elements = end.and_then(|end| self.bytes.get(at + 4..end));
        elements.ok_or_else(|| format!("field {slot}, {len} elements at {at}, is cut off"))
    }
}

/// The place that the offset at `place` points to.
fn offset(bytes: &[u8], place: usize) -> Read<usize> {
    Ok(place + u32::from_le_bytes(array(bytes, place)?) as usize)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Read<[u8; N]> {
    let slice = at.checked_add(N).and_then(|end| bytes.get(at..end));
    let array = slice.and_then(|slice| slice.try_into().ok());
    array.ok_or_else(|| format!("the file ends before byte {at}"))
}
