/* Picks that count: reservations, leases, and models looked up once. */
#include "test.h"

/* Takes a place and tells whose it is: a single letter, '-' for none free. */
static char reserves(const hive_registry_t *registry, hive_reservation_t **held) {
    *held = NULL;
    uint32_t status = hive_registry_reserve_worker_for_model(registry, TEXT("m"), held);
    if (status == HIVE_NONE) {
        CHECK(*held == NULL);
        return '-';
    }
    CHECK_STATUS(status, HIVE_OK);
    return hive_worker_id(hive_reservation_worker(*held)).ptr[0];
}

static void a_burst_spreads_and_limits_hold(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = registry_on(clock);
    hive_worker_report_t workers[] = {worker("a", "m"), worker("b", "m"), worker("c", "m")};
    for (size_t at = 0; at < 3; at++)
        workers[at].max_concurrency = (hive_opt_u32_t){true, 2};
    beat(registry, "gpu-1", 0, workers, 3);

    hive_reservation_t *held[6], *more = NULL;
    int of[3] = {0};
    for (size_t at = 0; at < 6; at++) {
        of[reserves(registry, &held[at]) - 'a']++;
        if (at == 2)
            CHECK(of[0] == 1 && of[1] == 1 && of[2] == 1);
    }
    CHECK(of[0] == 2 && of[1] == 2 && of[2] == 2);
    CHECK_EQ(reserves(registry, &more), '-');
    hive_worker_t *picked = NULL;
    CHECK_STATUS(hive_registry_find_best_worker_for_model(registry, TEXT("m"), &picked),
                 HIVE_NONE);
    CHECK_EQ(totals(registry).reservations_open, 6);

    /* The place that is given back is the one that is taken next. */
    char freed = hive_worker_id(hive_reservation_worker(held[4])).ptr[0];
    hive_reservation_free(held[4]);
    CHECK_EQ(totals(registry).reservations_open, 5);
    CHECK_STATUS(hive_registry_find_best_worker_for_model(registry, TEXT("m"), &picked), HIVE_OK);
    CHECK_EQ(hive_worker_id(picked).ptr[0], freed);
    hive_worker_free(picked);
    CHECK_EQ(reserves(registry, &held[4]), freed);
    CHECK_EQ(reserves(registry, &more), '-');

    /* A worker that goes takes its places along; giving them back is harmless. */
    beat(registry, "gpu-1", 1, workers, 2);
    CHECK_EQ(totals(registry).reservations_open, 4);
    for (size_t at = 0; at < 6; at++)
        hive_reservation_free(held[at]);
    CHECK_EQ(totals(registry).reservations_open, 0);
    hive_registry_free(registry);
    hive_clock_free(clock);
}

static void a_reservation_outlives_the_handle(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = registry_on(clock);
    hive_reservation_t *held = NULL;
    beat_one(registry, "gpu-1", 0, "w", "m");
    CHECK_EQ(reserves(registry, &held), 'w');
    hive_registry_free(registry);
    CHECK_STR(hive_worker_hive_id(hive_reservation_worker(held)), "gpu-1");
    hive_reservation_free(held);
    hive_clock_free(clock);
}

static void a_policy_may_reserve(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = registry_on(clock);
    hive_worker_report_t workers[] = {worker("a", "m"), worker("b", "m")};
    workers[0].max_concurrency = workers[1].max_concurrency = (hive_opt_u32_t){true, 1};
    beat(registry, "gpu-1", 0, workers, 2);
    const hive_policy_t policy = {.kind = HIVE_POLICY_ROUND_ROBIN};
    hive_reservation_t *held[3] = {NULL};
    CHECK_STATUS(hive_registry_reserve_with(registry, TEXT("m"), &policy, &held[0]), HIVE_OK);
    CHECK_STATUS(hive_registry_reserve_with(registry, TEXT("m"), NULL, &held[1]), HIVE_OK);
    CHECK(hive_reservation_worker(held[0]) != hive_reservation_worker(held[1]));
    CHECK_STATUS(hive_registry_reserve_with(registry, TEXT("m"), &policy, &held[2]), HIVE_NONE);
    CHECK(held[2] == NULL);
    hive_reservation_free(held[0]);
    CHECK_STATUS(hive_registry_reserve_with(registry, TEXT("m"), &policy, &held[2]), HIVE_OK);
    hive_reservation_free(held[1]);
    hive_reservation_free(held[2]);
    CHECK_EQ(totals(registry).reservations_open, 0);
    hive_registry_free(registry);
    hive_clock_free(clock);
}

