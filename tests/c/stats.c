/* Counters, explanations, snapshots and memory. */
#include "test.h"

#define GB UINT64_C(1000000000)

static void pick(const hive_registry_t *registry, const char *model, uint32_t status) {
    hive_worker_t *picked = NULL;
    CHECK_STATUS(hive_registry_find_best_worker_for_model(registry, model, strlen(model), &picked),
                 status);
    hive_worker_free(picked);
}

static void every_call_is_counted(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = registry_on(clock);
    hive_totals_t zero = {0}, told = totals(registry);
    CHECK(memcmp(&told, &zero, sizeof told) == 0);

    pick(registry, "m", HIVE_NONE);
    beat_one(registry, "gpu-1", 10, "w", "m");
    beat_one(registry, "gpu-1", 11, "w", "m");
    beat_one(registry, "gpu-1", 12, "w", "m");
    beat_one(registry, "gpu-1", 5, "w", "m");
    beat_one(registry, "gpu-2", 10, "w", "m");
    hive_clock_advance(clock, 20000);
    CHECK_STATUS(hive_registry_remove_hive(registry, TEXT("gpu-2")), HIVE_OK);
    beat_one(registry, "gpu-2", 15, "w", "m");
    CHECK_STATUS(hive_registry_ingest_json(registry, TEXT("{"), NULL), HIVE_MALFORMED);
    hive_reservation_t *held = NULL;
    hive_lease_t lease;
    pick(registry, "m", HIVE_OK);
    CHECK_STATUS(hive_registry_reserve_worker_for_model(registry, TEXT("m"), &held), HIVE_OK);
    CHECK_STATUS(hive_registry_reserve_detached(registry, TEXT("m"), 1000, &lease, NULL), HIVE_OK);

    told = totals(registry);
    CHECK_EQ(told.registered, 2);
    CHECK_EQ(told.updated, 2);
    CHECK_EQ(told.superseded, 1);
    CHECK_EQ(told.removed, 1);
    CHECK_EQ(told.refused, 1);
    CHECK_EQ(told.picks, 3);
    CHECK_EQ(told.misses, 1);
    CHECK_EQ(told.reservations_open, 2);
    CHECK_EQ(told.events_dropped + told.evictions + told.holds, 0);
    hive_reservation_free(held);
    hive_registry_free(registry);
    hive_clock_free(clock);
}

static void each_hive_has_its_beats(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = registry_on(clock);
    hive_worker_report_t workers[] = {worker("a", NULL), worker("b", NULL)};
    beat(registry, "gpu-2", 0, workers, 2);
    beat(registry, "gpu-1", 0, workers, 1);
    hive_clock_advance(clock, 1000);
    beat(registry, "gpu-2", 1, workers, 1);
    hive_clock_advance(clock, 2600);
    beat(registry, "gpu-2", 3, workers, 2);

    hive_hive_stats_t told;
    CHECK_STATUS(hive_registry_hive_stats(registry, TEXT("gpu-2"), &told), HIVE_OK);
    CHECK_STR(told.hive_id, "");
    CHECK_EQ(told.heartbeats, 3);
    CHECK_NEAR(told.mean_interval_ms, 1800);
    CHECK_NEAR(told.longest_gap_ms, 2600);
    CHECK_NEAR(told.jitter_ms, 1600 / 16);
    CHECK_EQ(told.workers_added, 3);
    CHECK_EQ(told.workers_removed, 1);
    CHECK_EQ(told.complaints + told.refusals, 0);
    CHECK(told.last_complaint.ptr == NULL && told.last_refusal.ptr == NULL);
    workers[0].backend = hive_str("");
    beat(registry, "gpu-2", 4, workers, 1);
    workers[0].backend = hive_str("\a");
    const hive_heartbeat_t bad = {.hive_id = hive_str("gpu-2"),
                                  .timestamp = hive_str("2025-10-21T10:00:05Z"),
                                  .workers = workers, .workers_len = 1};
    CHECK_STATUS(hive_registry_update_hive_state(registry, TEXT("gpu-2"), &bad, NULL),
                 HIVE_INVALID_FIELD);
    CHECK_STATUS(hive_registry_hive_stats(registry, TEXT("gpu-2"), &told), HIVE_OK);
    CHECK(told.complaints == 1 && told.refusals == 1);
    CHECK_STR(told.last_complaint, "");
    CHECK_STR(told.last_refusal, "");
    CHECK_EQ(told.clock_skew_ms, 0);
    CHECK_STATUS(hive_registry_hive_stats(registry, TEXT("gpu-9"), &told), HIVE_NONE);

    hive_stats_t *stats = NULL;
    CHECK_STATUS(hive_registry_stats(registry, &stats), HIVE_OK);
    hive_registry_free(registry);
    CHECK_EQ(hive_stats_len(stats), 2);
    CHECK(hive_stats_hive(stats, 0, &told));
    CHECK_STR(told.hive_id, "gpu-1");
    CHECK_EQ(told.heartbeats, 1);
    CHECK_NEAR(told.mean_interval_ms + told.jitter_ms + told.longest_gap_ms, 0);
    CHECK(hive_stats_hive(stats, 1, &told));
    CHECK_STR(told.hive_id, "gpu-2");
    CHECK_STR(told.last_complaint,
              "workers[0].backend: \"\" counts as not reported: at least 1 byte");
    CHECK_STR(told.last_refusal,
              "workers[0].backend: \"\\u{7}\" refused: no control characters");
    CHECK(!hive_stats_hive(stats, 2, &told));
    hive_stats_free(stats);
    hive_clock_free(clock);
}

