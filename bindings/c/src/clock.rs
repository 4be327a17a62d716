//! A clock that stands still until it is told to move.

use std::mem::MaybeUninit;
use std::time::Duration;

use hive_registry::{Clock, ManualClock as Manual};

use crate::status::{Status, guard, guard_drop};
use crate::text::{out, some};

/// A clock that stands still until it is told to move: for tests, replays and simulations. May be used from any
/// thread at once, and freed while registries still go by it: they keep its time.
pub struct ManualClock(Manual);

impl ManualClock {
    /// The same time.
    pub(crate) fn share(&self) -> Manual {
        self.0.clone()
    }
}

fn with(clock: Option<&ManualClock>, act: impl FnOnce(&Manual)) -> Status {
    guard(|| {
        act(&some("clock", clock)?.0);
        Ok(Status::HIVE_OK)
    })
}

/// A clock that shows `unix_ms`, milliseconds since 1970.
#[unsafe(no_mangle)]
pub extern "C" fn hive_clock_new(
    unix_ms: i64,
    out_clock: Option<&mut MaybeUninit<Box<ManualClock>>>,
) -> Status {
    guard(|| {
        out("out_clock", out_clock)?.write(Box::new(ManualClock(Manual::new(unix_ms))));
        Ok(Status::HIVE_OK)
    })
}

/// NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn hive_clock_free(clock: Option<Box<ManualClock>>) {
    guard_drop(clock);
}

/// Lets so many milliseconds pass.
#[unsafe(no_mangle)]
pub extern "C" fn hive_clock_advance(clock: Option<&ManualClock>, ms: u64) -> Status {
    with(clock, |clock| clock.advance(Duration::from_millis(ms)))
}

/// Shows `unix_ms` from now on. Going forward, that much time passes; going back, only the wall clock moves.
#[unsafe(no_mangle)]
pub extern "C" fn hive_clock_set(clock: Option<&ManualClock>, unix_ms: i64) -> Status {
    with(clock, |clock| clock.set(unix_ms))
}

/// Steps the wall clock while no time passes.
#[unsafe(no_mangle)]
pub extern "C" fn hive_clock_jump_wall(clock: Option<&ManualClock>, delta_ms: i64) -> Status {
    with(clock, |clock| clock.jump_wall(delta_ms))
}

/// What it shows, milliseconds since 1970; 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn hive_clock_wall_ms(clock: Option<&ManualClock>) -> i64 {
    clock.map_or(0, |clock| clock.0.wall_ms())
}
