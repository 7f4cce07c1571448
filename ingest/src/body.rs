//! The body of a request, held so that a refusal can still read on from it.
//!
//! Most HTTP clients send their whole body before they look at the answer, and
//! report a broken connection if it is closed under them. So a refusal is sent at
//! once, and then what still arrives is thrown away, up to a bound.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{Version, header, request};
use axum::response::Response;
use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};

/// What is read on after a refusal, in bytes. Larger lets the refused cost more
/// bandwidth; smaller breaks the connection under a phone before it has read why.
const LINGER_BYTES: usize = 32 << 20;
/// How long is read on after a refusal. Longer keeps the refused connected; shorter
/// breaks the connection of slow phones before they have read why.
const LINGER: Duration = Duration::from_secs(5);

/// A request's body; clones read from the same connection.
#[derive(Clone)]
pub(crate) struct RequestBody(Arc<Mutex<Reading>>);

struct Reading {
    stream: BodyDataStream,
    ended: bool,
    /// Whether it was known before the first byte that there is none.
    is_empty: bool,
}

impl RequestBody {
    pub(crate) fn new(body: Body) -> Self {
        let is_empty = http_body::Body::is_end_stream(&body);
        let stream = body.into_data_stream();
        Self(Arc::new(Mutex::new(Reading {
            stream,
            ended: false,
            is_empty,
        })))
    }

    /// Lets `refusal` be read by clients that are still sending.
    pub(crate) fn linger(self, refusal: Response, request: &request::Parts) -> Response {
        // HTTP/2 can refuse one stream of a connection, and a client that expects a
        // `100 Continue` does not send before it has the answer.
        let needless = request.version >= Version::HTTP_2
            || request.headers.contains_key(header::EXPECT)
            || self.reading().ended;
        if needless {
            return refusal;
        }
        let (parts, words) = refusal.into_parts();
        let rest = stream::once(self.drain()).filter_map(async |()| None);
        let words = words.into_data_stream().chain(rest);
        Response::from_parts(parts, Body::from_stream(words))
    }

    async fn drain(mut self) {
        let drained = async {
            let mut bytes = 0;
            while let Some(Ok(chunk)) = self.next().await {
                bytes += chunk.len();
                if bytes > LINGER_BYTES {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(LINGER, drained).await;
    }

    /// Whether nothing more comes, as far as can be told without reading.
    pub(crate) fn is_ended(&self) -> bool {
        let reading = self.reading();
        reading.ended || reading.is_empty
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream for RequestBody {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut reading = self.reading();
        if reading.ended {
            return Poll::Ready(None);
        }
        let next = reading.stream.poll_next_unpin(cx);
        if matches!(next, Poll::Ready(None | Some(Err(_)))) {
            reading.ended = true;
        }
        next
    }
}
