//! Huffman tables made for stepping over coefficients.
//!
//! Definitions from the file come in; look-up tables go out. Three kinds: one
//! code at a time ([`Code`]), as many AC codes as fit into a window of bits
//! ([`AcTable`]), and a block's DC code together with the AC codes behind it
//! ([`StartTable`]). Tables stay in the caller's buffers and are built again only
//! when the definition differs: most cameras use the same ones for all pictures.

use crate::tables::Definition;

/// Bits of the window into which AC codes are packed. More pack more codes into
/// one look-up, but the tables outgrow the first-level cache: 13 was fastest.
pub(crate) const SKIP_BITS: u32 = 13;
/// Bits of the window at the start of a block.
pub(crate) const START_BITS: u32 = 11;
/// Bits of the window in which a coefficient is found with its value.
pub(crate) const VALUE_BITS: u32 = 10;

/// Advance that stands for "no entry: decode one code": more than is left of any
/// block from its first AC coefficient on.
pub(crate) const NO_ENTRY: u32 = 64;
/// Advance of an end-of-block code: it takes the place of one coefficient at
/// least, and sets a bit that no sum of other advances reaches.
pub(crate) const END_OF_BLOCK: u32 = 128 + 1;

/// A canonical prefix code, decoded one symbol at a time.
pub(crate) struct Code {
    /// The definition it was built from.
    definition: Vec<u8>,
    /// By the first 9 bits: length << 8 | symbol; 0 where the code is longer.
    short: [u16; 512],
    /// By length: the first 16-bit window that belongs to a longer code.
    limits: [u32; 17],
    /// By length: what to add to a code to get the index of its symbol.
    offsets: [i32; 17],
    symbols: [u8; 256],
}

/// The codes of a table in order: (code, length, symbol).
fn codes(definition: Definition) -> impl Iterator<Item = (u32, u32, u8)> {
    let (counts, symbols) = definition.split_at(definition.len().min(16));
    let lengths = (1..)
        .zip(counts)
        .flat_map(|(length, &count)| std::iter::repeat_n(length, count.into()));
    let mut next = 0_u32;
    let mut previous_length = 0;
    lengths.zip(symbols).map(move |(length, &symbol)| {
        next <<= length - previous_length;
        previous_length = length;
        next += 1;
        (next - 1, length, symbol)
    })
}

impl Default for Code {
    fn default() -> Self {
        Self {
            definition: Vec::new(),
            short: [0; 512],
            limits: [0; 17],
            offsets: [0; 17],
            symbols: [0; 256],
        }
    }
}

impl Code {
    /// Becomes the code of `definition`; says whether it was another before.
    pub fn rebuild(&mut self, definition: Definition) -> bool {
        if self.definition == definition {
            return false;
        }
        *self = Self::default();
        self.definition.extend_from_slice(definition);
        for (index, (code, length, symbol)) in (0..).zip(codes(definition)) {
            if length <= 9 {
                let first = (code << (9 - length)) as usize;
                let after = first + (1 << (9 - length));
                self.short[first..after].fill((length as u16) << 8 | u16::from(symbol));
            }
            self.limits[length as usize] = (code + 1) << (16 - length);
            self.offsets[length as usize] = index - code as i32;
            self.symbols[index as usize] = symbol;
        }
        true
    }

    /// Length and symbol of the code that `window`, 16 bits, starts with.
    #[inline]
    pub fn find(&self, window: u32) -> Option<(u32, u8)> {
        let entry = self.short[(window >> 7 & 511) as usize];
        if entry != 0 {
            return Some((u32::from(entry >> 8), entry as u8));
        }
        for length in 10..=16 {
            if window < self.limits[length] {
                let code = (window >> (16 - length)) as i32;
                let index = code + self.offsets[length];
                return Some((length as u32, self.symbols[(index & 255) as usize]));
            }
        }
        None
    }
}

/// An AC table: several codes per look-up to step over, one to get a value.
pub(crate) struct AcTable {
    pub code: Code,
    /// For every window of 0 to 13 bits, the one of `n` bits at `1 << n`: bits
    /// of all the codes in it that can be told, with their extra bits, and how
    /// far these codes advance in zigzag order << 8.
    skips: Box<[u16; 2 << SKIP_BITS]>,
    has_skips: bool,
    /// By window: bits, advance << 8, value << 16 (signed).
    values: Box<[u32; 1 << VALUE_BITS]>,
    has_values: bool,
}

fn boxed<T: Copy + Default, const N: usize>() -> Box<[T; N]> {
    match vec![T::default(); N].into_boxed_slice().try_into() {
        Ok(array) => array,
        Err(_) => unreachable!("the slice was made with the array's length"),
    }
}

impl Default for AcTable {
    fn default() -> Self {
        Self {
            code: Code::default(),
            skips: boxed(),
            has_skips: false,
            values: boxed(),
            has_values: false,
        }
    }
}

impl AcTable {
    /// Becomes the table of `definition`, for decoding one code at a time.
    pub fn rebuild(&mut self, definition: Definition) {
        if self.code.rebuild(definition) {
            self.has_skips = false;
            self.has_values = false;
        }
    }

    /// Sees to it that [`Self::skips`] is there.
    pub fn build_skips(&mut self) {
        if !self.has_skips {
            self.has_skips = true;
            for bits in 1..=SKIP_BITS {
                let (shorter, window) = self.skips.split_at_mut(1 << bits);
                pack_codes(
                    &self.code.definition,
                    shorter,
                    &mut window[..1 << bits],
                    bits,
                );
            }
            for entry in &mut self.skips[1 << SKIP_BITS..] {
                if *entry == 0 {
                    *entry = (NO_ENTRY << 8) as u16;
                }
            }
        }
    }

