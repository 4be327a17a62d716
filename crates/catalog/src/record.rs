use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use hive_registry::Capability;
use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::{CatalogError, Result};

/// The port of a hive's own service where none is said.
pub const DEFAULT_PORT: u16 = 7835;

/// A hive as the catalog knows it: how it is reached, what it can do, how it was last seen.
///
/// Make one by [`HiveRecord::new`] and set what is known. What is not said of `ssh_*` the user's own ssh
/// configuration decides. In JSON what is not known is left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HiveRecord {
    /// Its id, as in heartbeats; `node_name` in the older words.
    pub id: String,
    /// Host name or address of its own service. Where one of `host` and `ssh_host` is given it fills both;
    /// adopted hives have neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Port of its own service.
    #[serde(default = "default_port")]
    pub port: u16,
    /// Host name or address for ssh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_host: Option<String>,
    /// Port for ssh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_port: Option<u16>,
    /// User for ssh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_user: Option<String>,
    /// Path of the private key, on the machine that dials. The key itself is never stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_key_path: Option<String>,
    /// Where its software comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_repo_url: Option<String>,
    /// The branch of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_branch: Option<String>,
    /// The folder it is installed in, there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub install_path: Option<String>,
    /// The program, there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary_path: Option<String>,
    /// How it was last seen.
    #[serde(default)]
    pub status: HiveStatus,
    /// Why it has that status; 512 bytes at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    /// When its last heartbeat arrived, milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_heartbeat_ms: Option<u64>,
    /// When somebody last reached it, seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_connected_unix: Option<i64>,
    /// What it can run on: "cuda", "metal", "rocm", "cpu".
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backends: Vec<String>,
    /// What is in it.
    #[serde(default, skip_serializing_if = "DeviceCapabilities::is_empty")]
    pub devices: DeviceCapabilities,
    /// An operator's own words for it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What of it is out of use. Written by `cordon` and `uncordon` only.
    #[serde(default, skip_serializing_if = "Cordons::is_empty")]
    pub cordoned: Cordons,
    /// It came by its heartbeat, not by an operator's hand.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopted: bool,
    /// When it came into the catalog, milliseconds since 1970; written by the catalog.
    #[serde(default)]
    pub created_at_ms: u64,
    /// When anything but its times last changed, milliseconds since 1970; written by the catalog.
    #[serde(default)]
    pub updated_at_ms: u64,
}

fn default_port() -> u16 {
    DEFAULT_PORT
}

/// How a hive was last seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HiveStatus {
    /// Never heard.
    #[default]
    Unknown,
    /// It beats.
    Online,
    /// It was heard once, and is silent.
    Offline,
    /// Its start, or a test of it, failed.
    Error,
}

/// What is in a hive.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeviceCapabilities {
    /// Its processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuDevice>,
    /// Its GPUs, ordered by index.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<GpuDevice>,
    /// How many of each backend, where no more is known: the older `{"cuda": 2}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, u32>,
}

/// The processors of a hive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CpuDevice {
    /// Cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cores: Option<u32>,
    /// Memory, GiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ram_gb: Option<f64>,
}

/// A GPU of a hive.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GpuDevice {
    /// The n of `GPU-n`.
    pub index: u32,
    /// What it is, "NVIDIA RTX 4090".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Memory, GiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vram_gb: Option<f64>,
    /// "cuda", "metal", "rocm".
    pub backend: String,
}

/// What of a hive is out of use: nothing new goes there, what runs there goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cordons {
    /// The hive itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hive: Option<Cordon>,
    /// Workers of it, by id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub workers: BTreeMap<String, Cordon>,
}

/// Why something is out of use, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cordon {
    /// Why; may be empty.
    pub why: String,
    /// Since when, milliseconds since 1970.
    pub since_ms: u64,
}

/// What `update_hive` is to change. `None` leaves a field as it is; `Some(None)` takes its value away.
///
/// In JSON an absent field leaves, `null` takes away (RFC 7396).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HivePatch {
    /// See [`HiveRecord::host`]. Where `ssh_host` is not known and not in the patch, it follows.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "said")]
    pub host: Option<Option<String>>,
    /// See [`HiveRecord::port`]; taken away it is [`DEFAULT_PORT`].
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "said")]
    pub port: Option<Option<u16>>,
    /// See [`HiveRecord::ssh_host`]. Where `host` is not known and not in the patch, it follows.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "said")]
    pub ssh_host: Option<Option<String>>,
    /// See [`HiveRecord::ssh_port`].
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "said")]
    pub ssh_port: Option<Option<u16>>,
    /// See [`HiveRecord::ssh_user`].
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "said")]
    pub ssh_user: Option<Option<String>>,
    /// See [`HiveRecord::ssh_key_path`].
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "said")]
    pub ssh_key_path: Option<Option<String>>,
    /// See [`HiveRecord::git_repo_url`].
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "said")]
    pub git_repo_url: Option<Option<String>>,
    /// See [`HiveRecord::git_branch`].
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "said")]
    pub git_branch: Option<Option<String>>,
    /// See [`HiveRecord::install_path`].
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "said")]
    pub install_path: Option<Option<String>>,
    /// See [`HiveRecord::binary_path`].
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "said")]
    pub binary_path: Option<Option<String>>,
    /// Labels to set, or (`None`) to take away; others stay.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, Option<String>>,
}

/// A field that is there, `null` or not.
fn said<'de, D, T>(input: D) -> std::result::Result<Option<Option<T>>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(input).map(Some)
}

// === impl HiveRecord ===

