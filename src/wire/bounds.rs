//! What one field may hold, and how a refusal is worded (I2).

use std::fmt;

use chrono::{DateTime, Utc};

use super::borrowed::Str;
use super::number::{Kind, Number};
use super::{MAX_ID_BYTES, MAX_TEXT_BYTES};
use crate::error::{HeartbeatError, quote};

/// `list[at].name`, or `object.name`; put together only for an error.
#[derive(Clone, Copy)]
pub(super) struct Field(pub(super) &'static str, pub(super) Option<usize>, pub(super) &'static str);

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Some(at) => write!(f, "{}[{at}].{}", self.0, self.2),
            None => write!(f, "{}.{}", self.0, self.2),
        }
    }
}

/// What a heartbeat says that counts as not reported (I7).
#[derive(Default)]
pub(crate) struct Complaints<'b> {
    count: u64,
    last: Option<Complaint<'b>>,
}

/// Put into words only if it is the last one.
struct Complaint<'b> {
    field: Field,
    value: Value<'b>,
    wanted: &'static str,
}

enum Value<'b> {
    Text(&'b str),
    Number(f64),
    Null,
}

impl<'b> Complaints<'b> {
    fn add(&mut self, field: Field, value: Value<'b>, wanted: &'static str) {
        self.count += 1;
        self.last = Some(Complaint { field, value, wanted });
    }

    /// How many there are, and the last one; none if there are none.
    pub(crate) fn told(&self) -> Option<(u64, String)> {
        let Complaint { field, value, wanted } = self.last.as_ref()?;
        let value = match value {
            Value::Text(text) => quote(text),
            Value::Number(number) => number.to_string(),
            Value::Null => "null".to_owned(),
        };
        Some((self.count, format!("{field}: {value} counts as not reported: {wanted}")))
    }

    /// An optional text, which may be empty, but not too long.
    pub(super) fn text(
        &mut self,
        field: Field,
        value: Option<&'b Str<'b>>,
        bound: usize,
    ) -> Result<Option<&'b str>, HeartbeatError> {
        let Some(value) = value.map(Str::as_str) else {
            return Ok(None);
        };
        if value.is_empty() {
            self.add(field, Value::Text(value), "at least 1 byte");
            return Ok(None);
        }
        text(field, value, bound)?;
        Ok(Some(value))
    }

    /// An optional number.
    pub(super) fn number<T: Kind>(&mut self, field: Field, number: Number<T>) -> Option<T> {
        number.known().unwrap_or_else(|odd| {
            self.add(field, Value::Number(odd), "finite, at least 0, and whole where whole ones count");
            None
        })
    }

    /// A number that should be there.
    pub(super) fn wanted<T: Kind>(&mut self, field: Field, number: Number<T>) -> Option<T> {
        if let Number::Unsaid = number {
            self.add(field, Value::Null, "a number");
        }
        self.number(field, number)
    }

    /// A number that is at least 1.
    pub(super) fn positive(&mut self, field: Field, number: Number<u32>) -> Option<u32> {
        let number = self.number(field, number);
        if number == Some(0) {
            self.add(field, Value::Number(0.0), "at least 1");
        }
        number.filter(|number| *number > 0)
    }

    /// A part of a url.
    pub(super) fn part<T>(
        &mut self,
        field: Field,
        value: &'b str,
        part: Option<T>,
        wanted: &'static str,
    ) -> Option<T> {
        if part.is_none() {
            self.add(field, Value::Text(value), wanted);
        }
        part
    }
}

#[cold]
pub(crate) fn invalid(
    field: impl fmt::Display,
    value: impl fmt::Display,
    bound: impl fmt::Display,
) -> HeartbeatError {
    HeartbeatError::invalid(field, value, bound)
}

/// A string of 1 to `bound` bytes without control characters.
pub(super) fn text(field: impl fmt::Display, value: &str, bound: usize) -> Result<(), HeartbeatError> {
    if value.is_empty() || value.len() > bound {
        return Err(long(field, value, value.len(), bound));
    }
    // Nearly all text is printable ASCII.
    if is_printable_ascii(value.as_bytes()) || !value.chars().any(char::is_control) {
        return Ok(());
    }
    Err(invalid(field, value, "no control characters"))
}

fn long(field: impl fmt::Display, value: &str, bytes: usize, bound: usize) -> HeartbeatError {
    invalid(field, value, format_args!("1 to {bound} bytes, not {bytes}"))
}

/// What is said of a string of more than `bound` bytes, of which only the beginning was looked at: for the bindings, which
/// look at nothing of what is too long but what an error quotes, its first 256 bytes.
#[must_use]
pub fn too_long(field: &str, beginning: &[u8], bytes: usize, bound: usize) -> HeartbeatError {
    long(field, &String::from_utf8_lossy(beginning), bytes, bound)
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

/// The memory of a device, GiB.
pub(super) fn memory(field: impl fmt::Display, gib: f64) -> Result<(), HeartbeatError> {
    const MOST: f64 = 1_048_576.0;
    if (0.0..=MOST).contains(&gib) {
        return Ok(());
    }
    Err(invalid(field, gib, format_args!("finite and from 0 to {MOST}")))
}

pub(super) fn bytes(field: impl fmt::Display, mb: u64) -> Result<u64, HeartbeatError> {
    mb.checked_mul(1 << 20).ok_or_else(|| invalid(field, mb, format_args!("at most {}", u64::MAX >> 20)))
}

pub(super) fn time(field: impl fmt::Display, value: &str) -> Result<DateTime<Utc>, HeartbeatError> {
    if value.len() > MAX_TEXT_BYTES {
        return Err(long(field, value, value.len(), MAX_TEXT_BYTES));
    }
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