static void a_lease_runs_out(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = registry_on(clock);
    hive_worker_report_t report = worker("w", "m");
    report.max_concurrency = (hive_opt_u32_t){true, 1};
    beat(registry, "gpu-1", 0, &report, 1);

    hive_lease_t first = {0, 0}, other = {42, 42};
    hive_worker_t *holder = NULL;
    CHECK_STATUS(hive_registry_reserve_detached(registry, TEXT("m"), 1000, &first, &holder),
                 HIVE_OK);
    CHECK_STR(hive_worker_id(holder), "w");
    CHECK_EQ(first.expires_at_ms, T0 + 1000);
    hive_worker_t *nobody = NULL;
    CHECK_STATUS(hive_registry_reserve_detached(registry, TEXT("m"), 1000, &other, &nobody),
                 HIVE_NONE);
    CHECK(nobody == NULL && other.id == 42 && other.expires_at_ms == 42);

    hive_clock_advance(clock, 999);
    int64_t expires_at_ms = 42;
    CHECK_STATUS(hive_registry_renew_lease(registry, first.id, 1000, &expires_at_ms), HIVE_OK);
    CHECK_EQ(expires_at_ms, T0 + 1999);
    hive_clock_advance(clock, 999);
    CHECK_EQ(totals(registry).reservations_open, 1);
    hive_clock_advance(clock, 1);
    CHECK_EQ(totals(registry).reservations_open, 0);
    CHECK_STATUS(hive_registry_renew_lease(registry, first.id, 1000, &expires_at_ms), HIVE_NONE);
    CHECK_EQ(expires_at_ms, T0 + 1999);
    CHECK_STATUS(hive_registry_release_lease(registry, first.id), HIVE_NONE);

    CHECK_STATUS(hive_registry_reserve_detached(registry, TEXT("m"), UINT64_MAX, &other, NULL),
                 HIVE_OK);
    CHECK(other.id != first.id);
    CHECK(other.expires_at_ms > first.expires_at_ms);
    CHECK_STATUS(hive_registry_release_lease(registry, first.id), HIVE_NONE);
    CHECK_STATUS(hive_registry_release_lease(registry, other.id), HIVE_OK);
    CHECK_STATUS(hive_registry_release_lease(registry, other.id), HIVE_NONE);
    CHECK_STATUS(hive_registry_release_lease(registry, UINT64_MAX), HIVE_NONE);

    /* Its worker goes. */
    CHECK_STATUS(hive_registry_reserve_detached(registry, TEXT("m"), 1000, &other, NULL), HIVE_OK);
    beat(registry, "gpu-1", 2, NULL, 0);
    CHECK_STATUS(hive_registry_renew_lease(registry, other.id, 1000, NULL), HIVE_NONE);
    CHECK_EQ(totals(registry).reservations_open, 0);

    /* It may run out at once. */
    beat(registry, "gpu-1", 3, &report, 1);
    CHECK_STATUS(hive_registry_reserve_detached(registry, TEXT("m"), 0, &other, NULL), HIVE_OK);
    CHECK_STATUS(hive_registry_release_lease(registry, other.id), HIVE_NONE);
    CHECK_EQ(totals(registry).reservations_open, 0);
    hive_worker_free(holder);
    hive_registry_free(registry);
    hive_clock_free(clock);
}

/* After a restart, say. */
static void a_holder_of_another_registry_ends_no_lease(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registries[] = {registry_on(clock), registry_on(clock)};
    hive_lease_t leases[2];
    for (size_t at = 0; at < 2; at++) {
        beat_one(registries[at], "gpu-1", 0, "w", "m");
        CHECK_STATUS(hive_registry_reserve_detached(registries[at], TEXT("m"), 1000, &leases[at],
                                                    NULL),
                     HIVE_OK);
    }
    CHECK(leases[0].id != leases[1].id);
    CHECK_STATUS(hive_registry_release_lease(registries[1], leases[0].id), HIVE_NONE);
    CHECK_STATUS(hive_registry_renew_lease(registries[1], leases[0].id, 1, NULL), HIVE_NONE);
    CHECK_EQ(totals(registries[1]).reservations_open, 1);
    for (size_t at = 0; at < 2; at++) {
        CHECK_STATUS(hive_registry_release_lease(registries[at], leases[at].id), HIVE_OK);
        hive_registry_free(registries[at]);
    }
    hive_clock_free(clock);
}

static void a_model_is_looked_up_once(void) {
    hive_clock_t *clock = clock_new();
    hive_config_t config = config_on(clock);
    config.max_models = (hive_opt_u64_t){true, 1};
    hive_registry_t *registry = registry_of(&config);
    hive_model_t *model = NULL, *another = NULL;
    hive_worker_t *picked = NULL;
    hive_reservation_t *held = NULL;
    CHECK_STATUS(hive_registry_model(registry, TEXT("m"), &model), HIVE_OK);
    CHECK_STR(hive_model_id(model), "m");
    CHECK_STATUS(hive_model_find_best_worker(model, &picked), HIVE_NONE);
    CHECK_STATUS(hive_model_reserve_worker(model, &held), HIVE_NONE);

    beat_one(registry, "gpu-1", 0, "w", "m");
    CHECK_STATUS(hive_model_find_best_worker(model, &picked), HIVE_OK);
    CHECK_STR(hive_worker_id(picked), "w");
    hive_worker_free(picked);
    CHECK_STATUS(hive_model_reserve_worker(model, &held), HIVE_OK);
    CHECK_STR(hive_worker_id(hive_reservation_worker(held)), "w");
    CHECK_EQ(totals(registry).reservations_open, 1);
    hive_reservation_free(held);
    beat(registry, "gpu-1", 1, NULL, 0);

    CHECK_REFUSED(hive_registry_model(registry, TEXT(""), &another), HIVE_INVALID_FIELD,
                  "model_id: \"\" refused: 1 to 256 bytes, not 0");
    CHECK_REFUSED(hive_registry_model(registry, TEXT("n"), &another), HIVE_OVER_LIMIT,
                  "models: 2 refused: at most 1");
    CHECK(another == NULL);
    hive_model_free(model);
    CHECK_STATUS(hive_registry_model(registry, TEXT("n"), &another), HIVE_OK);

    hive_registry_free(registry);
    CHECK_STR(hive_model_id(another), "n");
    picked = NULL;
    CHECK_STATUS(hive_model_find_best_worker(another, &picked), HIVE_NONE);
    hive_model_free(another);
    hive_clock_free(clock);
}

int main(void) {
    a_burst_spreads_and_limits_hold();
    a_reservation_outlives_the_handle();
    a_policy_may_reserve();
    a_lease_runs_out();
    a_holder_of_another_registry_ends_no_lease();
    a_model_is_looked_up_once();
    return 0;
}
