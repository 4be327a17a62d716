//! Bodies read by any deserializer, on their way to the registry.

use serde::{Deserialize, Deserializer};

use super::borrowed::{Body, ProcessTwin};
use super::{HiveHeartbeat, HiveHeartbeatPayload, ProcessStats};
use crate::error::HeartbeatError;

/// A heartbeat of any form, read and not yet checked: for formats other than JSON, and for those who want to look before
/// they [apply it](crate::HiveRegistry::ingest_heartbeat).
///
/// Any self-describing format that writes structs as maps will do (MessagePack by names, CBOR); what the fields are and
/// which form they make is as in JSON, but that `hive_id` or `hive`, and `type` where there is one, must come before
/// `workers`. Strings that the deserializer lends are borrowed.
///
/// ```
/// use hive_registry::{Heartbeat, HeartbeatError, HeartbeatOutcome, HiveRegistry};
/// use serde::Deserialize;
///
/// let registry = HiveRegistry::new();
/// // Of whatever format; here of a tree.
/// let told = serde_json::json!({"hive_id": "gpu-1", "timestamp": "2025-10-21T10:00:00Z", "workers": []});
/// let outcome = match Heartbeat::deserialize(&told) {
///     Ok(heartbeat) => registry.ingest_heartbeat(&heartbeat),
///     Err(error) => registry.refuse(Some("gpu-1"), HeartbeatError::malformed(".", &error.to_string())),
/// };
/// assert_eq!(outcome, Ok(HeartbeatOutcome::Registered));
/// ```
pub struct Heartbeat<'a>(pub(crate) Body<'a>);

/// The processes of a hive, read and not yet checked; as [`Heartbeat`], for
/// [`ingest_processes`](crate::HiveRegistry::ingest_processes).
pub struct Processes<'a>(pub(crate) Vec<ProcessTwin<'a>>);

impl<'a> Heartbeat<'a> {
    /// Reads JSON, as [`HiveRegistry::ingest_json`](crate::HiveRegistry::ingest_json) does, but for the bound on its
    /// length. O(bytes), borrowing from them.
    ///
    /// # Errors
    ///
    /// [`HeartbeatError::Malformed`]. No registry counts it: see [`HiveRegistry::refuse`](crate::HiveRegistry::refuse).
    pub fn from_json(json: &'a [u8]) -> Result<Self, HeartbeatError> {
        super::parse(super::unmarked(json)).map(Self).map_err(|unread| unread.error)
    }

    /// Whose it is, unchecked; empty if it does not say.
    #[must_use]
    pub fn hive_id(&self) -> &str {
        self.0.hive_id()
    }

    /// When it was made, as it was sent, unchecked.
    #[must_use]
    pub fn timestamp(&self) -> &str {
        match &self.0 {
            Body::Plain(twin) => twin.timestamp.as_str(),
            Body::Telemetry(twin) => twin.timestamp.as_str(),
        }
    }

    /// `epoch` and `seq`, where it has both (I3).
    #[must_use]
    pub fn pair(&self) -> Option<(u64, u64)> {
        let (epoch, seq) = match &self.0 {
            Body::Plain(twin) => (twin.epoch, twin.seq),
            Body::Telemetry(twin) => (twin.epoch, twin.seq),
        };
        epoch.zip(seq)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Heartbeat<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Body::deserialize(deserializer).map(Self)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Processes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self)
    }
}

impl<'a> From<&'a HiveHeartbeatPayload> for Heartbeat<'a> {
    fn from(payload: &'a HiveHeartbeatPayload) -> Self {
        Self(Body::Plain(payload.into()))
    }
}

impl<'a> From<&'a HiveHeartbeat> for Heartbeat<'a> {
    fn from(heartbeat: &'a HiveHeartbeat) -> Self {
        Self(Body::Telemetry(heartbeat.into()))
    }
}

impl<'a> From<&'a [ProcessStats]> for Processes<'a> {
    fn from(processes: &'a [ProcessStats]) -> Self {
        Self(processes.iter().map(ProcessTwin::from).collect())
    }
}
