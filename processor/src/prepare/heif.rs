//! HEIC, HEIF and AVIF through libheif. In: the bytes; out: eight-bit RGB pixels, turned
//! and cropped as the file asks, with its EXIF and colour profile.
//!
//! libheif and the codecs below it are C and C++, and strangers choose what they read. So
//! the server runs them in a process of its own ([`child`]): a crash there costs one
//! photo its verdict, and memory and time end where that process's limits are. What is
//! held here besides: the sizes of all pictures in the header, the size that libheif finds
//! before it decodes, and the size of what came out. libheif itself refuses boxes,
//! references and tiles beyond its own limits (`security_limits.h`).

use libheif_rs::{
    ColorPrimaries, ColorSpace, DecodingOptions, HeifContext, HeifError, HeifErrorCode,
    HeifErrorSubCode, ImageHandle, LibHeif, RgbChroma, TransferCharacteristics,
};
use moxcms::ColorProfile;
use schemas::Reason;

use super::{Limits, Pixels, Refusal};

pub mod child;

/// A decoded file.
#[derive(Debug, PartialEq)]
pub(super) struct Decoded {
    pub(super) pixels: Pixels,
    /// The EXIF block, beginning with its byte order. Its orientation is not to be heeded:
    /// the pixels are upright already.
    pub(super) exif: Option<Vec<u8>>,
    pub(super) profile: Option<Vec<u8>>,
}

/// The bounds of one decode.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    max_pixels: u64,
    max_profile_bytes: usize,
}

impl Bounds {
    pub(super) fn of(limits: &Limits) -> Self {
        Self {
            max_pixels: limits.max_pixels,
            max_profile_bytes: limits.max_profile_bytes,
        }
    }

    fn check(self, width: u32, height: u32) -> Result<(), Refusal> {
        if u64::from(width) * u64::from(height) <= self.max_pixels {
            return Ok(());
        }
        Err(Refusal::new(
            Reason::TooManyPixels,
            format!(
                "the picture has {width} x {height} pixels, though its header says less; the limit is {:.1} megapixels",
                self.max_pixels as f64 / 1e6
            ),
        ))
    }
}

/// EXIF blocks larger than this are not read; real ones have under 64 KiB.
const MAX_EXIF_BYTES: usize = 1 << 20;

/// Decodes the primary picture in this process and on this thread.
pub(super) fn decode(bytes: &[u8], bounds: Bounds) -> Result<Decoded, Refusal> {
    let library = LibHeif::new();
    let mut context = HeifContext::read_from_bytes(bytes).map_err(refusal)?;
    context.set_max_decoding_threads(0);
    let picture = context.primary_image_handle().map_err(refusal)?;
    bounds.check(picture.width(), picture.height())?;
    let coded = (picture.ispe_width(), picture.ispe_height());
    bounds.check(
        coded.0.max(0).cast_unsigned(),
        coded.1.max(0).cast_unsigned(),
    )?;

    let has_alpha = picture.has_alpha_channel();
    let chroma = if has_alpha {
        RgbChroma::Rgba
    } else {
        RgbChroma::Rgb
    };
    let options = DecodingOptions::new().map(|mut options| {
        options.set_convert_hdr_to_8bit(true);
        options.set_strict_decoding(true);
        options
    });
    let image = library
        .decode(&picture, ColorSpace::Rgb(chroma), options)
        .map_err(refusal)?;
    let plane = image
        .planes()
        .interleaved
        .ok_or_else(|| Refusal::new(Reason::DecoderFailure, "the decoder gave no RGB picture"))?;
    bounds.check(plane.width, plane.height)?;
    let num_channels = if has_alpha { 4 } else { 3 };
    let row_bytes = plane.width as usize * num_channels;
    let mut pixels = Pixels::new(plane.width, plane.height);
    if plane.stride < row_bytes || plane.data.len() < plane.stride * plane.height as usize {
        return Err(Refusal::corrupt(
            "HEIF",
            &"its rows are shorter than its width",
        ));
    }
    let rows = plane.data.chunks(plane.stride);
    let targets = pixels.rgb.chunks_exact_mut(plane.width as usize * 3);
    let is_premultiplied = picture.is_premultiplied_alpha();
    for (target, row) in targets.zip(rows) {
        if has_alpha {
            lay_on_white(&row[..row_bytes], is_premultiplied, target);
        } else {
            target.copy_from_slice(&row[..row_bytes]);
        }
    }
    Ok(Decoded {
        pixels,
        exif: exif(&picture),
        profile: profile(&picture).filter(|profile| {
            profile.len() <= bounds.max_profile_bytes && picture::header::describes_rgb(profile)
        }),
    })
}