static void a_pick_is_explained(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = registry_on(clock);
    hive_worker_report_t workers[] = {
        worker("full", "m"),  worker("sick", "m"),  worker("loading", "m"),
        worker("draining", "m"), worker("odd", "m"), worker("spare", NULL),
    };
    beat_one(registry, "gpu-0", 0, "stale", "m");
    hive_clock_advance(clock, 40000);
    workers[0].max_concurrency = (hive_opt_u32_t){true, 1};
    workers[1].health_status = hive_str("unhealthy");
    workers[2].state = hive_str("Loading");
    workers[3].state = hive_str("Draining");
    workers[4].state = hive_str("Thinking");
    beat(registry, "gpu-1", 40, workers, 6);
    hive_reservation_t *held = NULL;
    CHECK_STATUS(hive_registry_reserve_worker_for_model(registry, TEXT("m"), &held), HIVE_OK);

    hive_explanation_t told;
    hive_worker_t *would = NULL;
    CHECK_STATUS(hive_registry_explain(registry, TEXT("m"), &told, &would), HIVE_OK);
    CHECK_EQ(told.workers, 6);
    CHECK_EQ(told.eligible, 0);
    CHECK_EQ(told.stale, 1);
    CHECK_EQ(told.stale_by_clock, 0);
    CHECK_EQ(told.unhealthy, 1);
    CHECK_EQ(told.loading, 1);
    CHECK_EQ(told.draining, 1);
    CHECK_EQ(told.other, 1);
    CHECK_EQ(told.full, 1);
    CHECK_EQ(told.idle_fallbacks, 1);
    CHECK_STR(hive_worker_id(would), "spare");
    hive_worker_free(would);

    hive_reservation_free(held);
    CHECK_STATUS(hive_registry_explain(registry, TEXT("m"), &told, &would), HIVE_OK);
    CHECK(told.eligible == 1 && told.full == 0 && told.idle_fallbacks == 2);
    CHECK_STR(hive_worker_id(would), "full");
    hive_worker_free(would);

    /* Stale by its clock alone, which is 35 s behind. */
    hive_hive_stats_t beats;
    beat_one(registry, "gpu-2", 5, "behind", "m");
    CHECK_STATUS(hive_registry_explain(registry, TEXT("m"), &told, NULL), HIVE_OK);
    CHECK(told.stale == 2 && told.stale_by_clock == 1);
    CHECK_STATUS(hive_registry_hive_stats(registry, TEXT("gpu-2"), &beats), HIVE_OK);
    CHECK_EQ(beats.clock_skew_ms, -35000);
    CHECK_STATUS(hive_registry_remove_hive(registry, TEXT("gpu-2")), HIVE_OK);

    /* Nobody is NULL, and no HIVE_NONE; and it counts as no pick. */
    beat(registry, "gpu-1", 41, NULL, 0);
    CHECK_STATUS(hive_registry_explain(registry, TEXT("m"), &told, &would), HIVE_OK);
    CHECK(told.workers == 1 && told.stale == 1 && would == NULL);
    CHECK_STATUS(hive_registry_explain(registry, TEXT("unknown"), &told, NULL), HIVE_OK);
    CHECK_EQ(told.workers, 0);
    CHECK_EQ(totals(registry).picks, 1);
    CHECK_EQ(totals(registry).misses, 0);
    hive_registry_free(registry);
    hive_clock_free(clock);
}

