//! What can go wrong between this program and the server: transport failures and
//! refusals come in, sentences that help and two verdicts go out: the exit code,
//! and what a sender of many files does next.

use std::path::PathBuf;
use std::time::Duration;

use schemas::Reason;
use schemas::http::Problem;

use crate::cli::Exit;

/// A request that did not get what it asked for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is none.
    #[error("{0:?} is no server address")]
    Address(String),
    /// The key has letters that no key has.
    #[error("the API key is malformed")]
    MalformedKey,
    /// TLS or the resolver could not be set up.
    #[error("preparing the HTTP client: {}", why(.0))]
    Setup(#[source] reqwest::Error),
    /// No connection.
    #[error("cannot reach {url}: {why}")]
    Unreachable {
        /// The server.
        url: String,
        /// The innermost cause.
        why: String,
    },
    /// No answer in time.
    #[error("{url} did not answer in time")]
    TimedOut {
        /// The server.
        url: String,
    },
    /// The connection ended in the middle.
    #[error("the connection to {url} broke off: {why}")]
    BrokeOff {
        /// The server.
        url: String,
        /// The innermost cause.
        why: String,
    },
    /// The server refused, and said why.
    #[error("{}", .problem.detail)]
    Refused {
        /// Its words.
        problem: Box<Problem>,
        /// When to try again.
        retry_after: Option<Duration>,
    },
    /// Something answered, but not with an error of ours: a proxy, or another server.
    #[error("{url} answered {status} without a reason that this program knows")]
    Unexplained {
        /// The server.
        url: String,
        /// The HTTP status.
        status: u16,
        /// When to try again.
        retry_after: Option<Duration>,
    },
    /// A 2xx whose body is not what it should be.
    #[error("{url} answered something that this program cannot read: {source}")]
    Unreadable {
        /// The server.
        url: String,
        /// What was not as expected.
        source: serde_json::Error,
    },
    /// A 2xx whose body has no end.
    #[error("{url} answered more than {limit_bytes} bytes")]
    TooLong {
        /// The server.
        url: String,
        /// The limit.
        limit_bytes: usize,
    },
    /// A file of this machine could not be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// What a sender of many files does after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Try this file again, not before the given time if there is one.
    Retry(Option<Duration>),
    /// Give this file up; the next one may do better.
    GiveUpFile,
    /// Every other file would fare the same.
    Stop,
}

impl ClientError {
    /// The error in an answer that is no 2xx.
    pub fn from_answer(url: &str, status: u16, retry_after: Option<Duration>, body: &[u8]) -> Self {
        match serde_json::from_slice::<Problem>(body) {
            Ok(problem) => Self::Refused {
                problem: Box::new(Problem { status, ..problem }),
                retry_after,
            },
            Err(_) => Self::Unexplained {
                url: url.into(),
                status,
                retry_after,
            },
        }
    }

    /// The error of a request that got no answer, or half of one.
    pub fn from_transport(url: &str, error: reqwest::Error) -> Self {
        let url = url.to_owned();
        if error.is_connect() {
            let why = why(&error);
            Self::Unreachable { url, why }
        } else if error.is_timeout() {
            Self::TimedOut { url }
        } else {
            let why = why(&error);
            Self::BrokeOff { url, why }
        }
    }