fn lay_on_white(row: &[u8], is_premultiplied: bool, target: &mut [u8]) {
    let (row, target) = (row.as_chunks::<4>().0, target.as_chunks_mut::<3>().0);
    for (target, &[r, g, b, alpha]) in target.iter_mut().zip(row) {
        *target = [r, g, b].map(|channel| {
            if is_premultiplied {
                channel.saturating_add(255 - alpha)
            } else {
                picture::decode::over_white(channel, alpha)
            }
        });
    }
}

fn exif(picture: &ImageHandle) -> Option<Vec<u8>> {
    let mut ids = [0];
    if picture.metadata_block_ids(&mut ids, b"Exif") == 0
        || picture.metadata_size(ids[0]) > MAX_EXIF_BYTES
    {
        return None;
    }
    let block = picture.metadata(ids[0]).ok()?;
    // Four bytes say where the TIFF structure begins behind them.
    let start = usize::try_from(u32::from_be_bytes(*block.first_chunk()?)).ok()?;
    let block = block.get(4usize.checked_add(start)?..)?;
    let block = block.strip_prefix(b"Exif\0\0").unwrap_or(block);
    Some(block.to_vec())
}

/// The ICC profile, or one that says what the four numbers of `nclx` say. Those of HDR are
/// left out: without tone mapping their pictures would come out black.
fn profile(picture: &ImageHandle) -> Option<Vec<u8>> {
    if let Some(profile) = picture.color_profile_raw() {
        return Some(profile.data);
    }
    let nclx = picture.color_profile_nclx()?;
    let is_hdr = matches!(
        nclx.transfer_characteristics(),
        TransferCharacteristics::ITU_R_BT_2100_0_PQ | TransferCharacteristics::ITU_R_BT_2100_0_HLG
    );
    let profile = match nclx.color_primaries() {
        ColorPrimaries::SMPTE_EG_432_1 => ColorProfile::new_display_p3(),
        ColorPrimaries::ITU_R_BT_2020_2_and_2100_0 => ColorProfile::new_bt2020(),
        _ => return None, // sRGB's own, or so near that nobody sees it
    };
    (!is_hdr).then(|| profile.encode().ok()).flatten()
}

fn refusal(error: HeifError) -> Refusal {
    let words = error.message.trim();
    match (error.code, error.sub_code) {
        (_, HeifErrorSubCode::EndOfData) => Refusal::new(
            Reason::Truncated,
            "the file ends within the picture; send it again, whole",
        ),
        (_, HeifErrorSubCode::SecurityLimitExceeded)
        | (HeifErrorCode::MemoryAllocationError, _) => Refusal::new(
            Reason::DecodeMemory,
            format!("decoding this HEIF takes more than its size allows for: {words}"),
        ),
        (HeifErrorCode::UnsupportedFeature | HeifErrorCode::UnsupportedFileType, _) => {
            Refusal::new(
                Reason::UnsupportedFormat,
                format!("this kind of HEIF is not read: {words}"),
            )
        }
        _ => Refusal::corrupt("HEIF", &words),
    }
}

#[cfg(test)]
mod tests;
