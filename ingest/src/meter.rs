//! Reads a body under bounds: chunks come in, the same chunks go out, and a body
//! that is too large, too slow or cut off ends in a refusal. A body counts as
//! complete only if the connection said so and its declared length is reached.

use std::time::Duration;

use axum::http::{HeaderMap, header};
use bytes::Bytes;
use catalog::http::ApiError;
use futures::StreamExt as _;
use metrics::counter;
use tokio::time::{Instant, timeout_at};

use crate::body::RequestBody;
use crate::metrics::BODY_BYTES;
use crate::{IngestSettings, refusal};

/// A body that is being read.
pub(crate) struct Meter {
    body: RequestBody,
    limits: Limits,
    received: u64,
    begun: Instant,
}

/// What one body may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// By `Content-Length`; none if the body is chunked.
    pub declared: Option<u64>,
    /// The most bytes.
    max_bytes: u64,
    /// The limit as the client is told it.
    max_photo_bytes: u64,
    idle_timeout: Duration,
    min_bytes_per_second: u64,
    grace: Duration,
}

impl Limits {
    /// The limits of a request; refuses it if it declares to break them.
    pub(crate) fn of(
        headers: &HeaderMap,
        is_form: bool,
        settings: &IngestSettings,
    ) -> Result<Self, ApiError> {
        let declared = match headers.get(header::CONTENT_LENGTH) {
            None => None,
            Some(value) => {
                let number = value.to_str().ok().and_then(|text| text.parse().ok());
                Some(number.ok_or_else(refusal::invalid_content_length)?)
            }
        };
        let max_bytes = settings.max_request_bytes(is_form);
        if declared.is_some_and(|declared| declared > max_bytes) {
            return Err(refusal::body_too_large(settings.max_body_bytes));
        }
        Ok(Self {
            declared,
            max_bytes,
            max_photo_bytes: settings.max_body_bytes,
            idle_timeout: settings.idle_timeout,
            min_bytes_per_second: settings.min_bytes_per_second,
            grace: settings.grace,
        })
    }
}

impl Meter {
    pub(crate) fn new(body: RequestBody, limits: Limits) -> Self {
        Self {
            body,
            limits,
            received: 0,
            begun: Instant::now(),
        }
    }

    /// The next chunk; none once the body is complete.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        let limits = self.limits;
        loop {
            match timeout_at(self.deadline(), self.body.next()).await {
                Err(_) => return Err(refusal::too_slow(self.received)),
                Ok(Some(Err(_))) => {
                    return Err(refusal::incomplete_body(self.received, limits.declared));
                }
                Ok(None) if limits.declared.is_some_and(|n| n != self.received) => {
                    return Err(refusal::incomplete_body(self.received, limits.declared));
                }
                Ok(None) => return Ok(None),
                Ok(Some(Ok(chunk))) if chunk.is_empty() => {}
                Ok(Some(Ok(chunk))) => {
                    self.received += chunk.len() as u64;
                    counter!(BODY_BYTES).increment(chunk.len() as u64);
                    if self.received > limits.max_bytes {
                        return Err(refusal::body_too_large(limits.max_photo_bytes));
                    }
                    return Ok(Some(chunk));
                }
            }
        }
    }

    /// By when the next chunk must be here: not silent for long, and not slow on average.
    fn deadline(&self) -> Instant {
        let at_least = self.received / self.limits.min_bytes_per_second;
        let on_average = self.begun + self.limits.grace + Duration::from_secs(at_least);
        on_average.min(Instant::now() + self.limits.idle_timeout)
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use futures::channel::mpsc;

    use super::*;

    type Sent = Result<Bytes, std::io::Error>;

    fn meter(declared: Option<u64>) -> (mpsc::Sender<Sent>, Meter) {
        let (client, body) = mpsc::channel(16);
        let mut headers = HeaderMap::new();
        if let Some(declared) = declared {
            headers.insert(header::CONTENT_LENGTH, declared.into());
        }
        let settings = IngestSettings {
            max_body_bytes: 1 << 20,
            ..IngestSettings::default()
        };
        let limits = Limits::of(&headers, false, &settings).unwrap();
        let body = RequestBody::new(Body::from_stream(body));
        (client, Meter::new(body, limits))
    }

    fn chunk(bytes: usize) -> Sent {
        Ok(Bytes::from(vec![7; bytes]))
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_cut_off_after_the_idle_timeout() {
        let (mut client, mut meter) = meter(None);
        client.try_send(chunk(100)).unwrap();
        assert_eq!(meter.next().await.unwrap().unwrap().len(), 100);
        let begun = Instant::now();
        assert_eq!(meter.next().await.unwrap_err().code, "too_slow");
        assert_eq!(begun.elapsed(), Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_drips_is_cut_off_by_the_minimum_rate() {
        let (mut client, mut meter) = meter(None);
        let begun = Instant::now();
        tokio::spawn(async move {
            while client.try_send(chunk(1)).is_ok() {
                tokio::time::sleep(Duration::from_secs(4)).await;
            }
        });
        let refused = loop {
            if let Err(refused) = meter.next().await {
                break refused;
            }
        };
        assert_eq!(refused.code, "too_slow");
        assert_eq!(begun.elapsed(), Duration::from_secs(15));
    }

    #[tokio::test]
    async fn a_body_is_cut_at_the_limit() {
        let (mut client, mut meter) = meter(None);
        for _ in 0..9 {
            client.try_send(chunk(128 << 10)).unwrap();
        }
        let mut read = 0;
        let refused = loop {
            match meter.next().await {
                Ok(chunk) => read += chunk.unwrap().len(),
                Err(refused) => break refused,
            }
        };
        assert_eq!((refused.code, read), ("body_too_large", 1 << 20));
    }

    #[tokio::test]
    async fn an_end_before_the_declared_length_is_no_end() {
        let (mut client, mut meter) = meter(Some(200));
        client.try_send(chunk(100)).unwrap();
        drop(client);
        assert!(meter.next().await.unwrap().is_some());
        assert_eq!(meter.next().await.unwrap_err().code, "incomplete_body");
    }

    #[tokio::test]
    async fn a_broken_connection_is_no_end() {
        let (mut client, mut meter) = meter(None);
        client.try_send(chunk(100)).unwrap();
        client
            .try_send(Err(std::io::ErrorKind::ConnectionReset.into()))
            .unwrap();
        drop(client);
        assert!(meter.next().await.unwrap().is_some());
        assert_eq!(meter.next().await.unwrap_err().code, "incomplete_body");
    }
}
