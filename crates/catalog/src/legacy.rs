//! The older program's words: `BeehiveNode` and its calls, on today's tables. New code has no use for them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::catalog::HiveCatalog;
use crate::changes::Operator;
use crate::error::{CatalogError, Result};
use crate::hive_rows::to_json;
use crate::hives::HiveFilter;
use crate::record::{DeviceCapabilities, HiveRecord, HiveStatus};

/// What the older words show for a port of ssh that was not said; so said, it is no longer told apart.
pub const DEFAULT_SSH_PORT: u16 = 22;

/// A hive in the older program's shape. What has no place in it stays as it is in the catalog.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeehiveNode {
    /// The hive's id.
    pub node_name: String,
    /// Host name or address for ssh.
    pub ssh_host: String,
    /// Port for ssh; 22 means not said.
    #[serde(default = "default_ssh_port")]
    pub ssh_port: u16,
    /// User for ssh; empty where none is said, as the others.
    #[serde(default)]
    pub ssh_user: String,
    /// Path of the private key.
    #[serde(default)]
    pub ssh_key_path: Option<String>,
    /// Where its software comes from.
    #[serde(default)]
    pub git_repo_url: String,
    /// The branch of it.
    #[serde(default)]
    pub git_branch: String,
    /// The folder it is installed in.
    #[serde(default)]
    pub install_path: String,
    /// When somebody last reached it, seconds since 1970.
    #[serde(default)]
    pub last_connected_unix: Option<i64>,
    /// "unknown", "online", "offline", "error".
    #[serde(default = "unknown")]
    pub status: String,
    /// A JSON list as text: `["cuda", "cpu"]`.
    #[serde(default)]
    pub backends: Option<String>,
    /// A JSON object as text: `{"cuda": 2}`.
    #[serde(default)]
    pub devices: Option<String>,
}

fn default_ssh_port() -> u16 {
    DEFAULT_SSH_PORT
}

fn unknown() -> String {
    HiveStatus::Unknown.as_str().to_owned()
}

// === impl BeehiveNode ===

impl BeehiveNode {
    /// # Errors
    /// `Invalid`: a status that is none, `backends` or `devices` that are not the JSON they should be.
    pub fn to_record(&self) -> Result<HiveRecord> {
        let said = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let mut record = HiveRecord::new(&*self.node_name);
        record.ssh_host = said(&self.ssh_host);
        record.ssh_port = Some(self.ssh_port).filter(|port| *port != DEFAULT_SSH_PORT);
        record.ssh_user = said(&self.ssh_user);
        record.ssh_key_path = self.ssh_key_path.as_ref().and_then(said);
        record.git_repo_url = said(&self.git_repo_url);
        record.git_branch = said(&self.git_branch);
        record.install_path = said(&self.install_path);
        record.last_connected_unix = self.last_connected_unix;
        record.status = if self.status.is_empty() { HiveStatus::Unknown } else { self.status.parse()? };
        record.backends = self.json("backends", self.backends.as_deref(), "a JSON list of words, as text")?;
        record.devices = self.devices()?;
        Ok(record)
    }

    /// Today's shape, or the older counts.
    fn devices(&self) -> Result<DeviceCapabilities> {
        let bound = "a JSON object of counts, as text";
        let counts: Result<BTreeMap<String, u32>> = self.json("devices", self.devices.as_deref(), bound);
        match counts {
            Ok(counts) => Ok(DeviceCapabilities { counts, ..DeviceCapabilities::default() }),
            Err(error) => {
                let text = self.devices.as_deref().unwrap_or("{}");
                let known = ["\"cpu\"", "\"gpus\"", "\"counts\""].iter().any(|name| text.contains(name));
                serde_json::from_str(text).ok().filter(|_| known).ok_or(error)
            }
        }
    }

    fn json<T: Default + serde::de::DeserializeOwned>(
        &self,
        field: &str,
        text: Option<&str>,
        bound: &str,
    ) -> Result<T> {
        match text.filter(|text| !text.is_empty()) {
            None => Ok(T::default()),
            Some(text) => serde_json::from_str(text)
                .map_err(|_| CatalogError::invalid(&self.node_name, field, text, bound)),
        }
    }

    /// The older words for a hive.
    ///
    /// # Errors
    /// None that a record of the catalog brings about.
    pub fn from_record(record: &HiveRecord) -> Result<Self> {
        let shown = |text: &Option<String>| text.clone().unwrap_or_default();
        let devices = &record.devices;
        Ok(Self {
            node_name: record.id.clone(),
            ssh_host: shown(&record.ssh_host),
            ssh_port: record.ssh_port.unwrap_or(DEFAULT_SSH_PORT),
            ssh_user: shown(&record.ssh_user),
            ssh_key_path: record.ssh_key_path.clone(),
            git_repo_url: shown(&record.git_repo_url),
            git_branch: shown(&record.git_branch),
            install_path: shown(&record.install_path),
            last_connected_unix: record.last_connected_unix,
            status: record.status.as_str().to_owned(),
            backends: (!record.backends.is_empty()).then(|| to_json(&record.backends)).transpose()?,
            devices: (!devices.is_empty()).then(|| to_json(&devices.as_counts())).transpose()?,
        })
    }
}

impl DeviceCapabilities {
    /// `{"cuda": 2}`: GPUs counted by backend; what was only ever counted where no GPU is known.
    #[must_use]
    pub fn as_counts(&self) -> BTreeMap<String, u32> {
        let mut counts = self.counts.clone();
        let mut found: BTreeMap<String, u32> = BTreeMap::new();
        for gpu in &self.gpus {
            *found.entry(gpu.backend.clone()).or_default() += 1;
        }
        if self.cpu.is_some() {
            found.insert("cpu".to_owned(), 1);
        }
        counts.extend(found);
        counts
    }
}

// === impl HiveCatalog ===

impl HiveCatalog {
    /// `get_hive`, in the older words.
    ///
    /// # Errors
    /// As there.
    pub fn get_node(&self, node_name: &str) -> Result<Option<BeehiveNode>> {
        self.get_hive(node_name)?.as_ref().map(BeehiveNode::from_record).transpose()
    }

    /// `list_hives`, in the older words.
    ///
    /// # Errors
    /// As there.
    pub fn list_nodes(&self) -> Result<Vec<BeehiveNode>> {
        self.list_hives(&HiveFilter::default())?.hives.iter().map(BeehiveNode::from_record).collect()
    }
}

// === impl Operator ===

impl Operator {
    /// `upsert_hive`, in the older words: a known node is replaced, its status too. What those words have no field for
    /// (its own host and port, labels, cordons, secrets) stays.
    ///
    /// # Errors
    /// `Invalid`, by field and bound.
    pub fn add_node(&self, node: &BeehiveNode) -> Result<()> {
        let mut record = node.to_record()?;
        self.transaction(|changes| {
            if let Some(old) = changes.get_hive(&record.id)? {
                record.host = old.host.filter(|host| Some(host) != old.ssh_host.as_ref());
                record.port = old.port;
                record.binary_path = old.binary_path;
                record.labels = old.labels;
            }
            changes.upsert_hive(&record)?;
            changes.update_status(&record.id, record.status, None).map(|_| ())
        })
    }

    /// `remove_hive`, in the older words.
    ///
    /// # Errors
    /// As there.
    pub fn remove_node(&self, node_name: &str) -> Result<bool> {
        self.remove_hive(node_name)
    }
}
