//! What a call says of how it went, and the one guard through which every call goes.

use std::any::Any;
use std::cell::RefCell;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use hive_registry::{FeedError, HeartbeatError, said};

use crate::text::Str;

/// How a call went. The numbers are never given another meaning; new ones may come.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(non_camel_case_types, reason = "the names in C")]
pub enum Status {
    /// Done; the out-parameters are written.
    HIVE_OK = 0,
    /// There is no such thing: no worker to pick, no hive of that name. No error: nothing is written, and
    /// `hive_last_error_message` keeps what it said.
    HIVE_NONE = 1,
    /// A handle or another pointer was NULL.
    HIVE_NULL_ARGUMENT = 2,
    /// Text was not UTF-8.
    HIVE_INVALID_UTF8 = 3,
    /// A length was past PTRDIFF_MAX.
    HIVE_INVALID_LENGTH = 4,
    /// A number that means nothing here.
    HIVE_INVALID_ARGUMENT = 5,
    /// A setting was out of bounds.
    HIVE_INVALID_CONFIG = 6,
    /// A heartbeat was not JSON, or a field of it missing or of the wrong type.
    HIVE_MALFORMED = 7,
    /// A field of a heartbeat was out of bounds.
    HIVE_INVALID_FIELD = 8,
    /// A limit of the registry would have been passed.
    HIVE_OVER_LIMIT = 9,
    /// No event came in time.
    HIVE_TIMEOUT = 10,
    /// The reader of events was too slow and lost some.
    HIVE_LAGGED = 11,
    /// The registry is gone, and every event was read.
    HIVE_CLOSED = 12,
    /// The system refused something.
    HIVE_SYSTEM = 13,
    /// A defect in this library: it panicked. The registry remains usable.
    HIVE_PANIC = 14,
}

impl Status {
    /// Of a question about something that may not be there.
    pub(crate) fn whether(there: bool) -> Self {
        if there { Self::HIVE_OK } else { Self::HIVE_NONE }
    }
}

/// A status that is an error, and why.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: Status,
    /// At most 512 bytes, as each of the parts.
    pub(crate) message: String,
    pub(crate) field: Option<String>,
    pub(crate) value: Option<String>,
    pub(crate) bound: Option<String>,
}

pub(crate) type Outcome = Result<Status, Failure>;

/// The last error of a thread, and whether `hive_error_take` gave it out.
#[derive(Default)]
struct Last {
    failure: Option<Arc<Failure>>,
    is_taken: bool,
}

thread_local! {
    static LAST: RefCell<Last> = const { RefCell::new(Last { failure: None, is_taken: false }) };
}

impl Failure {
    pub(crate) fn new(status: Status, message: impl AsRef<str>) -> Self {
        Self { status, message: said(message.as_ref()), field: None, value: None, bound: None }
    }

    /// Of a field whose value is not what would have been accepted.
    pub(crate) fn refused(
        status: Status,
        field: impl Display,
        value: impl Display,
        bound: impl Display,
    ) -> Self {
        let part = |part: &dyn Display| Some(said(&part.to_string()));
        let message = format!("{field}: {value} refused: {bound}");
        Self { value: part(&value), bound: part(&bound), ..Self::new(status, message).of(&field) }
    }

    pub(crate) fn null(argument: &str) -> Self {
        Self::new(Status::HIVE_NULL_ARGUMENT, format!("{argument}: NULL refused")).of(argument)
    }

    /// The same, about this field.
    pub(crate) fn of(self, field: impl Display) -> Self {
        Self { field: Some(said(&field.to_string())), ..self }
    }
}

impl From<HeartbeatError> for Failure {
    fn from(error: HeartbeatError) -> Self {
        use Status::{HIVE_INVALID_FIELD, HIVE_MALFORMED, HIVE_OVER_LIMIT};
        match &error {
            HeartbeatError::Malformed { field, .. } => Self::new(HIVE_MALFORMED, error.to_string()).of(field),
            HeartbeatError::OverLimit { limit, wanted, bound } => {
                Self::refused(HIVE_OVER_LIMIT, limit, wanted, format_args!("at most {bound}"))
            }
            HeartbeatError::Invalid { field, value, bound } => {
                Self::refused(HIVE_INVALID_FIELD, field, value, bound)
            }
            _ => Self::new(HIVE_INVALID_FIELD, error.to_string()),
        }
    }
}

