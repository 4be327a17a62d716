use std::collections::{BTreeMap, HashMap};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::changes::{Changes, Operator};
use crate::check;
use crate::error::{CatalogError, Result};
use crate::hive_rows::{beat, key_of};
use crate::record::{DeviceCapabilities, HiveRecord, HiveStatus};
use crate::removals::removed_since;
use crate::transitions::others_decided;

/// How often what was heard is written.
pub const FLUSH_INTERVAL: Duration = Duration::from_secs(2);
/// Hives that may wait to be written.
pub const MAX_PENDING: usize = 1_000_000;

/// The newest time, status and capabilities of each hive, and the hives that came by their heartbeat, in memory; one
/// transaction every 2 s and at the end. A crash loses one flush of them at most, and nothing that an operator did,
/// which does not go by here.
///
/// A failed flush keeps what it had, and the next one tries again. Dropping flushes; [`close`](Self::close) says how
/// that went.
#[derive(Debug)]
pub struct HeartbeatWriter {
    shared: Arc<Shared>,
    // None once closed, and of a manual one.
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    operator: Operator,
    limits: WriterLimits,
    heard: Mutex<Heard>,
    wake: Condvar,
    /// One flush at a time, so that what failed is put back before the next takes.
    flushing: Mutex<()>,
}

#[derive(Debug, Default)]
struct Heard {
    pending: HashMap<Box<str>, Pending>,
    /// Adopted hives in the catalog and in `pending`.
    adopted: u64,
    /// Hives of the flush that is under way, which may come back.
    writing: usize,
    last_flush_ms: u64,
    stop: bool,
    last: LastFlush,
}

/// What is to be written of one hive.
#[derive(Clone, Debug, Default)]
struct Pending {
    beat_ms: Option<u64>,
    status: Option<Seen>,
    capabilities: Option<(Vec<String>, DeviceCapabilities)>,
    adopt: bool,
}

/// A status that was seen, and when: an operator may have decided otherwise since.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    status: HiveStatus,
    reason: Option<String>,
    at_ms: u64,
}

/// Bounds of a [`HeartbeatWriter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriterLimits {
    /// How often it writes.
    pub interval: Duration,
    /// Hives that may wait to be written.
    pub pending: usize,
    /// Adopted hives in the catalog.
    pub adopted: u64,
}

/// What [`HeartbeatWriter::adopt`] made of a hive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adoption {
    /// It is taken in with the next flush.
    Adopted,
    /// It was known.
    Known,
    /// An operator removed it, within the last 24 h: its heartbeats are refused.
    Removed {
        /// When, milliseconds since 1970.
        at_ms: u64,
    },
}

/// What one flush wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flush {
    /// Times of heartbeats.
    pub beats: usize,
    /// Statuses that changed.
    pub transitions: usize,
    /// Capabilities that changed.
    pub capabilities: usize,
    /// Hives that were taken in.
    pub adopted: usize,
    /// Hives that are not in the catalog: what was heard of them is forgotten.
    pub unknown: usize,
}

/// How it has been going.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastFlush {
    /// Flushes that wrote.
    pub written: u64,
    /// Flushes that failed since the last one that did not.
    pub failed: u64,
    /// What the last one failed with, if it did.
    pub error: Option<String>,
}

impl Default for WriterLimits {
    fn default() -> Self {
        Self { interval: FLUSH_INTERVAL, pending: MAX_PENDING, adopted: 20_000 }
    }
}

// === impl HeartbeatWriter ===

impl HeartbeatWriter {
    /// Starts the thread that writes. `operator` stands in the audit rows of transitions and adoptions:
    /// `service:queen`.
    ///
    /// # Errors
    /// SQLite's; no thread is to be had.
    pub fn start(operator: Operator, limits: WriterLimits) -> Result<Self> {
        let mut writer = Self::manual(operator, limits)?;
        let shared = Arc::clone(&writer.shared);
        let thread = thread::Builder::new().name("catalog-writer".to_owned()).spawn(move || shared.run());
        writer.thread =
            Some(thread.map_err(CatalogError::file(writer.shared.operator.name(), "start the writer"))?);
        Ok(writer)
    }

    /// One without a thread: whoever has it calls [`poll`](Self::poll) or [`flush`](Self::flush).
    ///
    /// # Errors
    /// SQLite's.
    pub fn manual(operator: Operator, limits: WriterLimits) -> Result<Self> {
        let adopted = operator.count_hives()?.adopted;
        let heard = Heard { adopted, last_flush_ms: operator.now_ms(), ..Heard::default() };
        let (heard, wake, flushing) = (Mutex::new(heard), Condvar::new(), Mutex::new(()));
        Ok(Self { shared: Arc::new(Shared { operator, limits, heard, wake, flushing }), thread: None })
    }