static void a_snapshot_holds_everything(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = registry_on(clock);
    hive_worker_report_t workers[] = {worker("b", "m"), worker("a", "m")};
    workers[0].gpu_percent = (hive_opt_f32_t){true, 10};
    workers[0].max_concurrency = (hive_opt_u32_t){true, 4};
    workers[1].gpu_percent = (hive_opt_f32_t){true, 90.5f};
    beat(registry, "gpu-2", 0, workers, 2);
    hive_clock_advance(clock, 30000);
    beat(registry, "gpu-1", 29, NULL, 0);
    hive_clock_set(clock, T0 + 29000);
    hive_reservation_t *held = NULL;
    CHECK_STATUS(hive_registry_reserve_worker_for_model(registry, TEXT("m"), &held), HIVE_OK);
    hive_clock_set(clock, T0 + 30000);

    hive_snapshot_t *snapshot = NULL;
    CHECK_STATUS(hive_registry_snapshot(registry, &snapshot), HIVE_OK);
    hive_reservation_free(held);
    hive_registry_free(registry);
    int64_t age = 0;
    CHECK_EQ(hive_snapshot_taken_at_ms(snapshot), T0 + 30000);
    CHECK_EQ(hive_snapshot_sequence(snapshot), 0);
    CHECK_EQ(hive_snapshot_len(snapshot), 2);
    CHECK_STR(hive_state_hive_id(hive_snapshot_state(snapshot, 0)), "gpu-1");
    CHECK_STR(hive_state_hive_id(hive_snapshot_state(snapshot, 1)), "gpu-2");
    CHECK_EQ(hive_state_worker_count(hive_snapshot_state(snapshot, 1)), 2);
    CHECK(hive_snapshot_age_ms(snapshot, 0, &age) && age == 1000);
    CHECK(hive_snapshot_age_ms(snapshot, 1, &age) && age == 30000);
    CHECK(hive_snapshot_online(snapshot, 0) && !hive_snapshot_online(snapshot, 1));

    hive_worker_snapshot_t told;
    CHECK(hive_snapshot_worker(snapshot, 1, 0, &told));
    CHECK_STR(hive_worker_id(told.worker), "a");
    CHECK(told.reservations == 0 && told.load == 905);
    CHECK(hive_snapshot_worker(snapshot, 1, 1, &told));
    CHECK_STR(hive_worker_id(told.worker), "b");
    CHECK(told.reservations == 1 && told.load == 1001ULL * (1 << 20) / 4 + 100);

    CHECK(!hive_snapshot_worker(snapshot, 1, 2, &told));
    CHECK(!hive_snapshot_worker(snapshot, 2, 0, &told));
    CHECK(hive_snapshot_state(snapshot, 2) == NULL && !hive_snapshot_online(snapshot, 2));
    age = 42;
    CHECK(!hive_snapshot_age_ms(snapshot, SIZE_MAX, &age) && age == 42);
    hive_snapshot_free(snapshot);
    hive_clock_free(clock);
}

static hive_resources_t resources(const hive_registry_t *registry) {
    hive_resources_t told;
    CHECK_STATUS(hive_registry_get_available_resources(registry, TEXT("gpu-1"), &told), HIVE_OK);
    return told;
}

static void memory_is_added_up(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = registry_on(clock);
    hive_worker_report_t workers[] = {worker("a", NULL), worker("b", NULL), worker("c", NULL)};
    for (size_t at = 0; at < 2; at++) {
        workers[at].device_id = (hive_opt_u32_t){true, 0};
        workers[at].vram_bytes = (hive_opt_u64_t){true, 8 * GB};
        workers[at].vram_total_bytes = (hive_opt_u64_t){true, 24 * GB};
        workers[at].ram_bytes = (hive_opt_u64_t){true, GB};
    }
    beat(registry, "gpu-1", 0, workers, 3);
    hive_resources_t told = resources(registry);
    CHECK_NEAR(told.vram_used_gb, 8 + 8 + 4);
    CHECK_NEAR(told.ram_used_gb, 1 + 1 + 2);
    CHECK_EQ(told.worker_count, 3);
    CHECK_EQ(told.workers_estimated, 1);
    CHECK(told.vram_total_gb.some && told.vram_free_gb.some && !told.ram_total_gb.some);
    CHECK_NEAR(told.vram_total_gb.value, 24);
    CHECK_NEAR(told.vram_free_gb.value, 8);

    /* What nobody tells is missing, not 0. */
    beat(registry, "gpu-1", 1, &workers[2], 1);
    told = resources(registry);
    CHECK(!told.vram_total_gb.some && !told.vram_free_gb.some && !told.ram_total_gb.some);

    const hive_device_t devices[] = {
        {hive_str("GPU-0"), hive_str("RTX"), hive_str("cuda"), {true, 1}, {NULL, 0}},
        {hive_str("CPU-0"), hive_str("EPYC"), hive_str("cpu"), {true, 2}, {NULL, 0}},
    };
    const hive_process_t none = {.pid = 0};
    const hive_telemetry_t telemetry = {
        .hive = {.id = hive_str("gpu-1"), .hostname = hive_str("n"), .version = hive_str("1")},
        .timestamp = hive_str("2025-10-21T10:00:02Z"),
        .workers = &none,
        .capabilities = devices,
        .capabilities_len = 2,
    };
    CHECK_STATUS(hive_registry_update_hive(registry, &telemetry, NULL), HIVE_OK);
    told = resources(registry);
    CHECK(told.vram_total_gb.some && told.vram_free_gb.some && told.ram_total_gb.some);
    CHECK_NEAR(told.vram_total_gb.value, 1.073741824);
    CHECK_NEAR(told.vram_free_gb.value, 1.073741824);
    CHECK_NEAR(told.ram_total_gb.value, 2.147483648);
    hive_registry_free(registry);
    hive_clock_free(clock);
}

int main(void) {
    every_call_is_counted();
    each_hive_has_its_beats();
    a_pick_is_explained();
    a_snapshot_holds_everything();
    memory_is_added_up();
    return 0;
}
