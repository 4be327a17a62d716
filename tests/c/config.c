/* Settings: their defaults, each of them, and structs of other versions. */
#include <math.h>
#include <stddef.h>

#include "test.h"

#define GIVEN(number) {true, (number)}

static bool is_online(const hive_registry_t *registry) {
    size_t online = SIZE_MAX;
    CHECK_STATUS(hive_registry_count_online(registry, &online), HIVE_OK);
    return online == 1;
}

static enum hive_status_t ingest(const hive_registry_t *registry, const char *body) {
    return hive_registry_ingest_json(registry, body, strlen(body), NULL);
}

static void checks_defaults(hive_registry_t *registry, hive_clock_t *clock) {
    beat_one(registry, "gpu-1", 0, "w", NULL);
    hive_resources_t resources;
    CHECK_STATUS(hive_registry_get_available_resources(registry, TEXT("gpu-1"), &resources),
                 HIVE_OK);
    CHECK_NEAR(resources.vram_used_gb, 4.0);
    CHECK_NEAR(resources.ram_used_gb, 2.0);

    hive_clock_advance(clock, 29999);
    CHECK(is_online(registry));
    hive_clock_advance(clock, 1);
    CHECK(!is_online(registry));
    hive_worker_t *picked = NULL;
    CHECK_STATUS(hive_registry_find_best_worker_for_model(registry, TEXT("m"), &picked),
                 HIVE_NONE);

    size_t len = 1048577;
    char *body = malloc(len);
    CHECK(body != NULL);
    memset(body, ' ', len);
    CHECK_REFUSED(hive_registry_ingest_json(registry, body, len, NULL), HIVE_OVER_LIMIT,
                  "heartbeat_bytes: 1048577 refused: at most 1048576");
    free(body);
    hive_registry_free(registry);
    hive_clock_free(clock);
}

static void zero_is_the_default_of_all(void) {
    hive_clock_t *clock = clock_new();
    checks_defaults(registry_on(clock), clock);
}

static void null_is_all_defaults_and_the_systems_clock(void) {
    hive_registry_t *registry = registry_of(NULL);
    CHECK_EQ(beat_one(registry, "gpu-1", 0, "w", "m"), HIVE_APPLIED_REGISTERED);
    CHECK(!is_online(registry));
    hive_registry_free(registry);
}

static void limits_hold(void) {
    hive_config_t config = {
        .size = sizeof config,
        .shards = GIVEN(2),
        .max_hives = GIVEN(2),
        .max_workers = GIVEN(3),
        .max_workers_per_hive = GIVEN(2),
        .max_models = GIVEN(1),
        .max_heartbeat_bytes = GIVEN(160),
        .max_devices_per_hive = GIVEN(1),
    };
    hive_registry_t *registry = registry_of(&config);
    hive_worker_report_t workers[] = {worker("a", NULL), worker("b", "m"), worker("c", NULL)};
    hive_heartbeat_t heartbeat = {
        .hive_id = hive_str("gpu-9"),
        .timestamp = hive_str("2025-10-21T10:00:00Z"),
        .workers = workers,
        .workers_len = 3,
    };
#define REFUSED(message)                                                                   \
    CHECK_REFUSED(hive_registry_update_hive_state(registry, TEXT("gpu-9"), &heartbeat, NULL), \
                  HIVE_OVER_LIMIT, message)
    REFUSED("workers_per_hive: 3 refused: at most 2");
    beat(registry, "gpu-1", 0, workers, 2);
    heartbeat.workers_len = 2;
    REFUSED("workers: 4 refused: at most 3");
    workers[0].model_id = hive_str("another");
    heartbeat.workers_len = 1;
    REFUSED("models: 2 refused: at most 1");
    beat(registry, "gpu-2", 0, NULL, 0);
    heartbeat.workers_len = 0;
    REFUSED("hives: 3 refused: at most 2");
    const hive_device_t gpu = {.id = hive_str("GPU"), .name = hive_str("RTX"), .device_type = hive_str("cuda")};
    const hive_device_t devices[] = {gpu, gpu};
    heartbeat.capabilities = devices;
    heartbeat.capabilities_len = 2;
    REFUSED("devices_per_hive: 2 refused: at most 1");
#undef REFUSED
    CHECK_EQ(hive_count(registry), 2);

    char body[161];
    memset(body, ' ', sizeof body);
    CHECK_REFUSED(hive_registry_ingest_json(registry, body, 161, NULL), HIVE_OVER_LIMIT,
                  "heartbeat_bytes: 161 refused: at most 160");
    CHECK_STATUS(hive_registry_ingest_json(registry, body, 160, NULL), HIVE_MALFORMED);
    hive_registry_free(registry);
}

