//! When to try a photo again: the number of tries and the server's `Retry-After` come in, a
//! wait goes out that grows, differs from phone to phone, and has an end. Waits are measured
//! on the monotonic clock and not kept over a restart, so a phone whose clock is wrong or is
//! set waits no longer than any other.

use std::time::Duration;

use rand::Rng as _;

/// The wait after the first failure, doubled for each that follows. Smaller wakes the radio
/// for nothing; larger is noticed by the person who watches.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest wait of our own. Larger, and a server that is back stays unused; smaller
/// drains batteries through a long outage.
const LONGEST_WAIT: Duration = Duration::from_secs(5 * 60);

/// The longest wait that a server can ask for: a slip of its clock must not stop a phone
/// for a day.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);

/// The wait after failure number `attempts`, counted from 1.
pub(crate) fn wait(attempts: u32, retry_after: Option<Duration>) -> Duration {
    jittered(attempts, retry_after, rand::rng().random_range(0.0..1.0))
}

/// `jitter` is 0 to 1: the wait is between half and the whole of what the tries ask for.
fn jittered(attempts: u32, retry_after: Option<Duration>, jitter: f64) -> Duration {
    let doubled = FIRST_WAIT.saturating_mul(1 << attempts.saturating_sub(1).min(16));
    let own = doubled.min(LONGEST_WAIT).mul_f64(0.5 + jitter / 2.0);
    match retry_after {
        // Never earlier than asked, and not all phones in the same second.
        Some(asked) => asked.min(LONGEST_RETRY_AFTER) + Duration::from_secs(5).mul_f64(jitter),
        None => own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit_and_never_undercut_retry_after() {
        let seconds = |attempts, retry_after: Option<u64>| {
            jittered(attempts, retry_after.map(Duration::from_secs), 1.0).as_secs()
        };
        assert_eq!(
            (1..=4).map(|n| seconds(n, None)).collect::<Vec<_>>(),
            [1, 2, 4, 8]
        );
        assert_eq!(seconds(u32::MAX, None), 300);
        assert_eq!(seconds(1, Some(60)), 65);
        assert_eq!(seconds(1, Some(u64::MAX)), 3605);
        assert!(jittered(3, None, 0.0) >= Duration::from_secs(2));
    }
}
