//! Configuration: set once, checked once.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, SystemClock, millis};
use crate::core::{Config, Core};
use crate::error::ConfigError;
use crate::registry::HiveRegistry;

/// Which time counts as a hive's last heartbeat (L1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LivenessClock {
    /// The heartbeat's own timestamp, never later than its arrival. Sees delays in the network; trusts the
    /// hives' clocks.
    #[default]
    Reported,
    /// The moment of arrival on a monotonic clock. Neither a wall clock that jumps nor a hive with a wrong
    /// clock changes who is online.
    Arrival,
}

/// Whether picks look at the age of a hive (L2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StaleMode {
    /// Workers of a hive not heard within the liveness window are never picked.
    #[default]
    Exclude,
    /// Age is ignored: a worker is picked until its hive is evicted or removed.
    Ignore,
}

/// Bounds on what the registry holds, so that no input exhausts memory (I2). All at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
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

impl Default for Limits {
    /// 1,000,000 hives, 16,000,000 workers, 1,024 workers and 256 devices per hive, 100,000 models, 1 MiB.
    fn default() -> Self {
        Self {
            hives: 1_000_000,
            workers: 16_000_000,
            workers_per_hive: 1_024,
            devices_per_hive: 256,
            models: 100_000,
            heartbeat_bytes: 1 << 20,
        }
    }
}

/// Shards of each map by default.
pub const DEFAULT_SHARDS: usize = 128;
/// Requests at once that a worker is ranked by when it does not say (S3).
pub const DEFAULT_CONCURRENCY: u32 = 16;
/// Liveness window by default (L2).
pub const DEFAULT_LIVENESS_WINDOW: Duration = Duration::from_secs(30);
/// Gigabytes of VRAM that a worker counts for when it does not say (G1).
pub const DEFAULT_WORKER_VRAM_GB: f32 = 4.0;
/// Gigabytes of RAM that a worker counts for when it does not say (G1).
pub const DEFAULT_WORKER_RAM_GB: f32 = 2.0;

/// Builds a [`HiveRegistry`]; from [`HiveRegistry::builder`].
///
/// ```
/// use hive_registry::{HiveRegistry, LivenessClock};
/// use std::time::Duration;
///
/// let registry = HiveRegistry::builder()
///     .liveness_window(Duration::from_secs(10))
///     .liveness_clock(LivenessClock::Arrival)
///     .build()?;
/// assert_eq!(registry.hive_count(), 0);
/// # Ok::<(), hive_registry::ConfigError>(())
/// ```
#[must_use = "a builder does nothing until `build`"]
pub struct HiveRegistryBuilder {
    shards: usize,
    window: Duration,
    liveness: LivenessClock,
    stale_mode: StaleMode,
    limits: Limits,
    assumed_gb: (f32, f32),
    clock: Arc<dyn Clock>,
    seed: Option<u64>,
    concurrency: u32,
    tie_seed: Option<u64>,
}

impl HiveRegistryBuilder {
    pub(crate) fn new() -> Self {
        Self {
            shards: DEFAULT_SHARDS,
            window: DEFAULT_LIVENESS_WINDOW,
            liveness: LivenessClock::default(),
            stale_mode: StaleMode::default(),
            limits: Limits::default(),
            assumed_gb: (DEFAULT_WORKER_VRAM_GB, DEFAULT_WORKER_RAM_GB),
            clock: Arc::new(SystemClock),
            seed: None,
            concurrency: DEFAULT_CONCURRENCY,
            tie_seed: None,
        }
    }

    /// Lock-striped shards of each map, at least: a power of two from 2 to 65,536; 128 by default. There are more where
    /// [`Limits`] allow more than 8,192 entries for each.
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = shards;
        self
    }

    /// How long after its last heartbeat a hive counts as live (L2): above 0; 30 s by default.
    pub fn liveness_window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Which time counts as the last heartbeat (L1).
    pub fn liveness_clock(mut self, liveness: LivenessClock) -> Self {
        self.liveness = liveness;
        self
    }

    /// Whether picks look at age (L2).
    pub fn stale_mode(mut self, stale_mode: StaleMode) -> Self {
        self.stale_mode = stale_mode;
        self
    }

    /// Bounds on what is held (I2).
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Gigabytes (10^9 bytes) that a worker counts for when it reports no memory (G1): finite, 0 or more;
    /// 4.0 and 2.0 by default.
    pub fn assumed_worker_memory(mut self, vram_gb: f32, ram_gb: f32) -> Self {
        self.assumed_gb = (vram_gb, ram_gb);
        self
    }

    /// The source of time (L6); [`SystemClock`] by default.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Fixes the hasher and every random choice (L6); chosen anew for each registry by default.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Requests at once that a worker is ranked by when it reports no `max_concurrency`, which then does not limit it
    /// (S3): at least 1; 16 by default.
    pub fn assumed_concurrency(mut self, requests: u32) -> Self {
        self.concurrency = requests;
        self
    }

    /// Shuffles the order of workers that are alike in all else (S4), which is that of registration by default. For
    /// several registries of one fleet, each with another seed, so that they do not all begin with the same worker.
    pub fn tie_seed(mut self, seed: u64) -> Self {
        self.tie_seed = Some(seed);
        self
    }

    /// Checks the settings and builds an empty registry.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] names the setting that is out of bounds.
    pub fn build(self) -> Result<HiveRegistry, ConfigError> {
        check("shards", self.shards, "a power of two from 2 to 65536", |&shards| {
            shards.is_power_of_two() && (2..=65_536).contains(&shards)
        })?;
        check("liveness_window", millis(self.window), "at least 1 ms", |&window| window > 0)?;
        for (field, gb) in [("vram_gb", self.assumed_gb.0), ("ram_gb", self.assumed_gb.1)] {
            check(field, gb, "finite and at least 0", |gb| gb.is_finite() && *gb >= 0.0)?;
        }
        check("assumed_concurrency", self.concurrency, "at least 1", |&requests| requests > 0)?;
        let limits = self.limits;
        for (field, limit) in [
            ("hives", limits.hives),
            ("workers", limits.workers),
            ("workers_per_hive", limits.workers_per_hive),
            ("devices_per_hive", limits.devices_per_hive),
            ("models", limits.models),
            ("heartbeat_bytes", limits.heartbeat_bytes),
        ] {
            check(field, limit, "at least 1", |&limit| limit > 0)?;
        }
        Ok(self.build_unchecked())
    }

    pub(crate) fn build_unchecked(self) -> HiveRegistry {
        HiveRegistry::over(Core::new(Config {
            shards: self.shards,
            window_ms: millis(self.window),
            liveness: self.liveness,
            stale_mode: self.stale_mode,
            limits: self.limits,
            assumed_vram_gb: self.assumed_gb.0,
            assumed_ram_gb: self.assumed_gb.1,
            clock: self.clock,
            seed: self.seed,
            assumed_concurrency: self.concurrency,
            tie_seed: self.tie_seed,
        }))
    }
}

fn check<T: std::fmt::Display>(
    field: &'static str,
    value: T,
    bound: &'static str,
    fits: impl FnOnce(&T) -> bool,
) -> Result<(), ConfigError> {
    if fits(&value) { Ok(()) } else { Err(ConfigError::Invalid { field, value: value.to_string(), bound }) }
}