static void time_is_read_as_set(void) {
    hive_clock_t *clock = clock_new();
    hive_config_t config = config_on(clock);
    config.liveness_window_ms = (hive_opt_u64_t)GIVEN(1000);
    config.stale_mode = HIVE_STALE_IGNORE;
    config.assumed_vram_gb = (hive_opt_f32_t)GIVEN(1.5f);
    config.assumed_ram_gb = (hive_opt_f32_t)GIVEN(0.0f);
    hive_registry_t *registry = registry_of(&config);
    beat_one(registry, "gpu-1", 0, "w", "m");
    hive_state_t *state = NULL;
    CHECK_STATUS(hive_registry_get_hive_state(registry, TEXT("gpu-1"), &state), HIVE_OK);
    CHECK_NEAR(hive_state_vram_used_gb(state), 1.5);
    CHECK_NEAR(hive_state_ram_used_gb(state), 0.0);
    hive_state_free(state);
    hive_clock_advance(clock, 999);
    CHECK(is_online(registry));
    hive_clock_advance(clock, 1);
    CHECK(!is_online(registry));
    hive_worker_t *picked = NULL;
    CHECK_STATUS(hive_registry_find_best_worker_for_model(registry, TEXT("m"), &picked), HIVE_OK);
    hive_worker_free(picked);
    hive_registry_free(registry);

    /* A hive whose clock is an hour late. */
    const char *late = "{\"hive_id\":\"h\",\"timestamp\":\"2025-10-21T09:00:00Z\",\"workers\":[]}";
    for (uint32_t liveness = 0; liveness < 2; liveness++) {
        config = config_on(clock);
        config.liveness_clock = liveness;
        registry = registry_of(&config);
        CHECK_STATUS(ingest(registry, late), HIVE_OK);
        CHECK_EQ(is_online(registry), liveness == HIVE_LIVENESS_ARRIVAL);
        hive_registry_free(registry);
    }
    hive_clock_free(clock);
}

static void a_clock_is_told_what_to_show(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = registry_on(clock);
    hive_lease_t lease;
    beat_one(registry, "gpu-1", 0, "w", "m");
    CHECK_STATUS(hive_registry_reserve_detached(registry, TEXT("m"), 1000, &lease, NULL), HIVE_OK);
    CHECK_STATUS(hive_clock_jump_wall(clock, 5000), HIVE_OK);
    CHECK_EQ(hive_clock_wall_ms(clock), T0 + 5000);
    CHECK_STATUS(hive_clock_set(clock, T0 - 5000), HIVE_OK);
    CHECK_EQ(hive_clock_wall_ms(clock), T0 - 5000);
    /* No time has passed. */
    CHECK_STATUS(hive_registry_renew_lease(registry, lease.id, 1000, NULL), HIVE_OK);
    CHECK_STATUS(hive_clock_set(clock, T0 - 4001), HIVE_OK);
    CHECK_STATUS(hive_registry_renew_lease(registry, lease.id, 1, NULL), HIVE_OK);
    CHECK_STATUS(hive_clock_advance(clock, 1), HIVE_OK);
    CHECK_EQ(hive_clock_wall_ms(clock), T0 - 4000);
    CHECK_STATUS(hive_registry_renew_lease(registry, lease.id, 1, NULL), HIVE_NONE);

    /* The registry keeps the time, not the handle. */
    hive_clock_free(clock);
    CHECK(is_online(registry));
    hive_registry_free(registry);
}

/* What a program's own clock shows, and how often it was asked. */
typedef struct {
    int64_t wall, monotonic;
    int asked, refreshed, freed;
} own_t;

static int64_t own_wall(void *user) {
    own_t *own = user;
    own->asked++;
    return own->wall;
}

static int64_t own_monotonic(void *user) {
    return ((own_t *)user)->monotonic;
}

static void own_refresh(void *user) {
    ((own_t *)user)->refreshed++;
}

static void own_free(void *user) {
    ((own_t *)user)->freed++;
}

