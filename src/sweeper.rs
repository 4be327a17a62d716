//! A thread that evicts, for those who want one (L4).

use std::fmt;
use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::core::Core;

/// Evicts silent hives from time to time until dropped; from
/// [`HiveRegistry::spawn_sweeper`](crate::HiveRegistry::spawn_sweeper). Dropping it stops the thread and
/// waits for it.
#[must_use = "the sweeper stops when this is dropped"]
pub struct Sweeper {
    /// Dropped to stop the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sweeper {
    pub(crate) fn spawn(core: &Arc<Core>, every: Duration, max_age: Duration) -> io::Result<Self> {
        let core: Weak<Core> = Arc::downgrade(core);
        let (stop, stopped) = channel();
        // A sweep without a pause would leave nobody else a core.
        let every = every.max(Duration::from_millis(1));
        let sweep = move || {
            let mut silence = None;
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                let Some(core) = core.upgrade() else {
                    return;
                };
                let _ = core.sweep(max_age, &mut silence);
            }
        };
        let thread = std::thread::Builder::new().name("hive-sweeper".into()).spawn(sweep)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in a user's clock ended the thread and was reported there.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Sweeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sweeper").finish_non_exhaustive()
    }
}
