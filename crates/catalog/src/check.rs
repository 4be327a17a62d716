//! What a value may be, by field. Every door checks here: the calls, an import, and whoever dials.

use std::collections::BTreeMap;

use hive_registry::MAX_ID_BYTES;

use crate::error::{CatalogError, Result};
use crate::record::{DeviceCapabilities, HiveRecord};

/// Of a host name or address, bytes.
pub const MAX_HOST_BYTES: usize = 253;
/// Of a user name, bytes.
pub const MAX_USER_BYTES: usize = 64;
/// Of a path, bytes.
pub const MAX_PATH_BYTES: usize = 1_024;
/// Of the address of a git repository, bytes.
pub const MAX_URL_BYTES: usize = 2_048;
/// Of a branch, bytes.
pub const MAX_BRANCH_BYTES: usize = 255;
/// Of a reason, of a status or of a cordon, bytes.
pub const MAX_REASON_BYTES: usize = 512;
/// Of a label's name, bytes.
pub const MAX_LABEL_NAME_BYTES: usize = 63;
/// Of a label's value and of a device's name, bytes.
pub const MAX_TEXT_BYTES: usize = 256;
/// Labels of a hive.
pub const MAX_LABELS: usize = 64;
/// Backends of a hive.
pub const MAX_BACKENDS: usize = 16;
/// GPUs of a hive.
pub const MAX_GPUS: usize = 256;
/// Of a backend's name, bytes.
pub const MAX_BACKEND_BYTES: usize = 32;
/// Of a device's memory, GiB, as the registry has it.
pub const MAX_MEMORY_GB: f64 = 1_048_576.0;
/// The last second of the year 9999, Unix time.
pub const MAX_UNIX: i64 = 253_402_300_799;

/// A pattern: what it is called, how long, which bytes may begin it and which may follow.
struct Pattern {
    said: &'static str,
    most: usize,
    /// Bytes after the first, at least.
    least: usize,
    first: fn(u8) -> bool,
    rest: fn(u8) -> bool,
}

const HOST: Pattern = Pattern {
    said: "^[A-Za-z0-9][A-Za-z0-9._:-]*$",
    most: MAX_HOST_BYTES,
    least: 0,
    first: |byte| byte.is_ascii_alphanumeric(),
    rest: |byte| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte),
};
const USER: Pattern = Pattern {
    said: "^[A-Za-z_][A-Za-z0-9._-]*$",
    most: MAX_USER_BYTES,
    least: 0,
    first: |byte| byte.is_ascii_alphabetic() || byte == b'_',
    rest: |byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte),
};
const PATH: Pattern = Pattern {
    said: "^/[A-Za-z0-9._/-]+$",
    most: MAX_PATH_BYTES,
    least: 1,
    first: |byte| byte == b'/',
    rest: |byte| byte.is_ascii_alphanumeric() || b"._/-".contains(&byte),
};
/// No `::`, by which git runs a program: see [`url`].
const URL: Pattern = Pattern {
    said: "^[A-Za-z0-9][A-Za-z0-9@:/._~+%=?&,-]*$ without ::, and no part begins with -",
    most: MAX_URL_BYTES,
    least: 0,
    first: |byte| byte.is_ascii_alphanumeric(),
    rest: |byte| byte.is_ascii_alphanumeric() || b"@:/._~+%=?&,-".contains(&byte),
};
const BRANCH: Pattern = Pattern {
    said: "^[A-Za-z0-9_][A-Za-z0-9._/+#-]*$",
    most: MAX_BRANCH_BYTES,
    least: 0,
    first: |byte| byte.is_ascii_alphanumeric() || byte == b'_',
    rest: |byte| byte.is_ascii_alphanumeric() || b"._/+#-".contains(&byte),
};
const LABEL: Pattern = Pattern {
    said: "^[A-Za-z0-9][A-Za-z0-9._/-]*$",
    most: MAX_LABEL_NAME_BYTES,
    least: 0,
    first: |byte| byte.is_ascii_alphanumeric(),
    rest: |byte| byte.is_ascii_alphanumeric() || b"._/-".contains(&byte),
};
const BACKEND: Pattern = Pattern {
    said: "^[a-z][a-z0-9_.-]*$",
    most: MAX_BACKEND_BYTES,
    least: 0,
    first: |byte| byte.is_ascii_lowercase(),
    rest: |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte),
};
const SECRET: Pattern = Pattern {
    said: "^[a-z][a-z0-9_]*$",
    most: 64,
    least: 0,
    first: |byte| byte.is_ascii_lowercase(),
    rest: |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_',
};
const NAME: Pattern = Pattern {
    said: "^[A-Za-z0-9_][A-Za-z0-9._@-]*$",
    most: 64,
    least: 0,
    first: |byte| byte.is_ascii_alphanumeric() || byte == b'_',
    rest: |byte| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte),
};

