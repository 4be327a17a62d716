//! An error that is somebody's own: whatever thread asks for it, and whatever fails next.

use std::mem::MaybeUninit;
use std::sync::Arc;

use crate::registry::Registry;
use crate::status::{Failure, Status, guard, guard_drop, take_last};
use crate::text::{Out, Str, out, some, tell};

/// An error, to be kept: why one call failed. Immutable; its texts live as long as it does.
pub struct Error(Arc<Failure>);

fn give(failure: Option<Arc<Failure>>, out: &mut MaybeUninit<Box<Error>>) -> Status {
    let Some(failure) = failure else { return Status::HIVE_NONE };
    out.write(Box::new(Error(failure)));
    Status::HIVE_OK
}

/// Takes the error of the last call of this thread that failed. HIVE_NONE if none has, or it was taken.
/// `hive_last_error_message` goes on telling it.
#[unsafe(no_mangle)]
pub extern "C" fn hive_error_take(out_error: Option<&mut MaybeUninit<Box<Error>>>) -> Status {
    guard(|| Ok(give(take_last(), out("out_error", out_error)?)))
}

/// Takes the error of the last call through this handle that failed, on whatever thread it ran. HIVE_NONE if none has, or it
/// was taken. For callers that do not stay on one thread, each of which has a handle of its own from
/// `hive_registry_clone`. Calls through models, events, clocks and errors are not looked at: these take a NULL amiss,
/// and else say all by their status.
#[unsafe(no_mangle)]
pub extern "C" fn hive_registry_take_error(
    registry: Option<&Registry>,
    out_error: Option<&mut MaybeUninit<Box<Error>>>,
) -> Status {
    guard(|| {
        let (registry, out) = (some("registry", registry)?, out("out_error", out_error)?);
        Ok(give(registry.take_failure(), out))
    })
}

/// NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn hive_error_free(error: Option<Box<Error>>) {
    guard_drop(error);
}

/// What the call returned; HIVE_OK for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn hive_error_status(error: Option<&Error>) -> Status {
    error.map_or(Status::HIVE_OK, |error| error.0.status)
}

/// Field, value and bound in a sentence, in at most 512 bytes; empty for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn hive_error_message(error: Option<&Error>) -> Str {
    error.map_or(Str::EMPTY, |error| Str::of(&error.0.message))
}

/// What was refused: a field of a heartbeat by its path, "workers[3].url", a limit, a setting, an argument. False, and
/// `out` not written, if it is about none, or a pointer is NULL; so the two below.
#[unsafe(no_mangle)]
pub extern "C" fn hive_error_field(error: Option<&Error>, out: Option<&mut MaybeUninit<Str>>) -> bool {
    part(error, out, |failure| &failure.field)
}

/// The value that was refused: text in quotes, and its beginning only if it is long.
#[unsafe(no_mangle)]
pub extern "C" fn hive_error_value(error: Option<&Error>, out: Option<&mut MaybeUninit<Str>>) -> bool {
    part(error, out, |failure| &failure.value)
}

/// What would have been accepted, in words: "1 to 256 bytes, not 300".
#[unsafe(no_mangle)]
pub extern "C" fn hive_error_bound(error: Option<&Error>, out: Option<&mut MaybeUninit<Str>>) -> bool {
    part(error, out, |failure| &failure.bound)
}

fn part(error: Option<&Error>, out: Out<'_, Str>, part: fn(&Failure) -> &Option<String>) -> bool {
    tell(error.and_then(|error| part(&error.0).as_deref()).map(Str::of), out)
}
