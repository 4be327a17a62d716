/* Whatever a program passes by mistake is refused by name, and nothing is written: every function
   that takes pointers, with each of them NULL, each length impossible, each text not UTF-8. */
#include <stddef.h>

#include "test.h"

#define TOO_LONG ((size_t)PTRDIFF_MAX + 1)

/* Where every call here would write: `out`, and `more` where it has two out-parameters. */
static union {
    max_align_t align;
    unsigned char bytes[512];
} slot;
static void *const out = slot.bytes, *const more = slot.bytes + 256;

static void fills(void) {
    memset(slot.bytes, 0xa5, sizeof slot.bytes);
}

static bool is_untouched(void) {
    for (size_t at = 0; at < sizeof slot.bytes; at++) {
        if (slot.bytes[at] != 0xa5)
            return false;
    }
    return true;
}

static bool message_begins(const char *argument) {
    hive_str_t why = hive_last_error_message();
    return why.len >= strlen(argument) && memcmp(why.ptr, argument, strlen(argument)) == 0;
}

#define REFUSES(call, status, argument)                                        \
    do {                                                                       \
        fills();                                                               \
        CHECK_STATUS(call, status);                                            \
        if (!message_begins(argument)) {                                       \
            hive_str_t why_ = hive_last_error_message();                       \
            FAIL("%s: \"%.*s\" does not name %s", #call, (int)why_.len, why_.ptr, argument); \
        }                                                                      \
        CHECK(is_untouched());                                                 \
    } while (0)

#define NULLS(call, argument) REFUSES(call, HIVE_NULL_ARGUMENT, argument)

static const struct {
    hive_str_t text;
    const char *where;
} NOT_UTF8[] = {
    {{"gpu\xff", 4}, "not UTF-8 from byte 3 on"},
    {{"\xc0\xaf", 2}, "not UTF-8 from byte 0 on"},
    {{"a\xed\xa0\x80", 4}, "not UTF-8 from byte 1 on"},
    {{"ab\xe2\x82\xac", 4}, "not UTF-8 from byte 2 on"},
};

/* `call` is given `text` and `len`. */
#define REFUSES_TEXT(call, argument)                                 \
    do {                                                             \
        const char *text = NULL;                                     \
        size_t len = 0;                                              \
        NULLS(call, argument);                                       \
        len = SIZE_MAX;                                              \
        NULLS(call, argument);                                       \
        text = "gpu-1";                                              \
        REFUSES(call, HIVE_INVALID_LENGTH, argument);                \
        len = TOO_LONG;                                              \
        REFUSES(call, HIVE_INVALID_LENGTH, argument);                \
        CHECK_MESSAGE("at most PTRDIFF_MAX bytes");                  \
        for (size_t at_ = 0; at_ < LEN(NOT_UTF8); at_++) {           \
            text = NOT_UTF8[at_].text.ptr;                           \
            len = NOT_UTF8[at_].text.len;                            \
            REFUSES(call, HIVE_INVALID_UTF8, argument);              \
            CHECK_MESSAGE(NOT_UTF8[at_].where);                      \
        }                                                            \
    } while (0)

/* Functions of a registry and an out-parameter, and those that take a name as well. */
#define ASKS(function)                                       \
    do {                                                     \
        NULLS(function(NULL, out), "registry");              \
        NULLS(function(registry, NULL), "out");              \
        NULLS(function(NULL, NULL), "");                     \
    } while (0)
#define ASKS_ABOUT(function, argument)                                      \
    do {                                                                    \
        NULLS(function(NULL, TEXT("x"), out), "registry");                  \
        NULLS(function(registry, TEXT("x"), NULL), "out");                  \
        NULLS(function(NULL, NULL, 0, NULL), "");                           \
        REFUSES_TEXT(function(registry, text, len, out), argument);         \
    } while (0)

static void questions(const hive_registry_t *registry) {
    ASKS(hive_registry_clone);
    ASKS(hive_registry_limits);
    ASKS(hive_registry_list_all_hives);
    ASKS(hive_registry_hive_count);
    ASKS(hive_registry_list_online_hives);
    ASKS(hive_registry_list_available_hives);
    ASKS(hive_registry_count_online);
    ASKS(hive_registry_count_available);
    ASKS(hive_registry_list_all_workers);
    ASKS(hive_registry_find_idle_workers);
    ASKS(hive_registry_total_worker_count);
    ASKS(hive_registry_get_all_workers);
    ASKS(hive_registry_snapshot);
    ASKS(hive_registry_stats);
    ASKS_ABOUT(hive_registry_get_hive_state, "hive_id");
    ASKS_ABOUT(hive_registry_get_available_resources, "hive_id");
    ASKS_ABOUT(hive_registry_get_worker_count, "hive_id");
    ASKS_ABOUT(hive_registry_get_workers_on_hive, "hive_id");
    ASKS_ABOUT(hive_registry_get_workers, "hive_id");
    ASKS_ABOUT(hive_registry_hive_stats, "hive_id");
    ASKS_ABOUT(hive_registry_get_worker, "worker_id");
    ASKS_ABOUT(hive_registry_get_worker_url, "worker_id");
    ASKS_ABOUT(hive_registry_find_workers_by_backend, "backend");
    ASKS_ABOUT(hive_registry_find_workers_by_model, "model_id");
    ASKS_ABOUT(hive_registry_find_workers_with_model, "model_id");
    ASKS_ABOUT(hive_registry_find_best_worker_for_model, "model_id");
    ASKS_ABOUT(hive_registry_reserve_worker_for_model, "model_id");
    ASKS_ABOUT(hive_registry_model, "model_id");

    NULLS(hive_registry_list_active_hives(NULL, 1, out), "registry");
    NULLS(hive_registry_list_active_hives(registry, 1, NULL), "out");
    NULLS(hive_registry_find_workers_with_capacity(NULL, 1, out), "registry");
    NULLS(hive_registry_find_workers_with_capacity(registry, 1, NULL), "out");
    NULLS(hive_registry_is_hive_online(NULL, TEXT("x"), 1, out), "registry");
    NULLS(hive_registry_is_hive_online(registry, TEXT("x"), 1, NULL), "out");
    REFUSES_TEXT(hive_registry_is_hive_online(registry, text, len, 1, out), "hive_id");
    NULLS(hive_registry_get_worker_on(NULL, TEXT("x"), TEXT("y"), out), "registry");
    NULLS(hive_registry_get_worker_on(registry, TEXT("x"), TEXT("y"), NULL), "out");
    REFUSES_TEXT(hive_registry_get_worker_on(registry, text, len, TEXT("y"), out), "hive_id");
    REFUSES_TEXT(hive_registry_get_worker_on(registry, TEXT("x"), text, len, out), "worker_id");
    NULLS(hive_registry_get_hive(NULL, TEXT("x"), out, more), "registry");
    NULLS(hive_registry_get_hive(registry, TEXT("x"), NULL, more), "out_info");
    NULLS(hive_registry_get_hive(registry, TEXT("x"), out, NULL), "out_state");
    REFUSES_TEXT(hive_registry_get_hive(registry, text, len, out, more), "hive_id");
    NULLS(hive_error_take(NULL), "out_error");
    NULLS(hive_registry_take_error(NULL, out), "registry");
    NULLS(hive_registry_take_error(registry, NULL), "out_error");
    NULLS(hive_registry_remove_hive(NULL, TEXT("x")), "registry");
    REFUSES_TEXT(hive_registry_remove_hive(registry, text, len), "hive_id");
    NULLS(hive_registry_evict_stale(NULL, 0, out), "registry");
    NULLS(hive_registry_subscribe(NULL, 1, out), "registry");
    NULLS(hive_registry_subscribe(registry, 1, NULL), "out");
    NULLS(hive_registry_spawn_sweeper(NULL, 1, 0, out), "registry");
    NULLS(hive_registry_spawn_sweeper(registry, 1, 0, NULL), "out_sweeper");
    NULLS(hive_registry_new(NULL, NULL), "out_registry");

    /* None is no error, and writes as little. */
    fills();
    CHECK_STATUS(hive_registry_get_hive_state(registry, TEXT("x"), out), HIVE_NONE);
    CHECK_STATUS(hive_registry_get_worker_on(registry, TEXT("gpu-1"), TEXT("x"), out), HIVE_NONE);
    CHECK_STATUS(hive_registry_hive_stats(registry, TEXT("x"), out), HIVE_NONE);
    CHECK_STATUS(hive_registry_reserve_worker_for_model(registry, TEXT("x"), out), HIVE_NONE);
    CHECK_STATUS(hive_registry_reserve_detached(registry, TEXT("x"), 1, out, more), HIVE_NONE);
    CHECK(is_untouched());
}

static int64_t at_start(void *user) {
    (void)user;
    return T0;
}

static void scheduling(const hive_registry_t *registry) {
    const hive_policy_t zero = {0};
    NULLS(hive_registry_pick(NULL, TEXT("m"), &zero, out), "registry");
    NULLS(hive_registry_pick(registry, TEXT("m"), &zero, NULL), "out_worker");
    REFUSES_TEXT(hive_registry_pick(registry, text, len, &zero, out), "model_id");
    NULLS(hive_registry_reserve_with(NULL, TEXT("m"), &zero, out), "registry");
    NULLS(hive_registry_reserve_with(registry, TEXT("m"), &zero, NULL), "out_reservation");
    REFUSES_TEXT(hive_registry_reserve_with(registry, text, len, &zero, out), "model_id");
    NULLS(hive_registry_reserve_detached(NULL, TEXT("m"), 1, out, more), "registry");
    NULLS(hive_registry_reserve_detached(registry, TEXT("m"), 1, NULL, more), "out_lease");
    REFUSES_TEXT(hive_registry_reserve_detached(registry, text, len, 1, out, more), "model_id");
    NULLS(hive_registry_renew_lease(NULL, 1, 1, out), "registry");
    NULLS(hive_registry_release_lease(NULL, 1), "registry");
    NULLS(hive_registry_explain(NULL, TEXT("m"), out, more), "registry");
    NULLS(hive_registry_explain(registry, TEXT("m"), NULL, more), "out_explanation");
    REFUSES_TEXT(hive_registry_explain(registry, text, len, out, more), "model_id");

    hive_model_t *model = NULL;
    CHECK_STATUS(hive_registry_model(registry, TEXT("m"), &model), HIVE_OK);
    NULLS(hive_model_find_best_worker(NULL, out), "model");
    NULLS(hive_model_find_best_worker(model, NULL), "out_worker");
    NULLS(hive_model_reserve_worker(NULL, out), "model");
    NULLS(hive_model_reserve_worker(model, NULL), "out_reservation");
    hive_model_free(model);
    /* Where a reservation had no place to be written, none was counted. */
    CHECK_EQ(totals(registry).reservations_open, 0);

    NULLS(hive_clock_new(T0, NULL), "out_clock");
    hive_clock_functions_t functions = {.wall_ms = at_start, .monotonic_ms = at_start};
    NULLS(hive_clock_new_of(NULL, out), "functions");
    NULLS(hive_clock_new_of(&functions, NULL), "out_clock");
    functions.monotonic_ms = NULL;
    NULLS(hive_clock_new_of(&functions, out), "functions.monotonic_ms");
    functions.wall_ms = NULL;
    NULLS(hive_clock_new_of(&functions, out), "functions.wall_ms");
    NULLS(hive_clock_advance(NULL, 1), "clock");
    NULLS(hive_clock_set(NULL, 1), "clock");
    NULLS(hive_clock_jump_wall(NULL, 1), "clock");

    hive_events_t *events = NULL;
    CHECK_STATUS(hive_registry_subscribe(registry, 1, &events), HIVE_OK);
    NULLS(hive_events_next(NULL, 0, out, more), "events");
    NULLS(hive_events_next(events, 0, NULL, more), "out_event");
    REFUSES(hive_events_next(events, 0, out, more), HIVE_TIMEOUT, "no event yet");
    hive_events_free(events);
}

/* A text within a struct, and how a refusal names it. */
typedef struct {
    hive_str_t *text;
    const char *name;
    bool is_optional;
} field_t;

#define REFUSES_FIELDS(fields, call)                                       \
    for (size_t of_ = 0; of_ < LEN(fields); of_++) {                       \
        const field_t field = (fields)[of_];                               \
        const hive_str_t before = *field.text;                             \
        field.text->ptr = NULL;                                            \
        if (field.is_optional)                                             \
            CHECK_STATUS(call, HIVE_OK);                                   \
        else                                                               \
            NULLS(call, field.name);                                       \
        *field.text = (hive_str_t){"x", TOO_LONG};                         \
        REFUSES(call, HIVE_INVALID_LENGTH, field.name);                    \
        for (size_t at_ = 0; at_ < LEN(NOT_UTF8); at_++) {                 \
            *field.text = NOT_UTF8[at_].text;                              \
            REFUSES(call, HIVE_INVALID_UTF8, field.name);                  \
            CHECK_MESSAGE(NOT_UTF8[at_].where);                            \
        }                                                                  \
        *field.text = before;                                              \
    }                                                                      \
    CHECK_STATUS(call, HIVE_OK)

/* An array of this field, of so many items: NULL, and of more bytes than there can be. */
#define REFUSES_ARRAY(array, length, name, call)               \
    do {                                                       \
        const void *before = array;                            \
        const size_t len_before = length;                      \
        array = NULL;                                          \
        NULLS(call, name);                                     \
        length = SIZE_MAX;                                     \
        NULLS(call, name);                                     \
        array = before;                                        \
        REFUSES(call, HIVE_INVALID_LENGTH, name);              \
        length = (size_t)PTRDIFF_MAX / sizeof *array + 1;      \
        REFUSES(call, HIVE_INVALID_LENGTH, name);              \
        length = len_before;                                   \
    } while (0)

static void plain_heartbeats(const hive_registry_t *registry) {
    hive_worker_report_t reports[] = {worker("a", "m"), worker("b", "m")};
    hive_heartbeat_t sent = {
        .hive_id = hive_str("gpu-2"),
        .timestamp = hive_str("2025-10-21T10:00:00Z"),
        .workers = reports,
        .workers_len = 2,
    };
    const field_t fields[] = {
        {&sent.hive_id, "hive_id", false},
        {&sent.timestamp, "timestamp", false},
        {&reports[1].worker_id, "workers[1].worker_id", false},
        {&reports[1].state, "workers[1].state", true},
        {&reports[1].last_heartbeat, "workers[1].last_heartbeat", true},
        {&reports[1].health_status, "workers[1].health_status", true},
        {&reports[1].url, "workers[1].url", true},
        {&reports[1].model_id, "workers[1].model_id", true},
        {&reports[1].backend, "workers[1].backend", true},
    };
#define SEND hive_registry_update_hive_state(registry, TEXT("gpu-2"), &sent, out)
    REFUSES_FIELDS(fields, SEND);
    REFUSES_ARRAY(sent.workers, sent.workers_len, "workers", SEND);
#undef SEND
#define SEND hive_registry_ingest_payload(registry, &sent, out)
    REFUSES_FIELDS(fields, SEND);
    REFUSES_ARRAY(sent.workers, sent.workers_len, "workers", SEND);
#undef SEND
    NULLS(hive_registry_ingest_payload(NULL, &sent, out), "registry");
    NULLS(hive_registry_ingest_payload(registry, NULL, out), "heartbeat");
    NULLS(hive_registry_update_hive_state(NULL, TEXT("gpu-2"), &sent, out), "registry");
    NULLS(hive_registry_update_hive_state(registry, TEXT("gpu-2"), NULL, out), "heartbeat");
    REFUSES_TEXT(hive_registry_update_hive_state(registry, text, len, &sent, out), "hive_id");

#define REFUSES_JSON(call, argument)                          \
    do {                                                      \
        const char *json = NULL;                              \
        size_t json_len = 0;                                  \
        NULLS(call, argument);                                \
        json_len = SIZE_MAX;                                  \
        NULLS(call, argument);                                \
        json = "{}";                                          \
        REFUSES(call, HIVE_INVALID_LENGTH, argument);         \
        json_len = TOO_LONG;                                  \
        REFUSES(call, HIVE_INVALID_LENGTH, argument);         \
        json = "\xff";                                        \
        json_len = 1;                                         \
        REFUSES(call, HIVE_MALFORMED, "");                    \
    } while (0)
    NULLS(hive_registry_ingest_json(NULL, TEXT("{}"), out), "registry");
    REFUSES_JSON(hive_registry_ingest_json(registry, json, json_len, out), "body");
    NULLS(hive_registry_update_hive_json(NULL, TEXT("{}"), out), "registry");
    REFUSES_JSON(hive_registry_update_hive_json(registry, json, json_len, out), "body");
    NULLS(hive_registry_update_hive_state_json(NULL, TEXT("h"), TEXT("{}"), out), "registry");
    REFUSES_JSON(hive_registry_update_hive_state_json(registry, TEXT("h"), json, json_len, out), "body");
    REFUSES_TEXT(hive_registry_update_hive_state_json(registry, text, len, TEXT("{}"), out), "hive_id");
    NULLS(hive_registry_update_workers_json(NULL, TEXT("h"), TEXT("[]"), out), "registry");
    REFUSES_JSON(hive_registry_update_workers_json(registry, TEXT("h"), json, json_len, out), "workers");
    REFUSES_TEXT(hive_registry_update_workers_json(registry, text, len, TEXT("[]"), out), "hive_id");
#undef REFUSES_JSON
}

static void telemetry(const hive_registry_t *registry) {
    hive_process_t processes[] = {
        {.group = hive_str("llm"), .instance = hive_str("1")},
        {.group = hive_str("llm"), .instance = hive_str("2"), .model = hive_str("m")},
    };
    hive_device_t devices[] = {
        {.id = hive_str("GPU-0"), .name = hive_str("RTX"), .device_type = hive_str("cuda")},
    };
    hive_telemetry_t sent = {
        .hive = {.id = hive_str("gpu-3"), .hostname = hive_str("n"), .version = hive_str("1")},
        .timestamp = hive_str("2025-10-21T10:00:00Z"),
        .workers = processes,
        .workers_len = 2,
        .capabilities = devices,
        .capabilities_len = 1,
    };
    const field_t fields[] = {
        {&sent.hive.id, "hive.id", false},
        {&sent.hive.hostname, "hive.hostname", false},
        {&sent.hive.version, "hive.version", false},
        {&sent.hive.health_reason, "hive.health_reason", true},
        {&sent.timestamp, "timestamp", false},
        {&processes[1].group, "workers[1].group", false},
        {&processes[1].instance, "workers[1].instance", false},
        {&processes[1].model, "workers[1].model", true},
        {&devices[0].id, "capabilities[0].id", false},
        {&devices[0].name, "capabilities[0].name", false},
        {&devices[0].device_type, "capabilities[0].device_type", false},
        {&devices[0].compute_capability, "capabilities[0].compute_capability", true},
    };
#define SEND hive_registry_update_hive(registry, &sent, out)
    REFUSES_FIELDS(fields, SEND);
    REFUSES_ARRAY(sent.workers, sent.workers_len, "workers", SEND);
    REFUSES_ARRAY(sent.capabilities, sent.capabilities_len, "capabilities", SEND);
#undef SEND
    NULLS(hive_registry_update_hive(NULL, &sent, out), "registry");
    NULLS(hive_registry_update_hive(registry, NULL, out), "telemetry");

    const hive_process_t *workers = processes;
    size_t workers_len = 2;
#define SEND hive_registry_update_workers(registry, TEXT("gpu-3"), workers, workers_len, out)
    const field_t own[] = {{&processes[0].group, "workers[0].group", false},
                           {&processes[0].instance, "workers[0].instance", false},
                           {&processes[0].model, "workers[0].model", true}};
    REFUSES_FIELDS(own, SEND);
    REFUSES_ARRAY(workers, workers_len, "workers", SEND);
#undef SEND
    NULLS(hive_registry_update_workers(NULL, TEXT("x"), workers, 2, out), "registry");
    REFUSES_TEXT(hive_registry_update_workers(registry, text, len, workers, 2, out), "hive_id");
}

/* What returns no status answers NULL by nothing, and says nothing of it. */
static void accessors(const hive_registry_t *registry) {
    hive_str_t said = hive_last_error_message();
    hive_worker_t *told = NULL;
    CHECK_STATUS(hive_registry_get_worker(registry, TEXT("w"), &told), HIVE_OK);
    fills();
#define EMPTY(call)                       \
    do {                                  \
        hive_str_t empty_ = (call);       \
        CHECK(empty_.ptr != NULL);        \
        CHECK_EQ(empty_.len, 0);          \
    } while (0)
    EMPTY(hive_event_hive_id(NULL));
    EMPTY(hive_id_list_get(NULL, 0));
    EMPTY(hive_process_list_hive_id(NULL, 0));
    EMPTY(hive_model_id(NULL));
    EMPTY(hive_state_hive_id(NULL));
    EMPTY(hive_worker_hive_id(NULL));
    EMPTY(hive_worker_id(NULL));
    EMPTY(hive_worker_state(NULL));
    EMPTY(hive_worker_health_status(NULL));
    CHECK_EQ(hive_clock_wall_ms(NULL), 0);
    CHECK_EQ(hive_event_kind(NULL), HIVE_EVENT_OTHER);
    CHECK_EQ(hive_event_sequence(NULL), 0);
    CHECK_EQ(hive_event_version(NULL), 0);
    CHECK_EQ(hive_worker_list_len(NULL), 0);
    CHECK_EQ(hive_id_list_len(NULL), 0);
    CHECK_EQ(hive_process_list_len(NULL), 0);
    CHECK_EQ(hive_state_last_heartbeat_ms(NULL), 0);
    CHECK(hive_state_vram_used_gb(NULL) == 0 && hive_state_ram_used_gb(NULL) == 0);
    CHECK_EQ(hive_state_version(NULL), 0);
    CHECK_EQ(hive_state_worker_count(NULL), 0);
    CHECK_EQ(hive_snapshot_sequence(NULL), 0);
    CHECK_EQ(hive_snapshot_taken_at_ms(NULL), 0);
    CHECK_EQ(hive_snapshot_len(NULL), 0);
    CHECK_EQ(hive_stats_len(NULL), 0);
    CHECK_EQ(hive_worker_last_heartbeat_ms(NULL), 0);
    CHECK(hive_event_worker(NULL) == NULL && hive_worker_list_get(NULL, 0) == NULL);
    CHECK(hive_reservation_worker(NULL) == NULL && hive_state_worker(NULL, 0) == NULL);
    CHECK(hive_snapshot_state(NULL, 0) == NULL && hive_worker_clone(NULL) == NULL);
    EMPTY(hive_text_str(NULL));
    EMPTY(hive_error_message(NULL));
    CHECK_EQ(hive_error_status(NULL), HIVE_OK);
    CHECK(!hive_error_field(NULL, out) && !hive_error_value(NULL, out) && !hive_error_bound(NULL, out));
    CHECK_EQ(hive_candidates_len(NULL), 0);
    CHECK(!hive_candidates_get(NULL, 0, out) && !hive_candidates_random(NULL, more, out));
    CHECK(hive_state_worker_by_id(NULL, TEXT("w")) == NULL);
#undef EMPTY
    CHECK(!hive_process_list_get(NULL, 0, out));
    CHECK(!hive_state_info(NULL, out) && !hive_state_device_count(NULL, out));
    CHECK(!hive_state_device(NULL, 0, out) && !hive_snapshot_age_ms(NULL, 0, out));
    CHECK(!hive_snapshot_online(NULL, 0) && !hive_snapshot_worker(NULL, 0, 0, out));
    CHECK(!hive_stats_totals(NULL, out) && !hive_stats_hive(NULL, 0, out));
#define OPTIONAL(function) CHECK(!function(NULL, out) && !function(told, NULL))
    OPTIONAL(hive_worker_url);
    OPTIONAL(hive_worker_model_id);
    OPTIONAL(hive_worker_backend);
    OPTIONAL(hive_worker_device_id);
    OPTIONAL(hive_worker_vram_bytes);
    OPTIONAL(hive_worker_vram_total_bytes);
    OPTIONAL(hive_worker_vram_free_bytes);
    OPTIONAL(hive_worker_ram_bytes);
    OPTIONAL(hive_worker_cpu_percent);
    OPTIONAL(hive_worker_gpu_percent);
    OPTIONAL(hive_worker_max_concurrency);
    OPTIONAL(hive_worker_process);
#undef OPTIONAL
    CHECK(is_untouched());
    hive_worker_free(told);

    hive_process_list_t *processes = NULL;
    hive_snapshot_t *snapshot = NULL;
    hive_stats_t *stats = NULL;
    CHECK_STATUS(hive_registry_get_workers(registry, TEXT("gpu-3"), &processes), HIVE_OK);
    CHECK_STATUS(hive_registry_snapshot(registry, &snapshot), HIVE_OK);
    CHECK_STATUS(hive_registry_stats(registry, &stats), HIVE_OK);
    const hive_state_t *state = hive_snapshot_state(snapshot, 2);
    CHECK_STR(hive_state_hive_id(state), "gpu-3");
    CHECK(hive_process_list_len(processes) > 0 && !hive_process_list_get(processes, 0, NULL));
    CHECK(!hive_state_info(state, NULL) && !hive_state_device_count(state, NULL));
    CHECK(!hive_state_device(state, 0, NULL) && !hive_snapshot_age_ms(snapshot, 0, NULL));
    CHECK(!hive_snapshot_worker(snapshot, 0, 0, NULL));
    CHECK(hive_state_worker_by_id(state, NULL, 0) == NULL);
    CHECK(hive_state_worker_by_id(state, TEXT("\xff")) == NULL);
    CHECK(hive_worker_process(hive_state_worker(state, 0), out));
    CHECK(!hive_worker_process(hive_state_worker(state, 0), NULL));
    CHECK(!hive_stats_totals(stats, NULL) && !hive_stats_hive(stats, 0, NULL));
    hive_process_list_free(processes);
    hive_snapshot_free(snapshot);
    hive_stats_free(stats);
    CHECK(hive_last_error_message().ptr == said.ptr);
}

static void nothing_is_freed(void) {
    hive_clock_free(NULL);
    hive_error_free(NULL);
    hive_events_free(NULL);
    hive_event_free(NULL);
    hive_text_free(NULL);
    hive_worker_list_free(NULL);
    hive_id_list_free(NULL);
    hive_process_list_free(NULL);
    hive_registry_free(NULL);
    hive_reservation_free(NULL);
    hive_model_free(NULL);
    hive_state_free(NULL);
    hive_snapshot_free(NULL);
    hive_stats_free(NULL);
    hive_sweeper_free(NULL);
    hive_worker_free(NULL);
}

int main(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = registry_on(clock);
    hive_worker_report_t full = {
        .worker_id = hive_str("w"), .url = hive_str("u"), .model_id = hive_str("full"),
        .backend = hive_str("cuda"), .device_id = {true, 1}, .vram_bytes = {true, 1},
        .vram_total_bytes = {true, 2}, .ram_bytes = {true, 1}, .cpu_percent = {true, 1},
        .gpu_percent = {true, 1}, .max_concurrency = {true, 1},
    };
    /* Nobody picks it. */
    full.state = hive_str("Draining");
    beat(registry, "gpu-1", 0, &full, 1);
    questions(registry);
    scheduling(registry);
    CHECK_EQ(hive_count(registry), 1);
    plain_heartbeats(registry);
    telemetry(registry);
    CHECK_EQ(hive_count(registry), 3);
    accessors(registry);
    nothing_is_freed();

    /* A handle that was freed and set to NULL, as programs do, is as any NULL. */
    hive_registry_free(registry);
    registry = NULL;
    NULLS(hive_registry_hive_count(registry, out), "registry");
    hive_registry_free(registry);
    hive_clock_free(clock);
    clock = NULL;
    NULLS(hive_clock_advance(clock, 1), "clock");
    hive_clock_free(clock);
    return 0;
}
