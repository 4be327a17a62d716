/* Every question about hives. */
#include "test.h"

/* gpu-1 is busy, gpu-2 silent, gpu-3 starting, gpu-4 unhealthy, gpu-5 of the plain form. */
static hive_registry_t *fleet(hive_clock_t *clock) {
    hive_registry_t *registry = registry_on(clock);
    beat_one(registry, "gpu-2", 0, "w", NULL);
    hive_clock_advance(clock, 40000);
    beat(registry, "gpu-5", 39, NULL, 0);
    const struct {
        const char *hive;
        uint32_t operational, health;
    } sent[] = {
        {"gpu-4", HIVE_OPERATIONAL_READY, HIVE_HEALTH_UNHEALTHY},
        {"gpu-1", HIVE_OPERATIONAL_BUSY, HIVE_HEALTH_DEGRADED},
        {"gpu-3", HIVE_OPERATIONAL_STARTING, HIVE_HEALTH_HEALTHY},
    };
    const hive_process_t none = {.pid = 0};
    for (size_t at = 0; at < LEN(sent); at++) {
        hive_telemetry_t telemetry = {
            .hive = {hive_str(sent[at].hive), hive_str("node"), 1, sent[at].operational,
                     sent[at].health, hive_str("why"), hive_str("1")},
            .timestamp = hive_str("2025-10-21T10:00:40Z"),
            .workers = &none,
        };
        CHECK_STATUS(hive_registry_update_hive(registry, &telemetry, NULL), HIVE_OK);
    }
    return registry;
}

/* Takes the list over; `names` as "gpu-1 gpu-2 ". */
static void checks_ids(hive_id_list_t *list, const char *names) {
    char told[256] = "";
    for (size_t at = 0; at < hive_id_list_len(list); at++) {
        hive_str_t name = hive_id_list_get(list, at);
        size_t used = strlen(told);
        snprintf(told + used, sizeof told - used, "%.*s ", (int)name.len, name.ptr);
    }
    CHECK_STR(hive_str(told), names);
    CHECK_STR(hive_id_list_get(list, hive_id_list_len(list)), "");
    CHECK_STR(hive_id_list_get(list, SIZE_MAX), "");
    hive_id_list_free(list);
}

static void lists_are_in_order(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = fleet(clock);
    hive_id_list_t *list = NULL;
    CHECK_STATUS(hive_registry_list_all_hives(registry, &list), HIVE_OK);
    checks_ids(list, "gpu-1 gpu-2 gpu-3 gpu-4 gpu-5 ");
    CHECK_STATUS(hive_registry_list_online_hives(registry, &list), HIVE_OK);
    checks_ids(list, "gpu-1 gpu-3 gpu-4 gpu-5 ");
    CHECK_STATUS(hive_registry_list_available_hives(registry, &list), HIVE_OK);
    checks_ids(list, "gpu-1 gpu-5 ");
    CHECK_STATUS(hive_registry_list_active_hives(registry, 1000, &list), HIVE_OK);
    checks_ids(list, "gpu-1 gpu-3 gpu-4 ");
    CHECK_STATUS(hive_registry_list_active_hives(registry, 1001, &list), HIVE_OK);
    checks_ids(list, "gpu-1 gpu-3 gpu-4 gpu-5 ");
    CHECK_STATUS(hive_registry_list_active_hives(registry, INT64_MAX, &list), HIVE_OK);
    checks_ids(list, "gpu-1 gpu-2 gpu-3 gpu-4 gpu-5 ");
    CHECK_STATUS(hive_registry_list_active_hives(registry, 0, &list), HIVE_OK);
    checks_ids(list, "");
    CHECK_STATUS(hive_registry_list_active_hives(registry, INT64_MIN, &list), HIVE_OK);
    checks_ids(list, "");

    size_t count = 0;
    CHECK_EQ(hive_count(registry), 5);
    CHECK_STATUS(hive_registry_count_online(registry, &count), HIVE_OK);
    CHECK_EQ(count, 4);
    CHECK_STATUS(hive_registry_count_available(registry, &count), HIVE_OK);
    CHECK_EQ(count, 2);
    hive_registry_free(registry);
    hive_clock_free(clock);
}

