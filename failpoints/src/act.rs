//! What happens at a point: what it is armed with, if anything, and a line in the log.

use std::collections::HashSet;
use std::fs::File;
use std::io::Write as _;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::{Injected, points};

/// How long a stalled call stands still.
const STALL: Duration = Duration::from_secs(5);

/// An order that cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Not `point=actions`, or no such point.
    #[error("TINTYPE_FAILPOINTS: {0:?} names no failpoint; `tintype failpoints` lists them")]
    Unknown(String),
    /// Not in the language of the crate `fail`.
    #[error("TINTYPE_FAILPOINTS: {0}")]
    Actions(String),
    /// The log cannot be opened.
    #[error("TINTYPE_FAILPOINTS_LOG: {0}")]
    Log(#[from] std::io::Error),
}

#[derive(Default)]
struct Log {
    file: Option<File>,
    reached: HashSet<String>,
}

static LOG: OnceLock<Mutex<Log>> = OnceLock::new();

/// Arms what `armed` names (see the top of this crate), and logs to the file `log`.
///
/// # Errors
/// A point is unknown, its actions make no sense, or the file cannot be opened.
pub fn setup(armed: &str, log: Option<&std::path::Path>) -> Result<(), SetupError> {
    let known: HashSet<String> = points().collect();
    for order in armed.split(';').map(str::trim).filter(|o| !o.is_empty()) {
        let Some((point, actions)) = order.split_once('=') else {
            return Err(SetupError::Unknown(order.to_owned()));
        };
        if !known.contains(point) {
            return Err(SetupError::Unknown(point.to_owned()));
        }
        fail::cfg(point, actions).map_err(SetupError::Actions)?;
    }
    let file = match log {
        Some(path) => Some(File::options().create(true).append(true).open(path)?),
        None => None,
    };
    let reached = HashSet::new();
    // A second set-up in one process keeps the first one's log.
    let _ = LOG.set(Mutex::new(Log { file, reached }));
    Ok(())
}

/// What to do, as armed.
enum Order {
    Stall,
    Fail,
}

/// The order at this point, if there is one. A kill is carried out here.
fn order(call: &str, what: &str, side: &str) -> Option<(String, Order)> {
    let is_listed = points_of(call).is_some_and(|whats| whats.contains(&what));
    if !is_listed {
        return None;
    }
    let point = format!("{call}.{what}.{side}");
    note(&point, None);
    let action = fail::eval(&point, |action| action)??;
    note(&point, Some(&action));
    match action.as_str() {
        "kill" => {
            let me = rustix::process::getpid();
            // If it may not be killed, it stands still, which no test takes for a kill.
            let _ = rustix::process::kill_process(me, rustix::process::Signal::KILL);
            loop {
                std::thread::park();
            }
        }
        "stall" => Some((point, Order::Stall)),
        _ => Some((point, Order::Fail)),
    }
}

fn points_of(call: &str) -> Option<&'static [&'static str]> {
    let mut calls = crate::CALLS.iter();
    calls
        .find(|(listed, _)| *listed == call)
        .map(|(_, whats)| *whats)
}

/// Writes `reached` the first time, and `fired` each time, before anything happens.
fn note(point: &str, fired: Option<&str>) {
    let Some(log) = LOG.get() else { return };
    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
    let line = match fired {
        Some(action) => format!("fired {point} {action}\n"),
        None if log.reached.insert(point.to_owned()) => format!("reached {point}\n"),
        None => return,
    };
    if let Some(file) = &mut log.file {
        // A test that finds no line says that the point was not hit.
        let _ = file.write_all(line.as_bytes());
    }
}

pub(crate) async fn reach(call: &str, what: &str, side: &str) -> Result<(), Injected> {
    match order(call, what, side) {
        None => Ok(()),
        Some((_, Order::Stall)) => {
            tokio::time::sleep(STALL).await;
            Ok(())
        }
        Some((point, Order::Fail)) => Err(Injected(point)),
    }
}

pub(crate) fn reach_blocking(call: &str, what: &str, side: &str) -> Result<(), Injected> {
    match order(call, what, side) {
        None => Ok(()),
        Some((_, Order::Stall)) => {
            std::thread::sleep(STALL);
            Ok(())
        }
        Some((point, Order::Fail)) => Err(Injected(point)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_point_fires_as_armed_and_an_unknown_one_is_refused() {
        let folder = std::env::temp_dir().join(format!("failpoints-{}", std::process::id()));
        let armed = "sql.read.find_by_hash.before=1*off->1*return(error)";
        setup(armed, Some(&folder)).unwrap();
        assert_eq!(crate::before("sql.read", "find_by_hash").await, Ok(()));
        let fired = crate::before("sql.read", "find_by_hash").await;
        assert_eq!(fired, Err(Injected("sql.read.find_by_hash.before".into())));
        assert_eq!(crate::before("sql.read", "find_by_hash").await, Ok(()));
        assert_eq!(crate::after("sql.read", "find_by_hash").await, Ok(()));
        let log = std::fs::read_to_string(&folder).unwrap();
        std::fs::remove_file(&folder).unwrap();
        assert_eq!(
            log.lines().collect::<Vec<_>>(),
            [
                "reached sql.read.find_by_hash.before",
                "fired sql.read.find_by_hash.before error",
                "reached sql.read.find_by_hash.after",
            ]
        );
        let refused = setup("store.put.nothing.before=return(kill)", None);
        assert!(matches!(refused, Err(SetupError::Unknown(_))));
    }
}
