//! Verdicts as they fall: the event stream of a dataset comes in, captures that
//! have changed go out. It reconnects where it broke off. It promises speed, not
//! completeness: whoever must know every verdict also asks for those still missing.

use std::time::Duration;

use reqwest::Method;
use schemas::http::Capture;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::sse::Parser;
use super::{ANSWER_TIMEOUT, Client, ClientError, Next, component};

/// How long a stream may be silent, keep-alive comments included. Larger notices a
/// dead connection late; smaller breaks one that is only quiet.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);

/// The wait before connecting again.
const RECONNECT: Duration = Duration::from_secs(1);

/// Verdicts that wait for whoever reads them. When it is full the stream is read no
/// further, and the server's side of it waits.
const QUEUE: usize = 256;

/// Follows the verdicts of one dataset until it is dropped.
#[derive(Debug)]
pub struct Verdicts {
    captures: mpsc::Receiver<Capture>,
    reader: JoinHandle<()>,
}

impl Verdicts {
    /// Begins to follow.
    pub fn follow(client: &Client, dataset: &str) -> Self {
        let (sender, captures) = mpsc::channel(QUEUE);
        let reader = Reader {
            client: client.clone(),
            path: format!("/v1/datasets/{}/events", component(dataset)),
            last_id: String::new(),
            sender,
        };
        Self {
            captures,
            reader: tokio::spawn(reader.run()),
        }
    }

    /// The next capture that has changed; waits for ever once the server will not
    /// tell (a key that may only upload, for one).
    pub async fn next(&mut self) -> Capture {
        match self.captures.recv().await {
            Some(capture) => capture,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Verdicts {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

struct Reader {
    client: Client,
    path: String,
    last_id: String,
    sender: mpsc::Sender<Capture>,
}

impl Reader {
    async fn run(mut self) {
        loop {
            match self.read_stream().await {
                Ok(()) => return,
                Err(error) if error.next() == Next::Stop => {
                    tracing::debug!(%error, "no events; asking for each capture instead");
                    return;
                }
                Err(error) => {
                    tracing::debug!(%error, "the event stream broke off");
                    // Gone: the server has dropped the events that would follow.
                    if error.status() == Some(410) {
                        self.last_id.clear();
                    }
                }
            }
            tokio::time::sleep(RECONNECT).await;
        }
    }

    /// Reads one connection to its end; `Ok` if nobody wants to know any more.
    async fn read_stream(&mut self) -> Result<(), ClientError> {
        let silent = || ClientError::TimedOut {
            url: self.client.url().into(),
        };
        let broken = |error| ClientError::from_transport(self.client.url(), error);
        let mut request = self
            .client
            .request(Method::GET, &self.path)
            .header("accept", "text/event-stream");
        if !self.last_id.is_empty() {
            request = request.header("last-event-id", &self.last_id);
        }
        let mut response = timeout(ANSWER_TIMEOUT, request.send())
            .await
            .map_err(|_| silent())?
            .map_err(broken)?;
        let status = response.status();
        if !status.is_success() {
            let body = response.bytes().await.unwrap_or_default();
            return Err(ClientError::from_answer(
                self.client.url(),
                status.into(),
                None,
                &body,
            ));
        }
        let mut parser = Parser::default();
        loop {
            let chunk = timeout(LONGEST_SILENCE, response.chunk())
                .await
                .map_err(|_| silent())?
                .map_err(broken)?;
            let ended = |why: String| ClientError::BrokeOff {
                url: self.client.url().into(),
                why,
            };
            let chunk = chunk.ok_or_else(|| ended("the server closed it".into()))?;
            for event in parser.feed(&chunk).map_err(|e| ended(e.to_string()))? {
                // Events of kinds that are still to come are not ours to read.
                if let Ok(capture) = serde_json::from_str(&event.data)
                    && self.sender.send(capture).await.is_err()
                {
                    return Ok(());
                }
            }
            if !parser.last_id().is_empty() {
                self.last_id = parser.last_id().into();
            }
        }
    }
}
