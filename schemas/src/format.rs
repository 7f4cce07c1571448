//! The format of a file by its first bytes, never by its name or what a client
//! said: the gate at the door and the decoder behind it ask the same question
//! and must get the same answer.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::reasons::named;

named! {
    /// What a file is. Only some of these are pictures, and of those only some are read.
    Format {
        /// JPEG, also with a gain map or a second picture behind the first.
        Jpeg = "jpeg",
        /// PNG, also animated.
        Png = "png",
        /// WebP.
        Webp = "webp",
        /// GIF.
        Gif = "gif",
        /// Windows bitmap.
        Bmp = "bmp",
        /// HEIF with HEVC inside, the iPhone's own format.
        Heic = "heic",
        /// HEIF with AV1 inside.
        Avif = "avif",
        /// TIFF, and the raw formats that are TIFF by form (DNG, NEF, CR2).
        Tiff = "tiff",
        /// JPEG XL.
        Jxl = "jxl",
        /// JPEG 2000.
        Jp2 = "jp2",
        /// Photoshop.
        Psd = "psd",
        /// Scalable vector graphics.
        Svg = "svg",
        /// A PDF document: no picture, but often sent for one.
        Pdf = "pdf",
        /// An MP4 or MOV video: no picture, but often sent for one.
        Mp4 = "mp4",
    }
}

impl Format {
    /// No format needs more of a file's beginning than this to be told. Fewer
    /// would miss an SVG behind a licence comment.
    pub const SNIFF_BYTES: usize = 1024;

    /// The format of a file that begins with `first_bytes`; none if it is none of these.
    ///
    /// Give it [`Format::SNIFF_BYTES`], or the whole file if it is shorter.
    pub fn sniff(first_bytes: &[u8]) -> Option<Self> {
        let b = &first_bytes[..first_bytes.len().min(Self::SNIFF_BYTES)];
        let has = |at: usize, what: &[u8]| b.get(at..).is_some_and(|rest| rest.starts_with(what));
        if has(0, b"\xff\xd8\xff") {
            Some(Self::Jpeg)
        } else if has(0, b"\x89PNG\r\n\x1a\n") {
            Some(Self::Png)
        } else if has(0, b"RIFF") && has(8, b"WEBP") {
            Some(Self::Webp)
        } else if has(0, b"GIF87a") || has(0, b"GIF89a") {
            Some(Self::Gif)
        } else if has(0, b"BM") && is_bitmap_header(b) {
            Some(Self::Bmp)
        } else if has(4, b"ftyp") {
            sniff_base_media(b)
        } else if [&b"II*\0"[..], b"MM\0*", b"II+\0", b"MM\0+"]
            .iter()
            .any(|magic| has(0, magic))
        {
            Some(Self::Tiff)
        } else if has(0, b"\xff\x0a") || has(0, b"\0\0\0\x0cJXL \r\n\x87\n") {
            Some(Self::Jxl)
        } else if has(0, b"\xff\x4f\xff\x51") || has(0, b"\0\0\0\x0cjP  \r\n\x87\n") {
            Some(Self::Jp2)
        } else if has(0, b"8BPS") {
            Some(Self::Psd)
        } else if has(0, b"%PDF-") {
            Some(Self::Pdf)
        } else if is_svg(b) {
            Some(Self::Svg)
        } else {
            None
        }
    }

    /// Whether it is a picture at all.
    pub fn is_picture(self) -> bool {
        !matches!(self, Self::Pdf | Self::Mp4)
    }

    /// The name as a person knows it, such as `JPEG XL`.
    pub fn title(self) -> &'static str {
        match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::Webp => "WebP",
            Self::Gif => "GIF",
            Self::Bmp => "BMP",
            Self::Heic => "HEIC",
            Self::Avif => "AVIF",
            Self::Tiff => "TIFF",
            Self::Jxl => "JPEG XL",
            Self::Jp2 => "JPEG 2000",
            Self::Psd => "Photoshop",
            Self::Svg => "SVG",
            Self::Pdf => "PDF",
            Self::Mp4 => "MP4 or MOV video",
        }
    }

    /// The media type, as in `Content-Type`.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Webp => "image/webp",
            Self::Gif => "image/gif",
            Self::Bmp => "image/bmp",
            Self::Heic => "image/heic",
            Self::Avif => "image/avif",
            Self::Tiff => "image/tiff",
            Self::Jxl => "image/jxl",
            Self::Jp2 => "image/jp2",
            Self::Psd => "image/vnd.adobe.photoshop",
            Self::Svg => "image/svg+xml",
            Self::Pdf => "application/pdf",
            Self::Mp4 => "video/mp4",
        }
    }
}

