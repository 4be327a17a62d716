//! Borrowed twins of the payload types: JSON to checked fields without a string copied that did not change.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use smol_str::SmolStr;

use super::{
    Capability, HiveHealth, HiveHeartbeat, HiveHeartbeatPayload, HiveInfo, ProcessStats, WorkerState,
};
use crate::error::HeartbeatError;

/// A string lent by the input or, where JSON escapes or the registry had to make it, made.
#[derive(Clone, Debug)]
pub(crate) enum Str<'a> {
    Lent(&'a str),
    Made(SmolStr),
}

impl Str<'_> {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Lent(text) => text,
            Self::Made(text) => text,
        }
    }

    /// The record's string: the old one where it is equal, so that an unchanged worker copies nothing.
    pub(crate) fn keep<T>(&self, old: Option<&T>) -> T
    where
        T: Clone + AsRef<str> + From<SmolStr>,
    {
        match (old, self) {
            (Some(old), _) if old.as_ref() == self.as_str() => old.clone(),
            (_, Self::Lent(text)) => SmolStr::new(text).into(),
            (_, Self::Made(text)) => text.clone().into(),
        }
    }
}

impl<'a> From<&'a str> for Str<'a> {
    fn from(text: &'a str) -> Self {
        Self::Lent(text)
    }
}

// Not `Option<Cow<str>>`, which serde fills with copies.
impl<'de: 'a, 'a> Deserialize<'de> for Str<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StrVisitor<'a>(PhantomData<&'a ()>);

        impl<'de: 'a, 'a> Visitor<'de> for StrVisitor<'a> {
            type Value = Str<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Str<'a>, E> {
                Ok(Str::Lent(text))
            }

            fn visit_str<E>(self, text: &str) -> Result<Str<'a>, E> {
                Ok(Str::Made(text.into()))
            }
        }

        deserializer.deserialize_str(StrVisitor(PhantomData))
    }
}

/// A heartbeat of either form, parsed and not yet checked.
pub(crate) enum Body<'a> {
    Plain(PlainTwin<'a>),
    Telemetry(TelemetryTwin<'a>),
}

pub(crate) struct PlainTwin<'a> {
    pub(crate) hive_id: Str<'a>,
    pub(crate) timestamp: Str<'a>,
    pub(crate) workers: Vec<WorkerTwin<'a>>,
    pub(crate) epoch: Option<u64>,
    pub(crate) seq: Option<u64>,
}

pub(crate) struct TelemetryTwin<'a> {
    pub(crate) hive: HiveTwin<'a>,
    pub(crate) timestamp: Str<'a>,
    pub(crate) workers: Vec<ProcessTwin<'a>>,
    pub(crate) capabilities: Option<Vec<CapabilityTwin<'a>>>,
    pub(crate) epoch: Option<u64>,
    pub(crate) seq: Option<u64>,
}

/// Declares a twin and its making from the owned type, field for field.
macro_rules! twin {
    ($twin:ident of $owned:ident {
        text: $($text:ident)*; maybe: $($maybe:ident)*; copy: $($copy:ident: $type:ty,)*
    }) => {
        #[derive(Deserialize)]
        pub(crate) struct $twin<'a> {
            $(#[serde(borrow)] pub(crate) $text: Str<'a>,)*
            $(#[serde(borrow)] pub(crate) $maybe: Option<Str<'a>>,)*
            $(pub(crate) $copy: $type,)*
        }

        impl<'a> From<&'a $owned> for $twin<'a> {
            fn from(owned: &'a $owned) -> Self {
                Self {
                    $($text: Str::Lent(&owned.$text),)*
                    $($maybe: owned.$maybe.as_deref().map(Str::Lent),)*
                    $($copy: owned.$copy,)*
                }
            }
        }
    };
}

twin!(WorkerTwin of WorkerState {
    text: worker_id state last_heartbeat health_status;
    maybe: url model_id backend;
    copy: device_id: Option<u32>, vram_bytes: Option<u64>, vram_total_bytes: Option<u64>, ram_bytes: Option<u64>,
        cpu_percent: Option<f32>, gpu_percent: Option<f32>, max_concurrency: Option<u32>,
});
twin!(ProcessTwin of ProcessStats {
    text: group instance;
    maybe: model;
    copy: pid: u32, cpu_pct: f32, rss_mb: u64, io_r_mb_s: f32, io_w_mb_s: f32, uptime_s: u64, gpu_util_pct: f32,
        vram_mb: u64, total_vram_mb: u64,
});
twin!(CapabilityTwin of Capability {
    text: id name device_type;
    maybe: compute_capability;
    copy: vram_gb: Option<f64>,
});

