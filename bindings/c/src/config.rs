//! Settings, in a struct that can grow.

use std::fmt::Display;
use std::mem::MaybeUninit;
use std::time::Duration;

use hive_registry::{ConfigError, HiveRegistry, HiveRegistryBuilder, Limits, LivenessClock, StaleMode};

use crate::clock::Clock;
use crate::status::{Failure, Status};
use crate::text::{OptF32, OptU32, OptU64};

/// Which time counts as a hive's last heartbeat.
#[repr(u32)]
#[allow(non_camel_case_types, reason = "the names in C")]
pub enum Liveness {
    /// The heartbeat's own timestamp, never later than its arrival. Replayed heartbeats are old, hence stale, unless the
    /// registry goes by a clock that is set to their time.
    HIVE_LIVENESS_REPORTED = 0,
    /// The moment of arrival on a monotonic clock.
    HIVE_LIVENESS_ARRIVAL = 1,
}

/// Whether picks look at the age of a hive.
#[repr(u32)]
#[allow(non_camel_case_types, reason = "the names in C")]
pub enum Stale {
    /// Workers of a hive not heard within the liveness window are never picked.
    HIVE_STALE_EXCLUDE = 0,
    /// A worker is picked until its hive is evicted or removed.
    HIVE_STALE_IGNORE = 1,
}

/// Settings of a registry. Set `size` to `sizeof(hive_config_t)` and the rest to zero: that is the default of every
/// setting. Later versions add fields at the end only; a library takes a struct of any version that says nothing it does
/// not know.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Config {
    /// `sizeof(hive_config_t)` as the program was compiled.
    pub size: usize,
    /// Shards of each map: a power of two from 2 to 65,536; 128.
    pub shards: OptU64,
    /// How long after its last heartbeat a hive counts as live, milliseconds: at least 1; 30,000.
    pub liveness_window_ms: OptU64,
    /// A `hive_liveness_t`.
    pub liveness_clock: u32,
    /// A `hive_stale_t`.
    pub stale_mode: u32,
    /// Hives known at once: at least 1, as all limits; 1,000,000.
    pub max_hives: OptU64,
    /// Workers of all hives at once; 16,000,000.
    pub max_workers: OptU64,
    /// Workers in one heartbeat; 1,024.
    pub max_workers_per_hive: OptU64,
    /// Models loaded somewhere at once; 100,000.
    pub max_models: OptU64,
    /// Bytes of one JSON body; 1,048,576.
    pub max_heartbeat_bytes: OptU64,
    /// Gigabytes (10^9 bytes) of VRAM that a worker counts for when it does not say; 4.
    pub assumed_vram_gb: OptF32,
    /// Gigabytes of RAM that a worker counts for when it does not say; 2.
    pub assumed_ram_gb: OptF32,
    /// Fixes the hasher and every random choice.
    pub seed: OptU64,
    /// The source of time; NULL for the system's. The registry keeps its time, not the handle.
    pub clock: *const Clock,
    /// Devices that one hive declares; 256.
    pub max_devices_per_hive: OptU64,
    /// Requests at once that a worker is ranked by when it does not say how many it takes, which then does not limit it:
    /// at least 1; 16.
    pub assumed_concurrency: OptU32,
    /// Shuffles the order of workers that are alike in all else, which is that of registration where it is not set: for
    /// several registries of one fleet, each with another seed.
    pub tie_seed: OptU64,
}

/// Bounds on what a registry holds, as it was built.
#[repr(C)]
pub struct Bounds {
    /// Hives known at once.
    pub hives: usize,
    /// Workers of all hives at once.
    pub workers: usize,
    /// Workers in one heartbeat.
    pub workers_per_hive: usize,
    /// Devices that one hive declares.
    pub devices_per_hive: usize,
    /// Models loaded somewhere at once.
    pub models: usize,
    /// Bytes of one JSON body.
    pub heartbeat_bytes: usize,
}

impl Bounds {
    pub(crate) fn of(limits: Limits) -> Self {
        let Limits { hives, workers, workers_per_hive, devices_per_hive, models, heartbeat_bytes } = limits;
        Self { hives, workers, workers_per_hive, devices_per_hive, models, heartbeat_bytes }
    }
}

