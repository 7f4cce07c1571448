//! The few opcodes of Python's pickle that a dictionary of tensors uses. Comes in: the
//! bytes of a pickle. Goes out: plain values. Nothing is imported or called: a global is
//! a name out of a closed list, and a call of one of these names builds a plain value.
//! All values lie in one list, so depth, repetition and cycles cost a hostile file
//! nothing but its own length.

use super::number::Number;

/// A place in [`Pickle::values`].
pub(super) type Id = usize;

/// Where a storage's numbers are, and what they are.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Storage {
    /// The name of its record.
    pub key: String,
    /// `None` for whole numbers, which are no weights.
    pub number: Option<Number>,
    /// Bytes of one number.
    pub size_bytes: usize,
    /// How many numbers the pickle says it has.
    pub num_values: usize,
}

/// A view of a storage.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct View {
    pub storage: Storage,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// None, a boolean, a float, a whole number too long: nothing that is looked at.
    Other,
    Int(i64),
    Text(String),
    /// A tuple or a list.
    Sequence(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Storage(Storage),
    Tensor(View),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(Option<Number>, usize),
}

/// A pickle's values.
pub(super) struct Pickle {
    pub values: Vec<Value>,
    pub root: Id,
}

/// Reads one pickle from the front of `bytes` and moves them behind it.
pub(super) fn read(bytes: &mut &[u8]) -> Result<Pickle, String> {
    let length = bytes.len();
    let mut machine = Machine {
        bytes,
        values: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: Vec::new(),
    };
    loop {
        let place = length - machine.bytes.len();
        let at = |fault| format!("pickle, byte {place}: {fault}");
        if let Some(root) = machine.step().map_err(at)? {
            return Ok(Pickle {
                values: machine.values,
                root,
            });
        }
    }
}

struct Machine<'a, 'b> {
    bytes: &'a mut &'b [u8],
    values: Vec<Value>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: Vec<Option<Id>>,
}