#[derive(Deserialize)]
pub(crate) struct HiveTwin<'a> {
    #[serde(borrow)]
    pub(crate) id: Str<'a>,
    #[serde(borrow)]
    pub(crate) hostname: Str<'a>,
    pub(crate) port: u16,
    pub(crate) operational_status: super::OperationalStatus,
    #[serde(borrow)]
    pub(crate) health_status: HealthTwin<'a>,
    #[serde(borrow)]
    pub(crate) version: Str<'a>,
}

/// A struct, because serde's tagged enums buffer and copy.
#[derive(Deserialize)]
pub(crate) struct HealthTwin<'a> {
    pub(crate) status: HealthStatus,
    #[serde(borrow)]
    pub(crate) reason: Option<Str<'a>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum HealthStatus {
    Healthy,
    Degraded,
    Unhealthy,
}

impl<'a> From<&'a HiveInfo> for HiveTwin<'a> {
    fn from(owned: &'a HiveInfo) -> Self {
        let (status, reason) = match &owned.health_status {
            HiveHealth::Healthy => (HealthStatus::Healthy, None),
            HiveHealth::Degraded { reason } => (HealthStatus::Degraded, Some(reason)),
            HiveHealth::Unhealthy { reason } => (HealthStatus::Unhealthy, Some(reason)),
        };
        Self {
            id: Str::Lent(&owned.id),
            hostname: Str::Lent(&owned.hostname),
            port: owned.port,
            operational_status: owned.operational_status,
            health_status: HealthTwin { status, reason: reason.map(|reason| Str::Lent(reason)) },
            version: Str::Lent(&owned.version),
        }
    }
}

impl<'a> From<&'a HiveHeartbeatPayload> for PlainTwin<'a> {
    fn from(owned: &'a HiveHeartbeatPayload) -> Self {
        Self {
            hive_id: Str::Lent(&owned.hive_id),
            timestamp: Str::Lent(&owned.timestamp),
            workers: owned.workers.iter().map(Into::into).collect(),
            epoch: owned.epoch,
            seq: owned.seq,
        }
    }
}

impl<'a> From<&'a HiveHeartbeat> for TelemetryTwin<'a> {
    fn from(owned: &'a HiveHeartbeat) -> Self {
        Self {
            hive: (&owned.hive).into(),
            timestamp: Str::Lent(&owned.timestamp),
            workers: owned.workers.iter().map(Into::into).collect(),
            capabilities: owned.capabilities.as_ref().map(|all| all.iter().map(Into::into).collect()),
            epoch: owned.epoch,
            seq: owned.seq,
        }
    }
}

/// Parses a body of either form. O(bytes), borrowing from them.
pub(crate) fn parse(body: &[u8]) -> Result<Body<'_>, HeartbeatError> {
    // The parser that keeps the path of the field is several times slower, so it runs only to explain.
    serde_json::from_slice(body).map_err(|error| explain(body, &error))
}

#[cold]
fn explain(body: &[u8], error: &serde_json::Error) -> HeartbeatError {
    let mut json = serde_json::Deserializer::from_slice(body);
    let (field, message) = match serde_path_to_error::deserialize::<_, Body<'_>>(&mut json) {
        // A body that ends too early is said to end nowhere.
        Err(traced) => (traced.path().to_string().replace('?', "."), traced.inner().to_string()),
        // A valid body with something after it.
        Ok(_) => (".".to_owned(), error.to_string()),
    };
    // What came before the form was known was read apart, and its path is in the message.
    let (field, message) = match message.split_once(": ") {
        Some((path, rest))
            if field == "." && (path.starts_with("workers") || path.starts_with("capabilities")) =>
        {
            (path.to_owned(), rest)
        }
        _ => (field, &*message),
    };
    // What is missing has no path of its own.
    let missing = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    let field = match missing {
        Some(name) if field == "." => name.to_owned(),
        Some(name) => format!("{field}.{name}"),
        None => field,
    };
    HeartbeatError::Malformed { field, message: cut(message) }
}

