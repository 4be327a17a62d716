//! Sources of time that are not the system's: one that stands still until it is told to move, and the program's own.

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::Duration;

use hive_registry::{Clock as Time, ManualClock as Manual};

use crate::status::{Failure, Status, guard, guard_drop};
use crate::text::{out, some};

/// A source of time: one that stands still until it is told to move, for tests, replays and simulations, or functions of
/// the program. May be used from any thread at once, and freed while registries still go by it: they keep its time.
pub struct Clock(Source);

enum Source {
    Manual(Manual),
    Called(Arc<Called>),
}

/// What a clock of the program calls. `wall_ms` and `monotonic_ms` may not be NULL.
///
/// Called on every pick and every heartbeat, on the thread that makes it, from several at once, without any lock held: so
/// they may call the registry, but not free what the call under way uses. They must return: neither longjmp nor a C++
/// exception may leave them. Values are cut to +-2^60 ms.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ClockFunctions {
    /// What each is given.
    pub user: *mut c_void,
    /// Milliseconds since 1970. May jump either way.
    pub wall_ms: Option<unsafe extern "C" fn(user: *mut c_void) -> i64>,
    /// Milliseconds since any fixed moment. Should never go back.
    pub monotonic_ms: Option<unsafe extern "C" fn(user: *mut c_void) -> i64>,
    /// Called before each heartbeat, each sweep and each lease, but not before a pick, for what is not to be looked up each
    /// time; may be NULL.
    pub refresh: Option<unsafe extern "C" fn(user: *mut c_void)>,
    /// Called once, when the clock was freed and no registry goes by it any more, by the thread that gave back the last of
    /// them; may be NULL.
    pub on_free: Option<unsafe extern "C" fn(user: *mut c_void)>,
}

/// The functions of a program, checked.
struct Called {
    wall_ms: unsafe extern "C" fn(*mut c_void) -> i64,
    monotonic_ms: unsafe extern "C" fn(*mut c_void) -> i64,
    all: ClockFunctions,
}

// What the program promises: they are called from any thread.
unsafe impl Send for Called {}
unsafe impl Sync for Called {}

impl Time for Called {
    fn wall_ms(&self) -> i64 {
        unsafe { (self.wall_ms)(self.all.user) }
    }

    fn monotonic_ms(&self) -> i64 {
        unsafe { (self.monotonic_ms)(self.all.user) }
    }

    fn refresh(&self) {
        if let Some(refresh) = self.all.refresh {
            unsafe { refresh(self.all.user) }
        }
    }
}

impl Drop for Called {
    fn drop(&mut self) {
        if let Some(on_free) = self.all.on_free {
            unsafe { on_free(self.all.user) }
        }
    }
}

impl Clock {
    /// The same time.
    pub(crate) fn share(&self) -> Arc<dyn Time> {
        match &self.0 {
            Source::Manual(manual) => Arc::new(manual.clone()),
            Source::Called(called) => called.clone(),
        }
    }
}

fn with(clock: Option<&Clock>, act: impl FnOnce(&Manual)) -> Status {
    guard(|| match &some("clock", clock)?.0 {
        Source::Manual(manual) => {
            act(manual);
            Ok(Status::HIVE_OK)
        }
        Source::Called(_) => {
            let bound = "one of hive_clock_new, which can be told";
            Err(Failure::refused(Status::HIVE_INVALID_ARGUMENT, "clock", "one of hive_clock_new_of", bound))
        }
    })
}

/// A clock that shows `unix_ms`, milliseconds since 1970, and stands still.
#[unsafe(no_mangle)]
pub extern "C" fn hive_clock_new(unix_ms: i64, out_clock: Option<&mut MaybeUninit<Box<Clock>>>) -> Status {
    guard(|| {
        out("out_clock", out_clock)?.write(Box::new(Clock(Source::Manual(Manual::new(unix_ms)))));
        Ok(Status::HIVE_OK)
    })
}

/// A clock that asks the program. Refused, `user` remains the caller's, and `on_free` is not called.
///
/// Errors: HIVE_NULL_ARGUMENT where a function is missing that may not be.
#[unsafe(no_mangle)]
pub extern "C" fn hive_clock_new_of(
    functions: Option<&ClockFunctions>,
    out_clock: Option<&mut MaybeUninit<Box<Clock>>>,
) -> Status {
    guard(|| {
        let (all, out) = (*some("functions", functions)?, out("out_clock", out_clock)?);
        let wall_ms = all.wall_ms.ok_or_else(|| Failure::null("functions.wall_ms"))?;
        let monotonic_ms = all.monotonic_ms.ok_or_else(|| Failure::null("functions.monotonic_ms"))?;
        out.write(Box::new(Clock(Source::Called(Arc::new(Called { wall_ms, monotonic_ms, all })))));
        Ok(Status::HIVE_OK)
    })
}

/// NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn hive_clock_free(clock: Option<Box<Clock>>) {
    guard_drop(clock);
}

/// Lets so many milliseconds pass.
///
/// Errors: HIVE_INVALID_ARGUMENT for a clock of the program, which nobody but it can move; so the two below.
#[unsafe(no_mangle)]
pub extern "C" fn hive_clock_advance(clock: Option<&Clock>, ms: u64) -> Status {
    with(clock, |clock| clock.advance(Duration::from_millis(ms)))
}

/// Shows `unix_ms` from now on. Going forward, that much time passes; going back, only the wall clock moves.
#[unsafe(no_mangle)]
pub extern "C" fn hive_clock_set(clock: Option<&Clock>, unix_ms: i64) -> Status {
    with(clock, |clock| clock.set(unix_ms))
}

/// Steps the wall clock while no time passes.
#[unsafe(no_mangle)]
pub extern "C" fn hive_clock_jump_wall(clock: Option<&Clock>, delta_ms: i64) -> Status {
    with(clock, |clock| clock.jump_wall(delta_ms))
}

/// What it shows, milliseconds since 1970; 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn hive_clock_wall_ms(clock: Option<&Clock>) -> i64 {
    clock.map_or(0, |clock| match &clock.0 {
        Source::Manual(manual) => manual.wall_ms(),
        Source::Called(called) => called.wall_ms(),
    })
}
