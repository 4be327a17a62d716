//! What the registry refuses, in words that name field, value and bound.

use thiserror::Error;

/// Why a heartbeat was refused. Nothing of it was applied and nothing was registered.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HeartbeatError {
    /// The body is not JSON, or a field is missing or of the wrong type.
    #[error("{field}: {message}")]
    Malformed {
        /// Path of the field, `workers[3].vram_bytes`; `.` for the body itself.
        field: String,
        /// What the JSON parser said, with line and column.
        message: String,
    },
    /// A field's value is out of bounds (I2).
    #[error("{field}: {value} refused: {bound}")]
    Invalid {
        /// Path of the field, `workers[3].url`.
        field: String,
        /// The value, quoted and escaped, cut after 64 characters.
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
