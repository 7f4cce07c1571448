//! The progress bar of an import, on standard error; nothing where that is no
//! terminal. The number of files is counted beside the import, which does not wait
//! for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use schemas::Status;

use super::tally::Tally;
use super::transfer::Order;
use super::walk::Walk;

/// How often the bar is drawn when nothing happens, so that it is seen to live.
const REDRAW: Duration = Duration::from_millis(200);

/// A progress bar, or none.
pub struct Progress {
    bar: ProgressBar,
    ended: Arc<AtomicBool>,
}

impl Progress {
    /// A bar for this import, if there is a terminal to draw it on.
    pub fn begin(order: &Order) -> Self {
        let target = ProgressDrawTarget::stderr();
        let visible = !target.is_hidden();
        let bar = ProgressBar::with_draw_target(None, target);
        let style = "{spinner} {pos}/{len} files  {elapsed_precise}  {wide_msg}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        let progress = Self {
            bar,
            ended: Arc::default(),
        };
        if visible {
            progress.bar.enable_steady_tick(REDRAW);
            progress.count(order);
        }
        progress
    }

    /// Counts the files in the background, for the bar's length.
    fn count(&self, order: &Order) {
        let walk = Walk::begin(&order.folder, &order.dataset, order.unsorted.clone());
        let (bar, ended) = (self.bar.clone(), self.ended.clone());
        let style = "{bar:24} {pos}/{len} files  {elapsed_precise}, {eta} left  {wide_msg}";
        // Ends by itself: with the folder, or at the first file after the import's end.
        tokio::task::spawn_blocking(move || {
            let Ok(walk) = walk else { return };
            let going_on = |_: &_| !ended.load(Ordering::Relaxed);
            let num_files = walk.take_while(going_on).count();
            if !ended.load(Ordering::Relaxed)
                && let Ok(style) = ProgressStyle::with_template(style)
            {
                bar.set_length(num_files as u64);
                bar.set_style(style);
            }
        });
    }

    /// Shows where the import stands.
    pub fn show(&self, tally: &Tally, num_undecided: usize, num_sending: usize) {
        if self.bar.is_hidden() {
            return;
        }
        self.bar.set_position(tally.files());
        let mut message = format!("{} accepted", tally.with_status(Status::Accepted));
        for (n, what) in [
            (tally.with_status(Status::Duplicate), "duplicate"),
            (tally.with_status(Status::Review), "for review"),
            (tally.with_status(Status::Rejected), "rejected"),
            (tally.failed(), "failed"),
            (num_sending as u64, "on the way"),
            (num_undecided as u64, "waiting for a verdict"),
        ] {
            if n > 0 {
                message += &format!(", {n} {what}");
            }
        }
        self.bar.set_message(message);
    }

    /// Takes the bar off the screen.
    pub fn clear(&self) {
        self.ended.store(true, Ordering::Relaxed);
        self.bar.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
