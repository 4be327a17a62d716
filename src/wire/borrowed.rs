//! Borrowed twins of the payload types: JSON to checked fields without a string copied that did not change.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use smol_str::SmolStr;

use super::number::Number;
use super::{
    Capability, HiveHealth, HiveHeartbeat, HiveHeartbeatPayload, HiveInfo, MAX_ID_BYTES, ProcessStats,
    WorkerState,
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

/// A heartbeat of any form, parsed and not yet checked.
pub(crate) enum Body<'a> {
    Plain(PlainTwin<'a>),
    /// Also the event of a stream, which says the same flat.
    Telemetry(TelemetryTwin<'a>),
}

pub(crate) struct PlainTwin<'a> {
    pub(crate) hive_id: Str<'a>,
    pub(crate) timestamp: Str<'a>,
    pub(crate) workers: Vec<WorkerTwin<'a>>,
    pub(crate) hive: Option<HiveTwin<'a>>,
    pub(crate) capabilities: Option<Vec<CapabilityTwin<'a>>>,
    pub(crate) epoch: Option<u64>,
    pub(crate) seq: Option<u64>,
}

pub(crate) struct TelemetryTwin<'a> {
    /// None where it is the hive's own; see [`hive_id`](Self::hive_id).
    pub(crate) flat_id: Option<Str<'a>>,
    pub(crate) hive: Option<HiveTwin<'a>>,
    pub(crate) timestamp: Str<'a>,
    pub(crate) workers: Option<Vec<ProcessTwin<'a>>>,
    pub(crate) capabilities: Option<Vec<CapabilityTwin<'a>>>,
    pub(crate) epoch: Option<u64>,
    pub(crate) seq: Option<u64>,
}

impl Body<'_> {
    /// Whose it is, unchecked.
    pub(crate) fn hive_id(&self) -> &str {
        match self {
            Self::Plain(twin) => twin.hive_id.as_str(),
            Self::Telemetry(twin) => twin.hive_id(),
        }
    }
}

impl TelemetryTwin<'_> {
    pub(crate) fn hive_id(&self) -> &str {
        let own = || self.hive.as_ref()?.id.as_ref();
        self.flat_id.as_ref().or_else(own).map_or("", Str::as_str)
    }
}

/// Declares a twin and its making from the owned type, field for field. Of numbers, those that are `open` need not
/// be there. Refusals name the owned type, for users know no other.
macro_rules! twin {
    ($twin:ident of $owned:ident, $expecting:literal {
        text: $($text:ident)*; maybe: $($maybe:ident)*;
        told: $($told:ident: $told_type:ty,)*; open: $($open:ident: $open_type:ty,)*
    }) => {
        #[derive(Deserialize)]
        #[serde(expecting = $expecting)]
        pub(crate) struct $twin<'a> {
            $(#[serde(borrow)] pub(crate) $text: Str<'a>,)*
            $(#[serde(borrow)] pub(crate) $maybe: Option<Str<'a>>,)*
            $(pub(crate) $told: $told_type,)*
            $(#[serde(default)] pub(crate) $open: $open_type,)*
        }

        impl<'a> From<&'a $owned> for $twin<'a> {
            fn from(owned: &'a $owned) -> Self {
                Self {
                    $($text: Str::Lent(&owned.$text),)*
                    $($maybe: owned.$maybe.as_deref().map(Str::Lent),)*
                    $($told: owned.$told.into(),)*
                    $($open: owned.$open.into(),)*
                }
            }
        }
    };
}

twin!(WorkerTwin of WorkerState, "struct WorkerState" {
    text: worker_id state last_heartbeat health_status;
    maybe: url model_id backend;
    told:;
    open: device_id: Number<u32>, vram_bytes: Number<u64>, vram_total_bytes: Number<u64>, ram_bytes: Number<u64>,
        cpu_percent: Number<f32>, gpu_percent: Number<f32>, max_concurrency: Number<u32>,
});
twin!(ProcessTwin of ProcessStats, "struct ProcessStats" {
    text: group instance;
    maybe: model;
    told: pid: Number<u32>, cpu_pct: Number<f32>, rss_mb: Number<u64>, io_r_mb_s: Number<f32>, io_w_mb_s: Number<f32>,
        uptime_s: Number<u64>, vram_mb: Number<u64>, total_vram_mb: Number<u64>,;
    open: gpu_util_pct: Number<f32>,
});
twin!(CapabilityTwin of Capability, "struct Capability" {
    text: id name device_type;
    maybe: compute_capability;
    told:;
    open: vram_gb: Option<f64>,
});

#[derive(Deserialize)]
#[serde(expecting = "struct HiveInfo")]
pub(crate) struct HiveTwin<'a> {
    /// It may be missing where the heartbeat has its own `hive_id`.
    #[serde(borrow)]
    pub(crate) id: Option<Str<'a>>,
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
#[serde(expecting = "struct HiveHealth")]
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
            id: Some(Str::Lent(&owned.id)),
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
            workers: twins(&owned.workers),
            hive: owned.hive_info.as_ref().map(Into::into),
            capabilities: owned.capabilities.as_deref().map(twins),
            epoch: owned.epoch,
            seq: owned.seq,
        }
    }
}

