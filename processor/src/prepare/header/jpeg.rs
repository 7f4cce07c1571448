//! A JPEG's markers, from the first to the end of the picture: the frame, EXIF, the
//! colour profile, and whether the file is whole. What follows the picture (gain
//! maps, a second picture, a video) is never looked at.

use schemas::Reason;

use super::{Found, be16};
use crate::prepare::{Limits, Refusal};

/// What the frame header says that only the decoder needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::prepare) struct JpegFrame {
    pub(in crate::prepare) is_progressive: bool,
    /// The channels' sampling factors, horizontal and vertical; one to four of them.
    pub(in crate::prepare) sampling: Vec<(u8, u8)>,
    /// Whether the first scan holds all channels; else they must be kept side by side.
    pub(in crate::prepare) is_interleaved: bool,
    /// One past the last byte of the picture.
    pub(in crate::prepare) end: usize,
}

const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;
const APP1: u8 = 0xe1;
const APP2: u8 = 0xe2;

pub(super) fn read<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Found<'a>, Refusal> {
    let mut found = Found::default();
    let mut frame: Option<JpegFrame> = None;
    let mut profile = ProfileParts::default();
    let mut num_scans = 0;
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
            // Markers without content; a second SOI is noise that decoders pass over.
            SOI | 0x01 | 0xd0..=0xd7 => continue,
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
                found.width = width;
                found.height = height;
                frame = Some(read);
            }
            0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                return Err(Refusal::new(
                    Reason::UnsupportedFormat,
                    format!(
                        "this is a {} JPEG, which almost no program reads; send an ordinary one",
                        rare_process(marker)
                    ),
                ));
            }
            SOS => {
                if let Some(frame) = &mut frame
                    && num_scans == 0
                {
                    let in_scan = segment.first().copied().map_or(0, usize::from);
                    frame.is_interleaved = in_scan == frame.sampling.len();
                }
                num_scans += 1;
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
    found.profile = profile.assemble();
    found.decode_bytes = crate::prepare::decode::jpeg_bytes(&frame, found.width, found.height);
    found.jpeg = Some(frame);
    Ok(found)
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
        return Err(damaged("the JPEG frame header is too short for its channels"));
    };
    let sampling: Vec<_> = channels.iter().map(|c| (c[1] >> 4, c[1] & 15)).collect();
    if sampling
        .iter()
        .any(|(h, v)| !(1..=4).contains(h) || !(1..=4).contains(v))
    {
        return Err(damaged("the JPEG frame header has an impossible sampling factor"));
    }
    let frame = JpegFrame {
        is_progressive: marker == 0xc2,
        sampling,
        is_interleaved: true,
        end: 0,
    };
    let side = |high, low| u32::from(u16::from_be_bytes([high, low]));
    Ok((frame, side(w1, w0), side(h1, h0)))
}

fn rare_process(marker: u8) -> &'static str {
    match marker {
        0xc3 | 0xc7 => "lossless",
        0xc5 | 0xc6 => "hierarchical",
        _ => "arithmetically coded",
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
        (self.num_expected > 0 && in_order.eq(1..=self.num_expected))
            .then(|| self.parts.iter().flat_map(|(_, data)| *data).copied().collect())
    }
}
