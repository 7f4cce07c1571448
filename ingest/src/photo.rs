//! A photo on its way through memory: chunks come in; its bytes, its hash and its
//! length go out. It is refused as soon as its first bytes show that it is none,
//! and hashed as it arrives, so nothing is read twice.

use bytes::{Bytes, BytesMut};
use catalog::http::ApiError;
use schemas::{Format, Sha256};
use sha2::Digest as _;

use crate::admission::Room;
use crate::refusal;

/// Chunks below this many bytes are gathered. Larger copies more of an ordinary
/// body; smaller lets a body of tiny chunks take many times its size in book-keeping.
const GATHER_BYTES: usize = 16 << 10;

/// A complete photo.
#[derive(Debug)]
pub(crate) struct Photo {
    /// Its bytes in order, as they came from the connection.
    pub pieces: Vec<Bytes>,
    /// How many bytes.
    pub num_bytes: u64,
    /// Their hash.
    pub sha256: Sha256,
    /// The memory they take, given back with them.
    _room: Room,
}

/// A photo that is arriving.
pub(crate) struct PhotoReader {
    max_bytes: u64,
    num_bytes: u64,
    hasher: sha2::Sha256,
    /// The first bytes, until they have told what this is.
    head: Option<Vec<u8>>,
    pieces: Pieces,
    room: Room,
}

/// Bytes in order, in not too many pieces.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    whole: Vec<Bytes>,
    gathered: BytesMut,
}

impl PhotoReader {
    pub(crate) fn new(max_bytes: u64, room: Room) -> Self {
        Self {
            max_bytes,
            num_bytes: 0,
            hasher: sha2::Sha256::new(),
            head: Some(Vec::new()),
            pieces: Pieces::default(),
            room,
        }
    }

    /// How many bytes have come.
    pub(crate) fn num_bytes(&self) -> u64 {
        self.num_bytes
    }

    /// Takes the next bytes. They are hashed here and not on another thread: a chunk
    /// is what one read of the connection brought, a fraction of a millisecond's work.
    pub(crate) async fn push(&mut self, chunk: Bytes) -> Result<(), ApiError> {
        self.num_bytes += chunk.len() as u64;
        if self.num_bytes > self.max_bytes {
            return Err(refusal::body_too_large(self.max_bytes));
        }
        self.room.grow_to(self.num_bytes).await?;
        self.hasher.update(&chunk);
        if let Some(head) = &mut self.head {
            let missing = Format::SNIFF_BYTES - head.len();
            head.extend_from_slice(&chunk[..missing.min(chunk.len())]);
            if head.len() == Format::SNIFF_BYTES {
                self.judge_head()?;
            }
        }
        self.pieces.keep(chunk);
        Ok(())
    }

    /// The photo, now that no more bytes come.
    pub(crate) fn finish(mut self) -> Result<Photo, ApiError> {
        if self.num_bytes == 0 {
            return Err(refusal::empty_body());
        }
        self.judge_head()?;
        Ok(Photo {
            pieces: self.pieces.take(),
            num_bytes: self.num_bytes,
            sha256: Sha256::from(<[u8; 32]>::from(self.hasher.finalize())),
            _room: self.room,
        })
    }

    fn judge_head(&mut self) -> Result<(), ApiError> {
        self.head.take().map_or(Ok(()), |head| judge_head(&head))
    }
}

/// Refuses what its first [`Format::SNIFF_BYTES`], or all its bytes if they are fewer,
/// show to be no picture.
pub(crate) fn judge_head(head: &[u8]) -> Result<(), ApiError> {
    match Format::sniff(head) {
        Some(format) if !format.is_picture() => Err(refusal::not_an_image(Some(format))),
        None => Err(refusal::not_an_image(None)),
        Some(_) => Ok(()),
    }
}

impl Pieces {
    /// All there are; none stay.
    pub(crate) fn take(&mut self) -> Vec<Bytes> {
        self.flush();
        std::mem::take(&mut self.whole)
    }

    pub(crate) fn keep(&mut self, chunk: Bytes) {
        if chunk.len() >= GATHER_BYTES {
            self.flush();
            self.whole.push(chunk);
        } else {
            if self.gathered.len() + chunk.len() > self.gathered.capacity() {
                self.flush();
                self.gathered.reserve(4 * GATHER_BYTES);
            }
            self.gathered.extend_from_slice(&chunk);
        }
    }

    fn flush(&mut self) {
        if !self.gathered.is_empty() {
            self.whole.push(self.gathered.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::IngestSettings;
    use crate::admission::Admission;

    async fn reader(max_bytes: u64) -> PhotoReader {
        let admission = Admission::new(&IngestSettings::default());
        PhotoReader::new(max_bytes, admission.room(0).await.unwrap())
    }

    fn jpeg(len: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
        bytes[..4].copy_from_slice(b"\xff\xd8\xff\xe0");
        bytes
    }

    #[tokio::test]
    async fn however_it_is_cut_a_photo_is_its_bytes_and_their_hash() {
        let bytes = jpeg(200_000);
        for sizes in [&[1_usize][..], &[1460], &[200_000], &[16 << 10, 1, 5000]] {
            let mut reader = reader(1 << 20).await;
            let mut rest = &bytes[..];
            for size in sizes.iter().cycle() {
                let (chunk, left) = rest.split_at((*size).min(rest.len()));
                reader.push(Bytes::copy_from_slice(chunk)).await.unwrap();
                rest = left;
                if rest.is_empty() {
                    break;
                }
            }
            let photo = reader.finish().unwrap();
            assert_eq!(photo.pieces.concat(), bytes, "{sizes:?}");
            assert_eq!(photo.sha256, Sha256::of(&bytes));
            assert_eq!(photo.num_bytes, 200_000);
            assert!(photo.pieces.len() <= 200_000 / (16 << 10) * 2 + 2);
        }
    }

    #[tokio::test]
    async fn what_is_no_picture_is_refused_on_its_first_kilobyte() {
        let mut text = reader(1 << 20).await;
        text.push(Bytes::from(vec![b'a'; 1023])).await.unwrap();
        let refused = text.push(Bytes::from_static(b"a")).await.unwrap_err();
        assert_eq!(refused.code, "not_an_image");

        let mut short = reader(1 << 20).await;
        short.push(Bytes::from_static(b"%PDF-1.7")).await.unwrap();
        let refused = short.finish().unwrap_err();
        assert!(refused.detail.contains("PDF"), "{}", refused.detail);

        let empty = reader(1 << 20).await;
        assert_eq!(empty.finish().unwrap_err().code, "empty_body");
    }
}