impl<'a> From<&'a HiveHeartbeat> for TelemetryTwin<'a> {
    fn from(owned: &'a HiveHeartbeat) -> Self {
        Self {
            flat_id: None,
            hive: Some((&owned.hive).into()),
            timestamp: Str::Lent(&owned.timestamp),
            workers: owned.workers.as_deref().map(twins),
            capabilities: owned.capabilities.as_deref().map(twins),
            epoch: owned.epoch,
            seq: owned.seq,
        }
    }
}

fn twins<'a, T: From<&'a U>, U>(owned: &'a [U]) -> Vec<T> {
    owned.iter().map(Into::into).collect()
}

// === parsing ===

/// A body that could not be parsed, and whose it seems to be.
pub(crate) struct Unread {
    pub(crate) error: HeartbeatError,
    pub(crate) hive_id: Option<SmolStr>,
}

/// JSON without the byte order mark before it.
pub(crate) fn unmarked(json: &[u8]) -> &[u8] {
    json.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(json)
}

/// Parses a body of any form. O(bytes), borrowing from them.
pub(crate) fn parse(body: &[u8]) -> Result<Body<'_>, Unread> {
    // The parser that keeps the path of the field is several times slower, so it runs only to explain.
    serde_json::from_slice(body).map(|OneTry(body)| body).or_else(|error| parse_again(body, &error))
}

