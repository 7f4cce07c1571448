//! Failpoints: before and after every call to Kafka, to the object store (and with it to
//! the Delta log) and to the catalog, a test may order what happens there.
//!
//! A point is a call, what it is about, and a side: `store.put.photos_log.after`. Without the
//! feature `on` all of this is empty. With it, `TINTYPE_FAILPOINTS` arms points in the language
//! of the crate `fail`, separated by semicolons, with one of four actions:
//!
//! ```text
//! store.put.photos_log.after=2*off->1*return(lost);kafka.produce.captures.before=return(kill)
//! ```
//!
//! | action | what happens |
//! |---|---|
//! | `kill` | SIGKILL of this process |
//! | `stall` | 5 s pass |
//! | `error` | at a point before: the call is not made, and fails |
//! | `lost` | at a point after: the call was made, and its answer is an error |
//!
//! `TINTYPE_FAILPOINTS_LOG` names a file that gets a line for each point that is reached for the
//! first time, and for each that fires.

mod points;
pub use points::{CALLS, points};

#[cfg(feature = "on")]
mod act;
#[cfg(feature = "on")]
pub use act::{SetupError, setup};

#[cfg(feature = "on")]
mod store;
#[cfg(feature = "on")]
pub use store::FailingStore;

/// A failure that a test ordered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failpoint {0} fired")]
pub struct Injected(pub String);

/// Before a call: an error here means that it is not to be made.
///
/// # Errors
/// A test ordered one.
#[inline(always)]
#[allow(
    clippy::unused_async,
    unused_variables,
    reason = "empty without the feature"
)]
pub async fn before(call: &str, what: &str) -> Result<(), Injected> {
    #[cfg(feature = "on")]
    act::reach(call, what, "before").await?;
    Ok(())
}

/// After a call that succeeded: an error here means that nobody is told so.
///
/// # Errors
/// A test ordered one.
#[inline(always)]
#[allow(
    clippy::unused_async,
    unused_variables,
    reason = "empty without the feature"
)]
pub async fn after(call: &str, what: &str) -> Result<(), Injected> {
    #[cfg(feature = "on")]
    act::reach(call, what, "after").await?;
    Ok(())
}

/// As [`before`], on a thread of its own that may wait.
///
/// # Errors
/// A test ordered one.
#[inline(always)]
#[allow(unused_variables, reason = "empty without the feature")]
pub fn before_blocking(call: &str, what: &str) -> Result<(), Injected> {
    #[cfg(feature = "on")]
    act::reach_blocking(call, what, "before")?;
    Ok(())
}

/// As [`after`], on a thread of its own that may wait.
///
/// # Errors
/// A test ordered one.
#[inline(always)]
#[allow(unused_variables, reason = "empty without the feature")]
pub fn after_blocking(call: &str, what: &str) -> Result<(), Injected> {
    #[cfg(feature = "on")]
    act::reach_blocking(call, what, "after")?;
    Ok(())
}