    /// The HTTP status of the refusal, if there was one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { problem, .. } => Some(problem.status),
            Self::Unexplained { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// The stable word for programs.
    pub fn code(&self) -> &str {
        match self {
            Self::Address(_) => "invalid_url",
            Self::MalformedKey => "malformed_key",
            Self::Setup(_) => "client_setup",
            Self::Unreachable { .. } => "unreachable",
            Self::TimedOut { .. } => "timed_out",
            Self::BrokeOff { .. } => "broke_off",
            Self::Refused { problem, .. } => &problem.code,
            Self::Unexplained { .. } => "unexplained_answer",
            Self::Unreadable { .. } | Self::TooLong { .. } => "unreadable_answer",
            Self::File { .. } => "unreadable_file",
        }
    }

    /// The exit code of a command that ends with this error.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Address(_) | Self::MalformedKey => Exit::Usage,
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::BrokeOff { .. } => {
                Exit::Unavailable
            }
            Self::Refused { .. } | Self::Unexplained { .. } => match self.status() {
                Some(401 | 403) => Exit::NotAuthorised,
                Some(404) => Exit::NotFound,
                Some(429 | 502..=504) => Exit::Unavailable,
                _ => Exit::Failed,
            },
            Self::Setup(_) | Self::Unreadable { .. } | Self::TooLong { .. } | Self::File { .. } => {
                Exit::Failed
            }
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let own = match self {
            Self::Address(text) if !text.contains("://") => {
                return Some(format!("did you mean http://{}?", text.trim()));
            }
            Self::Address(_) => "it looks like http://127.0.0.1:8080 or https://photos.example.org",
            Self::MalformedKey => {
                "a key is one word that begins with tt_; was it copied whole, without quotes?"
            }
            Self::Unreachable { .. } => {
                "is the server running there? `tintype up` starts one; \
                 --url or TINTYPE_URL say where it is"
            }
            Self::TimedOut { .. } | Self::BrokeOff { .. } => {
                "try again; `tintype status` tells whether the server is well"
            }
            Self::Refused { problem, .. } if problem.status == 401 => {
                "set TINTYPE_KEY to a key of this server; `tintype up` printed the first one, \
                 `tintype key create` makes more"
            }
            Self::Refused { problem, .. } => return problem.hint.clone(),
            Self::Unexplained { .. } | Self::Unreadable { .. } | Self::TooLong { .. } => {
                "is that a Tintype server, and of this version? --url or TINTYPE_URL say where it is"
            }
            Self::File { .. } => "is it there, and may you read it?",
            Self::Setup(_) => return None,
        };
        Some(own.into())
    }

    /// The verdict on the photo itself, where the server gave one at the door: its
    /// first bytes are of no photo, and will be so at every try.
    pub fn verdict(&self) -> Option<Reason> {
        match self {
            Self::Refused { problem, .. } if problem.status == 415 => {
                Some(match problem.code.as_str() {
                    "empty_body" => Reason::Empty,
                    code => Reason::from_name(code).unwrap_or(Reason::NotAnImage),
                })
            }
            _ => None,
        }
    }

    /// What a sender of many files does next, as long as it has tries left.
    pub fn next(&self) -> Next {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::BrokeOff { .. } => {
                Next::Retry(None)
            }
            Self::Refused { retry_after, .. } | Self::Unexplained { retry_after, .. } => {
                match self.status() {
                    Some(408 | 409 | 425 | 429 | 500..=599) => Next::Retry(*retry_after),
                    Some(401 | 403 | 404) => Next::Stop,
                    _ => Next::GiveUpFile,
                }
            }
            Self::File { .. } => Next::GiveUpFile,
            Self::Address(_)
            | Self::MalformedKey
            | Self::Setup(_)
            | Self::Unreadable { .. }
            | Self::TooLong { .. } => Next::Stop,
        }
    }

    /// The same once no try is left: a server that is away is away for every file,
    /// while one that stumbles over this file (500, a broken connection) may not
    /// hold up the others.
    pub fn next_after_retries(&self) -> Next {
        match (self.next(), self.status()) {
            (Next::Retry(_), Some(429 | 502..=504)) => Next::Stop,
            (Next::Retry(_), Some(_)) => Next::GiveUpFile,
            (Next::Retry(_), None) if matches!(self, Self::Unreachable { .. }) => Next::Stop,
            (Next::Retry(_), None) => Next::GiveUpFile,
            (next, _) => next,
        }
    }
}

/// The innermost cause, which is the one that helps: `Connection refused` rather
/// than `error sending request`.
fn why(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