/// An event may say what it is after its workers, which were then taken for those of the plain form.
#[cold]
fn parse_again<'a>(body: &'a [u8], error: &serde_json::Error) -> Result<Body<'a>, Unread> {
    let Sketch { hive_id, is_event } = sketch(body);
    let unread = |error| Unread { error, hive_id };
    if is_event {
        let again = serde_json::from_slice(body).map(|SecondTry(body)| body);
        return again.map_err(|error| unread(explain::<SecondTry<'_>>(body, &error)));
    }
    Err(unread(explain::<OneTry<'_>>(body, error)))
}

/// Parses a part of a body that comes alone.
pub(crate) fn read<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, HeartbeatError> {
    serde_json::from_slice(json).map_err(|error| explain::<T>(json, &error))
}

fn explain<'a, T: Deserialize<'a>>(body: &'a [u8], error: &serde_json::Error) -> HeartbeatError {
    let mut json = serde_json::Deserializer::from_slice(body);
    let (field, message) = match serde_path_to_error::deserialize::<_, T>(&mut json) {
        // A body that ends too early is said to end nowhere.
        Err(traced) => (traced.path().to_string().replace('?', "."), traced.inner().to_string()),
        // A valid body with something after it.
        Ok(_) => (".".to_owned(), error.to_string()),
    };
    HeartbeatError::malformed(&field, &message)
}

/// What can be told of a body that is not a heartbeat.
#[derive(Default)]
pub(crate) struct Sketch {
    pub(crate) hive_id: Option<SmolStr>,
    is_event: bool,
}

/// Reads no further than it can. O(bytes).
#[cold]
pub(crate) fn sketch(body: &[u8]) -> Sketch {
    let mut sketch = Sketch::default();
    // However it ends, what was found until then stands.
    let _ = sketch.deserialize(&mut serde_json::Deserializer::from_slice(body));
    sketch
}

impl<'de> DeserializeSeed<'de> for &mut Sketch {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut Sketch {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        #[derive(Deserialize)]
        struct Named<'a> {
            #[serde(borrow)]
            id: Str<'a>,
        }
        let id = |id: Str<'_>| (id.as_str().len() <= MAX_ID_BYTES).then(|| SmolStr::new(id.as_str()));
        while let Some(key) = map.next_key()? {
            match key {
                Key::HiveId => self.hive_id = id(map.next_value()?),
                Key::Hive => self.hive_id = id(map.next_value::<Named<'_>>()?.id),
                Key::Type => self.is_event |= map.next_value::<Kind>()?.is_event,
                _ => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(())
    }
}

/// What `type` says; of whatever else it is, no more than that.
struct Kind {
    is_event: bool,
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KindVisitor;

        impl KindVisitor {
            fn other<E>() -> Result<Kind, E> {
                Ok(Kind { is_event: false })
            }
        }

        impl<'de> Visitor<'de> for KindVisitor {
            type Value = Kind;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }

            fn visit_str<E>(self, word: &str) -> Result<Kind, E> {
                Ok(Kind { is_event: matches!(word, "telemetry" | "hive_telemetry") })
            }

            fn visit_unit<E>(self) -> Result<Kind, E> {
                Self::other()
            }

            fn visit_none<E>(self) -> Result<Kind, E> {
                Self::other()
            }

            fn visit_bool<E>(self, _: bool) -> Result<Kind, E> {
                Self::other()
            }

            fn visit_i64<E>(self, _: i64) -> Result<Kind, E> {
                Self::other()
            }

            fn visit_u64<E>(self, _: u64) -> Result<Kind, E> {
                Self::other()
            }

            fn visit_f64<E>(self, _: f64) -> Result<Kind, E> {
                Self::other()
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Kind, S::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Self::other()
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Kind, M::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Self::other()
            }
        }

        deserializer.deserialize_any(KindVisitor)
    }
}

/// The fields of a body, those first that tell its form: a deserializer that looks its fields up takes them in this order.
const FIELDS: &[&str] =
    &["hive_id", "hive", "type", "hive_info", "timestamp", "epoch", "seq", "capabilities", "workers"];

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Key {
    HiveId,
    Hive,
    Type,
    HiveInfo,
    Timestamp,
    Epoch,
    Seq,
    Capabilities,
    Workers,
    #[serde(other)]
    Other,
}

enum Workers<'a, A> {
    Plain(Vec<WorkerTwin<'a>>),
    Telemetry(Option<Vec<ProcessTwin<'a>>>),
    /// Came before the field that tells the form.
    Unread(A),
}

/// Workers that are set aside until the form is known.
trait Aside<'a>: Deserialize<'a> {
    fn read<T: Deserialize<'a>, E: de::Error>(self) -> Result<T, E>;
}

impl<'a> Aside<'a> for &'a RawValue {
    fn read<T: Deserialize<'a>, E: de::Error>(self) -> Result<T, E> {
        let mut json = serde_json::Deserializer::from_str(self.get());
        serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let path = error.path().to_string();
            E::custom(format_args!("workers{}: {}", path.trim_end_matches('.'), error.inner()))
        })
    }
}

/// Only text can be set aside.
struct Early;

impl<'de> Deserialize<'de> for Early {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

impl<'a> Aside<'a> for Early {
    fn read<T: Deserialize<'a>, E: de::Error>(self) -> Result<T, E> {
        Err(E::custom("workers: must come after `hive_id` or `hive`, and after `type`"))
    }
}

impl<'a, A: Aside<'a>> Workers<'a, A> {
    fn plain<E: de::Error>(self) -> Result<Vec<WorkerTwin<'a>>, E> {
        match self {
            Self::Plain(workers) => Ok(workers),
            Self::Unread(aside) => aside.read(),
            Self::Telemetry(_) => Err(both()),
        }
    }

    fn telemetry<E: de::Error>(self) -> Result<Option<Vec<ProcessTwin<'a>>>, E> {
        match self {
            Self::Telemetry(workers) => Ok(workers),
            Self::Unread(aside) => aside.read(),
            Self::Plain(_) => Err(E::custom("type: must come before `workers`")),
        }
    }
}

/// JSON, the first time.
struct OneTry<'a>(Body<'a>);

