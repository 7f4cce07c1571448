//! A JPEG's markers, from the first to the end of the picture: the frame, EXIF, the
//! colour profile, and whether the file is whole. What follows the picture (gain
//! maps, a second picture, a video) is never looked at.

use std::ops::Range;

use scaled_jpeg::Scale;
use schemas::Reason;

use super::{Found, be16};
use crate::{Limits, Refusal};

/// What the frame header says that only the decoder needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JpegFrame {
    pub(crate) is_progressive: bool,
    /// The channels' sampling factors, horizontal and vertical; one to four of them.
    pub(crate) sampling: Vec<(u8, u8)>,
    /// Whether the first scan holds all channels; else they must be kept side by side.
    pub(crate) is_interleaved: bool,
    /// Whether one scan is the whole picture.
    pub(crate) is_one_scan: bool,
    /// The fraction of its size at which it is decoded, if that leaves enough.
    pub(crate) scale: Option<Scale>,
    /// Where the coded picture begins and its end marker stands.
    pub(crate) coded: Range<usize>,
    /// One past the last byte of the picture.
    pub(crate) end: usize,
}

impl JpegFrame {
    /// How many units the picture is coded in: blocks of all channels that belong together.
    pub(crate) fn num_units(&self, width: u32, height: u32) -> u64 {
        let (h_max, v_max) = match self.sampling.as_slice() {
            // A channel that is alone has units of one block, whatever its factors.
            [_] => (1, 1),
            factors => (
                factors.iter().map(|(h, _)| *h).max().unwrap_or(1),
                factors.iter().map(|(_, v)| *v).max().unwrap_or(1),
            ),
        };
        let across = u64::from(width).div_ceil(8 * u64::from(h_max));
        across * u64::from(height).div_ceil(8 * u64::from(v_max))
    }
}

const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;
const DRI: u8 = 0xdd;
const APP1: u8 = 0xe1;
const APP2: u8 = 0xe2;

pub(super) fn read<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Found<'a>, Refusal> {
    let mut found = Found::default();
    let mut frame: Option<JpegFrame> = None;
    let mut passes = Passes::default();
    let mut profile = ProfileParts::default();
    let mut num_scans = 0;
    let (mut restart_interval, mut num_restarts) = (0, 0);
    let mut at = 2; // behind SOI, which the sniffing has seen
    loop {
        let Some((marker, after)) = next_marker(bytes, at) else {
            let missing = if num_scans == 0 {
                "before the picture begins"
            } else {
                "before the picture's end marker"
            };
            found.fault = Some(Refusal::truncated(bytes.len(), missing));
            break;
        };
        at = after;
        match marker {
            EOI => {
                if num_scans == 0 {
                    return Err(Refusal::corrupt_at(
                        at - 2,
                        "the JPEG ends before its picture begins",
                    ));
                }
                break;
            }
            0xd0..=0xd7 => {
                num_restarts += 1;
                continue;
            }
            // Markers without content; a second SOI is noise that decoders pass over.
            SOI | 0x01 => continue,
            _ => {}
        }
        let Some(length) = be16(bytes, at).map(usize::from) else {
            found.fault = Some(Refusal::truncated(bytes.len(), "within a header"));
            break;
        };
        let Some(segment) = bytes.get(at + 2..at + length.max(2)) else {
            found.fault = Some(Refusal::truncated(bytes.len(), "within a header"));
            break;
        };
        match marker {
            0xc0..=0xc2 if frame.is_none() => {
                let (read, width, height) = read_frame(segment, marker, at)?;
                passes = Passes::of_frame(segment, read.is_progressive);
                found.width = width;
                found.height = height;
                frame = Some(read);
            }
            0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                return Err(Refusal::new(
                    Reason::UnsupportedFormat,
                    format!(
                        "this is {} JPEG, which almost no program reads; send an ordinary one",
                        rare_process(marker)
                    ),
                ));
            }
            DRI => restart_interval = be16(segment, 0).map_or(0, u64::from),
            SOS => {
                passes.add(segment);
                num_scans += 1;
                if let Some(frame) = frame.as_mut().filter(|_| num_scans == 1) {
                    let num_in_scan = segment.first().copied().map_or(0, usize::from);
                    frame.is_interleaved = num_in_scan == frame.sampling.len();
                    frame.coded.start = at + length;
                }
            }
            APP1 if found.exif.is_none() => {
                found.exif = segment.strip_prefix(b"Exif\0").and_then(|s| s.get(1..));
            }
            APP2 => profile.add(segment, limits.max_profile_bytes),
            _ => {}
        }
        at += length.max(2);
    }
    let Some(mut frame) = frame else {
        return Err(match found.fault {
            Some(fault) => fault,
            None => Refusal::corrupt_at(at, "the JPEG has no frame header"),
        });
    };
    frame.end = at.min(bytes.len());
    frame.coded.end = frame.end.saturating_sub(2);
    frame.is_one_scan = num_scans == 1;
    if found.fault.is_none() && !passes.are_complete() {
        let words = "the JPEG ends before the last pass over its picture";
        found.fault = Some(Refusal::corrupt_at(frame.coded.end, words));
    }
    if found.fault.is_none() && frame.is_one_scan && restart_interval > 0 {
        // Between two restart markers decoders fill in what is missing and go on.
        let num_units = frame.num_units(found.width, found.height);
        let num_needed = num_units.div_ceil(restart_interval).saturating_sub(1);
        if num_restarts < num_needed {
            let words = format!("{num_restarts} of {num_needed} restart markers are left");
            found.fault = Some(Refusal::corrupt_at(frame.coded.start, &words));
        }
    }
    frame.scale = smallest_scale(&bytes[..frame.end], limits.target_short_side);
    found.profile = profile.assemble();
    found.decode_bytes = crate::decode::jpeg_bytes(&frame, found.width, found.height);
    found.jpeg = Some(frame);
    Ok(found)
}

