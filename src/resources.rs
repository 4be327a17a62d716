//! Memory in use and free (G1, G2).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::core::Config;
use crate::state::{Backend, HiveRuntimeState, WorkerInfo};

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
    /// VRAM free, summed over the devices whose total is known (G2); where only the total of the declared
    /// GPUs is known, that less what workers report.
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
    /// O(workers of the hive).
    pub(crate) fn of(state: &HiveRuntimeState) -> Self {
        let declared = |is_gpu: bool| {
            let devices = state.capabilities.iter().flat_map(|all| all.iter());
            let gib = devices
                .filter(|device| (Backend::parse(&device.device_type) != Backend::Cpu) == is_gpu)
                .filter_map(|device| device.vram_gb);
            sum_if_any(gib).map(|gib| gib * GIB)
        };
        let devices = Devices::of(&state.workers);
        let reported = sum_if_any(devices.known().map(|device| device.total as f64));
        let free = sum_if_any(devices.known().map(|device| device.free() as f64));
        let (vram_total, vram_free) = match (declared(true), free) {
            (Some(total), None) => {
                let used: f64 =
                    state.workers.iter().filter_map(|worker| worker.vram_bytes).map(|b| b as f64).sum();
                (Some(total), Some((total - used).max(0.0)))
            }
            (declared, free) => (declared.or(reported), free),
        };
        let gb = |bytes: Option<f64>| bytes.map(|bytes| (bytes / GB) as f32);
        Self {
            vram_used_gb: state.vram_used_gb,
            ram_used_gb: state.ram_used_gb,
            worker_count: state.worker_count,
            vram_total_gb: gb(vram_total),
            vram_free_gb: gb(vram_free),
            ram_total_gb: gb(declared(false)),
            workers_estimated: state
                .workers
                .iter()
                .filter(|worker| worker.vram_bytes.is_none() || worker.ram_bytes.is_none())
                .count(),
        }
    }
}

fn sum_if_any(values: impl Iterator<Item = f64>) -> Option<f64> {
    values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

/// G2: the devices of a hive as its workers tell of them.
///
/// Workers without a device id each count as a device of their own, for nothing says which they share.
pub(crate) struct Devices {
    all: SmallVec<[Device; 8]>,
}

pub(crate) struct Device {
    id: Option<u32>,
    /// The greatest total that one of its workers reports; 0 if none does.
    total: u64,
    used: u64,
}

impl Device {
    fn free(&self) -> u64 {
        self.total.saturating_sub(self.used)
    }
}

impl Devices {
    /// O(workers x devices).
    pub(crate) fn of(workers: &[Arc<WorkerInfo>]) -> Self {
        let mut all: SmallVec<[Device; 8]> = SmallVec::new();
        for worker in workers {
            let known = worker.device_id.and_then(|id| all.iter_mut().find(|device| device.id == Some(id)));
            let (total, used) = (worker.vram_total_bytes.unwrap_or(0), worker.vram_bytes.unwrap_or(0));
            match known {
                None => all.push(Device { id: worker.device_id, total, used }),
                Some(device) => {
                    device.total = device.total.max(total);
                    device.used = device.used.saturating_add(used);
                }
            }
        }
        Self { all }
    }

    fn known(&self) -> impl Iterator<Item = &Device> {
        self.all.iter().filter(|device| device.total > 0)
    }

    /// Bytes free on the worker's device, as reported; none where its total is unknown.
    pub(crate) fn free_for(&self, worker: &WorkerInfo) -> Option<u64> {
        match worker.device_id {
            Some(id) => Some(self.known().find(|device| device.id == Some(id))?.free()),
            None => worker.vram_free_bytes(),
        }
    }
}