/// JSON that was found to be an event.
struct SecondTry<'a>(Body<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for OneTry<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        one_go::<D, &RawValue, false>(deserializer).map(Self)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for SecondTry<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        one_go::<D, &RawValue, true>(deserializer).map(Self)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Body<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        one_go::<D, Early, false>(deserializer)
    }
}

/// Reads a body in one go. The forms are told apart by `hive`, `hive_id` and `type`; as a rule these come first. Where
/// `workers` comes before them, it is set aside, if it can be, and read at the end; where `type` alone is wanting, the
/// workers are taken for those of the plain form, which has none, unless this is the `PATIENT` second try.
fn one_go<'de, D, A, const PATIENT: bool>(deserializer: D) -> Result<Body<'de>, D::Error>
where
    D: Deserializer<'de>,
    A: Aside<'de>,
{
    deserializer.deserialize_struct("heartbeat", FIELDS, BodyVisitor::<A, PATIENT>(PhantomData))
}

struct BodyVisitor<A, const PATIENT: bool>(PhantomData<A>);

impl<'de, A: Aside<'de>, const PATIENT: bool> Visitor<'de> for BodyVisitor<A, PATIENT> {
    type Value = Body<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a heartbeat: an object with `hive_id` or `hive`")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Body<'de>, M::Error> {
        let mut hive_id: Option<Str<'de>> = None;
        let mut hive: Option<HiveTwin<'de>> = None;
        let mut hive_info: Option<Option<HiveTwin<'de>>> = None;
        let mut kind: Option<Kind> = None;
        let mut is_event = false;
        let mut timestamp: Option<Str<'de>> = None;
        let mut workers: Option<Workers<'de, A>> = None;
        let mut capabilities: Option<Option<Vec<CapabilityTwin<'de>>>> = None;
        let mut epoch: Option<Option<u64>> = None;
        let mut seq: Option<Option<u64>> = None;
        while let Some(key) = map.next_key()? {
            match key {
                Key::HiveId => once(&mut hive_id, "hive_id", &mut map)?,
                Key::Hive => once(&mut hive, "hive", &mut map)?,
                Key::HiveInfo => once(&mut hive_info, "hive_info", &mut map)?,
                Key::Type => {
                    once(&mut kind, "type", &mut map)?;
                    is_event = kind.as_ref().is_some_and(|kind| kind.is_event);
                }
                Key::Timestamp => once(&mut timestamp, "timestamp", &mut map)?,
                Key::Capabilities => once(&mut capabilities, "capabilities", &mut map)?,
                Key::Epoch => once(&mut epoch, "epoch", &mut map)?,
                Key::Seq => once(&mut seq, "seq", &mut map)?,
                Key::Workers if workers.is_some() => {
                    return Err(de::Error::duplicate_field("workers"));
                }
                Key::Workers => {
                    workers = Some(if hive.is_some() || is_event {
                        Workers::Telemetry(map.next_value()?)
                    } else if hive_id.is_some() && !PATIENT {
                        Workers::Plain(map.next_value()?)
                    } else {
                        Workers::Unread(map.next_value()?)
                    });
                }
                Key::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let timestamp = timestamp.ok_or_else(|| de::Error::missing_field("timestamp"))?;
        let capabilities = capabilities.flatten();
        let (epoch, seq) = (epoch.flatten(), seq.flatten());
        let (flat_id, hive) = match (hive_id, hive) {
            (Some(_), Some(_)) => return Err(both()),
            (None, None) => return Err(de::Error::missing_field("hive_id")),
            (Some(hive_id), None) if !is_event => {
                let workers = workers.ok_or_else(|| de::Error::missing_field("workers"))?.plain()?;
                let hive = hive_info.flatten();
                let twin = PlainTwin { hive_id, timestamp, workers, hive, capabilities, epoch, seq };
                return Ok(Body::Plain(twin));
            }
            (None, Some(HiveTwin { id: None, .. })) => {
                return Err(de::Error::custom("hive: missing field `id`"));
            }
            (flat_id @ Some(_), None) => (flat_id, hive_info.flatten()),
            (None, hive) => (None, hive),
        };
        let workers = workers.map_or(Ok(None), Workers::telemetry)?;
        Ok(Body::Telemetry(TelemetryTwin { flat_id, hive, timestamp, workers, capabilities, epoch, seq }))
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

fn both<E: de::Error>() -> E {
    E::custom("`hive_id` and `hive` exclude each other")
}