static void a_program_may_tell_the_time(void) {
    own_t own = {.wall = T0};
    hive_clock_functions_t functions = {
        .user = &own, .wall_ms = own_wall, .monotonic_ms = own_monotonic};
    hive_clock_t *clock = NULL;
    /* What need not be there. */
    CHECK_STATUS(hive_clock_new_of(&functions, &clock), HIVE_OK);
    hive_clock_free(clock);
    CHECK_EQ(own.freed, 0);

    functions.refresh = own_refresh;
    functions.on_free = own_free;
    CHECK_STATUS(hive_clock_new_of(&functions, &clock), HIVE_OK);
    CHECK_EQ(hive_clock_wall_ms(clock), T0);
    const char *refused = "clock: one of hive_clock_new_of refused: one of hive_clock_new";
    CHECK_REFUSED(hive_clock_advance(clock, 1), HIVE_INVALID_ARGUMENT, refused);
    CHECK_REFUSED(hive_clock_set(clock, 1), HIVE_INVALID_ARGUMENT, refused);
    CHECK_REFUSED(hive_clock_jump_wall(clock, 1), HIVE_INVALID_ARGUMENT, refused);

    hive_registry_t *registry = registry_on(clock), *other = registry_on(clock);
    hive_clock_free(clock);
    beat_one(registry, "gpu-1", 0, "w", "m");
    CHECK(own.asked > 0 && own.refreshed > 0);
    CHECK(is_online(registry));
    own.wall += 29999;
    CHECK(is_online(registry));
    own.wall++;
    CHECK(!is_online(registry));

    /* A lease is kept by the monotonic clock. */
    own.wall = T0;
    hive_lease_t lease;
    CHECK_STATUS(hive_registry_reserve_detached(registry, TEXT("m"), 10, &lease, NULL), HIVE_OK);
    CHECK_EQ(lease.expires_at_ms, T0 + 10);
    own.monotonic += 9;
    CHECK_EQ(totals(registry).reservations_open, 1);
    own.monotonic++;
    CHECK_EQ(totals(registry).reservations_open, 0);

    /* Whatever it shows. */
    const int64_t odd[] = {INT64_MIN, INT64_MAX, 0, -1};
    for (size_t at = 0; at < LEN(odd); at++) {
        for (size_t and = 0; and < LEN(odd); and++) {
            own.wall = odd[at];
            own.monotonic = odd[and];
            hive_worker_t *picked = NULL;
            uint32_t status = hive_registry_find_best_worker_for_model(registry, TEXT("m"), &picked);
            CHECK(status == HIVE_OK || status == HIVE_NONE);
            hive_worker_free(picked);
            CHECK_STATUS(hive_registry_update_workers(registry, TEXT("gpu-2"), NULL, 0, NULL),
                         HIVE_OK);
            CHECK_STATUS(hive_registry_evict_stale(registry, 1, NULL), HIVE_OK);
        }
    }
    /* The last registry that goes by it gives it back. */
    hive_registry_free(registry);
    CHECK_EQ(own.freed, 0);
    hive_registry_free(other);
    CHECK_EQ(own.freed, 1);
}

static void a_seed_fixes_every_choice(void) {
    char drawn[3][33] = {{0}};
    const uint64_t seeds[] = {7, 7, 8};
    for (size_t run = 0; run < 3; run++) {
        hive_config_t config = {.size = sizeof config, .seed = GIVEN(seeds[run])};
        config.stale_mode = HIVE_STALE_IGNORE;
        hive_registry_t *registry = registry_of(&config);
        hive_worker_report_t workers[] = {worker("a", "m"), worker("b", "m"), worker("c", "m")};
        beat(registry, "gpu-1", 0, workers, 3);
        hive_policy_t policy = {.kind = HIVE_POLICY_RANDOM};
        for (size_t at = 0; at < 32; at++) {
            hive_worker_t *picked = NULL;
            CHECK_STATUS(hive_registry_pick(registry, TEXT("m"), &policy, &picked), HIVE_OK);
            drawn[run][at] = hive_worker_id(picked).ptr[0];
            hive_worker_free(picked);
        }
        hive_registry_free(registry);
    }
    CHECK(strcmp(drawn[0], drawn[1]) == 0);
    CHECK(strcmp(drawn[0], drawn[2]) != 0);
}

