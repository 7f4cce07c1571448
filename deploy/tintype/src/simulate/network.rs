//! A phone's link: bytes go in, and come out at the link's speed as the body of a request,
//! until the link is cut, which breaks the request's connection.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use reqwest::Body;

/// What a phone sends at a time. Smaller makes the pace of slow links smoother and costs
/// the simulator more.
const CHUNK_BYTES: usize = 32 << 10;

/// What becomes of one request.
#[derive(Debug, Clone, Copy)]
pub struct Link {
    /// How fast it is.
    pub bytes_per_s: u64,
    /// After how many bytes it breaks; never, if there are none.
    pub cut_after: Option<u64>,
}

impl Link {
    /// The body that takes these bytes over the link.
    pub fn carry(self, bytes: Bytes) -> Body {
        let chunks = stream::try_unfold((bytes, 0), move |(mut rest, sent)| async move {
            if rest.is_empty() {
                return Ok(None);
            }
            if self.cut_after.is_some_and(|cut| sent >= cut) {
                return Err(io::Error::from(io::ErrorKind::ConnectionReset));
            }
            let chunk = rest.split_to(CHUNK_BYTES.min(rest.len()));
            let num_bytes = chunk.len() as u64;
            let takes = Duration::from_micros(num_bytes * 1_000_000 / self.bytes_per_s.max(1));
            tokio::time::sleep(takes).await;
            Ok(Some((chunk, (rest, sent + num_bytes))))
        });
        Body::wrap_stream(chunks)
    }
}