/// `BM` alone would make a picture of many a text; the length of the second
/// header is one of a few numbers.
fn is_bitmap_header(b: &[u8]) -> bool {
    let header = b.get(14..18).and_then(|bytes| bytes.try_into().ok());
    header.is_some_and(|bytes| {
        matches!(
            u32::from_le_bytes(bytes),
            12 | 16 | 40 | 52 | 56 | 64 | 108 | 124
        )
    })
}

/// HEIF, AVIF and MP4 are one container; its brands tell them apart. The generic
/// brand `mif1` says only "a picture", so the list of compatible brands decides.
fn sniff_base_media(b: &[u8]) -> Option<Format> {
    let length = b.get(..4).and_then(|bytes| bytes.try_into().ok());
    let end = length.map_or(0, u32::from_be_bytes) as usize;
    let brands = b.get(8..end.min(b.len()))?.as_chunks::<4>().0;
    let any = |list: &[&[u8; 4]]| brands.iter().any(|brand| list.contains(&brand));
    let major = brands.first()?;
    if any(&[b"avif", b"avis"]) {
        Some(Format::Avif)
    } else if any(&[
        b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1",
    ]) {
        Some(Format::Heic)
    } else if [
        b"isom", b"iso2", b"iso4", b"iso5", b"iso6", b"mp41", b"mp42", b"avc1", b"qt  ", b"M4V ",
        b"dash",
    ]
    .contains(&major)
        || major.starts_with(b"3g")
    {
        Some(Format::Mp4)
    } else {
        None
    }
}

fn is_svg(b: &[u8]) -> bool {
    let text = b
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(b)
        .trim_ascii_start();
    text.starts_with(b"<svg")
        || (text.starts_with(b"<?xml") || text.starts_with(b"<!DOCTYPE svg"))
            && text.windows(4).any(|four| four == b"<svg")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_told_by_its_first_bytes() {
        let mut bitmap = b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0".to_vec();
        bitmap.extend_from_slice(&40u32.to_le_bytes());
        let cases: [(&[u8], Format); 18] = [
            (b"\xff\xd8\xff\xe1rest", Format::Jpeg),
            (b"\x89PNG\r\n\x1a\n", Format::Png),
            (b"RIFF\x10\0\0\0WEBPVP8 ", Format::Webp),
            (b"GIF89a", Format::Gif),
            (b"GIF87a", Format::Gif),
            (&bitmap, Format::Bmp),
            (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", Format::Heic),
            (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", Format::Heic),
            (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", Format::Avif),
            (b"\0\0\0\x14ftypavif\0\0\0\0avif", Format::Avif),
            (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", Format::Mp4),
            (b"MM\0*\0\0\0\x08", Format::Tiff),
            (b"\xff\x0a\xfa\x7f", Format::Jxl),
            (b"\0\0\0\x0cjP  \r\n\x87\n", Format::Jp2),
            (b"8BPS\0\x01", Format::Psd),
            (b"%PDF-1.7\n", Format::Pdf),
            (b"\xef\xbb\xbf <svg xmlns=''>", Format::Svg),
            (b"<?xml version='1.0'?><!-- c --><svg>", Format::Svg),
        ];
        for (bytes, format) in cases {
            assert_eq!(Format::sniff(bytes), Some(format), "{bytes:?}");
        }
    }

    #[test]
    fn text_and_cut_beginnings_are_no_format() {
        for bytes in [
            &b""[..],
            b"BMW drivers wanted, no picture here",
            b"hello",
            b"\xff\xd8",
            b"\x89PNG",
            b"RIFF\x10\0\0\0WAVE",
            b"<?xml version='1.0'?><html>",
            b"\0\0\0\x14ftyp",
            b"\xff\xff\xff\xffftypzzzz",
            b"PK\x03\x04",
        ] {
            assert_eq!(Format::sniff(bytes), None, "{bytes:?}");
        }
    }
}
