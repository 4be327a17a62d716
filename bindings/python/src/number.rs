//! Numbers and spans of time from Python, refused with field, value and bound.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use pyo3::conversion::FromPyObjectOwned;
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDateTime, PyDelta, PyTzInfo};

use crate::error::ConfigError;

pub(crate) fn refused(field: &str, value: &Bound<'_, PyAny>, bound: &str) -> PyErr {
    match value.repr() {
        Ok(value) => ConfigError::new_err(format!("{field}: {value} refused: {bound}")),
        // An int of thousands of digits has none.
        Err(error) if error.is_instance_of::<PyValueError>(value.py()) => {
            ConfigError::new_err(format!("{field}: {} refused: {bound}", value.get_type()))
        }
        Err(error) => error,
    }
}

/// What a value is taken for, if it can be; what else its own methods raise comes through.
fn fitting<T>(py: Python<'_>, taken: PyResult<T>) -> PyResult<Option<T>> {
    let unfit = |error: &PyErr| {
        error.is_instance_of::<PyTypeError>(py)
            || error.is_instance_of::<PyValueError>(py)
            || error.is_instance_of::<PyOverflowError>(py)
    };
    match taken {
        Ok(taken) => Ok(Some(taken)),
        Err(error) if unfit(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Seconds as a number, or a `timedelta`.
pub(crate) fn seconds(field: &str, value: &Bound<'_, PyAny>) -> PyResult<Duration> {
    let span = if value.is_instance_of::<PyDelta>() {
        value.extract::<chrono::TimeDelta>()?.to_std().ok()
    } else {
        number(value)?.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    };
    span.ok_or_else(|| refused(field, value, "seconds, 0 or more, or a timedelta"))
}

/// Seconds either way as nanoseconds.
pub(crate) fn signed_ns(field: &str, value: &Bound<'_, PyAny>) -> PyResult<i128> {
    if value.is_instance_of::<PyDelta>() {
        let span = value.extract::<chrono::TimeDelta>()?;
        return Ok(i128::from(span.num_seconds()) * 1_000_000_000 + i128::from(span.subsec_nanos()));
    }
    let ns = number(value)?.and_then(|seconds| fractions(seconds, 1e9));
    ns.ok_or_else(|| refused(field, value, "seconds, or a timedelta"))
}

/// A number, which True is not.
pub(crate) fn number<'py, T: FromPyObjectOwned<'py, Error = PyErr>>(
    value: &Bound<'py, PyAny>,
) -> PyResult<Option<T>> {
    match value.is_instance_of::<PyBool>() {
        true => Ok(None),
        false => fitting(value.py(), value.extract()),
    }
}

/// Seconds in units of which one has so many, the nearest; none past the year 9999, either way. Whole seconds are set
/// aside, for with them a product has no digits left.
fn fractions(seconds: f64, units: f64) -> Option<i128> {
    let fraction = (seconds.fract() * units).round() as i128;
    (seconds.abs() <= MAX_MS / 1_000.0).then(|| seconds.trunc() as i128 * units as i128 + fraction)
}

/// A whole number that is not negative.
pub(crate) fn whole(field: &str, value: &Bound<'_, PyAny>) -> PyResult<u64> {
    number(value)?.ok_or_else(|| refused(field, value, "a whole number from 0 to 2**64 - 1"))
}

/// Whole milliseconds, either way.
pub(crate) fn age_ms(field: &str, value: &Bound<'_, PyAny>) -> PyResult<i64> {
    number(value)?.ok_or_else(|| refused(field, value, "whole milliseconds from -2**63 to 2**63 - 1"))
}

/// As [`whole`], of the machine's size.
pub(crate) fn size(field: &str, value: &Bound<'_, PyAny>) -> PyResult<usize> {
    usize::try_from(whole(field, value)?).map_err(|_| refused(field, value, "less, on this machine"))
}

/// A choice by name.
pub(crate) fn one_of<T: Copy>(field: &str, value: &str, choices: &[(&str, T)]) -> PyResult<T> {
    let found = choices.iter().find(|(name, _)| *name == value).map(|(_, choice)| *choice);
    found.ok_or_else(|| {
        let names: Vec<_> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
        ConfigError::new_err(format!("{field}: {value:?} refused: {}", names.join(" or ")))
    })
}

/// A moment as Unix nanoseconds: seconds since 1970, to the microsecond as a `datetime` would take them, or a `datetime`
/// with a time zone.
pub(crate) fn unix_ns(field: &str, value: &Bound<'_, PyAny>) -> PyResult<i128> {
    let us = match value.cast::<PyDateTime>() {
        Ok(moment) if moment.call_method0("utcoffset")?.is_none() => None,
        // What is past the year 9999 in UTC cannot be told in it.
        Ok(moment) => {
            let utc = moment.call_method1("astimezone", (PyTzInfo::utc(value.py())?,));
            let utc = fitting(value.py(), utc.and_then(|moment| moment.extract::<DateTime<Utc>>()))?;
            utc.map(|moment| i128::from(moment.timestamp_micros()))
        }
        Err(_) => number(value)?.and_then(|seconds| fractions(seconds, 1e6)),
    };
    let bound = "seconds since 1970 up to the year 9999, or a datetime with a time zone";
    us.map(|us| us * 1_000).ok_or_else(|| refused(field, value, bound))
}

/// Seconds since 1970 as microseconds; none before the year 1 and past the year 9999.
pub(crate) fn unix_us(seconds: f64) -> Option<i64> {
    let ms = seconds * 1_000.0;
    (MIN_MS as f64..=MAX_MS).contains(&ms).then(|| (seconds * 1e6).round() as i64)
}

/// The same as text.
pub(crate) fn rfc3339(seconds: f64) -> Option<String> {
    let moment = DateTime::from_timestamp_micros(unix_us(seconds)?)?;
    Some(moment.to_rfc3339_opts(SecondsFormat::Micros, true))
}

/// The year 9999, the last that a `datetime` shows, either way.
const MAX_MS: f64 = 253_402_300_799_000.0;

/// A moment that may lie past what a `datetime` can show is shown as the last that it can.
pub(crate) fn moment(unix_us: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(shown(unix_us)).unwrap_or_default()
}

/// The same as microseconds.
pub(crate) fn shown(unix_us: i64) -> i64 {
    unix_us.clamp(MIN_MS * 1_000, MAX_MS as i64 * 1_000)
}

/// A span that may be longer than a `timedelta` can be is told as the longest.
pub(crate) fn span(span: Duration) -> Duration {
    span.min(MAX_SPAN)
}

/// The same either way.
pub(crate) fn signed_span(ms: i64) -> TimeDelta {
    let most = MAX_SPAN.as_secs() as i64 * 1_000;
    TimeDelta::milliseconds(ms.clamp(-most, most))
}

/// `timedelta.max`, less its fraction of a second.
const MAX_SPAN: Duration = Duration::from_secs(1_000_000_000 * 86_400 - 1);

/// The year 1, the first that a `datetime` shows.
const MIN_MS: i64 = -62_135_596_800_000;
