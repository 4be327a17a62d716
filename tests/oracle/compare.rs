//! Every question, asked of the registry and of the oracle.

use super::*;

/// Returns from the function with what differs.
macro_rules! same {
    ($registry:expr, $oracle:expr, $($question:tt)+) => {
        match (&$registry, &$oracle) {
            (registry, oracle) if registry == oracle => {}
            (registry, oracle) => {
                let question = format!($($question)+);
                return Err(format!("{question}:\n  registry {registry:?}\n  oracle   {oracle:?}"));
            }
        }
    };
}

impl Oracle {
    /// Every question that leaves the registry's rankings as they are.
    pub(crate) fn compare(&self, registry: &HiveRegistry, names: &Universe) -> Result<(), String> {
        self.compare_hives(registry, names)?;
        self.compare_workers(registry, names)?;
        self.compare_snapshot(registry)?;
        self.compare_stats(registry)
    }

    fn compare_hives(&self, registry: &HiveRegistry, names: &Universe) -> Result<(), String> {
        for id in names.hives.iter().map(String::as_str).chain(["no-such-hive"]) {
            self.compare_hive(registry, id)?;
        }
        same!(registry.list_all_hives(), self.hive_ids(|_| true), "list_all_hives");
        same!(registry.hive_count(), self.hives.len(), "hive_count");
        for age in [5_000, 45_000] {
            let heard = |hive: &Hive| self.is_heard_within(hive, age);
            same!(registry.list_active_hives(age), self.hive_ids(heard), "list_active_hives({age})");
        }
        let online = self.hive_ids(|hive| self.is_online(hive));
        same!(registry.count_online(), online.len(), "count_online");
        same!(registry.list_online_hives(), online, "list_online_hives");
        let available = self.hive_ids(|hive| self.is_online(hive) && hive.serves());
        same!(registry.count_available(), available.len(), "count_available");
        same!(registry.list_available_hives(), available, "list_available_hives");
        Ok(())
    }

    fn compare_hive(&self, registry: &HiveRegistry, id: &str) -> Result<(), String> {
        let hive = self.hives.get(id);
        for age in [1_000, 30_000] {
            let online = hive.is_some_and(|hive| self.is_heard_within(hive, age));
            same!(registry.is_hive_online(id, age), online, "is_hive_online({id}, {age})");
        }
        let state = registry.get_hive_state(id);
        let resources = registry.get_available_resources(id);
        same!(state.is_some(), hive.is_some(), "get_hive_state({id}) is there");
        same!(resources.is_some(), hive.is_some(), "get_available_resources({id}) is there");
        same!(registry.get_worker_count(id), hive.map(|hive| hive.workers.len()), "get_worker_count({id})");
        let records: Vec<_> =
            hive.iter().flat_map(|hive| hive.workers.values().map(|worker| worker.record.clone())).collect();
        same!(&registry.get_workers_on_hive(id), &records, "get_workers_on_hive({id})");
        let sent = hive.map(|_| records.iter().filter_map(|worker| worker.process.clone()).collect());
        same!(registry.get_workers(id), sent, "get_workers({id})");
        let info = hive.and_then(|hive| hive.info.as_ref());
        same!(registry.get_hive(id).as_deref(), info, "get_hive({id})");
        let (Some(state), Some(resources), Some(hive)) = (state, resources, hive) else {
            return Ok(());
        };
        same!(&*state.hive_id, id, "the state's hive_id of {id}");
        same!(&state.workers[..], &records[..], "the state's workers of {id}");
        same!(state.worker_count, records.len(), "the state's worker_count of {id}");
        same!(state.last_heartbeat_ms, hive.last_heartbeat_ms, "last_heartbeat_ms of {id}");
        same!(state.hive.as_deref(), info, "the state's hive of {id}");
        same!(state.capabilities.as_deref(), hive.capabilities.as_deref(), "capabilities of {id}");
        let expected = hive.resources();
        for (what, told, expected) in [
            ("the state's vram_used_gb", Some(state.vram_used_gb), Some(expected.vram_used_gb)),
            ("the state's ram_used_gb", Some(state.ram_used_gb), Some(expected.ram_used_gb)),
            ("vram_used_gb", Some(resources.vram_used_gb), Some(expected.vram_used_gb)),
            ("ram_used_gb", Some(resources.ram_used_gb), Some(expected.ram_used_gb)),
            ("vram_total_gb", resources.vram_total_gb, expected.vram_total_gb),
            ("vram_free_gb", resources.vram_free_gb, expected.vram_free_gb),
            ("ram_total_gb", resources.ram_total_gb, expected.ram_total_gb),
        ] {
            let close = match (told, expected) {
                (Some(told), Some(expected)) => (told - expected).abs() <= 1e-5 * expected.abs().max(1.0),
                (told, expected) => told == expected,
            };
            if !close {
                return Err(format!("{what} of {id}:\n  registry {told:?}\n  oracle   {expected:?}"));
            }
        }
        same!(resources.worker_count, expected.worker_count, "resources of {id}: worker_count");
        same!(resources.workers_estimated, expected.workers_estimated, "workers_estimated of {id}");
        Ok(())
    }

