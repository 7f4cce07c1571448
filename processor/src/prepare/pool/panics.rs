//! A decoder's panic is a verdict on its photo. In: work that may panic; out: its result,
//! or a refusal with the panic's words; nothing of it reaches the process's own hook.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;
use std::thread;

use schemas::Reason;

use crate::prepare::Refusal;

/// Runs a step whose panic is a verdict.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, Refusal>) -> Result<T, Refusal> {
    // Nothing the closure borrows is seen again after a panic.
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let words = panic_words(&*panic);
        let detail = format!("the decoder failed on this file ({words}); it may be damaged");
        Err(Refusal::new(Reason::DecoderFailure, detail))
    })
}

fn panic_words(panic: &(dyn Any + Send)) -> String {
    const MAX_CHARS: usize = 120;
    let words = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no reason given");
    words.chars().take(MAX_CHARS).collect()
}

/// Every thread of a pool is named so.
pub(super) const THREAD_PREFIX: &str = "prepare-";

/// Panics on our threads are verdicts and are told as such; the process's own hook
/// would print each one with a backtrace, once for every hostile file.
pub(super) fn quiet_panics() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let is_ours = thread::current()
                .name()
                .is_some_and(|name| name.starts_with(THREAD_PREFIX));
            if is_ours {
                tracing::debug!(%info, "a decoder panicked");
            } else {
                previous(info);
            }
        }));
    });
}
