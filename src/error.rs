//! What the registry refuses, in words that name field, value and bound.

use std::fmt::{self, Write};

use thiserror::Error;

/// The bytes of what an error says, at most, whatever was given (I2).
pub(crate) const MAX_ERROR_BYTES: usize = 512;

/// Why a heartbeat was refused. Nothing of it was applied and nothing was registered. Its words are at most 512 bytes
/// long, whatever was sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HeartbeatError {
    /// The body is not JSON, or a field is missing or of the wrong type.
    #[error("{field}: {message}")]
    Malformed {
        /// Path of the field, `workers[3].vram_bytes`; `.` for the body itself.
        field: String,
        /// What the parser said; for JSON, with line and column.
        message: String,
    },
    /// A field's value is out of bounds (I2).
    #[error("{field}: {value} refused: {bound}")]
    Invalid {
        /// Path of the field, `workers[3].url`.
        field: String,
        /// The value, quoted and escaped, cut after 64 characters at most.
        value: String,
        /// What would have been accepted.
        bound: String,
    },
    /// A limit of the registry would be passed (I2); see [`Limits`](crate::Limits).
    #[error("{limit}: {wanted} refused: at most {bound}")]
    OverLimit {
        /// Name of the field of [`Limits`](crate::Limits).
        limit: &'static str,
        /// The number that would have been reached.
        wanted: usize,
        /// The limit.
        bound: usize,
    },
}

// Together with the words between them, less than `MAX_ERROR_BYTES`.
const FIELD: usize = 130;
const VALUE: usize = 160;
const BOUND: usize = 200;
const MESSAGE: usize = 370;

impl HeartbeatError {
    /// A body that could not be read: for those who read bodies of other formats than JSON (see
    /// [`Heartbeat`](crate::Heartbeat)), so that all are refused in the same words. `path` is that of the field, `.` for the
    /// body itself; `message` is what the deserializer said. Both are cut where they are too long.
    ///
    /// ```
    /// let error = hive_registry::HeartbeatError::malformed("workers[3]", "missing field `state`");
    /// assert_eq!(error.to_string(), "workers[3].state: missing field `state`");
    /// ```
    #[must_use]
    pub fn malformed(path: &str, message: &str) -> Self {
        // What was read apart has its path in the message.
        let (path, message) = match message.split_once(": ") {
            Some((apart, rest))
                if path == "." && (apart.starts_with("workers") || apart == "hive" || apart == "type") =>
            {
                (apart, rest)
            }
            _ => (path, message),
        };
        // What is missing has no path of its own.
        let missing = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
        let field = match missing {
            Some(name) if path == "." => name,
            Some(name) => &format!("{path}.{name}"),
            None => path,
        };
        Self::Malformed { field: cut(field, FIELD), message: cut(message, MESSAGE) }
    }

    /// A value that is out of bounds: its field, the value, and what would have been accepted; each is cut where it is too
    /// long, and the value quoted.
    #[must_use]
    #[cold]
    pub fn invalid(field: impl fmt::Display, value: impl fmt::Display, bound: impl fmt::Display) -> Self {
        Self::Invalid {
            field: cut(&field.to_string(), FIELD),
            value: quote(&value.to_string()),
            bound: cut(&bound.to_string(), BOUND),
        }
    }
}

/// In quotes and escaped, 64 characters of it.
pub(crate) fn quote(value: &str) -> String {
    let mut shown = String::from("\"");
    for (at, char) in value.chars().enumerate() {
        if at == 64 || shown.len() > VALUE - 16 {
            shown.push_str("...");
            break;
        }
        // Writing to a string does not fail.
        let _ = write!(shown, "{}", char.escape_debug());
    }
    shown.push('"');
    shown
}

/// What an error says, cut where it is too long: for the bindings, which word errors of their own.
#[must_use]
pub fn said(text: &str) -> String {
    cut(text, MAX_ERROR_BYTES)
}

/// Of what is longer than `most` bytes the beginning and the end, where a parser says line and column.
pub(crate) fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let half = (most - 3) / 2;
    let boundary = |at: usize| (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    // Never before the place, so that the end is no longer than half.
    let end = (text.len() - half..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    format!("{}...{}", &text[..boundary(half)], &text[end..])
}

/// Why [`HiveRegistryBuilder::build`](crate::HiveRegistryBuilder::build) refused a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A setting is out of bounds.
    #[error("{field}: {value} refused: {bound}")]
    Invalid {
        /// Name of the builder's method or of the field of [`Limits`](crate::Limits).
        field: &'static str,
        /// The value.
        value: String,
        /// What would have been accepted.
        bound: &'static str,
    },
}