    fn compare_workers(&self, registry: &HiveRegistry, names: &Universe) -> Result<(), String> {
        for id in names.workers.iter().map(String::as_str).chain(["no-such-worker"]) {
            let worker = self.worker(id);
            let url = worker.as_ref().and_then(|(_, worker)| worker.url.as_deref().map(String::from));
            same!(registry.get_worker(id), worker, "get_worker({id})");
            same!(registry.get_worker_url(id), url, "get_worker_url({id})");
            for hive in &names.hives {
                let worker = self.hives.get(hive).and_then(|hive| hive.workers.get(id));
                let record = worker.map(|worker| worker.record.clone());
                same!(registry.get_worker_on(hive, id), record, "get_worker_on({hive}, {id})");
            }
        }
        let all = self.list(|_| true);
        same!(registry.total_worker_count(), all.len(), "total_worker_count");
        same!(registry.list_all_workers(), all, "list_all_workers");
        let idle = self.find(|worker| worker.state == WorkerLifecycle::Idle);
        same!(registry.find_idle_workers(), idle, "find_idle_workers");
        for model in names.models.iter().map(String::as_str).chain(["no-such-model"]) {
            let loaded = self.find(|worker| worker.model_id.as_deref() == Some(model));
            same!(registry.find_workers_by_model(model), loaded, "find_workers_by_model({model})");
        }
        for (word, backend) in
            [("CUDA", Backend::Cuda), ("cpu", Backend::Cpu), ("TPU", Backend::Other("tpu".into()))]
        {
            let on = self.find(|worker| worker.backend.as_ref() == Some(&backend));
            same!(registry.find_workers_by_backend(word), on, "find_workers_by_backend({word})");
        }
        for vram_mb in [0, 1, 6_000, 16_000] {
            let fitting = self.with_capacity(vram_mb);
            same!(
                registry.find_workers_with_capacity(vram_mb),
                fitting,
                "find_workers_with_capacity({vram_mb})"
            );
        }
        Ok(())
    }

    /// G2.
    fn with_capacity(&self, vram_mb: u64) -> Vec<Found> {
        let fits = |hive: &Hive, record: &WorkerInfo| {
            self.is_live(hive) && hive.free_for(record).is_some_and(|free| free >= vram_mb * MIB)
        };
        self.workers()
            .filter(|(hive, worker)| self.is_live(hive) && fits(hive, &worker.record))
            .map(|(_, worker)| found(worker))
            .collect()
    }

    fn compare_snapshot(&self, registry: &HiveRegistry) -> Result<(), String> {
        let snapshot = registry.snapshot();
        same!(snapshot.taken_at_ms, self.now(), "the snapshot's time");
        same!(snapshot.hives.len(), self.hives.len(), "hives in the snapshot");
        let mut versions = Vec::new();
        for (told, (id, hive)) in snapshot.hives.iter().zip(&self.hives) {
            same!(Some(&told.state), registry.get_hive_state(id).as_ref(), "{id} in the snapshot");
            same!(told.age_ms, (self.now() - hive.heard_ms).max(0), "age of {id}");
            same!(told.online, self.is_online(hive), "{id} online in the snapshot");
            let workers: Vec<_> = told
                .workers
                .iter()
                .map(|worker| (&worker.worker, worker.reservations, worker.load))
                .collect();
            let expected: Vec<_> = hive
                .workers
                .values()
                .map(|worker| (&worker.record, self.held(worker), self.load(worker)))
                .collect();
            same!(workers, expected, "workers of {id} in the snapshot");
            versions.push((hive.applied, told.state.version));
        }
        versions.sort_unstable();
        if !versions.is_sorted_by(|one, next| one.1 < next.1) {
            return Err(format!("versions do not grow in the order of the changes: {versions:?}"));
        }
        Ok(())
    }

