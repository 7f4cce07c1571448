//! Pictures of which every pixel is known, and files made of them.

use std::io::Write as _;

use image::ExtendedColorType;
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use picture::Pixels;
pub use picture::testing::scene;

/// The channel-wise distance of two pictures of one size: mean, and the largest.
pub fn distance(a: &Pixels, b: &Pixels) -> (f64, u8) {
    assert_eq!((a.width, a.height), (b.width, b.height));
    let steps: Vec<u8> = a
        .rgb
        .iter()
        .zip(&b.rgb)
        .map(|(a, b)| a.abs_diff(*b))
        .collect();
    let sum: f64 = steps.iter().map(|v| f64::from(*v)).sum();
    (sum / steps.len() as f64, steps.into_iter().max().unwrap())
}

/// Sets up an encoder.
pub type SetUp = fn(&mut Encoder<&mut Vec<u8>>);

/// A JPEG, by an encoder that the closure sets up.
pub fn jpeg_with(pixels: &Pixels, set_up: impl FnOnce(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, 92);
    encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
    set_up(&mut encoder);
    let (width, height) = (pixels.width as u16, pixels.height as u16);
    encoder
        .encode(&pixels.rgb, width, height, ColorType::Rgb)
        .unwrap();
    file
}

pub fn jpeg(pixels: &Pixels) -> Vec<u8> {
    jpeg_with(pixels, |_| {})
}

/// A JPEG whose EXIF says how it is turned.
pub fn turned_jpeg(pixels: &Pixels, orientation: u16) -> Vec<u8> {
    jpeg_with(pixels, |encoder| {
        encoder.add_exif_metadata(&exif(orientation)).unwrap();
    })
}

/// The smallest EXIF block that tells an orientation.
pub fn exif(orientation: u16) -> Vec<u8> {
    let mut block = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01".to_vec();
    block.extend_from_slice(&orientation.to_be_bytes());
    block.extend_from_slice(&[0; 6]);
    block
}

/// A PNG of any kind of pixel; `data` is its rows.
pub fn png(
    (width, height): (u32, u32),
    colour: png::ColorType,
    depth: png::BitDepth,
    data: &[u8],
    set_up: impl FnOnce(&mut png::Info<'static>),
) -> Vec<u8> {
    let mut file = Vec::new();
    let mut info = png::Info::with_size(width, height);
    info.color_type = colour;
    info.bit_depth = depth;
    set_up(&mut info);
    let encoder = png::Encoder::with_info(&mut file, info).unwrap();
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(data).unwrap();
    writer.finish().unwrap();
    file
}

/// An ordinary PNG.
pub fn rgb_png(pixels: &Pixels) -> Vec<u8> {
    let size = (pixels.width, pixels.height);
    png(
        size,
        png::ColorType::Rgb,
        png::BitDepth::Eight,
        &pixels.rgb,
        |_| {},
    )
}

/// A chunk, with its checksum, put before a PNG's first picture data.
pub fn with_chunk(file: &[u8], kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let at = file.windows(4).position(|four| four == b"IDAT").unwrap() - 4;
    [&file[..at], &chunk(kind, content), &file[at..]].concat()
}

/// A chunk of a PNG.
pub fn chunk(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut chunk = (content.len() as u32).to_be_bytes().to_vec();
    chunk.extend_from_slice(kind);
    chunk.extend_from_slice(content);
    let mut checksum = flate2::Crc::new();
    checksum.update(&chunk[4..]);
    chunk.extend_from_slice(&checksum.sum().to_be_bytes());
    chunk
}

/// A PNG in the seven passes of Adam7, which no Rust encoder writes.
pub fn interlaced_png(pixels: &Pixels) -> Vec<u8> {
    let (width, height) = (pixels.width as usize, pixels.height as usize);
    let mut rows = Vec::new();
    for (x0, y0, dx, dy) in [
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ] {
        for y in (y0..height).step_by(dy) {
            rows.push(0); // this row has no filter
            for x in (x0..width).step_by(dx) {
                rows.extend_from_slice(&pixels.rgb[(y * width + x) * 3..][..3]);
            }
        }
    }
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&rows).unwrap();
    let mut header = [pixels.width.to_be_bytes(), pixels.height.to_be_bytes()].concat();
    header.extend_from_slice(&[8, 2, 0, 0, 1]);
    [
        b"\x89PNG\r\n\x1a\n".to_vec(),
        chunk(b"IHDR", &header),
        chunk(b"IDAT", &packed.finish().unwrap()),
        chunk(b"IEND", b""),
    ]
    .concat()
}

pub fn webp(pixels: &Pixels) -> Vec<u8> {
    let mut file = Vec::new();
    image::codecs::webp::WebPEncoder::new_lossless(&mut file)
        .encode(
            &pixels.rgb,
            pixels.width,
            pixels.height,
            ExtendedColorType::Rgb8,
        )
        .unwrap();
    file
}

/// A GIF of so many equal frames.
pub fn gif(pixels: &Pixels, num_frames: usize) -> Vec<u8> {
    let rgba: Vec<u8> = pixels
        .rgb
        .as_chunks::<3>()
        .0
        .iter()
        .flat_map(|[r, g, b]| [*r, *g, *b, 255])
        .collect();
    let mut file = Vec::new();
    let mut encoder = image::codecs::gif::GifEncoder::new(&mut file);
    for _ in 0..num_frames {
        encoder
            .encode(&rgba, pixels.width, pixels.height, ExtendedColorType::Rgba8)
            .unwrap();
    }
    drop(encoder);
    file
}

pub fn bmp(pixels: &Pixels) -> Vec<u8> {
    let mut file = Vec::new();
    image::codecs::bmp::BmpEncoder::new(&mut file)
        .encode(
            &pixels.rgb,
            pixels.width,
            pixels.height,
            ExtendedColorType::Rgb8,
        )
        .unwrap();
    file
}

/// What a finished JPEG shows.
pub fn decoded(jpeg: &[u8]) -> Pixels {
    let mut decoder = zune_jpeg::JpegDecoder::new(zune_core::bytestream::ZCursor::new(jpeg));
    let rgb = decoder.decode().unwrap();
    let (width, height) = decoder.dimensions().unwrap();
    Pixels {
        width: width as u32,
        height: height as u32,
        rgb,
    }
}