impl Pattern {
    fn check(&self, id: &str, field: &str, value: &str) -> Result<()> {
        length(id, field, value, self.most)?;
        let (first, rest) = (value.as_bytes()[0], &value.as_bytes()[1..]);
        if rest.len() >= self.least && (self.first)(first) && rest.iter().all(|byte| (self.rest)(*byte)) {
            return Ok(());
        }
        Err(CatalogError::invalid(id, field, value, self.said))
    }
}

fn length(id: &str, field: &str, value: &str, most: usize) -> Result<()> {
    if (1..=most).contains(&value.len()) {
        return Ok(());
    }
    let bound = format!("1 to {most} bytes, not {}", value.len());
    Err(CatalogError::invalid(id, field, value, bound))
}

/// The id of a hive: the core's bounds, and not beginning with `-`.
pub(crate) fn id(value: &str) -> Result<()> {
    named("id", value)
}

/// The id of a worker.
pub(crate) fn worker(hive: &str, value: &str) -> Result<()> {
    named("worker", value).map_err(|error| match error {
        CatalogError::Invalid { field, value, bound, .. } => {
            CatalogError::Invalid { id: hive.to_owned(), field, value, bound }
        }
        other => other,
    })
}

fn named(field: &str, value: &str) -> Result<()> {
    length("", field, value, MAX_ID_BYTES)?;
    if value.chars().any(char::is_control) {
        return Err(CatalogError::invalid("", field, value, "no control characters"));
    }
    if value.starts_with('-') {
        return Err(CatalogError::invalid("", field, value, "not beginning with -"));
    }
    Ok(())
}

/// Text for people: no control characters, nor marks that turn or hide the text around them.
fn text(id: &str, field: &str, value: &str, most: usize) -> Result<()> {
    if value.len() > most {
        let bound = format!("at most {most} bytes, not {}", value.len());
        return Err(CatalogError::invalid(id, field, value, bound));
    }
    if value.chars().any(|char| char.is_control() || is_bidi(char)) {
        return Err(CatalogError::invalid(id, field, value, "no control characters, no bidirectional marks"));
    }
    Ok(())
}