/* Who gets the reservations, one after the other, all held: of `count` workers named "a" and on, of whom "a" alone says
   that it takes 4 at once. */
static void checks_order(const hive_config_t *config, size_t count, char *order, size_t len) {
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    hive_registry_t *registry = registry_of(config);
    hive_worker_report_t workers[LEN(names)];
    hive_reservation_t *held[LEN(names)];
    CHECK(count <= LEN(names) && len <= LEN(held));
    for (size_t at = 0; at < count; at++)
        workers[at] = worker(names[at], "m");
    workers[0].max_concurrency = (hive_opt_u32_t)GIVEN(4);
    beat(registry, "gpu-1", 0, workers, count);
    for (size_t at = 0; at < len; at++) {
        CHECK_STATUS(hive_registry_reserve_worker_for_model(registry, TEXT("m"), &held[at]), HIVE_OK);
        order[at] = hive_worker_id(hive_reservation_worker(held[at])).ptr[0];
    }
    for (size_t at = 0; at < len; at++)
        hive_reservation_free(held[at]);
    hive_registry_free(registry);
}

static void who_does_not_say_is_ranked_by_what_is_assumed(void) {
    char order[7] = {0};
    hive_config_t config = {.size = sizeof config, .stale_mode = HIVE_STALE_IGNORE};
    checks_order(&config, 2, order, 6);
    CHECK(strcmp(order, "abbbba") == 0); /* 16 */
    config.assumed_concurrency = (hive_opt_u32_t)GIVEN(1);
    checks_order(&config, 2, order, 6);
    CHECK(strcmp(order, "abaaab") == 0);
    /* A program that was compiled before there was this setting. */
    config.size = offsetof(hive_config_t, assumed_concurrency);
    checks_order(&config, 2, order, 6);
    CHECK(strcmp(order, "abbbba") == 0);
}

static void a_tie_seed_shuffles_who_are_alike(void) {
    char orders[4][9] = {{0}};
    const hive_opt_u64_t seeds[] = {{false, 7}, GIVEN(0), GIVEN(0), GIVEN(7)};
    for (size_t at = 0; at < LEN(seeds); at++) {
        hive_config_t config = {.size = sizeof config, .stale_mode = HIVE_STALE_IGNORE};
        config.tie_seed = seeds[at];
        checks_order(&config, 8, orders[at], 8);
    }
    CHECK(strcmp(orders[0], "abcdefgh") == 0);
    CHECK(strcmp(orders[1], orders[0]) != 0);
    CHECK(strcmp(orders[1], orders[2]) == 0);
    CHECK(strcmp(orders[1], orders[3]) != 0);
}

static void out_of_bounds_is_refused_by_name(void) {
    hive_registry_t *registry = NULL;
#define REFUSED(field, given, message)                                                   \
    do {                                                                                 \
        hive_config_t config = {.size = sizeof config, .field = given};                  \
        CHECK_REFUSED(hive_registry_new(&config, &registry), HIVE_INVALID_CONFIG, message); \
        CHECK(registry == NULL);                                                         \
    } while (0)
    REFUSED(shards, GIVEN(0), "shards: 0 refused: a power of two from 2 to 65536");
    REFUSED(shards, GIVEN(1), "shards: 1 refused");
    REFUSED(shards, GIVEN(3), "shards: 3 refused");
    REFUSED(shards, GIVEN(131072), "shards: 131072 refused");
    REFUSED(liveness_window_ms, GIVEN(0), "liveness_window");
    REFUSED(liveness_window_ms, GIVEN(0), ": 0 refused: at least 1 ms");
    REFUSED(liveness_clock, 2, "liveness_clock: 2 refused: a hive_liveness_t");
    REFUSED(stale_mode, UINT32_MAX, "stale_mode: 4294967295 refused: a hive_stale_t");
    REFUSED(max_hives, GIVEN(0), "hives: 0 refused: at least 1");
    REFUSED(max_workers, GIVEN(0), "workers: 0 refused: at least 1");
    REFUSED(max_workers_per_hive, GIVEN(0), "workers_per_hive: 0 refused: at least 1");
    REFUSED(max_models, GIVEN(0), "models: 0 refused: at least 1");
    REFUSED(max_heartbeat_bytes, GIVEN(0), "heartbeat_bytes: 0 refused: at least 1");
    REFUSED(max_devices_per_hive, GIVEN(0), "max_devices_per_hive: 0 refused: at least 1");
    REFUSED(assumed_concurrency, GIVEN(0), "assumed_concurrency: 0 refused: at least 1");
    REFUSED(assumed_vram_gb, GIVEN(-1.0f), "vram_gb: -1 refused: finite and at least 0");
    REFUSED(assumed_vram_gb, GIVEN(NAN), "vram_gb: NaN refused: finite and at least 0");
    REFUSED(assumed_ram_gb, GIVEN(INFINITY), "ram_gb: inf refused: finite and at least 0");
#undef REFUSED
}