    fn compare_stats(&self, registry: &HiveRegistry) -> Result<(), String> {
        let stats = registry.stats();
        same!(stats.heartbeats, self.told.heartbeats, "stats: heartbeats");
        same!(stats.reservations_open, self.open(), "stats: reservations_open");
        same!(stats.evictions, self.told.evictions, "stats: evictions");
        same!(stats.holds, self.told.holds, "stats: holds");
        same!((stats.picks, stats.misses), (self.told.picks, self.told.misses), "stats: picks and misses");
        same!(stats.hives.len(), self.hives.len(), "hives in the statistics");
        for (told, (id, hive)) in stats.hives.iter().zip(&self.hives) {
            same!(told.hive_id, id.as_str(), "stats: hive_id");
            same!(told.heartbeats, hive.arrivals.len() as u64, "stats: heartbeats of {id}");
            same!((told.workers_added, told.workers_removed), (hive.added, hive.removed), "churn of {id}");
            same!(told.complaints, hive.complaints, "complaints of {id}");
            same!(told.refusals, hive.refusals, "refusals of {id}");
            same!(told.last_complaint.is_some(), hive.complaints > 0, "last complaint of {id}");
            same!(told.last_refusal.is_some(), hive.refusals > 0, "last refusal of {id}");
            same!(told.clock_skew_ms, hive.clock_skew_ms(), "clock_skew_ms of {id}");
            let gaps: Vec<i64> = hive.arrivals.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let longest = gaps.iter().max().copied().unwrap_or(0);
            same!(told.longest_gap, Duration::from_millis(longest.unsigned_abs()), "longest gap of {id}");
            let mean_ms = gaps.iter().sum::<i64>() as f64 / gaps.len().max(1) as f64;
            let jitter_ms = gaps
                .windows(2)
                .fold(0.0, |jitter: f64, pair| jitter + ((pair[1] - pair[0]).abs() as f64 - jitter) / 16.0);
            for (what, told, expected_ms) in
                [("mean interval", told.mean_interval, mean_ms), ("jitter", told.jitter, jitter_ms)]
            {
                if (told.as_secs_f64() * 1_000.0 - expected_ms).abs() > 0.001 {
                    return Err(format!("{what} of {id}:\n  registry {told:?}\n  oracle   {expected_ms} ms"));
                }
            }
        }
        Ok(())
    }

    /// Picks and explanations. Apart, because a pick corrects what it finds outdated and so may hide what the
    /// next change would have made of it.
    pub(crate) fn compare_picks(&mut self, registry: &HiveRegistry, names: &Universe) -> Result<(), String> {
        for model in names.models.iter().map(String::as_str).chain(["no-such-model"]) {
            let pick = self.pick(model);
            self.count_pick(pick.is_some());
            same!(&registry.find_best_worker_for_model(model), &pick, "find_best_worker_for_model({model})");
            // Refused where every place for a model is taken.
            if let Ok(handle) = registry.model(model) {
                self.count_pick(pick.is_some());
                same!(&handle.find_best_worker(), &pick, "model({model}).find_best_worker()");
            }
            let told = registry.explain(model);
            same!(&told.pick, &pick, "explain({model}): pick");
            let reasons = Reasons {
                workers: told.workers,
                eligible: told.eligible,
                stale: told.stale,
                stale_by_clock: told.stale_by_clock,
                unhealthy: told.unhealthy,
                loading: told.loading,
                draining: told.draining,
                other: told.other,
                full: told.full,
                idle_fallbacks: told.idle_fallbacks,
            };
            same!(reasons, self.reasons(model), "explain({model})");
        }
        Ok(())
    }
}