/// The smallest fraction that still has the target size, if the picture can be decoded so.
fn smallest_scale(bytes: &[u8], target_short_side: u32) -> Option<Scale> {
    let header = scaled_jpeg::Header::read(bytes).ok()?;
    header.check_supported().ok()?;
    Scale::smallest_covering(&header, target_short_side)
}

/// The same file without what stands between its segments before the first scan.
pub(crate) fn without_stray_bytes(bytes: &[u8]) -> Vec<u8> {
    let mut clean = bytes[..bytes.len().min(2)].to_vec();
    let mut at = 2;
    while let Some((marker, after)) = next_marker(bytes, at) {
        if marker == SOS {
            clean.extend_from_slice(&bytes[after - 2..]);
            break;
        }
        let length = be16(bytes, after).map_or(0, usize::from);
        at = (after + length).min(bytes.len());
        clean.extend_from_slice(&[0xff, marker]);
        clean.extend_from_slice(&bytes[after..at]);
    }
    clean
}

/// The next marker at or after `from` and the offset behind it. Coded data, fill
/// bytes and stray bytes between segments are passed over.
fn next_marker(bytes: &[u8], from: usize) -> Option<(u8, usize)> {
    let mut at = from;
    loop {
        at += memchr::memchr(0xff, bytes.get(at..)?)? + 1;
        match *bytes.get(at)? {
            0x00 => at += 1,
            0xff => {}
            marker => return Some((marker, at + 1)),
        }
    }
}

