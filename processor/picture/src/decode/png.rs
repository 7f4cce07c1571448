//! PNG, row by row: only the finished RGB picture is ever whole in memory, whatever
//! depth, palette or transparency the file has. Sixteen bits become the upper eight.

use png::{BitDepth, ColorType, Decoder, DecodingError, InterlaceInfo, Limits, Transformations};

use super::over_white;
use super::paced::PacedFile;
use crate::Refusal;
use crate::header::Header;
use crate::limits::Deadline;
use crate::pixels::Pixels;

pub(super) fn decode(
    bytes: &[u8],
    header: &Header<'_>,
    deadline: Deadline,
) -> Result<Pixels, Refusal> {
    let limit = usize::try_from(header.decode_bytes).unwrap_or(usize::MAX);
    let mut decoder =
        Decoder::new_with_limits(PacedFile::new(bytes, deadline), Limits { bytes: limit });
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true); // the header has read the profile, within its limit
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    let mut reader = decoder.read_info().map_err(refusal)?;
    let (colour, depth) = reader.output_color_type();
    let info = reader.info();
    if (info.width, info.height) != (header.width, header.height) || depth != BitDepth::Eight {
        return Err(Refusal::corrupt("PNG", &"its header stands there twice"));
    }
    let mut pixels = Pixels::new(header.width, header.height);
    let stride = pixels.width as usize * 3;
    let mut row_rgb = vec![0; stride];
    let mut y = 0;
    while let Some(row) = reader.next_interlaced_row().map_err(refusal)? {
        match row.interlace() {
            InterlaceInfo::Null(_) => {
                let target = pixels.rgb.chunks_exact_mut(stride).nth(y);
                let Some(target) = target else { break };
                to_rgb(row.data(), colour, target);
                y += 1;
            }
            InterlaceInfo::Adam7(pass) => {
                let num_bytes = to_rgb(row.data(), colour, &mut row_rgb);
                let row_rgb = &row_rgb[..num_bytes];
                png::expand_interlaced_row(&mut pixels.rgb, stride, row_rgb, pass, 24);
            }
        }
    }
    Ok(pixels)
}

/// Writes one row as RGB and says how many bytes that were.
fn to_rgb(row: &[u8], colour: ColorType, target: &mut [u8]) -> usize {
    let target = target.as_chunks_mut::<3>().0.iter_mut();
    3 * match colour {
        ColorType::Grayscale => fill(target, row.as_chunks().0, |[v]| [v; 3]),
        ColorType::GrayscaleAlpha => {
            fill(target, row.as_chunks().0, |[v, a]| [over_white(v, a); 3])
        }
        ColorType::Rgba => fill(target, row.as_chunks().0, |[r, g, b, a]| {
            [r, g, b].map(|channel| over_white(channel, a))
        }),
        // A palette has been expanded.
        ColorType::Rgb | ColorType::Indexed => fill(target, row.as_chunks().0, |rgb: [u8; 3]| rgb),
    }
}

fn fill<'a, const N: usize>(
    target: impl Iterator<Item = &'a mut [u8; 3]>,
    source: &[[u8; N]],
    convert: impl Fn([u8; N]) -> [u8; 3],
) -> usize {
    target
        .zip(source)
        .map(|(target, source)| *target = convert(*source))
        .count()
}

fn refusal(error: DecodingError) -> Refusal {
    // The header reader saw the last chunk, so a missing byte is missing inside.
    Refusal::corrupt("PNG", &plain_words(&error.to_string()))
}

/// The decoder's words without what only its programmers understand: it names a chunk by
/// all its bits, and tells of its decompressor's states.
fn plain_words(words: &str) -> String {
    let mut plain = String::new();
    let mut rest = words;
    while let Some((before, after)) = rest.split_once("ChunkType { type: ") {
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        plain.push_str(before);
        plain.push_str(name.split(',').next().unwrap_or_default());
        rest = after;
    }
    plain.push_str(rest);
    if plain.starts_with("Corrupt deflate stream") {
        return "its compressed pixels are damaged".into();
    }
    plain.trim_end_matches('.').into()
}

#[cfg(test)]
mod tests {
    use super::plain_words;

    #[test]
    fn a_person_reads_the_name_of_a_chunk_and_not_its_bits() {
        let words = "CRC error: expected 0x1 have 0x2 while decoding ChunkType { type: IDAT, critical: true, private: false } chunk.";
        let plain = "CRC error: expected 0x1 have 0x2 while decoding IDAT chunk";
        assert_eq!(plain_words(words), plain);
        assert_eq!(plain_words("no picture."), "no picture");
        let deflate = "Corrupt deflate stream. DistanceTooFarBack";
        assert_eq!(plain_words(deflate), "its compressed pixels are damaged");
    }
}
