//! The built-in client: HTTP/1.1 over TLS, with the system's trust store, one connection
//! pool. For hosts that have no better one: desktops, small computers, tests.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::time::Duration;

use ureq::http::{Request, Response};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body, SendBody};

use super::{HttpHeader, HttpRequest, HttpResponse, Transport, TransportError};

/// How long a connection may take to stand. Longer leaves a person waiting on a dead network.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a body may take to be sent. 32 MiB in ten minutes are 55 KB/s; the server asks
/// for 32 KiB/s.
const SEND_TIMEOUT: Duration = Duration::from_secs(20 * 60);
/// How long the answer may take once everything is sent: the server gives itself 10 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an answer's body may take. A model of 100 MB at 200 KB/s takes eight minutes.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(30 * 60);

pub(super) struct Client {
    agent: Agent,
}

impl Client {
    pub(super) fn new() -> Self {
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .tls_config(tls)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_send_body(Some(SEND_TIMEOUT))
            .timeout_recv_response(Some(ANSWER_TIMEOUT))
            .timeout_recv_body(Some(RECEIVE_TIMEOUT))
            .user_agent(concat!("tintype-mobile/", env!("CARGO_PKG_VERSION")))
            .build();
        Self {
            agent: config.into(),
        }
    }
}

impl Transport for Client {
    fn send(&self, request: HttpRequest) -> Result<HttpResponse, TransportError> {
        let mut head = Request::builder()
            .method(request.method.as_str())
            .uri(&request.url);
        for header in &request.headers {
            head = head.header(&header.name, &header.value);
        }
        let sent = match (&request.body_file, &request.body) {
            (Some(path), _) => {
                let mut file = File::open(path).map_err(|error| storage(path, &error))?;
                file.seek(SeekFrom::Start(request.body_offset))
                    .map_err(|error| storage(path, &error))?;
                let mut part = file.take(request.body_length);
                let head = head.header("Content-Length", request.body_length);
                let body = SendBody::from_reader(&mut part);
                self.agent.run(head.body(body).map_err(connection)?)
            }
            (None, Some(bytes)) => {
                let request = head.body(bytes.as_slice()).map_err(connection)?;
                self.agent.run(request)
            }
            (None, None) => self.agent.run(head.body(()).map_err(connection)?),
        };
        receive(&request, sent.map_err(connection)?)
    }
}

fn receive(
    request: &HttpRequest,
    mut response: Response<Body>,
) -> Result<HttpResponse, TransportError> {
    let status = response.status().as_u16();
    let headers = response.headers().iter();
    let headers = headers.map(|(name, value)| HttpHeader {
        name: name.as_str().into(),
        value: String::from_utf8_lossy(value.as_bytes()).into_owned(),
    });
    let headers = headers.collect();
    // One byte more than is wanted, to see that there is more.
    let limit = request.max_response_bytes;
    let body = response.body_mut().as_reader();
    let mut body = body.take(limit.saturating_add(1));
    let mut bytes = Vec::new();
    let num_bytes = match &request.save_to {
        Some(path) if status == 200 => save(&mut body, path)?,
        _ => body.read_to_end(&mut bytes).map_err(connection)? as u64,
    };
    if num_bytes > limit {
        return Err(TransportError::Connection {
            detail: format!("{} answered with more than {limit} bytes", request.url),
        });
    }
    Ok(HttpResponse {
        status,
        headers,
        body: bytes,
    })
}

fn save(body: &mut impl Read, path: &str) -> Result<u64, TransportError> {
    const PIECE_BYTES: usize = 64 << 10;
    let mut file = File::create(path).map_err(|error| storage(path, &error))?;
    let mut piece = vec![0; PIECE_BYTES];
    let mut num_bytes = 0;
    loop {
        let num = body.read(&mut piece).map_err(connection)?;
        if num == 0 {
            return Ok(num_bytes);
        }
        file.write_all(&piece[..num])
            .map_err(|error| storage(path, &error))?;
        num_bytes += num as u64;
    }
}

fn storage(path: &str, error: &std::io::Error) -> TransportError {
    TransportError::Storage {
        detail: format!("{path}: {error}"),
    }
}

fn connection(error: impl std::fmt::Display) -> TransportError {
    TransportError::Connection {
        detail: error.to_string(),
    }
}