fn is_bidi(char: char) -> bool {
    matches!(char, '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Why an operator did something.
pub(crate) fn why(id: &str, value: &str) -> Result<()> {
    text(id, "why", value, MAX_REASON_BYTES)
}

/// The name of a secret.
pub(crate) fn secret(id: &str, value: &str) -> Result<()> {
    SECRET.check(id, "secret", value)
}

/// The name of a user or of a token, in an audit row.
pub(crate) fn actor(value: &str) -> Result<()> {
    NAME.check("", "who", value)
}

/// The id of a key.
pub(crate) fn key_id(value: &str) -> Result<()> {
    NAME.check("", "key id", value)
}

/// A reason as it comes from elsewhere (an ssh client, a heartbeat): cut, controls and marks taken out.
pub(crate) fn tidy(reason: &str) -> String {
    let plain: String =
        reason.chars().map(|char| if char.is_control() || is_bidi(char) { ' ' } else { char }).collect();
    let plain = plain.trim();
    plain[..plain.floor_char_boundary(MAX_REASON_BYTES)].to_owned()
}

fn url(id: &str, field: &str, value: &str) -> Result<()> {
    URL.check(id, field, value)?;
    // `ext::COMMAND`, and a host that ssh takes for an option.
    if value.contains("::") || ["/-", "@-", ":-"].iter().any(|odd| value.contains(odd)) {
        return Err(CatalogError::invalid(id, field, value, URL.said));
    }
    Ok(())
}

/// A time in milliseconds since 1970.
pub(crate) fn time_ms(id: &str, field: &str, value: u64) -> Result<()> {
    let most = MAX_UNIX as u64 * 1_000 + 999;
    if value <= most {
        return Ok(());
    }
    Err(CatalogError::invalid(id, field, value, format!("at most {most} (the year 9999)")))
}

/// A time in seconds since 1970.
pub(crate) fn time_unix(id: &str, field: &str, value: i64) -> Result<()> {
    if (0..=MAX_UNIX).contains(&value) {
        return Ok(());
    }
    Err(CatalogError::invalid(id, field, value, format!("0 to {MAX_UNIX} (the year 9999)")))
}

/// What the hive is to be reached by: nothing dials unless this holds.
pub(crate) fn dial(record: &HiveRecord) -> Vec<CatalogError> {
    let id = &*record.id;
    let optional = |field: &str, value: &Option<String>, check: &dyn Fn(&str, &str, &str) -> Result<()>| {
        value.as_ref().and_then(|value| check(id, field, value).err())
    };
    let of = |pattern: Pattern| move |id: &str, field: &str, value: &str| pattern.check(id, field, value);
    let mut faults: Vec<CatalogError> = [
        self::id(id).err(),
        optional("host", &record.host, &of(HOST)),
        optional("ssh_host", &record.ssh_host, &of(HOST)),
        optional("ssh_user", &record.ssh_user, &of(USER)),
        optional("ssh_key_path", &record.ssh_key_path, &of(PATH)),
        optional("git_repo_url", &record.git_repo_url, &url),
        optional("git_branch", &record.git_branch, &of(BRANCH)),
        optional("install_path", &record.install_path, &of(PATH)),
        optional("binary_path", &record.binary_path, &of(PATH)),
    ]
    .into_iter()
    .flatten()
    .collect();
    for (field, port) in [("port", Some(record.port)), ("ssh_port", record.ssh_port)] {
        if port == Some(0) {
            faults.push(CatalogError::invalid(id, field, 0, "1 to 65535"));
        }
    }
    faults
}

/// Everything that an operator writes of a hive.
pub(crate) fn faults(record: &HiveRecord) -> Vec<CatalogError> {
    let mut faults = dial(record);
    let id = &*record.id;
    faults.extend(labels(id, &record.labels).err());
    faults.extend(backends(id, &record.backends).err());
    faults.extend(devices(id, &record.devices).err());
    faults.extend(
        record.status_reason.as_ref().and_then(|why| text(id, "status_reason", why, MAX_REASON_BYTES).err()),
    );
    faults.extend(record.last_heartbeat_ms.and_then(|at| time_ms(id, "last_heartbeat_ms", at).err()));
    faults.extend(record.last_connected_unix.and_then(|at| time_unix(id, "last_connected_unix", at).err()));
    faults
}

/// The first of [`faults`], as a refusal.
pub(crate) fn record(record: &HiveRecord) -> Result<()> {
    faults(record).into_iter().next().map_or(Ok(()), Err)
}

fn at_most(id: &str, what: &'static str, wanted: usize, bound: usize) -> Result<()> {
    if wanted <= bound {
        return Ok(());
    }
    Err(CatalogError::TooMany { id: id.to_owned(), what, wanted, bound })
}

fn labels(id: &str, labels: &BTreeMap<String, String>) -> Result<()> {
    at_most(id, "labels", labels.len(), MAX_LABELS)?;
    labels.iter().try_for_each(|(name, value)| {
        LABEL.check(id, "label's name", name)?;
        text(id, &format!("labels[{name:?}]"), value, MAX_TEXT_BYTES)
    })
}

pub(crate) fn backends(id: &str, backends: &[String]) -> Result<()> {
    at_most(id, "backends", backends.len(), MAX_BACKENDS)?;
    backends.iter().try_for_each(|backend| BACKEND.check(id, "backends", backend))
}

pub(crate) fn devices(id: &str, devices: &DeviceCapabilities) -> Result<()> {
    at_most(id, "devices.gpus", devices.gpus.len(), MAX_GPUS)?;
    at_most(id, "devices.counts", devices.counts.len(), MAX_BACKENDS)?;
    if let Some(cpu) = &devices.cpu {
        memory(id, "devices.cpu.ram_gb", cpu.ram_gb)?;
    }
    for gpu in &devices.gpus {
        let field = |name: &str| format!("devices.gpus[{}].{name}", gpu.index);
        BACKEND.check(id, &field("backend"), &gpu.backend)?;
        memory(id, &field("vram_gb"), gpu.vram_gb)?;
        gpu.name.as_ref().map_or(Ok(()), |name| text(id, &field("name"), name, MAX_TEXT_BYTES))?;
    }
    devices.counts.keys().try_for_each(|backend| BACKEND.check(id, "devices.counts", backend))
}

fn memory(id: &str, field: &str, gib: Option<f64>) -> Result<()> {
    match gib {
        Some(gib) if !(0.0..=MAX_MEMORY_GB).contains(&gib) => {
            Err(CatalogError::invalid(id, field, gib, format!("finite and from 0 to {MAX_MEMORY_GB}")))
        }
        _ => Ok(()),
    }
}
