//! Where the registry gets its time from (L6).

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A source of time, asked on every pick and every heartbeat.
///
/// Never called under one of the registry's locks (C5), so an implementation may do as it likes; but a pick
/// waits for it. Values are clamped to +-2^60 ms.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since 1970-01-01T00:00:00Z. May jump either way.
    fn wall_ms(&self) -> i64;

    /// Milliseconds since any fixed moment. Should never go back.
    fn monotonic_ms(&self) -> i64;

    /// Called before each heartbeat, each sweep and each lease, but not before a pick: for what a clock would rather not look up
    /// each time it is asked.
    fn refresh(&self) {}
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn wall_ms(&self) -> i64 {
        (**self).wall_ms()
    }

    fn monotonic_ms(&self) -> i64 {
        (**self).monotonic_ms()
    }

    fn refresh(&self) {
        (**self).refresh();
    }
}

/// The system's clocks. On Linux the coarse ones, which lag by at most one timer tick (1 to 10 ms by kernel
/// configuration, mostly 4 or less) and cost a few nanoseconds. The time for which the machine slept counts there,
/// from the next [`refresh`](Clock::refresh) on.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[cfg(target_os = "linux")]
impl Clock for SystemClock {
    fn wall_ms(&self) -> i64 {
        milliseconds(rustix::time::ClockId::RealtimeCoarse)
    }

    fn monotonic_ms(&self) -> i64 {
        if SLEPT_MS.load(Ordering::Relaxed) == UNKNOWN {
            self.refresh();
        }
        milliseconds(rustix::time::ClockId::MonotonicCoarse) + SLEPT_MS.load(Ordering::Relaxed)
    }

    /// Looks at the coarse clocks only, unless they have come apart: a sleep moves the wall clock and not the other, and
    /// so does who sets it. The precise ones cost more than a heartbeat's map.
    fn refresh(&self) {
        use rustix::time::ClockId;
        let apart = milliseconds(ClockId::RealtimeCoarse) - milliseconds(ClockId::MonotonicCoarse);
        let known = SLEPT_MS.load(Ordering::Relaxed) != UNKNOWN;
        if known && (apart - APART_MS.load(Ordering::Acquire)).abs() < APART {
            return;
        }
        // The clock that goes on while the machine sleeps is read first: should this thread have to wait between the two,
        // the difference comes out too small, and never goes back.
        let awake_and_asleep = rustix::time::clock_gettime(ClockId::Boottime);
        let awake = rustix::time::clock_gettime(ClockId::Monotonic);
        let slept = (awake_and_asleep.tv_sec - awake.tv_sec) * 1_000
            + (awake_and_asleep.tv_nsec - awake.tv_nsec).div_euclid(1_000_000);
        SLEPT_MS.fetch_max(slept.max(0), Ordering::Relaxed);
        // After the other: who sees it need not look.
        APART_MS.store(apart, Ordering::Release);
    }
}

/// By how much the wall clock was ahead of the monotonic one when the precise clocks were read last, ms.
#[cfg(target_os = "linux")]
static APART_MS: AtomicI64 = AtomicI64::new(0);
/// Less than this, ms, is the coarseness of the two.
#[cfg(target_os = "linux")]
const APART: i64 = 50;

/// For how long this machine has slept since it was started.
#[cfg(target_os = "linux")]
static SLEPT_MS: AtomicI64 = AtomicI64::new(UNKNOWN);
#[cfg(target_os = "linux")]
const UNKNOWN: i64 = -1;

#[cfg(target_os = "linux")]
fn milliseconds(id: rustix::time::ClockId) -> i64 {
    let now = rustix::time::clock_gettime(id);
    now.tv_sec.saturating_mul(1_000).saturating_add(now.tv_nsec / 1_000_000)
}

#[cfg(not(target_os = "linux"))]
impl Clock for SystemClock {
    fn wall_ms(&self) -> i64 {
        match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => millis(since),
            Err(before) => -millis(before.duration()),
        }
    }

    fn monotonic_ms(&self) -> i64 {
        static ORIGIN: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        millis(ORIGIN.get_or_init(std::time::Instant::now).elapsed())
    }
}