/// The parser quotes what it did not expect, however long: kept are the beginning and the end, which has line
/// and column.
fn cut(message: &str) -> String {
    const KEPT: usize = 120;
    let length = message.chars().count();
    if length <= 2 * KEPT {
        return message.to_owned();
    }
    message.chars().take(KEPT).chain("...".chars()).chain(message.chars().skip(length - KEPT)).collect()
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Key {
    HiveId,
    Hive,
    Timestamp,
    Workers,
    Capabilities,
    Epoch,
    Seq,
    #[serde(other)]
    Other,
}

enum Workers<'a> {
    Plain(Vec<WorkerTwin<'a>>),
    Telemetry(Vec<ProcessTwin<'a>>),
    /// Came before the field that tells the form.
    Unread(&'a RawValue),
}

enum Capabilities<'a> {
    Read(Option<Vec<CapabilityTwin<'a>>>),
    /// Likewise.
    Unread(&'a RawValue),
}

// The forms are told apart by `hive_id` and `hive`. As a rule that field comes first and everything is read
// in one pass; where `workers` comes before it, its text is set aside and read at the end.
impl<'de: 'a, 'a> Deserialize<'de> for Body<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BodyVisitor<'a>(PhantomData<&'a ()>);

        impl<'de: 'a, 'a> Visitor<'de> for BodyVisitor<'a> {
            type Value = Body<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a heartbeat: an object with `hive_id` or `hive`")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Body<'a>, M::Error> {
                let mut hive_id: Option<Str<'a>> = None;
                let mut hive: Option<HiveTwin<'a>> = None;
                let mut timestamp: Option<Str<'a>> = None;
                let mut workers: Option<Workers<'a>> = None;
                let mut capabilities: Option<Capabilities<'a>> = None;
                let mut epoch: Option<Option<u64>> = None;
                let mut seq: Option<Option<u64>> = None;
                while let Some(key) = map.next_key()? {
                    match key {
                        Key::HiveId => once(&mut hive_id, "hive_id", &mut map)?,
                        Key::Hive => once(&mut hive, "hive", &mut map)?,
                        Key::Timestamp => once(&mut timestamp, "timestamp", &mut map)?,
                        Key::Epoch => once(&mut epoch, "epoch", &mut map)?,
                        Key::Seq => once(&mut seq, "seq", &mut map)?,
                        // Unknown to the plain form, hence ignored there, whatever it holds.
                        Key::Capabilities if hive_id.is_some() => {
                            map.next_value::<IgnoredAny>()?;
                        }
                        Key::Capabilities if capabilities.is_some() => {
                            return Err(de::Error::duplicate_field("capabilities"));
                        }
                        Key::Capabilities => {
                            capabilities = Some(match &hive {
                                Some(_) => Capabilities::Read(map.next_value()?),
                                None => Capabilities::Unread(map.next_value()?),
                            });
                        }
                        Key::Workers if workers.is_some() => {
                            return Err(de::Error::duplicate_field("workers"));
                        }
                        Key::Workers => {
                            workers = Some(match (&hive_id, &hive) {
                                (Some(_), _) => Workers::Plain(map.next_value()?),
                                (None, Some(_)) => Workers::Telemetry(map.next_value()?),
                                (None, None) => Workers::Unread(map.next_value()?),
                            });
                        }
                        Key::Other => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                let timestamp = timestamp.ok_or_else(|| de::Error::missing_field("timestamp"))?;
                let workers = workers.ok_or_else(|| de::Error::missing_field("workers"))?;
                let (epoch, seq) = (epoch.flatten(), seq.flatten());
                match (hive_id, hive) {
                    (Some(hive_id), None) => {
                        let workers = match workers {
                            Workers::Plain(workers) => workers,
                            Workers::Unread(raw) => reread("workers", raw)?,
                            Workers::Telemetry(_) => return Err(both()),
                        };
                        Ok(Body::Plain(PlainTwin { hive_id, timestamp, workers, epoch, seq }))
                    }
                    (None, Some(hive)) => {
                        let workers = match workers {
                            Workers::Telemetry(workers) => workers,
                            Workers::Unread(raw) => reread("workers", raw)?,
                            Workers::Plain(_) => return Err(both()),
                        };
                        let capabilities = match capabilities {
                            None => None,
                            Some(Capabilities::Read(read)) => read,
                            Some(Capabilities::Unread(raw)) => reread("capabilities", raw)?,
                        };
                        Ok(Body::Telemetry(TelemetryTwin {
                            hive,
                            timestamp,
                            workers,
                            capabilities,
                            epoch,
                            seq,
                        }))
                    }
                    (Some(_), Some(_)) => Err(both()),
                    (None, None) => Err(de::Error::missing_field("hive_id")),
                }
            }
        }

        deserializer.deserialize_map(BodyVisitor(PhantomData))
    }
}

fn once<'de, M: MapAccess<'de>, T: Deserialize<'de>>(
    slot: &mut Option<T>,
    name: &'static str,
    map: &mut M,
) -> Result<(), M::Error> {
    if slot.is_some() {
        return Err(de::Error::duplicate_field(name));
    }
    *slot = Some(map.next_value()?);
    Ok(())
}

fn reread<'a, T: Deserialize<'a>, E: de::Error>(field: &str, raw: &'a RawValue) -> Result<T, E> {
    let mut json = serde_json::Deserializer::from_str(raw.get());
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        E::custom(format_args!("{field}{}: {}", path.trim_end_matches('.'), error.inner()))
    })
}

fn both<E: de::Error>() -> E {
    E::custom("`hive_id` and `hive` exclude each other")
}
