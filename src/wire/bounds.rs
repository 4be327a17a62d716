//! What one field may hold, and how a refusal is worded (I2).

use std::fmt;

use chrono::{DateTime, Utc};

use super::MAX_ID_BYTES;
use crate::error::HeartbeatError;

/// `list[at].name`, put together only for an error.
pub(super) struct Field(pub(super) &'static str, pub(super) usize, pub(super) &'static str);

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}].{}", self.0, self.1, self.2)
    }
}

#[cold]
pub(crate) fn invalid(
    field: impl fmt::Display,
    value: impl fmt::Display,
    bound: impl fmt::Display,
) -> HeartbeatError {
    let value = value.to_string();
    let mut shown: String = value.chars().take(64).flat_map(char::escape_debug).collect();
    if value.chars().nth(64).is_some() {
        shown.push_str("...");
    }
    HeartbeatError::Invalid {
        field: field.to_string(),
        value: format!("\"{shown}\""),
        bound: bound.to_string(),
    }
}

/// A string of 1 to `bound` bytes without control characters.
pub(super) fn text(field: impl fmt::Display, value: &str, bound: usize) -> Result<(), HeartbeatError> {
    if value.is_empty() || value.len() > bound {
        let bytes = value.len();
        return Err(invalid(field, value, format_args!("1 to {bound} bytes, not {bytes}")));
    }
    // Nearly all text is printable ASCII.
    if is_printable_ascii(value.as_bytes()) || !value.chars().any(char::is_control) {
        return Ok(());
    }
    Err(invalid(field, value, "no control characters"))
}

/// Eight bytes at a time, for a heartbeat has dozens of strings: a byte is not printable ASCII if it has the top
/// bit, or gets it by taking 0x20 away or by adding 1. Borrows and carries come only from such bytes.
fn is_printable_ascii(bytes: &[u8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let odd = |word: &[u8; 8]| {
        let word = u64::from_ne_bytes(*word);
        (word | word.wrapping_sub(0x20 * ONES) | word.wrapping_add(ONES)) & (0x80 * ONES)
    };
    let Some(last) = bytes.last_chunk() else {
        return bytes.iter().all(|byte| matches!(byte, b' '..=b'~'));
    };
    let (mut seen, mut left) = (odd(last), bytes);
    while let Some((word, rest)) = left.split_first_chunk() {
        seen |= odd(word);
        left = rest;
    }
    seen == 0
}

pub(super) fn number(field: impl fmt::Display, value: f64) -> Result<(), HeartbeatError> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(invalid(field, value, "finite and at least 0"))
}

pub(super) fn bytes(field: impl fmt::Display, mb: u64) -> Result<u64, HeartbeatError> {
    mb.checked_mul(1 << 20).ok_or_else(|| invalid(field, mb, format_args!("at most {}", u64::MAX >> 20)))
}

pub(super) fn time(field: impl fmt::Display, value: &str) -> Result<DateTime<Utc>, HeartbeatError> {
    match DateTime::parse_from_rfc3339(value) {
        Ok(time) => Ok(time.to_utc()),
        Err(_) => Err(invalid(field, value, "RFC 3339, as 2025-10-21T10:00:00Z")),
    }
}

/// An id given as an argument.
pub(crate) fn id(field: &'static str, value: &str) -> Result<(), HeartbeatError> {
    text(field, value, MAX_ID_BYTES)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::is_printable_ascii;

    #[test]
    fn every_byte_is_told_apart_at_every_place() {
        for length in 1..20 {
            for at in 0..length {
                for byte in 0..=255_u8 {
                    let mut bytes = vec![b'a'; length];
                    bytes[at] = byte;
                    assert_eq!(is_printable_ascii(&bytes), (0x20..0x7f).contains(&byte), "{bytes:?}");
                }
            }
        }
    }
}