impl From<FeedError> for Failure {
    fn from(error: FeedError) -> Self {
        let status = match error {
            FeedError::Timeout => Status::HIVE_TIMEOUT,
            FeedError::Lagged(_) => Status::HIVE_LAGGED,
            _ => Status::HIVE_CLOSED,
        };
        Self::new(status, error.to_string())
    }
}

/// Every call that returns a status runs in here: a panic ends here, and an error leaves its words.
pub(crate) fn guard(call: impl FnOnce() -> Outcome) -> Status {
    guard_and(|_| {}, call)
}

/// The same; an error is also given to whom else it concerns.
pub(crate) fn guard_and(tell: impl FnOnce(&Arc<Failure>), call: impl FnOnce() -> Outcome) -> Status {
    let failure = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(status)) => return status,
        Ok(Err(failure)) => failure,
        Err(panic) => Failure::new(Status::HIVE_PANIC, format!("panic: {}", words(&*panic))),
    };
    let failure = Arc::new(failure);
    tell(&failure);
    let status = failure.status;
    // Gone only while the thread ends.
    let _ = LAST.try_with(|last| last.replace(Last { failure: Some(failure), is_taken: false }));
    status
}

/// The same for what returns nothing.
pub(crate) fn guard_drop<T>(owned: Option<Box<T>>) {
    guard(|| {
        drop(owned);
        Ok(Status::HIVE_OK)
    });
}

/// This thread's last error, once.
pub(crate) fn take_last() -> Option<Arc<Failure>> {
    LAST.with(|last| {
        let mut last = last.borrow_mut();
        let is_taken = std::mem::replace(&mut last.is_taken, true);
        last.failure.clone().filter(|_| !is_taken)
    })
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("of an unknown kind")
}

/// Why the last call of this thread that failed did: field, value and bound, in at most 512 bytes. Empty if none has
/// failed. Valid until the next call of this thread that fails. Callers that do not stay on one thread ask
/// `hive_registry_take_error`.
#[unsafe(no_mangle)]
pub extern "C" fn hive_last_error_message() -> Str {
    let message = |last: &RefCell<Last>| {
        let last = last.try_borrow().ok()?;
        last.failure.as_ref().map(|failure| Str::of(&failure.message))
    };
    LAST.try_with(message).ok().flatten().unwrap_or(Str::EMPTY)
}

/// The status in a word: "HIVE_OK". Valid for ever; "unknown" for a number that is none.
#[unsafe(no_mangle)]
pub extern "C" fn hive_status_name(status: u32) -> Str {
    Str::of(NAMES.get(status as usize).copied().unwrap_or("unknown"))
}

/// By their numbers.
const NAMES: [&str; 15] = [
    "HIVE_OK",
    "HIVE_NONE",
    "HIVE_NULL_ARGUMENT",
    "HIVE_INVALID_UTF8",
    "HIVE_INVALID_LENGTH",
    "HIVE_INVALID_ARGUMENT",
    "HIVE_INVALID_CONFIG",
    "HIVE_MALFORMED",
    "HIVE_INVALID_FIELD",
    "HIVE_OVER_LIMIT",
    "HIVE_TIMEOUT",
    "HIVE_LAGGED",
    "HIVE_CLOSED",
    "HIVE_SYSTEM",
    "HIVE_PANIC",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_here_and_leaves_its_words() {
        let kept = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let status = guard(|| panic!("at {}", 7));
        std::panic::set_hook(kept);
        assert_eq!(status, Status::HIVE_PANIC);
        assert_eq!(take_last().map(|last| last.message.clone()).as_deref(), Some("panic: at 7"));
        assert_eq!(guard(|| Ok(Status::HIVE_NONE)), Status::HIVE_NONE, "and the next call goes on");
    }

    /// A panic in a clock of Rust, say, may quote what it likes.
    #[test]
    fn no_error_is_longer_than_512_bytes() {
        for long in ["x".repeat(1 << 20), "\u{1f41d}".repeat(1 << 18)] {
            guard(|| Err(Failure::new(Status::HIVE_SYSTEM, format!("the thread: {long}"))));
            let kept = take_last().expect("it failed");
            assert!(kept.message.len() <= 512 && kept.message.starts_with("the thread: "), "{kept:?}");
        }
        let long = "x".repeat(1 << 20);
        let parts = Failure::refused(Status::HIVE_INVALID_FIELD, &long, &long, &long);
        for part in [parts.field, parts.value, parts.bound, Some(parts.message)] {
            assert!(part.is_some_and(|part| part.len() <= 512));
        }
    }
}