impl HiveRecord {
    /// A hive of which nothing but its id is known.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            host: None,
            port: DEFAULT_PORT,
            ssh_host: None,
            ssh_port: None,
            ssh_user: None,
            ssh_key_path: None,
            git_repo_url: None,
            git_branch: None,
            install_path: None,
            binary_path: None,
            status: HiveStatus::Unknown,
            status_reason: None,
            last_heartbeat_ms: None,
            last_connected_unix: None,
            backends: Vec::new(),
            devices: DeviceCapabilities::default(),
            labels: BTreeMap::new(),
            cordoned: Cordons::default(),
            adopted: false,
            created_at_ms: 0,
            updated_at_ms: 0,
        }
    }

    /// The fields that nobody may dial with, for an older program wrote them and no door would take them today.
    /// Whoever dials asks here first; empty is good.
    #[must_use]
    pub fn dial_faults(&self) -> Vec<CatalogError> {
        check::dial(self)
    }

    /// Host and port of its own service, if there is a host and it may be dialled.
    #[must_use]
    pub fn dialable(&self) -> Option<(&str, u16)> {
        let host = self.host.as_deref()?;
        self.dial_faults().is_empty().then_some((host, self.port))
    }

    /// Everything of it that no door would take today; empty is good.
    #[must_use]
    pub fn faults(&self) -> Vec<CatalogError> {
        check::faults(self)
    }

    /// One host given is both.
    pub(crate) fn fill_hosts(&mut self) {
        match (&self.host, &self.ssh_host) {
            (Some(host), None) => self.ssh_host = Some(host.clone()),
            (None, Some(host)) => self.host = Some(host.clone()),
            _ => {}
        }
    }
}

// === impl HivePatch ===

impl HivePatch {
    /// Whether it would change nothing of any hive.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn apply(&self, record: &mut HiveRecord) {
        fn set<T: Clone>(field: &mut Option<T>, patch: &Option<Option<T>>) {
            if let Some(value) = patch {
                field.clone_from(value);
            }
        }
        set(&mut record.host, &self.host);
        set(&mut record.ssh_host, &self.ssh_host);
        set(&mut record.ssh_port, &self.ssh_port);
        set(&mut record.ssh_user, &self.ssh_user);
        set(&mut record.ssh_key_path, &self.ssh_key_path);
        set(&mut record.git_repo_url, &self.git_repo_url);
        set(&mut record.git_branch, &self.git_branch);
        set(&mut record.install_path, &self.install_path);
        set(&mut record.binary_path, &self.binary_path);
        if let Some(port) = self.port {
            record.port = port.unwrap_or(DEFAULT_PORT);
        }
        for (name, value) in &self.labels {
            match value {
                Some(value) => record.labels.insert(name.clone(), value.clone()),
                None => record.labels.remove(name),
            };
        }
        // What the patch takes away stays away; what it does not name follows the other.
        match (&self.host, &self.ssh_host) {
            (Some(Some(host)), None) if record.ssh_host.is_none() => record.ssh_host = Some(host.clone()),
            (None, Some(Some(host))) if record.host.is_none() => record.host = Some(host.clone()),
            _ => {}
        }
    }
}

// === impl HiveStatus ===

impl HiveStatus {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Unknown, Self::Online, Self::Offline, Self::Error];

    /// Its word: "unknown", "online", "offline", "error".
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Online => "online",
            Self::Offline => "offline",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for HiveStatus {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

impl FromStr for HiveStatus {
    type Err = CatalogError;

    fn from_str(word: &str) -> Result<Self> {
        let bound = "unknown, online, offline or error";
        let found = Self::ALL.into_iter().find(|status| status.as_str() == word);
        found.ok_or_else(|| CatalogError::invalid("", "status", word, bound))
    }
}

// === impl DeviceCapabilities ===

impl DeviceCapabilities {
    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Backends and devices of what a heartbeat declares: `GPU-n` fills `gpus[n]`, `CPU-0` fills `cpu`. What fits
    /// neither, or no bound of the catalog, is left out.
    #[must_use]
    pub fn from_heartbeat(capabilities: &[Capability]) -> (Vec<String>, Self) {
        let mut devices = Self::default();
        let mut backends: Vec<String> = Vec::new();
        for device in capabilities {
            let backend = device.device_type.to_ascii_lowercase();
            if check::backends("", std::slice::from_ref(&backend)).is_err() {
                continue;
            }
            if device.id == "CPU-0" {
                let ram_gb = device.vram_gb;
                devices.cpu = Some(CpuDevice { cores: None, ram_gb });
            } else if let Some(Ok(index)) = device.id.strip_prefix("GPU-").map(str::parse) {
                let name = Some(check::tidy(&device.name)).filter(|name| !name.is_empty());
                let name =
                    name.map(|name| name[..name.floor_char_boundary(check::MAX_TEXT_BYTES)].to_owned());
                devices.gpus.retain(|gpu| gpu.index != index);
                devices.gpus.push(GpuDevice {
                    index,
                    name,
                    vram_gb: device.vram_gb,
                    backend: backend.clone(),
                });
            }
            if !backends.contains(&backend) && backends.len() < check::MAX_BACKENDS {
                backends.push(backend);
            }
        }
        devices.gpus.sort_by_key(|gpu| gpu.index);
        devices.gpus.truncate(check::MAX_GPUS);
        (backends, devices)
    }
}

// === impl Cordons ===

impl Cordons {
    /// Whether nothing of the hive is out of use.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hive.is_none() && self.workers.is_empty()
    }
}
