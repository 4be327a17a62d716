//! Peer (c): `DefaultWorkerSelector` of the published crate `dynamo-kv-router`.

use std::collections::{HashMap, HashSet};
use std::hint::black_box;

use dynamo_kv_router::protocols::{RoutingConstraints, WorkerConfigLike, WorkerId, WorkerWithDpRank};
use dynamo_kv_router::scheduling::{OverlapSignals, ScheduleMode};
use dynamo_kv_router::{
    DefaultWorkerSelector, SchedulingRequest, WorkerLoadProjection, WorkerSelectionInput, WorkerSelector,
};
use rustc_hash::FxHashMap;

use crate::fleet::Fleet;

const BLOCK_SIZE: u32 = 16;
const PROMPT_TOKENS: usize = 2_048;
const CACHED_TOKENS: usize = 512;

/// What a caller of the selector holds: the workers, and a request with the load of each worker looked up.
pub(crate) struct Dynamo {
    selector: DefaultWorkerSelector,
    workers: HashMap<WorkerId, Config>,
    request: SchedulingRequest,
}

/// Whether the request comes with cached prefixes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prefixes {
    /// No worker has any of the prompt: ranked by load alone, the selector's shortest way.
    None,
    /// Each worker has as much of it, as the selector's own bench gives each worker some.
    Everywhere,
}

/// One rank, no limits, no taints.
struct Config;

impl WorkerConfigLike for Config {
    fn data_parallel_start_rank(&self) -> u32 {
        0
    }

    fn data_parallel_size(&self) -> u32 {
        1
    }

    fn max_num_batched_tokens(&self) -> Option<u64> {
        None
    }

    fn total_kv_blocks(&self) -> Option<u64> {
        Some(131_072)
    }
}

impl Dynamo {
    /// The workers of `model` are numbered in the order of the heartbeats; GPU percent stands for blocks being
    /// decoded.
    pub(crate) fn new(fleet: &Fleet, model: &str, prefixes: Prefixes) -> Self {
        let all = fleet.heartbeats.iter().flat_map(|heartbeat| &heartbeat.workers);
        let served = all.filter(|worker| worker.model_id.as_deref() == Some(model));
        let mut workers = HashMap::new();
        let mut worker_loads = FxHashMap::default();
        let mut overlap = OverlapSignals {
            tier_overlap_blocks: Default::default(),
            effective_overlap_blocks: FxHashMap::default(),
            effective_cached_tokens: FxHashMap::default(),
        };
        for (id, worker) in (0..).zip(served) {
            let rank = WorkerWithDpRank::from_worker_id(id);
            let active_decode_blocks = worker.gpu_percent.unwrap_or(100.0) as usize;
            workers.insert(id, Config);
            worker_loads.insert(rank, WorkerLoadProjection { active_decode_blocks, ..Default::default() });
            if prefixes == Prefixes::Everywhere {
                let blocks = CACHED_TOKENS as f64 / f64::from(BLOCK_SIZE);
                overlap.effective_overlap_blocks.insert(rank, blocks);
                overlap.effective_cached_tokens.insert(rank, CACHED_TOKENS);
            }
        }
        // Defaults: temperature 0, the lowest cost wins, ties are drawn.
        let selector = DefaultWorkerSelector::new(None, "prefill");
        Self { selector, workers, request: request(overlap, worker_loads) }
    }

    /// The whole selection, from the request to the worker's number.
    pub(crate) fn pick(&self) -> Option<WorkerWithDpRank> {
        let request = black_box(&self.request);
        let input = WorkerSelectionInput::configured(
            black_box(&self.workers),
            request,
            request.eligibility(),
            black_box(BLOCK_SIZE),
        );
        Some(black_box(self.selector.select_worker(input).ok()?).worker)
    }

    /// The GPU percent of a worker.
    pub(crate) fn gpu_percent(&self, worker: WorkerWithDpRank) -> f32 {
        self.request.worker_loads[&worker].active_decode_blocks as f32
    }
}

fn request(
    overlap: OverlapSignals,
    worker_loads: FxHashMap<WorkerWithDpRank, WorkerLoadProjection>,
) -> SchedulingRequest {
    SchedulingRequest {
        mode: ScheduleMode::QueryOnly { request_id: None },
        token_seq: None,
        isl_tokens: PROMPT_TOKENS,
        lora_name: None,
        expected_output_tokens: Some(256),
        affinity_target: None,
        pinned_worker: None,
        allowed_worker_ids: None,
        routing_constraints: RoutingConstraints {
            required_taints: HashSet::new(),
            preferred_taints: HashMap::new(),
        },
        router_config_override: None,
        track_prefill_tokens: true,
        priority_jump: 0.0,
        strict_priority: 0,
        policy_class: None,
        session_context: None,
        overlap,
        kv_transfer_candidates: None,
        retain_kv_transfer_chain: false,
        shared_cache_hits: None,
        worker_loads,
        resp_tx: None,
    }
}