static void a_state_is_of_one_heartbeat(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = registry_on(clock);
    hive_worker_report_t workers[] = {worker("b", NULL), worker("a", NULL)};
    workers[0].vram_bytes = (hive_opt_u64_t){true, 6000000000};
    workers[0].ram_bytes = (hive_opt_u64_t){true, 1500000000};
    beat(registry, "gpu-1", 0, workers, 2);
    hive_state_t *state = NULL, *later = NULL;
    CHECK_STATUS(hive_registry_get_hive_state(registry, TEXT("gpu-1"), &state), HIVE_OK);
    CHECK_STR(hive_state_hive_id(state), "gpu-1");
    CHECK_EQ(hive_state_last_heartbeat_ms(state), T0);
    CHECK_NEAR(hive_state_vram_used_gb(state), 6 + 4);
    CHECK_NEAR(hive_state_ram_used_gb(state), 1.5 + 2);
    CHECK_EQ(hive_state_worker_count(state), 2);
    CHECK_STR(hive_worker_id(hive_state_worker(state, 0)), "a");
    CHECK_STR(hive_worker_id(hive_state_worker(state, 1)), "b");
    CHECK(hive_state_worker(state, 2) == NULL);

    hive_clock_advance(clock, 1000);
    beat(registry, "gpu-1", 1, workers, 1);
    CHECK_STATUS(hive_registry_get_hive_state(registry, TEXT("gpu-1"), &later), HIVE_OK);
    CHECK(hive_state_version(later) > hive_state_version(state));
    CHECK_EQ(hive_state_last_heartbeat_ms(later), T0 + 1000);
    CHECK_EQ(hive_state_worker_count(later), 1);
    /* What was asked for before is as it was, also when the registry is gone. */
    hive_registry_free(registry);
    CHECK_EQ(hive_state_worker_count(state), 2);
    CHECK_STR(hive_worker_id(hive_state_worker(state, 1)), "b");
    hive_state_free(state);
    hive_state_free(later);
    hive_clock_free(clock);
}

static void a_hive_is_asked_about_by_name(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = fleet(clock);
    size_t count = 42;
    bool online = true;
    hive_resources_t resources;
    hive_state_t *state = NULL;
    CHECK_STATUS(hive_registry_get_worker_count(registry, TEXT("gpu-2"), &count), HIVE_OK);
    CHECK_EQ(count, 1);
    CHECK_STATUS(hive_registry_is_hive_online(registry, TEXT("gpu-5"), 1001, &online), HIVE_OK);
    CHECK(online);
    CHECK_STATUS(hive_registry_is_hive_online(registry, TEXT("gpu-5"), 1000, &online), HIVE_OK);
    CHECK(!online);
    CHECK_STATUS(hive_registry_get_available_resources(registry, TEXT("gpu-2"), &resources),
                 HIVE_OK);
    CHECK_EQ(resources.worker_count, 1);

    count = 42;
    CHECK_STATUS(hive_registry_get_worker_count(registry, TEXT("gpu-9"), &count), HIVE_NONE);
    CHECK_EQ(count, 42);
    CHECK_STATUS(hive_registry_get_available_resources(registry, TEXT("gpu-9"), &resources),
                 HIVE_NONE);
    CHECK_STATUS(hive_registry_get_hive_state(registry, TEXT("gpu-9"), &state), HIVE_NONE);
    CHECK_STATUS(hive_registry_get_hive_state(registry, TEXT(""), &state), HIVE_NONE);
    CHECK(state == NULL);
    /* The length counts, not a NUL. */
    CHECK_STATUS(hive_registry_get_hive_state(registry, "gpu-2", 4, &state), HIVE_NONE);
    CHECK_STATUS(hive_registry_get_hive_state(registry, "gpu-2", 6, &state), HIVE_NONE);
    online = true;
    CHECK_STATUS(hive_registry_is_hive_online(registry, TEXT("gpu-9"), INT64_MAX, &online),
                 HIVE_OK);
    CHECK(!online);
    hive_registry_free(registry);
    hive_clock_free(clock);
}