    /// Sees to it that [`Self::values`] is there.
    pub fn build_values(&mut self) {
        if !self.has_values {
            self.has_values = true;
            for (window, entry) in (0..).zip(self.values.iter_mut()) {
                *entry = find_value(&self.code, window);
            }
        }
    }

    /// By a window of 13 bits: bits to step over | advance << 8.
    #[inline(always)]
    pub fn skips(&self) -> &[u16; 1 << SKIP_BITS] {
        match self.skips.last_chunk() {
            Some(widest) => widest,
            None => unreachable!("the widest window has half of the entries"),
        }
    }

    /// By a window of 10 bits: bits, advance << 8, value << 16 (signed).
    #[inline(always)]
    pub fn values(&self) -> &[u32; 1 << VALUE_BITS] {
        &self.values
    }
}

/// Fills the table for windows of `bits` bits from those of `shorter` windows:
/// what follows a code and its extra bits is a shorter window, packed already.
fn pack_codes(definition: Definition, shorter: &[u16], window: &mut [u16], bits: u32) {
    window.fill(0);
    for (code, length, symbol) in codes(definition) {
        let (run, extra) = (u16::from(symbol >> 4), u32::from(symbol & 15));
        if length > bits {
            break;
        }
        // More than 10 extra bits do not occur in 8-bit pictures; leaving them
        // out bounds the bits of an entry to 23.
        if extra > 10 {
            continue;
        }
        let advance = match symbol {
            0xf0 => 16,
            _ if extra == 0 => END_OF_BLOCK as u16,
            _ => run + 1,
        };
        let alone = (length + extra) as u16 | advance << 8;
        let first = (code << (bits - length)) as usize;
        let entries = &mut window[first..first + (1 << (bits - length))];
        if extra == 0 && symbol != 0xf0 || length + extra >= bits {
            entries.fill(alone);
            continue;
        }
        let left = bits - length - extra;
        let behind = &shorter[1 << left..2 << left];
        for chunk in entries.chunks_exact_mut(1 << left) {
            for (entry, &next) in chunk.iter_mut().zip(behind) {
                let both = alone + next;
                // Bit 14 is that of an advance of 64: no block has so many.
                *entry = if both & 1 << 14 == 0 { both } else { alone };
            }
        }
    }
}

/// The entry of [`AcTable::values`] for a window.
fn find_value(code: &Code, window: u32) -> u32 {
    let aligned = window << (16 - VALUE_BITS);
    match code.find(aligned) {
        Some((length, symbol)) if length <= VALUE_BITS => {
            let extra = u32::from(symbol & 15);
            if symbol == 0xf0 {
                return length | 16 << 8;
            }
            if extra == 0 {
                return length | END_OF_BLOCK << 8;
            }
            if length + extra > VALUE_BITS {
                return NO_ENTRY << 8;
            }
            let raw = window >> (VALUE_BITS - length - extra) & ((1 << extra) - 1);
            let value = extend(raw, extra);
            (length + extra) | u32::from((symbol >> 4) + 1) << 8 | (value as u32) << 16
        }
        _ => NO_ENTRY << 8,
    }
}

/// The signed value that `extra` bits stand for.
#[inline(always)]
pub(crate) fn extend(raw: u32, extra: u32) -> i32 {
    let raw = raw as i32;
    if extra > 0 && raw >> (extra - 1) == 0 {
        raw - (1 << extra) + 1
    } else {
        raw
    }
}

/// How blocks of a component start: their DC difference and what fits behind.
pub(crate) struct StartTable {
    pub code: Code,
    ac_definition: Vec<u8>,
    /// By window: bits to step over, advance << 8, length of the DC code << 16,
    /// bits of the DC difference << 24.
    starts: Box<[u32; 1 << START_BITS]>,
}

impl Default for StartTable {
    fn default() -> Self {
        Self {
            code: Code::default(),
            ac_definition: Vec::new(),
            starts: boxed(),
        }
    }
}

impl StartTable {
    /// Becomes the table of blocks with DC codes by `dc` and AC codes by `ac`,
    /// whose skips are built; or of DC codes alone if `ac` is a table of no codes.
    pub fn rebuild(&mut self, dc: Definition, ac: &AcTable) {
        let changed = self.code.rebuild(dc);
        if !changed && self.ac_definition == ac.code.definition {
            return;
        }
        self.ac_definition.clone_from(&ac.code.definition);
        self.starts.fill(NO_ENTRY << 8);
        for (code, length, extra) in codes(dc) {
            let extra = u32::from(extra);
            if length > START_BITS {
                break;
            }
            let alone = (length + extra) | 1 << 8 | length << 16 | extra << 24;
            let first = (code << (START_BITS - length)) as usize;
            let entries = &mut self.starts[first..first + (1 << (START_BITS - length))];
            if length + extra >= START_BITS {
                entries.fill(alone);
                continue;
            }
            let left = START_BITS - length - extra;
            let behind = &ac.skips[1 << left..2 << left];
            for chunk in entries.chunks_exact_mut(1 << left) {
                for (entry, &next) in chunk.iter_mut().zip(behind) {
                    let both = alone + u32::from(next);
                    // As in `pack_codes`: an advance of 64 is too far.
                    *entry = if both & 1 << 14 == 0 { both } else { alone };
                }
            }
        }
    }

    /// By a window of 11 bits: see the field.
    #[inline(always)]
    pub fn starts(&self) -> &[u32; 1 << START_BITS] {
        &self.starts
    }
}