/// A clock that stands still until it is told to move: for tests, replays and simulations. Clones share
/// their time. It counts nanoseconds, so small steps add up; what it shows as milliseconds is rounded down.
///
/// ```
/// use hive_registry::{Clock, ManualClock};
/// use std::time::Duration;
///
/// let clock = ManualClock::new(1_700_000_000_000);
/// clock.advance(Duration::from_secs(30));
/// assert_eq!(clock.wall_ms(), 1_700_000_030_000);
/// clock.jump_wall(-60_000); // an administrator sets the date; nothing else ages
/// assert_eq!(clock.wall_ms(), 1_699_999_970_000);
/// ```
#[derive(Clone, Default)]
pub struct ManualClock(Arc<Times>);

#[derive(Default)]
struct Times {
    exact: Mutex<Exact>,
    /// What is shown, written under that lock and read without it.
    wall_ms: AtomicI64,
    monotonic_ms: AtomicI64,
}

/// Nanoseconds, within what milliseconds can tell.
#[derive(Clone, Copy, Default)]
struct Exact {
    wall: i128,
    monotonic: i128,
}

impl ManualClock {
    /// A clock that shows `unix_ms` milliseconds since 1970.
    #[must_use]
    pub fn new(unix_ms: i64) -> Self {
        let clock = Self::default();
        clock.jump_wall(unix_ms);
        clock
    }

    /// Lets `by` pass: both clocks go on.
    pub fn advance(&self, by: Duration) {
        let by = i128::try_from(by.as_nanos()).unwrap_or(i128::MAX);
        self.change(|Exact { wall, monotonic }| Exact {
            wall: wall.saturating_add(by),
            monotonic: monotonic.saturating_add(by),
        });
    }

    /// Shows `unix_ms` from now on. Going forward, that much time passes; going back, only the wall clock
    /// moves.
    pub fn set(&self, unix_ms: i64) {
        self.set_ns(i128::from(unix_ms) * NS_PER_MS);
    }

    /// As [`set`](Self::set), in nanoseconds since 1970.
    pub fn set_ns(&self, unix_ns: i128) {
        self.change(|Exact { wall, monotonic }| {
            // Whatever is not within milliseconds' reach is cut before the difference is taken.
            let unix_ns = within_reach(unix_ns);
            Exact { wall: unix_ns, monotonic: monotonic.saturating_add((unix_ns - wall).max(0)) }
        });
    }

    /// Steps the wall clock by `delta_ms` while no time passes.
    pub fn jump_wall(&self, delta_ms: i64) {
        self.jump_wall_ns(i128::from(delta_ms) * NS_PER_MS);
    }

    /// As [`jump_wall`](Self::jump_wall), in nanoseconds.
    pub fn jump_wall_ns(&self, delta_ns: i128) {
        self.change(|Exact { wall, monotonic }| Exact { wall: wall.saturating_add(delta_ns), monotonic });
    }

    /// What the wall clock shows, nanoseconds since 1970.
    #[must_use]
    pub fn wall_ns(&self) -> i128 {
        self.0.exact.lock().unwrap_or_else(PoisonError::into_inner).wall
    }

    fn change(&self, change: impl FnOnce(Exact) -> Exact) {
        let mut exact = self.0.exact.lock().unwrap_or_else(PoisonError::into_inner);
        let Exact { wall, monotonic } = change(*exact);
        *exact = Exact { wall: within_reach(wall), monotonic: within_reach(monotonic) };
        self.0.wall_ms.store(shown(exact.wall), Ordering::SeqCst);
        self.0.monotonic_ms.store(shown(exact.monotonic), Ordering::SeqCst);
    }
}

const NS_PER_MS: i128 = 1_000_000;

/// Cut to what milliseconds can tell.
fn within_reach(ns: i128) -> i128 {
    ns.clamp(i128::from(i64::MIN) * NS_PER_MS, i128::from(i64::MAX) * NS_PER_MS)
}

/// Whole milliseconds, rounded down.
fn shown(ns: i128) -> i64 {
    i64::try_from(ns.div_euclid(NS_PER_MS)).unwrap_or(i64::MAX)
}

impl Clock for ManualClock {
    fn wall_ms(&self) -> i64 {
        self.0.wall_ms.load(Ordering::SeqCst)
    }

    fn monotonic_ms(&self) -> i64 {
        self.0.monotonic_ms.load(Ordering::SeqCst)
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualClock")
            .field("wall_ms", &self.wall_ms())
            .field("monotonic_ms", &self.monotonic_ms())
            .finish()
    }
}

/// Whole milliseconds, saturating.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