    /// A heartbeat of that hive arrived at `ms`, milliseconds since 1970.
    ///
    /// # Errors
    /// `Invalid`; `TooMany`: as many hives wait as may.
    pub fn beat(&self, id: &str, ms: u64) -> Result<()> {
        check::id(id)?;
        check::time_ms(id, "last_heartbeat_ms", ms)?;
        self.shared.change(id, |pending| pending.beat_ms = pending.beat_ms.max(Some(ms)))
    }

    /// The hive has that status now, and why. Between two flushes the last one counts.
    ///
    /// # Errors
    /// `TooMany`: as many hives wait as may.
    pub fn status(&self, id: &str, status: HiveStatus, reason: Option<&str>) -> Result<()> {
        check::id(id)?;
        let reason = reason.map(check::tidy);
        let at_ms = self.shared.operator.now_ms();
        self.shared.change(id, |pending| pending.status = Some(Seen { status, reason, at_ms }))
    }

    /// The hive can do that.
    ///
    /// # Errors
    /// `Invalid`, by field and bound; `TooMany`.
    pub fn capabilities(&self, id: &str, backends: Vec<String>, devices: DeviceCapabilities) -> Result<()> {
        check::id(id)?;
        check::backends(id, &backends)?;
        check::devices(id, &devices)?;
        self.shared.change(id, |pending| pending.capabilities = Some((backends, devices)))
    }

    /// Takes in a hive that only its heartbeat speaks for: it has no host, so nobody dials it. It looks the hive up:
    /// for hives that the caller does not know, not for each heartbeat.
    ///
    /// # Errors
    /// `Invalid`: the id; `TooMany`: as many were adopted, or wait, as may.
    pub fn adopt(&self, id: &str) -> Result<Adoption> {
        check::id(id)?;
        let shared = &*self.shared;
        let now_ms = shared.operator.now_ms();
        let (known, removed) = shared
            .operator
            .read_at_once(|db| Ok((key_of(db, id)?.is_some(), removed_since(db, id, now_ms)?)))?;
        if known {
            return Ok(Adoption::Known);
        }
        if let Some(at_ms) = removed {
            return Ok(Adoption::Removed { at_ms });
        }
        let mut heard = shared.heard();
        if heard.pending.get(id).is_some_and(|pending| pending.adopt) {
            return Ok(Adoption::Adopted);
        }
        let bound = shared.limits.adopted;
        if heard.adopted >= bound {
            drop(heard);
            // Operators may have removed some, or taken them over.
            shared.count_adopted()?;
            heard = shared.heard();
        }
        if heard.adopted >= bound {
            let (wanted, bound) = (heard.adopted as usize + 1, bound as usize);
            return Err(CatalogError::TooMany { id: id.to_owned(), what: "adopted hives", wanted, bound });
        }
        shared.change_of(&mut heard, id, |pending| pending.adopt = true)?;
        heard.adopted += 1;
        Ok(Adoption::Adopted)
    }

    /// Hives that wait to be written.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.shared.heard().pending.len()
    }

    /// How it has been going: a service shows `error` where it says how it is.
    #[must_use]
    pub fn last_flush(&self) -> LastFlush {
        self.shared.heard().last.clone()
    }

    /// Writes what waits, now, in one transaction.
    ///
    /// # Errors
    /// SQLite's: then it waits on, less what was heard anew.
    pub fn flush(&self) -> Result<Flush> {
        self.shared.flush()
    }

    /// Writes if that is due by the catalog's clock; what was written.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub fn poll(&self) -> Result<Option<Flush>> {
        let now_ms = self.shared.operator.now_ms();
        let last_ms = self.shared.heard().last_flush_ms;
        // A clock that was set back would keep it waiting.
        let since = if now_ms < last_ms { u64::MAX } else { now_ms - last_ms };
        if u128::from(since) < self.shared.limits.interval.as_millis() {
            return Ok(None);
        }
        self.flush().map(Some)
    }

    /// Ends the thread, and writes what waits.
    ///
    /// # Errors
    /// As [`flush`](Self::flush): what waits is lost then.
    pub fn close(mut self) -> Result<Flush> {
        self.stop();
        self.flush()
    }

    fn stop(&mut self) {
        self.shared.heard().stop = true;
        self.shared.wake.notify_all();
        if let Some(thread) = self.thread.take() {
            // It ends by itself; if it panicked there is nothing more to do for it.
            let _ = thread.join();
        }
    }
}

impl Drop for HeartbeatWriter {
    fn drop(&mut self) {
        self.stop();
        // Who wants to know how that went calls `close`; then nothing waits here.
        let _ = self.flush();
    }
}

// === impl Shared ===

