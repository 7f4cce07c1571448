//! PNG: all chunks stay but those that hold text, EXIF or the time of the last change; EXIF
//! is written anew. What follows the last chunk goes.

use super::{Damage, exif};

const SIGNATURE_BYTES: usize = 8;

pub(super) fn strip(bytes: &[u8]) -> Result<Vec<u8>, Damage> {
    let mut kept = bytes[..SIGNATURE_BYTES].to_vec();
    let mut at = SIGNATURE_BYTES;
    loop {
        let damaged = || Damage::of("this PNG, which is damaged or cut off");
        let head: [u8; 8] = *bytes
            .get(at..)
            .and_then(|rest| rest.first_chunk())
            .ok_or_else(damaged)?;
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let kind = &head[4..];
        let end = at + 12 + length;
        let whole = bytes.get(at..end).ok_or_else(damaged)?;
        match kind {
            b"eXIf" => {
                if let Some(block) = exif::allowed(&whole[8..8 + length]) {
                    kept.extend(chunk(b"eXIf", &block));
                }
            }
            b"tEXt" | b"zTXt" | b"iTXt" | b"tIME" => {}
            // Critical chunks begin with a capital letter; of the others only those stay
            // that change how the picture looks.
            b"iCCP" | b"sRGB" | b"gAMA" | b"cHRM" | b"cICP" | b"sBIT" | b"tRNS" | b"bKGD"
            | b"pHYs" | b"acTL" | b"fcTL" | b"fdAT" => kept.extend(whole),
            _ if kind[0].is_ascii_uppercase() => kept.extend(whole),
            _ => {}
        }
        at = end;
        if kind == b"IEND" {
            return Ok(kept);
        }
    }
}

fn chunk(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut whole = (content.len() as u32).to_be_bytes().to_vec();
    whole.extend(kind);
    whole.extend(content);
    let checksum = crc32fast::hash(&whole[4..]);
    whole.extend(checksum.to_be_bytes());
    whole
}
