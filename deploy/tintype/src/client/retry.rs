//! When to try again: the number of the try and the server's `Retry-After` come in,
//! a wait goes out that grows, is never the same for two clients, and has an end.

use std::time::Duration;

use rand::Rng as _;

use super::{ClientError, Next};

/// How often and how patiently a request is tried again.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    /// Tries after the first one.
    pub retries: u32,
}

/// The wait before the first retry, doubled for each that follows. Smaller hammers
/// a server that is just starting; larger wastes the common short hiccup.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// The longest wait that we choose ourselves.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The longest wait that a server can ask for. Larger, and a slip of its clock
/// stops an import for a day.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(120);

impl Backoff {
    /// Runs `attempt` until it succeeds, fails in a way that no retry mends, or no
    /// try is left.
    ///
    /// # Errors
    /// The last try's.
    pub async fn run<T, A, F>(self, mut attempt: A) -> Result<T, ClientError>
    where
        A: FnMut() -> F,
        F: Future<Output = Result<T, ClientError>>,
    {
        let mut tried = 0;
        loop {
            let error = match attempt().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let Next::Retry(retry_after) = error.next() else {
                return Err(error);
            };
            if tried >= self.retries {
                return Err(error);
            }
            let jitter = rand::rng().random_range(0.5..1.0);
            let wait = wait_before(tried, retry_after, jitter);
            tracing::debug!(%error, tried, wait_ms = wait.as_millis() as u64, "trying again");
            tokio::time::sleep(wait).await;
            tried += 1;
        }
    }
}

/// The wait before retry number `tried`, counted from 0; `jitter` is 0.5 to 1.
fn wait_before(tried: u32, retry_after: Option<Duration>, jitter: f64) -> Duration {
    let doubled = FIRST_WAIT.saturating_mul(1 << tried.min(16));
    let own = doubled.min(LONGEST_WAIT).mul_f64(jitter);
    match retry_after {
        // Never earlier than asked, and not all clients in the same instant.
        Some(asked) => asked.min(LONGEST_RETRY_AFTER) + own.min(Duration::from_secs(1)),
        None => own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unavailable(retry_after: Option<Duration>) -> ClientError {
        ClientError::from_answer("http://x", 503, retry_after, b"")
    }

    #[test]
    fn waits_double_up_to_a_limit_and_never_undercut_retry_after() {
        let ms = |tried| wait_before(tried, None, 1.0).as_millis();
        assert_eq!([ms(0), ms(1), ms(2), ms(3)], [500, 1000, 2000, 4000]);
        assert_eq!(ms(1000), 30_000);
        let asked = Duration::from_secs(7);
        assert!(wait_before(0, Some(asked), 0.5) >= asked);
        let endless = wait_before(0, Some(Duration::MAX), 1.0);
        assert!(endless <= Duration::from_secs(121), "{endless:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_comes_back_gets_the_request_and_a_refusal_is_final() {
        let mut calls = 0;
        let answer = Backoff { retries: 3 }
            .run(|| {
                calls += 1;
                let answer = if calls < 3 {
                    Err(unavailable(None))
                } else {
                    Ok(calls)
                };
                std::future::ready(answer)
            })
            .await;
        assert_eq!(answer.unwrap(), 3);

        let mut calls = 0;
        let refused = Backoff { retries: 3 }
            .run(|| {
                calls += 1;
                std::future::ready(Err::<(), _>(ClientError::from_answer("x", 413, None, b"")))
            })
            .await;
        assert_eq!((refused.unwrap_err().status(), calls), (Some(413), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn tries_are_counted_and_retry_after_is_kept() {
        let start = tokio::time::Instant::now();
        let mut calls = 0;
        let failed = Backoff { retries: 2 }
            .run(|| {
                calls += 1;
                let wait = Some(Duration::from_secs(10));
                std::future::ready(Err::<(), _>(unavailable(wait)))
            })
            .await;
        assert!(failed.is_err());
        assert_eq!(calls, 3);
        assert!(start.elapsed() >= Duration::from_secs(20));
    }
}
