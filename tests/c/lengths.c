/* Lengths are looked at before what they are of: here, memory that cannot be read. */
#define _DEFAULT_SOURCE
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#include "test.h"

/* One page that can be read, and behind it some that cannot. What is told of is as long as programs get wrong. */
enum { BEYOND = 16 };
static const size_t LONG = (size_t)1 << 30;
static size_t page;
static char *memory;

static void maps(void) {
    page = (size_t)sysconf(_SC_PAGESIZE);
    memory = mmap(NULL, page * (1 + BEYOND), PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    memset(memory, 'x', page);
    CHECK_EQ(mprotect(memory + page, page * BEYOND, PROT_NONE), 0);
}

/* Every name that is an argument; the beginning is quoted, and nothing else looked at. */
static void names_are_refused_by_their_length(hive_registry_t *registry) {
    void *out = NULL;
    hive_policy_t policy = {0};
    hive_lease_t lease;
    hive_info_t info;
    hive_resources_t resources;
    hive_hive_stats_t stats;
    hive_explanation_t explanation;
    size_t count;
    bool online;
    hive_heartbeat_t heartbeat = {.hive_id = hive_str("gpu-1"),
                                  .timestamp = hive_str("2025-10-21T10:00:00Z")};
    static const char *const said =
        ": \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...\" refused: "
        "1 to 256 bytes, not 1073741824";
#define REFUSES(argument, call)                                          \
    do {                                                                 \
        char message_[256];                                              \
        snprintf(message_, sizeof message_, "%s%s", argument, said);     \
        CHECK_REFUSED(call, HIVE_INVALID_FIELD, message_);               \
    } while (0)
#define NAME memory, LONG
    REFUSES("hive_id", hive_registry_get_hive_state(registry, NAME, (hive_state_t **)&out));
    REFUSES("hive_id", hive_registry_get_hive(registry, NAME, &info, (hive_state_t **)&out));
    REFUSES("hive_id", hive_registry_get_available_resources(registry, NAME, &resources));
    REFUSES("hive_id", hive_registry_remove_hive(registry, NAME));
    REFUSES("hive_id", hive_registry_get_worker_count(registry, NAME, &count));
    REFUSES("hive_id", hive_registry_is_hive_online(registry, NAME, 1, &online));
    REFUSES("hive_id", hive_registry_get_workers_on_hive(registry, NAME, (hive_worker_list_t **)&out));
    REFUSES("hive_id", hive_registry_get_workers(registry, NAME, (hive_process_list_t **)&out));
    REFUSES("hive_id", hive_registry_hive_stats(registry, NAME, &stats));
    REFUSES("hive_id", hive_registry_get_worker_on(registry, NAME, TEXT("w"), (hive_worker_t **)&out));
    REFUSES("worker_id", hive_registry_get_worker_on(registry, TEXT("h"), NAME, (hive_worker_t **)&out));
    REFUSES("worker_id", hive_registry_get_worker(registry, NAME, (hive_worker_t **)&out));
    REFUSES("worker_id", hive_registry_get_worker_url(registry, NAME, (hive_text_t **)&out));
    REFUSES("model_id", hive_registry_find_workers_by_model(registry, NAME, (hive_worker_list_t **)&out));
    REFUSES("model_id", hive_registry_find_workers_with_model(registry, NAME, (hive_worker_list_t **)&out));
    REFUSES("model_id", hive_registry_find_best_worker_for_model(registry, NAME, (hive_worker_t **)&out));
    REFUSES("model_id", hive_registry_reserve_worker_for_model(registry, NAME, (hive_reservation_t **)&out));
    REFUSES("model_id", hive_registry_pick(registry, NAME, &policy, (hive_worker_t **)&out));
    REFUSES("model_id", hive_registry_reserve_with(registry, NAME, &policy, (hive_reservation_t **)&out));
    REFUSES("model_id", hive_registry_reserve_detached(registry, NAME, 1, &lease, NULL));
    REFUSES("model_id", hive_registry_model(registry, NAME, (hive_model_t **)&out));
    REFUSES("model_id", hive_registry_explain(registry, NAME, &explanation, NULL));
    REFUSES("backend", hive_registry_find_workers_by_backend(registry, NAME, (hive_worker_list_t **)&out));
    CHECK_EQ(totals(registry).refused, 0);
    REFUSES("hive_id", hive_registry_update_hive_state(registry, NAME, &heartbeat, NULL));
    REFUSES("hive_id", hive_registry_update_workers(registry, NAME, NULL, 0, NULL));
    heartbeat.hive_id = (hive_str_t){memory, LONG};
    REFUSES("hive_id", hive_registry_ingest_payload(registry, &heartbeat, NULL));
    CHECK_EQ(totals(registry).refused, 3);
#undef NAME
#undef REFUSES
    CHECK(out == NULL);
    /* One that is told to be in a state is not there. */
    hive_state_t *state = NULL;
    CHECK_STATUS(hive_registry_get_hive_state(registry, TEXT("gpu-1"), &state), HIVE_OK);
    CHECK_STR(hive_worker_id(hive_state_worker_by_id(state, TEXT("w"))), "w");
    CHECK(hive_state_worker_by_id(state, memory, LONG) == NULL);
    hive_state_free(state);
}

/* A field, its path, and how many bytes it may have. */
typedef struct {
    hive_str_t *text;
    const char *path;
    int most;
} field_t;

static hive_hive_stats_t stats_of(const hive_registry_t *registry) {
    hive_hive_stats_t told;
    CHECK_STATUS(hive_registry_hive_stats(registry, TEXT("gpu-1"), &told), HIVE_OK);
    return told;
}

/* Text within structs; each refusal is the hive's, as any other. */
static void fields_are_refused_by_their_length(hive_registry_t *registry) {
    hive_worker_report_t workers[] = {worker("a", NULL), worker("b", NULL)};
    hive_device_t devices[] = {
        {.id = hive_str("0"), .name = hive_str("n"), .device_type = hive_str("cuda")}};
    hive_info_t info = {.hostname = hive_str("n"), .version = hive_str("1")};
    hive_heartbeat_t plain = {.hive_id = hive_str("gpu-1"),
                              .timestamp = hive_str("2025-10-21T10:00:00Z"),
                              .workers = workers,
                              .workers_len = 2,
                              .hive_info = &info,
                              .capabilities = devices,
                              .capabilities_len = 1};
    hive_process_t processes[] = {{.group = hive_str("g"), .instance = hive_str("1")}};
    hive_telemetry_t telemetry = {.hive = {.id = hive_str("gpu-1"),
                                           .hostname = hive_str("n"),
                                           .version = hive_str("1")},
                                  .timestamp = hive_str("2025-10-21T10:00:00Z"),
                                  .workers = processes,
                                  .workers_len = 1,
                                  .capabilities = devices,
                                  .capabilities_len = 1};
    uint64_t refusals = stats_of(registry).refusals;
#define REFUSES(fields, call)                                                              \
    for (size_t at = 0; at < LEN(fields); at++) {                                          \
        char want[64];                                                                     \
        hive_str_t kept = *fields[at].text;                                                \
        *fields[at].text = (hive_str_t){memory, LONG};                                     \
        CHECK_REFUSED(call, HIVE_INVALID_FIELD, fields[at].path);                          \
        snprintf(want, sizeof want, "1 to %d bytes, not 1073741824", fields[at].most);     \
        CHECK_MESSAGE(want);                                                               \
        *fields[at].text = kept;                                                           \
        CHECK_EQ(stats_of(registry).refusals, ++refusals);                                 \
    }
    const field_t of_plain[] = {
        {&plain.timestamp, "timestamp: ", HIVE_MAX_TEXT_BYTES},
        {&workers[1].worker_id, "workers[1].worker_id: ", HIVE_MAX_ID_BYTES},
        {&workers[1].state, "workers[1].state: ", HIVE_MAX_TEXT_BYTES},
        {&workers[1].last_heartbeat, "workers[1].last_heartbeat: ", HIVE_MAX_TEXT_BYTES},
        {&workers[1].health_status, "workers[1].health_status: ", HIVE_MAX_TEXT_BYTES},
        {&workers[1].url, "workers[1].url: ", HIVE_MAX_URL_BYTES},
        {&workers[1].model_id, "workers[1].model_id: ", HIVE_MAX_ID_BYTES},
        {&workers[1].backend, "workers[1].backend: ", HIVE_MAX_TEXT_BYTES},
        {&info.id, "hive_info.id: ", HIVE_MAX_ID_BYTES},
        {&info.hostname, "hive_info.hostname: ", HIVE_MAX_TEXT_BYTES},
        {&info.health_reason, "hive_info.health_reason: ", HIVE_MAX_TEXT_BYTES},
        {&info.version, "hive_info.version: ", HIVE_MAX_TEXT_BYTES},
        {&devices[0].id, "capabilities[0].id: ", HIVE_MAX_ID_BYTES},
        {&devices[0].name, "capabilities[0].name: ", HIVE_MAX_TEXT_BYTES},
        {&devices[0].device_type, "capabilities[0].device_type: ", HIVE_MAX_TEXT_BYTES},
        {&devices[0].compute_capability, "capabilities[0].compute_capability: ",
         HIVE_MAX_TEXT_BYTES},
    };
    REFUSES(of_plain, hive_registry_update_hive_state(registry, TEXT("gpu-1"), &plain, NULL));
    REFUSES(of_plain, hive_registry_ingest_payload(registry, &plain, NULL));
    const field_t of_telemetry[] = {
        {&telemetry.timestamp, "timestamp: ", HIVE_MAX_TEXT_BYTES},
        {&telemetry.hive.hostname, "hive.hostname: ", HIVE_MAX_TEXT_BYTES},
        {&processes[0].group, "workers[0].group: ", HIVE_MAX_ID_BYTES},
        {&processes[0].instance, "workers[0].instance: ", HIVE_MAX_ID_BYTES},
        {&processes[0].model, "workers[0].model: ", HIVE_MAX_ID_BYTES},
    };
    REFUSES(of_telemetry, hive_registry_update_hive(registry, &telemetry, NULL));
    const field_t of_processes[] = {{&processes[0].model, "workers[0].model: ", HIVE_MAX_ID_BYTES}};
    REFUSES(of_processes,
            hive_registry_update_workers(registry, TEXT("gpu-1"), processes, 1, NULL));
#undef REFUSES
    /* Whose it is cannot be told. */
    uint64_t all = totals(registry).refused;
    telemetry.hive.id = (hive_str_t){memory, LONG};
    CHECK_REFUSED(hive_registry_update_hive(registry, &telemetry, NULL), HIVE_INVALID_FIELD,
                  "hive.id: ");
    CHECK_EQ(totals(registry).refused, all + 1);
    CHECK_EQ(stats_of(registry).refusals, refusals);
}

/* Not one struct is looked at, not even the first. */
static void lists_are_refused_by_their_length(hive_registry_t *registry) {
    const void *nothing = memory + page;
    uint64_t refusals = stats_of(registry).refusals;
    hive_heartbeat_t plain = {.hive_id = hive_str("gpu-1"),
                              .timestamp = hive_str("2025-10-21T10:00:00Z")};
    hive_telemetry_t telemetry = {.hive = {.id = hive_str("gpu-1"),
                                           .hostname = hive_str("n"),
                                           .version = hive_str("1")},
                                  .timestamp = hive_str("2025-10-21T10:00:00Z")};
#define REFUSES(message, call)                                    \
    do {                                                          \
        CHECK_REFUSED(call, HIVE_OVER_LIMIT, message);            \
        CHECK_EQ(stats_of(registry).refusals, ++refusals);        \
    } while (0)
    plain.workers = nothing;
    telemetry.workers = nothing;
    plain.workers_len = telemetry.workers_len = 2000000;
    static const char *const workers = "workers_per_hive: 2000000 refused: at most 1024";
    REFUSES(workers, hive_registry_update_hive_state(registry, TEXT("gpu-1"), &plain, NULL));
    REFUSES(workers, hive_registry_ingest_payload(registry, &plain, NULL));
    REFUSES(workers, hive_registry_update_hive(registry, &telemetry, NULL));
    REFUSES(workers,
            hive_registry_update_workers(registry, TEXT("gpu-1"), nothing, 2000000, NULL));
    /* Nor are workers looked at where there are too many devices. */
    plain.workers_len = telemetry.workers_len = 1;
    plain.capabilities = telemetry.capabilities = nothing;
    plain.capabilities_len = telemetry.capabilities_len = 257;
    static const char *const devices = "devices_per_hive: 257 refused: at most 256";
    REFUSES(devices, hive_registry_update_hive_state(registry, TEXT("gpu-1"), &plain, NULL));
    REFUSES(devices, hive_registry_ingest_payload(registry, &plain, NULL));
    REFUSES(devices, hive_registry_update_hive(registry, &telemetry, NULL));
#undef REFUSES
    CHECK_EQ(HIVE_DEFAULT_MAX_WORKERS_PER_HIVE, 1024);
    CHECK_EQ(HIVE_DEFAULT_MAX_DEVICES_PER_HIVE, 256);
}

/* Of a body that is too long no more is read than one that is not may have: to find whose it is. */
static void bodies_are_refused_by_their_length(void) {
    hive_config_t config = {.size = sizeof config, .max_heartbeat_bytes = {true, page}};
    hive_registry_t *registry = registry_of(&config);
    hive_limits_t limits;
    CHECK_STATUS(hive_registry_limits(registry, &limits), HIVE_OK);
    CHECK(limits.heartbeat_bytes == page && limits.hives == HIVE_DEFAULT_MAX_HIVES);
#define REFUSES(call) \
    CHECK_REFUSED(call, HIVE_OVER_LIMIT, "heartbeat_bytes: 1073741824 refused: at most ")
    REFUSES(hive_registry_ingest_json(registry, memory, LONG, NULL));
    REFUSES(hive_registry_update_hive_json(registry, memory, LONG, NULL));
    REFUSES(hive_registry_update_hive_state_json(registry, TEXT("h"), memory, LONG, NULL));
    REFUSES(hive_registry_update_workers_json(registry, TEXT("h"), memory, LONG, NULL));
#undef REFUSES
    CHECK_EQ(totals(registry).refused, 4);
    hive_registry_free(registry);
}

int main(void) {
    maps();
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = registry_on(clock);
    beat_one(registry, "gpu-1", 0, "w", "m");
    names_are_refused_by_their_length(registry);
    fields_are_refused_by_their_length(registry);
    lists_are_refused_by_their_length(registry);
    bodies_are_refused_by_their_length();
    hive_registry_free(registry);
    hive_clock_free(clock);
    return 0;
}