impl<'b> Machine<'_, 'b> {
    /// Does what the next opcode says; the result once it is STOP.
    fn step(&mut self) -> Result<Option<Id>, String> {
        let [opcode] = self.take()?;
        match opcode {
            0x80 => drop(self.take::<1>()?), // PROTO
            0x95 => drop(self.take::<8>()?), // FRAME
            b'.' => return self.pop().map(Some),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'N' | 0x88 | 0x89 => self.push(Value::Other),
            b'K' => {
                let [byte] = self.take()?;
                self.push(Value::Int(byte.into()));
            }
            b'M' => {
                let value = u16::from_le_bytes(self.take()?);
                self.push(Value::Int(value.into()));
            }
            b'J' => {
                let value = i32::from_le_bytes(self.take()?);
                self.push(Value::Int(value.into()));
            }
            0x8a => self.long()?,
            b'G' => {
                self.take::<8>()?;
                self.push(Value::Other);
            }
            b'X' => {
                let length = u32::from_le_bytes(self.take()?);
                self.text(length as usize)?;
            }
            0x8c => {
                let [length] = self.take()?;
                self.text(length.into())?;
            }
            b'c' => self.global()?,
            0x93 => self.stack_global()?,
            b')' | b']' => self.push(Value::Sequence(Vec::new())),
            b'}' => self.push(Value::Dict(Vec::new())),
            b't' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Sequence(items));
            }
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(opcode - 0x84))?;
                self.push(Value::Sequence(items));
            }
            b'a' => {
                let items = self.pop_many(1)?;
                self.append(items)?;
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.append(items)?;
            }
            b's' => {
                let items = self.pop_many(2)?;
                self.set_items(&items)?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.set_items(&items)?;
            }
            b'q' => {
                let [slot] = self.take()?;
                self.memorise(slot.into())?;
            }
            b'r' => {
                let slot = u32::from_le_bytes(self.take()?);
                self.memorise(slot as usize)?;
            }
            0x94 => self.memorise(self.memo.len())?,
            b'h' => {
                let [slot] = self.take()?;
                self.recall(slot.into())?;
            }
            b'j' => {
                let slot = u32::from_le_bytes(self.take()?);
                self.recall(slot as usize)?;
            }
            b'Q' => self.persistent()?,
            b'R' => self.call()?,
            // BUILD: attributes of a dictionary (`_metadata`) say nothing of the weights.
            b'b' => drop(self.pop()?),
            _ => {
                return Err(format!(
                    "opcode 0x{opcode:02x} has no place in a dictionary of tensors"
                ));
            }
        }
        Ok(None)
    }

    fn long(&mut self) -> Result<(), String> {
        let [length] = self.take()?;
        let digits = self.take_slice(length.into())?;
        let mut wide = [match digits.last() {
            Some(128..) => 0xff,
            _ => 0,
        }; 8];
        let value = if digits.len() <= 8 {
            wide[..digits.len()].copy_from_slice(digits);
            Value::Int(i64::from_le_bytes(wide))
        } else {
            Value::Other
        };
        self.push(value);
        Ok(())
    }

    fn text(&mut self, length: usize) -> Result<(), String> {
        let text = str::from_utf8(self.take_slice(length)?)
            .map_err(|_| "a text is not UTF-8".to_owned())?
            .to_owned();
        self.push(Value::Text(text));
        Ok(())
    }

    fn global(&mut self) -> Result<(), String> {
        let module = self.line()?;
        let name = self.line()?;
        let global = named(module, name)?;
        self.push(Value::Global(global));
        Ok(())
    }

    fn stack_global(&mut self) -> Result<(), String> {
        let [module, name] = self.pop_array()?;
        let (Value::Text(module), Value::Text(name)) = (&self.values[module], &self.values[name])
        else {
            return Err("a global without a name".to_owned());
        };
        let global = named(module, name)?;
        self.push(Value::Global(global));
        Ok(())
    }

    fn append(&mut self, items: Vec<Id>) -> Result<(), String> {
        match self.top()? {
            Value::Sequence(list) => list.extend(items),
            _ => return Err("something is appended to what is no list".to_owned()),
        }
        Ok(())
    }

    fn set_items(&mut self, items: &[Id]) -> Result<(), String> {
        match self.top()? {
            Value::Dict(entries) => {
                entries.extend(items.as_chunks().0.iter().map(|&[k, v]| (k, v)))
            }
            _ => return Err("an entry is set in what is no dictionary".to_owned()),
        }
        Ok(())
    }

    fn memorise(&mut self, slot: usize) -> Result<(), String> {
        let top = *self.stack.last().ok_or("the stack is empty")?;
        // Picklers number their memo from 0 up; more slots than values is no pickle.
        if slot > self.values.len() {
            return Err(format!("memo slot {slot} is out of order"));
        }
        if slot >= self.memo.len() {
            self.memo.resize(slot + 1, None);
        }
        self.memo[slot] = Some(top);
        Ok(())
    }

    fn recall(&mut self, slot: usize) -> Result<(), String> {
        let id = self.memo.get(slot).copied().flatten();
        self.stack
            .push(id.ok_or_else(|| format!("memo slot {slot} is empty"))?);
        Ok(())
    }

    /// BINPERSID with `('storage', type, key, location, number of values, ...)`.
    fn persistent(&mut self) -> Result<(), String> {
        let id = self.pop()?;
        let parts = self.sequence(id);
        let storage = match parts.as_slice() {
            [
                Value::Text(tag),
                Value::Global(Global::Storage(number, size_bytes)),
                Value::Text(key),
                _,
                Value::Int(n),
                ..,
            ] if tag == "storage" => Storage {
                key: key.clone(),
                number: *number,
                size_bytes: *size_bytes,
                num_values: usize::try_from(*n).map_err(|_| "a negative length")?,
            },
            _ => return Err("a reference to something other than a storage".to_owned()),
        };
        self.push(Value::Storage(storage));
        Ok(())
    }

    /// REDUCE of one of the known names.
    fn call(&mut self) -> Result<(), String> {
        let [function, arguments] = self.pop_array()?;
        let Value::Global(function) = self.values[function] else {
            return Err("a call of what is no known name".to_owned());
        };
        let first = match &self.values[arguments] {
            Value::Sequence(ids) => ids.first().copied(),
            _ => return Err("a call without arguments".to_owned()),
        };
        match (function, first) {
            (Global::OrderedDict, _) => self.push(Value::Dict(Vec::new())),
            // A parameter is its first argument, the tensor.
            (Global::RebuildParameter, Some(tensor)) => self.stack.push(tensor),
            (Global::RebuildTensor, Some(_)) => {
                let parts = self.sequence(arguments);
                let [
                    Value::Storage(storage),
                    Value::Int(offset),
                    Value::Sequence(shape),
                    Value::Sequence(strides),
                    ..,
                ] = parts.as_slice()
                else {
                    return Err("a tensor without storage, offset, shape and strides".to_owned());
                };
                let view = View {
                    storage: storage.clone(),
                    offset: usize::try_from(*offset).map_err(|_| "a negative offset")?,
                    shape: self.lengths(shape)?,
                    strides: self.lengths(strides)?,
                };
                self.push(Value::Tensor(view));
            }
            _ => return Err("a call with the wrong arguments".to_owned()),
        }
        Ok(())
    }

    /// Copies of the first eight items of a tuple, enough for every call there is.
    fn sequence(&self, id: Id) -> Vec<Value> {
        match &self.values[id] {
            Value::Sequence(ids) => ids
                .iter()
                .take(8)
                .map(|&id| self.values[id].clone())
                .collect(),
            _ => Vec::new(),
        }
    }

    fn lengths(&self, ids: &[Id]) -> Result<Vec<usize>, String> {
        let length = |&id: &Id| match self.values[id] {
            Value::Int(n) => usize::try_from(n).ok(),
            _ => None,
        };
        let lengths: Option<Vec<usize>> = ids.iter().map(length).collect();
        lengths.ok_or_else(|| "a shape or stride that is no list of lengths".to_owned())
    }

    fn push(&mut self, value: Value) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    fn top(&mut self) -> Result<&mut Value, String> {
        let top = *self.stack.last().ok_or("the stack is empty")?;
        Ok(&mut self.values[top])
    }

    fn pop(&mut self) -> Result<Id, String> {
        self.stack
            .pop()
            .ok_or_else(|| "the stack is empty".to_owned())
    }

    fn pop_array<const N: usize>(&mut self) -> Result<[Id; N], String> {
        let items = self.pop_many(N)?;
        Ok(items.try_into().expect("as many as asked for"))
    }

    fn pop_many(&mut self, n: usize) -> Result<Vec<Id>, String> {
        match self.stack.len().checked_sub(n) {
            Some(rest) => Ok(self.stack.split_off(rest)),
            None => Err("the stack is empty".to_owned()),
        }
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, String> {
        match self.marks.pop() {
            Some(mark) if mark <= self.stack.len() => Ok(self.stack.split_off(mark)),
            _ => Err("there is no mark".to_owned()),
        }
    }

    fn line(&mut self) -> Result<&'b str, String> {
        let end = self.bytes.iter().position(|&byte| byte == b'\n');
        let line = self.take_slice(end.ok_or("it ends inside a name")?)?;
        self.take::<1>()?;
        str::from_utf8(line).map_err(|_| "a name is not UTF-8".to_owned())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or("it ends too early")?;
        *self.bytes = rest;
        Ok(*taken)
    }

    fn take_slice(&mut self, length: usize) -> Result<&'b [u8], String> {
        let (taken, rest) = self
            .bytes
            .split_at_checked(length)
            .ok_or("it ends too early")?;
        *self.bytes = rest;
        Ok(taken)
    }
}

/// The closed list of names.
fn named(module: &str, name: &str) -> Result<Global, String> {
    Ok(match (module, name) {
        ("collections", "OrderedDict") => Global::OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => Global::RebuildTensor,
        ("torch._utils", "_rebuild_parameter") => Global::RebuildParameter,
        ("torch", "DoubleStorage") => Global::Storage(Some(Number::F64), 8),
        ("torch", "FloatStorage") => Global::Storage(Some(Number::F32), 4),
        ("torch", "HalfStorage") => Global::Storage(Some(Number::F16), 2),
        ("torch", "BFloat16Storage") => Global::Storage(Some(Number::Bf16), 2),
        ("torch", "LongStorage") => Global::Storage(None, 8),
        ("torch", "IntStorage") => Global::Storage(None, 4),
        ("torch", "ShortStorage") => Global::Storage(None, 2),
        ("torch", "CharStorage" | "ByteStorage" | "BoolStorage") => Global::Storage(None, 1),
        _ => {
            return Err(format!(
                "it names {module}.{name}, which has no place in a dictionary of tensors"
            ));
        }
    })
}
