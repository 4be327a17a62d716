//! Defaults and bounds as numbers. They are those of Rust, written out, for cbindgen reads no other crate; the test holds
//! them equal.

/// Shards of each map, unless `shards` of hive_config_t says another number; as all defaults.
pub const HIVE_DEFAULT_SHARDS: u64 = 128;
/// How long after its last heartbeat a hive counts as live, milliseconds.
pub const HIVE_DEFAULT_LIVENESS_WINDOW_MS: u64 = 30_000;
/// Hives known at once.
pub const HIVE_DEFAULT_MAX_HIVES: u64 = 1_000_000;
/// Workers of all hives at once.
pub const HIVE_DEFAULT_MAX_WORKERS: u64 = 16_000_000;
/// Workers in one heartbeat.
pub const HIVE_DEFAULT_MAX_WORKERS_PER_HIVE: u64 = 1_024;
/// Devices that one hive declares.
pub const HIVE_DEFAULT_MAX_DEVICES_PER_HIVE: u64 = 256;
/// Models loaded somewhere at once.
pub const HIVE_DEFAULT_MAX_MODELS: u64 = 100_000;
/// Bytes of one JSON body.
pub const HIVE_DEFAULT_MAX_HEARTBEAT_BYTES: u64 = 1_048_576;
/// Gigabytes of VRAM that a worker counts for when it does not say.
pub const HIVE_DEFAULT_ASSUMED_VRAM_GB: f32 = 4.0;
/// Gigabytes of RAM that a worker counts for when it does not say.
pub const HIVE_DEFAULT_ASSUMED_RAM_GB: f32 = 2.0;
/// Requests at once that a worker is ranked by when it does not say.
pub const HIVE_DEFAULT_ASSUMED_CONCURRENCY: u32 = 16;
/// Bytes of a name of a hive, a worker, a model or a device, at most.
pub const HIVE_MAX_ID_BYTES: usize = 256;
/// Bytes of a url, at most.
pub const HIVE_MAX_URL_BYTES: usize = 2_048;
/// Bytes of any other text, at most.
pub const HIVE_MAX_TEXT_BYTES: usize = 256;
/// Fleets of fewer hives are evicted without the guard.
pub const HIVE_GUARDED_FLEET: usize = 8;
/// Percent of a guarded fleet that one pass evicts at most, but at least one hive.
pub const HIVE_MAX_EVICTED_PERCENT: usize = 15;
/// How long passes hold while over half of a guarded fleet is silent, milliseconds.
pub const HIVE_MAX_HOLD_MS: u64 = 300_000;
/// For how long heartbeats made before the removal of a hive are dropped, milliseconds.
pub const HIVE_TOMBSTONE_AGE_MS: u64 = 600_000;
/// Removals remembered at once, at most.
pub const HIVE_MAX_TOMBSTONES: usize = 100_000;
/// Under HIVE_LIVENESS_ARRIVAL, what comes later than this after the removal was sent after it, milliseconds.
pub const HIVE_ARRIVAL_GRACE_MS: u64 = 2_000;
/// A heartbeat that is older than the newest applied one may be its hive's beginning anew, once that one arrived
/// HIVE_RESET_INTERVALS of the hive's mean intervals ago, but no less than this, milliseconds, ...
pub const HIVE_MIN_RESET_AFTER_MS: u64 = 10_000;
/// ... and no more than this.
pub const HIVE_MAX_RESET_AFTER_MS: u64 = 60_000;
/// See HIVE_MIN_RESET_AFTER_MS.
pub const HIVE_RESET_INTERVALS: u32 = 3;
/// The heartbeat that is believed then came this much later than an older one, milliseconds.
pub const HIVE_RESET_SPACING_MS: u64 = 1_000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hive_registry::*;

    use super::*;

    #[test]
    fn they_are_those_of_rust() {
        let ms = |time: Duration| time.as_millis() as u64;
        let limits = Limits::default();
        assert_eq!(HIVE_DEFAULT_SHARDS, DEFAULT_SHARDS as u64);
        assert_eq!(HIVE_DEFAULT_LIVENESS_WINDOW_MS, ms(DEFAULT_LIVENESS_WINDOW));
        assert_eq!(HIVE_DEFAULT_MAX_HIVES, limits.hives as u64);
        assert_eq!(HIVE_DEFAULT_MAX_WORKERS, limits.workers as u64);
        assert_eq!(HIVE_DEFAULT_MAX_WORKERS_PER_HIVE, limits.workers_per_hive as u64);
        assert_eq!(HIVE_DEFAULT_MAX_DEVICES_PER_HIVE, limits.devices_per_hive as u64);
        assert_eq!(HIVE_DEFAULT_MAX_MODELS, limits.models as u64);
        assert_eq!(HIVE_DEFAULT_MAX_HEARTBEAT_BYTES, limits.heartbeat_bytes as u64);
        assert_eq!(HIVE_DEFAULT_ASSUMED_VRAM_GB, DEFAULT_WORKER_VRAM_GB);
        assert_eq!(HIVE_DEFAULT_ASSUMED_RAM_GB, DEFAULT_WORKER_RAM_GB);
        assert_eq!(HIVE_DEFAULT_ASSUMED_CONCURRENCY, DEFAULT_CONCURRENCY);
        assert_eq!(HIVE_MAX_ID_BYTES, MAX_ID_BYTES);
        assert_eq!(HIVE_MAX_URL_BYTES, MAX_URL_BYTES);
        assert_eq!(HIVE_MAX_TEXT_BYTES, MAX_TEXT_BYTES);
        assert_eq!(HIVE_GUARDED_FLEET, GUARDED_FLEET);
        assert_eq!(HIVE_MAX_EVICTED_PERCENT, MAX_EVICTED_PERCENT);
        assert_eq!(HIVE_MAX_HOLD_MS, ms(MAX_HOLD));
        assert_eq!(HIVE_TOMBSTONE_AGE_MS, ms(TOMBSTONE_AGE));
        assert_eq!(HIVE_MAX_TOMBSTONES, MAX_TOMBSTONES);
        assert_eq!(HIVE_ARRIVAL_GRACE_MS, ms(ARRIVAL_GRACE));
        assert_eq!(HIVE_MIN_RESET_AFTER_MS, ms(MIN_RESET_AFTER));
        assert_eq!(HIVE_MAX_RESET_AFTER_MS, ms(MAX_RESET_AFTER));
        assert_eq!(HIVE_RESET_INTERVALS, RESET_INTERVALS);
        assert_eq!(HIVE_RESET_SPACING_MS, ms(RESET_SPACING));
    }
}