static void the_widest_settings_are_taken(void) {
    hive_clock_t *clock = clock_new();
    hive_config_t config = config_on(clock);
    config.shards = (hive_opt_u64_t)GIVEN(65536);
    config.liveness_window_ms = (hive_opt_u64_t)GIVEN(UINT64_MAX);
    config.max_hives = config.max_workers = (hive_opt_u64_t)GIVEN(UINT64_MAX);
    config.max_models = config.max_heartbeat_bytes = (hive_opt_u64_t)GIVEN(UINT64_MAX);
    config.max_workers_per_hive = config.max_devices_per_hive = (hive_opt_u64_t)GIVEN(UINT64_MAX);
    config.assumed_concurrency = (hive_opt_u32_t)GIVEN(UINT32_MAX);
    config.tie_seed = (hive_opt_u64_t)GIVEN(UINT64_MAX);
    hive_registry_t *registry = registry_of(&config);
    beat_one(registry, "gpu-1", 0, "w", "m");
    hive_clock_set(clock, INT64_MAX);
    CHECK(is_online(registry));
    hive_registry_free(registry);
    hive_clock_free(clock);
}

static void structs_of_other_versions_are_read(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = NULL;
    struct {
        hive_config_t known;
        unsigned char later[24];
    } longer = {.known = config_on(clock)};
    longer.known.size = sizeof longer;
    checks_defaults(registry_of(&longer.known), clock);
    longer.known.clock = NULL;

    longer.later[23] = 1;
    CHECK_REFUSED(hive_registry_new(&longer.known, &registry), HIVE_INVALID_CONFIG, "config");
    /* What the program did not have is not read. */
    longer.known.size = sizeof longer.known;
    hive_registry_free(registry_of(&longer.known));

    /* An older version, which ended before the clocks: no more than its bytes are there. */
    size_t older = offsetof(hive_config_t, liveness_clock);
    hive_config_t whole = {.size = older, .shards = GIVEN(4), .liveness_window_ms = GIVEN(0)};
    hive_config_t *shorter = malloc(older);
    CHECK(shorter != NULL);
    memcpy((void *)shorter, &whole, older);
    CHECK_REFUSED(hive_registry_new(shorter, &registry), HIVE_INVALID_CONFIG, "at least 1 ms");
    whole.liveness_window_ms.value = 1;
    memcpy((void *)shorter, &whole, older);
    hive_registry_free(registry_of(shorter));
    free(shorter);

    size_t alone = sizeof alone;
    hive_registry_free(registry_of((const hive_config_t *)(const void *)&alone));

    const size_t sizes[] = {0, 1, sizeof(size_t) - 1, 65537, SIZE_MAX};
    for (size_t at = 0; at < LEN(sizes); at++) {
        char said[64];
        hive_config_t config = {.size = sizes[at]};
        snprintf(said, sizeof said, "config.size: %zu refused", sizes[at]);
        CHECK_REFUSED(hive_registry_new(&config, &registry), HIVE_INVALID_CONFIG, said);
        CHECK_MESSAGE("sizeof(hive_config_t)");
    }
    CHECK(registry == NULL);
}

int main(void) {
    zero_is_the_default_of_all();
    null_is_all_defaults_and_the_systems_clock();
    limits_hold();
    time_is_read_as_set();
    a_clock_is_told_what_to_show();
    a_program_may_tell_the_time();
    a_seed_fixes_every_choice();
    who_does_not_say_is_ranked_by_what_is_assumed();
    a_tie_seed_shuffles_who_are_alike();
    out_of_bounds_is_refused_by_name();
    the_widest_settings_are_taken();
    structs_of_other_versions_are_read();
    return 0;
}
