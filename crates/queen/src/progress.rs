//! A bar for what takes over a second, where people look.

use std::io::{self, IsTerminal as _};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use hive_catalog::Progress;
use indicatif::{ProgressBar, ProgressStyle};

/// Before this, nothing is shown.
const PATIENCE: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(100);

/// Runs `work`, which says how far it has come where it knows; else the time goes on.
pub(crate) fn shown<T>(what: &'static str, work: impl FnOnce(&mut (dyn FnMut(Progress) + Send)) -> T) -> T {
    if !io::stderr().is_terminal() {
        return work(&mut |_| {});
    }
    let (done, total) = (AtomicU64::new(0), AtomicU64::new(0));
    let (end, ended) = channel::<()>();
    let (done_seen, total_seen) = (&done, &total);
    thread::scope(|scope| {
        scope.spawn(move || {
            let began = Instant::now();
            if ended.recv_timeout(PATIENCE) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            let bar = ProgressBar::new(0).with_message(what).with_elapsed(began.elapsed());
            let mut is_measured = false;
            bar.set_style(style("{spinner} {msg}, {elapsed}"));
            while ended.recv_timeout(STEP) == Err(RecvTimeoutError::Timeout) {
                let (done, total) = (done_seen.load(Relaxed), total_seen.load(Relaxed));
                if !is_measured && done > 0 {
                    is_measured = true;
                    bar.set_style(style("{spinner} {msg} [{wide_bar}] {percent:>3} %, {elapsed}"));
                }
                bar.set_length(total);
                bar.set_position(done);
                bar.tick();
            }
            bar.finish_and_clear();
        });
        let answer = work(&mut |progress: Progress| {
            done.store(progress.done, Relaxed);
            total.store(progress.total, Relaxed);
        });
        drop(end);
        answer
    })
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests {
    #[test]
    fn templates_are_such() {
        for template in
            ["{spinner} {msg}, {elapsed}", "{spinner} {msg} [{wide_bar}] {percent:>3} %, {elapsed}"]
        {
            assert!(indicatif::ProgressStyle::with_template(template).is_ok());
        }
    }
}