impl Shared {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, id: &str, change: impl FnOnce(&mut Pending)) -> Result<()> {
        self.change_of(&mut self.heard(), id, change)
    }

    fn change_of(&self, heard: &mut Heard, id: &str, change: impl FnOnce(&mut Pending)) -> Result<()> {
        if let Some(pending) = heard.pending.get_mut(id) {
            change(pending);
            return Ok(());
        }
        let (wanted, bound) = (heard.pending.len() + heard.writing + 1, self.limits.pending);
        if wanted > bound {
            return Err(CatalogError::TooMany {
                id: id.to_owned(),
                what: "hives to be written",
                wanted,
                bound,
            });
        }
        change(heard.pending.entry(id.into()).or_default());
        Ok(())
    }

    /// Counts them anew, between two flushes.
    fn count_adopted(&self) -> Result<()> {
        let _one = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = self.operator.count_hives()?.adopted;
        let mut heard = self.heard();
        heard.adopted = kept + heard.pending.values().filter(|pending| pending.adopt).count() as u64;
        Ok(())
    }

    fn run(&self) {
        loop {
            let heard = self.heard();
            let waited = self.wake.wait_timeout_while(heard, self.limits.interval, |heard| !heard.stop);
            let (heard, _) = waited.unwrap_or_else(PoisonError::into_inner);
            let stop = heard.stop;
            drop(heard);
            if stop {
                return;
            }
            // Told by `last_flush`; the next one tries again.
            let _ = self.flush();
        }
    }

    fn flush(&self) -> Result<Flush> {
        let _one = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        let now_ms = self.operator.now_ms();
        let mut heard = self.heard();
        heard.last_flush_ms = now_ms;
        if heard.pending.is_empty() {
            return Ok(Flush::default());
        }
        let batch = mem::take(&mut heard.pending);
        heard.writing = batch.len();
        drop(heard);
        // By id, so that neighbours in the index are written after each other.
        let sorted: BTreeMap<&str, &Pending> = batch.iter().map(|(id, pending)| (&**id, pending)).collect();
        let written = self.operator.transaction(|changes| {
            let mut flush = Flush::default();
            sorted.iter().try_for_each(|(id, pending)| pending.write(changes, id, &mut flush))?;
            Ok(flush)
        });
        let mut heard = self.heard();
        heard.writing = 0;
        match &written {
            Ok(flush) => {
                // Those that were wanted and did not come in count no longer.
                let wanted = sorted.values().filter(|pending| pending.adopt).count();
                heard.adopted = heard.adopted.saturating_sub((wanted - flush.adopted) as u64);
                heard.last = LastFlush { written: heard.last.written + 1, failed: 0, error: None };
            }
            Err(error) => {
                heard.last.failed += 1;
                heard.last.error = Some(error.to_string());
                for (id, old) in batch {
                    heard.pending.entry(id).or_default().follow(old);
                }
            }
        }
        written
    }
}

// === impl Pending ===

impl Pending {
    /// What was heard before this and could not be written.
    fn follow(&mut self, old: Self) {
        self.beat_ms = self.beat_ms.max(old.beat_ms);
        self.status = self.status.take().or(old.status);
        self.capabilities = self.capabilities.take().or(old.capabilities);
        self.adopt |= old.adopt;
    }

    fn write(&self, changes: &Changes<'_>, id: &str, flush: &mut Flush) -> Result<()> {
        let mut known = key_of(changes.tx, id)?.is_some();
        if self.adopt && !known && removed_since(changes.tx, id, changes.now_ms)?.is_none() {
            let mut hive = HiveRecord::new(id);
            hive.adopted = true;
            changes.insert("adopt", &hive)?;
            flush.adopted += 1;
            known = true;
        }
        // Removed by an operator since it was heard.
        if !known {
            flush.unknown += 1;
            return Ok(());
        }
        if let Some(ms) = self.beat_ms {
            flush.beats += usize::from(beat(changes.tx, id, ms)?);
        }
        if let Some(Seen { status, reason, at_ms }) = &self.status
            && !others_decided(changes, id, *at_ms)?
        {
            flush.transitions += usize::from(changes.update_status(id, *status, reason.as_deref())?);
        }
        if let Some((backends, devices)) = &self.capabilities {
            flush.capabilities += usize::from(changes.update_capabilities(id, backends, devices)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Pending, Seen};
    use crate::HiveStatus;

    fn seen(status: HiveStatus) -> Seen {
        Seen { status, reason: None, at_ms: 1 }
    }

    #[test]
    fn what_was_heard_while_a_flush_failed_goes_before_what_that_flush_had() {
        let of = |beat_ms, status| Pending {
            beat_ms: Some(beat_ms),
            status: Some(seen(status)),
            ..Pending::default()
        };
        let mut newer = of(20, HiveStatus::Online);
        newer.follow(Pending { adopt: true, ..of(10, HiveStatus::Offline) });
        assert_eq!((newer.beat_ms, newer.adopt), (Some(20), true));
        assert_eq!(newer.status, Some(seen(HiveStatus::Online)));
        let mut nothing = Pending::default();
        nothing.follow(of(10, HiveStatus::Offline));
        assert_eq!((nothing.beat_ms, nothing.status), (Some(10), Some(seen(HiveStatus::Offline))));
    }
}
