//! Memory in use and free (G1, G2).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::core::Config;
use crate::state::{Backend, HiveRuntimeState, WorkerInfo};
use crate::wire::Capability;

/// Memory of one hive; 1 GB = 10^9 bytes. As its last heartbeat left it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResourceInfo {
    /// VRAM in use: what its workers report, and an assumed amount for each that does not (G1).
    pub vram_used_gb: f32,
    /// RAM in use, likewise.
    pub ram_used_gb: f32,
    /// How many workers it runs.
    pub worker_count: usize,
    /// VRAM of the GPUs it declares, else of the devices its workers report, else none.
    pub vram_total_gb: Option<f32>,
    /// VRAM free (G2): that of the declared GPUs less what workers report, else summed over the devices whose total
    /// is known.
    pub vram_free_gb: Option<f32>,
    /// RAM of the CPU it declares.
    pub ram_total_gb: Option<f32>,
    /// Workers that report no VRAM or no RAM, and count as assumed.
    pub workers_estimated: usize,
}

const GB: f64 = 1e9;
const GIB: f64 = 1_073_741_824.0;

/// G1: (VRAM, RAM) in use.
pub(crate) fn used_gb(workers: &[Arc<WorkerInfo>], config: &Config) -> (f32, f32) {
    let sum = |field: fn(&WorkerInfo) -> Option<u64>, assumed_gb: f32| {
        let gb =
            |worker: &Arc<WorkerInfo>| field(worker).map_or(f64::from(assumed_gb), |bytes| bytes as f64 / GB);
        // The sum of none is -0.0.
        workers.iter().map(gb).sum::<f64>().abs() as f32
    };
    (
        sum(|worker| worker.vram_bytes, config.assumed_vram_gb),
        sum(|worker| worker.ram_bytes, config.assumed_ram_gb),
    )
}

impl ResourceInfo {
    /// O(n log n) in the workers of the hive.
    pub(crate) fn of(state: &HiveRuntimeState) -> Self {
        let devices = Devices::of(state);
        let gb = |bytes: u64| (bytes as f64 / GB) as f32;
        let is_cpu = |device: &&Capability| !is_gpu(device);
        Self {
            vram_used_gb: state.vram_used_gb,
            ram_used_gb: state.ram_used_gb,
            worker_count: state.worker_count,
            vram_total_gb: devices.total.map(gb),
            vram_free_gb: devices.free.map(gb),
            ram_total_gb: memory(declared(state).filter(is_cpu)).map(gb),
            workers_estimated: state
                .workers
                .iter()
                .filter(|worker| worker.vram_bytes.is_none() || worker.ram_bytes.is_none())
                .count(),
        }
    }
}

fn declared(state: &HiveRuntimeState) -> impl Iterator<Item = &Capability> {
    state.capabilities.iter().flat_map(|all| all.iter())
}

fn is_gpu(device: &Capability) -> bool {
    Backend::parse(&device.device_type) != Backend::Cpu
}

/// Bytes of these devices in all, if any of them tells.
fn memory<'d>(devices: impl Iterator<Item = &'d Capability>) -> Option<u64> {
    let gib = devices.filter_map(|device| device.vram_gb).reduce(|sum, gib| sum + gib);
    gib.map(|gib| (gib * GIB) as u64)
}

/// G2: the VRAM of a hive, and the devices on which its workers have it.
pub(crate) struct Devices<'s> {
    /// By place.
    all: SmallVec<[Device<'s>; 8]>,
    has_one_gpu: bool,
    /// Bytes of the hive, and of these free.
    total: Option<u64>,
    free: Option<u64>,
}

struct Device<'s> {
    place: Place<'s>,
    /// As declared, else the greatest that one of its workers reports; 0 if none does.
    total: u64,
    used: u64,
}

/// Which device a worker is on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place<'s> {
    /// By its backend and number.
    Known(Option<&'s str>, u32),
    /// The only GPU that the hive declares, where the worker does not say.
    OnlyGpu,
    /// Nothing says which, so that the worker, by its id, counts as having one of its own.
    Own(&'s str),
}

impl<'s> Place<'s> {
    fn of(worker: &'s WorkerInfo, has_one_gpu: bool) -> Self {
        match worker.device_id {
            Some(id) => Self::Known(worker.backend.as_ref().map(Backend::as_str), id),
            None if has_one_gpu && worker.backend != Some(Backend::Cpu) => Self::OnlyGpu,
            None => Self::Own(&worker.worker_id),
        }
    }
}

impl Device<'_> {
    fn free(&self) -> u64 {
        self.total.saturating_sub(self.used)
    }
}

impl<'s> Devices<'s> {
    /// O(n log n) in the workers.
    pub(crate) fn of(state: &'s HiveRuntimeState) -> Self {
        let gpus = || declared(state).filter(|device| is_gpu(device));
        let (has_one_gpu, declared) = (gpus().count() == 1, memory(gpus()));
        let mut all: SmallVec<[Device<'_>; 8]> = state
            .workers
            .iter()
            .map(|worker| Device {
                place: Place::of(worker, has_one_gpu),
                total: worker.vram_total_bytes.unwrap_or(0),
                used: worker.vram_bytes.unwrap_or(0),
            })
            .collect();
        all.sort_unstable_by_key(|device| device.place);
        all.dedup_by(|next, kept| {
            let same = next.place == kept.place;
            if same {
                kept.total = kept.total.max(next.total);
                kept.used = kept.used.saturating_add(next.used);
            }
            same
        });
        if let (Some(total), Some(device)) =
            (declared, all.iter_mut().find(|device| device.place == Place::OnlyGpu))
        {
            device.total = total;
        }
        let sum = |of: fn(&Device<'_>) -> u64| {
            let known = all.iter().filter(|device| device.total > 0);
            known.map(of).reduce(u64::saturating_add)
        };
        let used = || all.iter().map(|device| device.used).fold(0, u64::saturating_add);
        Self {
            has_one_gpu,
            total: declared.or_else(|| sum(|device| device.total)),
            free: declared.map(|total| total.saturating_sub(used())).or_else(|| sum(|device| device.free())),
            all,
        }
    }

    /// Bytes free on the worker's device, as reported; none where its total is unknown. O(log workers).
    pub(crate) fn free_for(&self, worker: &WorkerInfo) -> Option<u64> {
        let place = Place::of(worker, self.has_one_gpu);
        let at = self.all.binary_search_by_key(&place, |device| device.place).ok()?;
        let free = Some(&self.all[at]).filter(|device| device.total > 0)?.free();
        // Where a hive has one GPU, all share it, whatever they say; and nobody has more than there is.
        let is_certain = matches!(place, Place::Known(..)) && !self.has_one_gpu;
        Some(if is_certain { free } else { free.min(self.free.unwrap_or(free)) })
    }
}