static void a_hive_tells_about_itself(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = fleet(clock);
    hive_info_t info = {.port = 42};
    hive_state_t *state = NULL;
    CHECK_STATUS(hive_registry_get_hive(registry, TEXT("gpu-9"), &info, &state), HIVE_NONE);
    /* It sends the plain form, and says nothing of itself. */
    CHECK_STATUS(hive_registry_get_hive(registry, TEXT("gpu-5"), &info, &state), HIVE_NONE);
    CHECK(state == NULL && info.port == 42);
    CHECK_STATUS(hive_registry_get_hive(registry, TEXT("gpu-1"), &info, &state), HIVE_OK);
    /* As long as the state, whatever becomes of the hive. */
    CHECK_STATUS(hive_registry_remove_hive(registry, TEXT("gpu-1")), HIVE_OK);
    hive_registry_free(registry);
    CHECK_STR(hive_state_hive_id(state), "gpu-1");
    CHECK_STR(info.id, "gpu-1");
    CHECK_STR(info.hostname, "node");
    CHECK_EQ(info.port, 1);
    CHECK_EQ(info.operational_status, HIVE_OPERATIONAL_BUSY);
    CHECK_EQ(info.health_status, HIVE_HEALTH_DEGRADED);
    CHECK_STR(info.health_reason, "why");
    hive_state_free(state);
    hive_clock_free(clock);
}

/* The payload is taken by the name within it. */
static void a_state_has_its_workers_by_name(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = registry_on(clock);
    hive_worker_report_t workers[] = {worker("b", NULL), worker("a", "m"), worker("c", NULL)};
    hive_heartbeat_t sent = {.hive_id = hive_str("gpu-1"),
                             .timestamp = hive_str("2025-10-21T10:00:00Z"),
                             .workers = workers,
                             .workers_len = 3};
    uint32_t applied = 0;
    CHECK_STATUS(hive_registry_ingest_payload(registry, &sent, &applied), HIVE_OK);
    CHECK_EQ(applied, HIVE_APPLIED_REGISTERED);
    hive_state_t *state = NULL;
    CHECK_STATUS(hive_registry_get_hive_state(registry, TEXT("gpu-1"), &state), HIVE_OK);
    for (size_t at = 0; at < 3; at++) {
        const hive_worker_t *found =
            hive_state_worker_by_id(state, HIVE_STR_ARGS(workers[at].worker_id));
        CHECK(found != NULL);
        CHECK(hive_worker_id(found).ptr[0] == workers[at].worker_id.ptr[0]);
    }
    CHECK(hive_state_worker_by_id(state, TEXT("d")) == NULL);
    CHECK(hive_state_worker_by_id(state, TEXT("")) == NULL);
    hive_state_free(state);
    hive_registry_free(registry);
    hive_clock_free(clock);
}

static void a_removed_hive_is_gone_at_once(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = registry_on(clock);
    beat_one(registry, "gpu-1", 0, "w", "m");
    CHECK_STATUS(hive_registry_remove_hive(registry, TEXT("gpu-1")), HIVE_OK);
    CHECK_STATUS(hive_registry_remove_hive(registry, TEXT("gpu-1")), HIVE_NONE);
    hive_worker_t *picked = NULL;
    CHECK_STATUS(hive_registry_find_best_worker_for_model(registry, TEXT("m"), &picked),
                 HIVE_NONE);
    CHECK_EQ(hive_count(registry), 0);
    /* By hand it comes back all the same. */
    uint32_t applied = 0;
    CHECK_STATUS(hive_registry_update_workers(registry, TEXT("gpu-1"), NULL, 0, &applied),
                 HIVE_OK);
    CHECK_EQ(applied, HIVE_APPLIED_REGISTERED);
    hive_registry_free(registry);
    hive_clock_free(clock);
}

static void a_clone_is_the_same_registry(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = registry_on(clock), *other = NULL;
    CHECK_STATUS(hive_registry_clone(registry, &other), HIVE_OK);
    CHECK(other != registry);
    beat_one(registry, "gpu-1", 0, "w", NULL);
    hive_registry_free(registry);
    CHECK_EQ(hive_count(other), 1);
    hive_registry_free(other);
    hive_clock_free(clock);
}

int main(void) {
    lists_are_in_order();
    a_state_is_of_one_heartbeat();
    a_hive_is_asked_about_by_name();
    a_hive_tells_about_itself();
    a_state_has_its_workers_by_name();
    a_removed_hive_is_gone_at_once();
    a_clone_is_the_same_registry();
    return 0;
}
