//! How a command ends: the stable exit codes, the one error type of the commands,
//! and how an error reads for a person (`error:` and `hint:`) and for a program
//! (one line of JSON), both on standard error.

use std::process::ExitCode;

use crate::client::ClientError;

/// The exit codes. Scripts depend on them: added to, never changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All went well.
    Fine = 0,
    /// Something failed that no other code names.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// No key, a wrong key, or one that may not do this.
    NotAuthorised = 3,
    /// No such dataset, key or capture.
    NotFound = 4,
    /// The server cannot be reached, or is not ready.
    Unavailable = 5,
    /// Some files could not be sent; all others were.
    SomeFilesFailed = 6,
    /// Ctrl-C.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command could not do its work, where no [`ClientError`] says it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    exit: Exit,
    code: &'static str,
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// A failure that ends with `exit`; `code` is its stable word for programs.
    pub fn new(exit: Exit, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            exit,
            code,
            message: message.into(),
            hint: None,
        }
    }

    /// The command line asks for something that cannot be.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", message).hint(hint)
    }

    /// With what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// An error as it is told.
struct Told {
    exit: Exit,
    code: String,
    message: String,
    hint: Option<String>,
}

fn tell(error: &anyhow::Error) -> Told {
    let message = format!("{error:#}");
    if let Some(failure) = error.chain().find_map(|e| e.downcast_ref::<Failure>()) {
        return Told {
            exit: failure.exit,
            code: failure.code.into(),
            message,
            hint: failure.hint.clone(),
        };
    }
    if let Some(refused) = error.chain().find_map(|e| e.downcast_ref::<ClientError>()) {
        return Told {
            exit: refused.exit(),
            code: refused.code().into(),
            message,
            hint: refused.hint(),
        };
    }
    Told {
        exit: Exit::Failed,
        code: "failed".into(),
        message,
        hint: None,
    }
}

/// Tells the error on standard error and gives the exit code that belongs to it.
pub fn report(error: &anyhow::Error, json: bool) -> Exit {
    let pipe_closed = |e: &(dyn std::error::Error + 'static)| {
        e.downcast_ref::<std::io::Error>()
            .is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
    };
    // `tintype dataset list | head -1` got what it wanted.
    if error.chain().any(pipe_closed) {
        return Exit::Fine;
    }
    let told = tell(error);
    if json {
        let body = serde_json::json!({"error": {
            "message": told.message,
            "hint": told.hint,
            "code": told.code,
        }});
        eprintln!("{body}");
    } else {
        eprintln!("error: {}", super::printable(&told.message));
        if let Some(hint) = told.hint {
            eprintln!("hint: {}", super::printable(&hint));
        }
    }
    told.exit
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn the_exit_code_of_a_failure_is_found_under_the_context_around_it() {
        let failure = Failure::new(Exit::NotFound, "no_such_file", "no such file").hint("look");
        let error = Err::<(), _>(failure)
            .context("reading the list")
            .unwrap_err();
        let told = tell(&error);
        assert_eq!(told.exit, Exit::NotFound);
        assert_eq!(told.message, "reading the list: no such file");
        assert_eq!(told.hint.as_deref(), Some("look"));
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        let closed = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert_eq!(report(&anyhow::Error::from(closed), false), Exit::Fine);
        let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        assert_eq!(report(&anyhow::Error::from(denied), false), Exit::Failed);
    }

    #[test]
    fn what_the_server_said_decides_the_exit_code() {
        let exit = |status| {
            let answer = ClientError::from_answer("http://x/", status, None, b"");
            tell(&anyhow::Error::from(answer)).exit
        };
        assert_eq!(exit(400), Exit::Failed);
        assert_eq!(exit(401), Exit::NotAuthorised);
        assert_eq!(exit(403), Exit::NotAuthorised);
        assert_eq!(exit(404), Exit::NotFound);
        assert_eq!(exit(422), Exit::Failed);
        assert_eq!(exit(429), Exit::Unavailable);
        assert_eq!(exit(500), Exit::Failed);
        assert_eq!(exit(503), Exit::Unavailable);
    }
}