fn read_frame(segment: &[u8], marker: u8, at: usize) -> Result<(JpegFrame, u32, u32), Refusal> {
    let damaged = |what: &str| Refusal::corrupt_at(at, what);
    let &[precision, h1, h0, w1, w0, num_channels, ref channels @ ..] = segment else {
        return Err(damaged("the JPEG frame header is too short"));
    };
    if precision != 8 {
        return Err(Refusal::new(
            Reason::UnsupportedFormat,
            format!("this JPEG has {precision} bits a channel; send one with 8"),
        ));
    }
    if !(1..=4).contains(&num_channels) {
        return Err(damaged(&format!(
            "the JPEG frame header says {num_channels} channels"
        )));
    }
    let channels = channels.as_chunks::<3>().0;
    let Some(channels) = channels.get(..usize::from(num_channels)) else {
        return Err(damaged(
            "the JPEG frame header is too short for its channels",
        ));
    };
    let sampling: Vec<_> = channels.iter().map(|c| (c[1] >> 4, c[1] & 15)).collect();
    if sampling
        .iter()
        .any(|(h, v)| !(1..=4).contains(h) || !(1..=4).contains(v))
    {
        return Err(damaged(
            "the JPEG frame header has an impossible sampling factor",
        ));
    }
    if sampling.iter().any(|(h, v)| *h == 3 || *v == 3) {
        return Err(Refusal::new(
            Reason::UnsupportedFormat,
            "this JPEG has its colours at a third of the size, which is not read; send an ordinary one",
        ));
    }
    let frame = JpegFrame {
        is_progressive: marker == 0xc2,
        sampling,
        is_interleaved: true,
        is_one_scan: false,
        scale: None,
        coded: 0..0,
        end: 0,
    };
    let side = |high, low| u32::from(u16::from_be_bytes([high, low]));
    Ok((frame, side(w1, w0), side(h1, h0)))
}

/// Which coefficients of which channel have been sent to their last bit. A file that
/// was cut and closed with an end marker lacks the later ones, and decoders fill in grey.
#[derive(Default)]
struct Passes {
    is_progressive: bool,
    /// Each channel's id, and a bit for each of its 64 coefficients.
    channels: Vec<(u8, u64)>,
}

impl Passes {
    fn of_frame(segment: &[u8], is_progressive: bool) -> Self {
        let channels = segment.get(6..).unwrap_or_default().as_chunks::<3>().0;
        Self {
            is_progressive,
            channels: channels.iter().map(|channel| (channel[0], 0)).collect(),
        }
    }

    fn add(&mut self, scan: &[u8]) {
        let Some((&num_channels, rest)) = scan.split_first() else {
            return;
        };
        let Some((ids, bounds)) = rest.split_at_checked(usize::from(num_channels) * 2) else {
            return;
        };
        let sent = match bounds {
            _ if !self.is_progressive => u64::MAX,
            &[first, last, bits, ..] if bits & 15 == 0 && first <= last && last < 64 => {
                u64::MAX >> (63 - last) & u64::MAX << first
            }
            _ => 0,
        };
        for (id, done) in &mut self.channels {
            if ids.iter().step_by(2).any(|in_scan| in_scan == id) {
                *done |= sent;
            }
        }
    }

    fn are_complete(&self) -> bool {
        self.channels.iter().all(|(_, done)| *done == u64::MAX)
    }
}

fn rare_process(marker: u8) -> &'static str {
    match marker {
        0xc3 | 0xc7 => "a lossless",
        0xc5 | 0xc6 => "a hierarchical",
        _ => "an arithmetically coded",
    }
}

/// A colour profile comes in numbered parts of up to 64 KiB.
#[derive(Default)]
struct ProfileParts<'a> {
    parts: Vec<(u8, &'a [u8])>,
    num_bytes: usize,
    num_expected: u8,
}

impl<'a> ProfileParts<'a> {
    fn add(&mut self, segment: &'a [u8], max_bytes: usize) {
        let Some([number, num_parts, data @ ..]) = segment.strip_prefix(b"ICC_PROFILE\0") else {
            return;
        };
        self.num_bytes += data.len();
        if self.num_bytes <= max_bytes {
            self.num_expected = *num_parts;
            self.parts.push((*number, data));
        }
    }

    /// The whole profile, or none if parts are missing, double or over the limit.
    fn assemble(mut self) -> Option<Vec<u8>> {
        self.parts.sort_by_key(|(number, _)| *number);
        let in_order = self.parts.iter().map(|(number, _)| *number);
        (self.num_expected > 0 && in_order.eq(1..=self.num_expected)).then(|| {
            self.parts
                .iter()
                .flat_map(|(_, data)| *data)
                .copied()
                .collect()
        })
    }
}