impl Config {
    /// What the caller's struct says, be it shorter or longer than ours.
    ///
    /// # Safety
    ///
    /// `config` is NULL or points to as many readable bytes as its first field says.
    pub(crate) unsafe fn read(config: *const Self) -> Result<Self, Failure> {
        // All zero is the default of everything: there is no field of which zero is not a value.
        let mut read = MaybeUninit::<Self>::zeroed();
        if !config.is_null() {
            let size = unsafe { config.cast::<usize>().read() };
            let ours = size_of::<Self>();
            if !(size_of::<usize>()..=1 << 16).contains(&size) {
                return Err(invalid("config.size", size, format_args!("sizeof(hive_config_t), here {ours}")));
            }
            let bytes = unsafe { std::slice::from_raw_parts(config.cast::<u8>(), size) };
            if bytes.iter().skip(ours).any(|byte| *byte != 0) {
                let value = format_args!("a setting past byte {ours}");
                return Err(invalid("config", value, "this version knows none"));
            }
            let known = bytes.len().min(ours);
            unsafe { read.as_mut_ptr().cast::<u8>().copy_from_nonoverlapping(bytes.as_ptr(), known) };
        }
        Ok(unsafe { read.assume_init() })
    }

    /// # Safety
    ///
    /// `clock` is NULL or a live clock.
    pub(crate) unsafe fn build(self) -> Result<HiveRegistry, Failure> {
        let mut builder: HiveRegistryBuilder = HiveRegistry::builder()
            .liveness_clock(match self.liveness_clock {
                0 => LivenessClock::Reported,
                1 => LivenessClock::Arrival,
                other => return Err(invalid("liveness_clock", other, "a hive_liveness_t, 0 or 1")),
            })
            .stale_mode(match self.stale_mode {
                0 => StaleMode::Exclude,
                1 => StaleMode::Ignore,
                other => return Err(invalid("stale_mode", other, "a hive_stale_t, 0 or 1")),
            });
        if let Some(shards) = self.shards.into() {
            builder = builder.shards(whole(shards));
        }
        if let Some(ms) = self.liveness_window_ms.into() {
            builder = builder.liveness_window(Duration::from_millis(ms));
        }
        let default = Limits::default();
        let limit = |given: OptU64, default| Option::from(given).map_or(default, whole);
        builder = builder.limits(Limits {
            hives: limit(self.max_hives, default.hives),
            workers: limit(self.max_workers, default.workers),
            workers_per_hive: limit(self.max_workers_per_hive, default.workers_per_hive),
            devices_per_hive: limit(self.max_devices_per_hive, default.devices_per_hive),
            models: limit(self.max_models, default.models),
            heartbeat_bytes: limit(self.max_heartbeat_bytes, default.heartbeat_bytes),
        });
        let gb = |given: OptF32, default| Option::from(given).unwrap_or(default);
        builder = builder.assumed_worker_memory(
            gb(self.assumed_vram_gb, hive_registry::DEFAULT_WORKER_VRAM_GB),
            gb(self.assumed_ram_gb, hive_registry::DEFAULT_WORKER_RAM_GB),
        );
        if let Some(seed) = self.seed.into() {
            builder = builder.seed(seed);
        }
        if let Some(requests) = self.assumed_concurrency.into() {
            builder = builder.assumed_concurrency(requests);
        }
        if let Some(seed) = self.tie_seed.into() {
            builder = builder.tie_seed(seed);
        }
        if let Some(clock) = unsafe { self.clock.as_ref() } {
            builder = builder.clock(clock.share());
        }
        builder.build().map_err(named)
    }
}

/// In the words of `hive_config_t`.
fn named(error: ConfigError) -> Failure {
    let ConfigError::Invalid { field, value, bound } = &error else {
        return Failure::new(Status::HIVE_INVALID_CONFIG, error.to_string());
    };
    let field = match *field {
        "liveness_window" => "liveness_window_ms",
        "hives" => "max_hives",
        "workers" => "max_workers",
        "workers_per_hive" => "max_workers_per_hive",
        "devices_per_hive" => "max_devices_per_hive",
        "models" => "max_models",
        "heartbeat_bytes" => "max_heartbeat_bytes",
        "vram_gb" => "assumed_vram_gb",
        "ram_gb" => "assumed_ram_gb",
        field => field,
    };
    invalid(field, value, bound)
}

fn whole(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn invalid(field: &str, value: impl Display, bound: impl Display) -> Failure {
    Failure::refused(Status::HIVE_INVALID_CONFIG, field, value, bound)
}
