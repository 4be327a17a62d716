//! Peer (b), as gateways do it today: a sharded map from the model to an immutable slice of its workers, replaced
//! as a whole when one joins or leaves, and a pick that scans the slice's atomics.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use dashmap::DashMap;
use foldhash::fast::RandomState;
use hive_registry::{HiveId, Text, WorkerId};

use crate::fleet::{Fleet, load};

/// The registry's own map and hasher.
pub(crate) struct Cow {
    models: DashMap<String, Arc<[Arc<Worker>]>, RandomState>,
}

/// `repr(C)`: what the scan reads comes first, in one cache line with the counts of the `Arc`.
#[repr(C)]
pub(crate) struct Worker {
    /// Load, with [`UNAVAILABLE`] above it: one word, so that a scan reads once and has one branch.
    standing: AtomicU32,
    pub(crate) hive_id: HiveId,
    pub(crate) worker_id: WorkerId,
    pub(crate) url: Option<Text>,
}

/// Set by whoever checks on health and age, in the background; a pick reads no clock.
const UNAVAILABLE: u32 = 1 << 31;

impl Cow {
    pub(crate) fn new(fleet: &Fleet) -> Self {
        let cow = Self { models: DashMap::with_hasher(RandomState::default()) };
        let mut joining: HashMap<&str, Vec<Arc<Worker>>> = HashMap::new();
        // Allocated in the order of the heartbeats, as they would arrive.
        for heartbeat in &fleet.heartbeats {
            for worker in &heartbeat.workers {
                let model = worker.model_id.as_deref().expect("all have a model");
                joining.entry(model).or_default().push(Arc::new(Worker {
                    standing: AtomicU32::new(load(worker.gpu_percent)),
                    hive_id: heartbeat.hive_id.as_str().into(),
                    worker_id: worker.worker_id.as_str().into(),
                    url: worker.url.as_deref().map(Text::from),
                }));
            }
        }
        for (model, workers) in joining {
            cow.join(model, workers);
        }
        cow
    }

    /// Copies the model's slice and publishes it with the newcomers.
    fn join(&self, model: &str, newcomers: Vec<Arc<Worker>>) {
        let mut slice = self.models.entry(model.to_owned()).or_insert_with(|| Arc::new([]));
        *slice = slice.iter().cloned().chain(newcomers).collect();
    }

    /// The least loaded available worker; the map's lock is held for one count of the `Arc` only.
    pub(crate) fn pick(&self, model: &str) -> Option<Arc<Worker>> {
        let slice = Arc::clone(&*self.models.get(model)?);
        let mut best = None;
        let mut least = UNAVAILABLE;
        for worker in &*slice {
            let standing = worker.standing.load(Ordering::Relaxed);
            if standing < least {
                least = standing;
                best = Some(worker);
            }
        }
        best.cloned()
    }
}

impl Worker {
    pub(crate) fn load(&self) -> u32 {
        self.standing.load(Ordering::Relaxed) & !UNAVAILABLE
    }
}
