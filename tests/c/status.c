/* Numbers and names that programs were compiled with, and the last error. */
#include "test.h"

typedef struct {
    uint32_t number;
    const char *name;
} status_t;

/* The place in the list is the number. */
static void numbers_are_pinned(void) {
    const status_t statuses[] = {
        {HIVE_OK, "HIVE_OK"},
        {HIVE_NONE, "HIVE_NONE"},
        {HIVE_NULL_ARGUMENT, "HIVE_NULL_ARGUMENT"},
        {HIVE_INVALID_UTF8, "HIVE_INVALID_UTF8"},
        {HIVE_INVALID_LENGTH, "HIVE_INVALID_LENGTH"},
        {HIVE_INVALID_ARGUMENT, "HIVE_INVALID_ARGUMENT"},
        {HIVE_INVALID_CONFIG, "HIVE_INVALID_CONFIG"},
        {HIVE_MALFORMED, "HIVE_MALFORMED"},
        {HIVE_INVALID_FIELD, "HIVE_INVALID_FIELD"},
        {HIVE_OVER_LIMIT, "HIVE_OVER_LIMIT"},
        {HIVE_TIMEOUT, "HIVE_TIMEOUT"},
        {HIVE_LAGGED, "HIVE_LAGGED"},
        {HIVE_CLOSED, "HIVE_CLOSED"},
        {HIVE_SYSTEM, "HIVE_SYSTEM"},
        {HIVE_PANIC, "HIVE_PANIC"},
    };
    for (size_t at = 0; at < LEN(statuses); at++) {
        CHECK_EQ(statuses[at].number, at);
        CHECK_STR(hive_status_name((uint32_t)at), statuses[at].name);
    }
    CHECK_STR(hive_status_name(LEN(statuses)), "unknown");
    CHECK_STR(hive_status_name(UINT32_MAX), "unknown");

    const uint32_t applied[] = {HIVE_APPLIED_OTHER, HIVE_APPLIED_REGISTERED, HIVE_APPLIED_UPDATED,
                                HIVE_APPLIED_SUPERSEDED, HIVE_APPLIED_REMOVED};
    const uint32_t events[] = {
        HIVE_EVENT_OTHER,        HIVE_EVENT_HIVE_REGISTERED, HIVE_EVENT_HIVE_UPDATED,
        HIVE_EVENT_HIVE_OFFLINE, HIVE_EVENT_HIVE_REMOVED,    HIVE_EVENT_WORKER_ADDED,
        HIVE_EVENT_WORKER_CHANGED, HIVE_EVENT_WORKER_REMOVED,
    };
    const uint32_t health[] = {HIVE_HEALTH_HEALTHY, HIVE_HEALTH_DEGRADED, HIVE_HEALTH_UNHEALTHY};
    const uint32_t liveness[] = {HIVE_LIVENESS_REPORTED, HIVE_LIVENESS_ARRIVAL};
    const uint32_t operational[] = {HIVE_OPERATIONAL_STARTING, HIVE_OPERATIONAL_READY,
                                    HIVE_OPERATIONAL_BUSY, HIVE_OPERATIONAL_STOPPING,
                                    HIVE_OPERATIONAL_STOPPED};
    const uint32_t policies[] = {HIVE_POLICY_LEAST_LOADED, HIVE_POLICY_POWER_OF_CHOICES,
                                 HIVE_POLICY_ROUND_ROBIN, HIVE_POLICY_RANDOM, HIVE_POLICY_SCORE,
                                 HIVE_POLICY_CHOOSE};
    const uint32_t stale[] = {HIVE_STALE_EXCLUDE, HIVE_STALE_IGNORE};
    const struct {
        const uint32_t *numbers;
        size_t len;
    } enums[] = {
        {applied, LEN(applied)},   {events, LEN(events)},           {health, LEN(health)},
        {liveness, LEN(liveness)}, {operational, LEN(operational)}, {policies, LEN(policies)},
        {stale, LEN(stale)},
    };
    for (size_t at = 0; at < LEN(enums); at++) {
        for (size_t number = 0; number < enums[at].len; number++)
            CHECK_EQ(enums[at].numbers[number], number);
    }
}

/* A library of later makes numbers that this program has no name for. */
static void any_number_is_a_status(void) {
    const uint32_t numbers[] = {15, 16, 17, 255, UINT32_C(4000000000), UINT32_MAX};
    for (size_t at = 0; at < LEN(numbers); at++) {
        hive_status_t status = numbers[at];
        hive_applied_t applied = numbers[at];
        hive_event_kind_t kind = numbers[at];
        CHECK(status == numbers[at] && applied == numbers[at] && kind == numbers[at]);
        CHECK(status > HIVE_PANIC && status != HIVE_OK);
        CHECK_STR(hive_status_name(status), "unknown");
    }
    CHECK_EQ(sizeof(hive_status_t), sizeof(uint32_t));
    CHECK_EQ(sizeof(hive_applied_t), sizeof(uint32_t));
    CHECK_EQ(sizeof(hive_event_kind_t), sizeof(uint32_t));
    CHECK_EQ(sizeof(hive_health_t), sizeof(uint32_t));
    CHECK_EQ(sizeof(hive_liveness_t), sizeof(uint32_t));
    CHECK_EQ(sizeof(hive_operational_t), sizeof(uint32_t));
    CHECK_EQ(sizeof(hive_policy_kind_t), sizeof(uint32_t));
    CHECK_EQ(sizeof(hive_stale_t), sizeof(uint32_t));
}

static void the_header_is_of_the_library(void) {
    char version[64];
    snprintf(version, sizeof version, "%d.%d.%d", HIVE_VERSION_MAJOR, HIVE_VERSION_MINOR,
             HIVE_VERSION_PATCH);
    CHECK_STR(hive_version(), version);
}

static void a_view_is_of_a_c_string(void) {
    CHECK_EQ(hive_str("gpu-1").len, 5);
    CHECK_EQ(hive_str("").len, 0);
    CHECK(hive_str("").ptr != NULL);
    CHECK(hive_str(NULL).ptr == NULL);
    CHECK_EQ(hive_str(NULL).len, 0);
}

/* First in main: nothing has failed yet. */
static void the_last_error_stays_until_the_next(void) {
    CHECK_STR(hive_last_error_message(), "");
    CHECK(hive_last_error_message().ptr != NULL);

    hive_registry_t *registry = registry_of(NULL);
    CHECK_STR(hive_last_error_message(), "");
    CHECK_REFUSED(hive_registry_ingest_json(registry, NULL, 0, NULL), HIVE_NULL_ARGUMENT, "body");
    hive_str_t first = hive_last_error_message();

    hive_state_t *state = NULL;
    CHECK_STATUS(hive_registry_get_hive_state(registry, TEXT("gpu-1"), &state), HIVE_NONE);
    CHECK_EQ(hive_count(registry), 0);
    CHECK(hive_last_error_message().ptr == first.ptr);
    CHECK_STR(first, "body: NULL refused");

    CHECK_REFUSED(hive_clock_advance(NULL, 1), HIVE_NULL_ARGUMENT, "clock: NULL refused");
    hive_registry_free(registry);
}

/* Whatever was given, and cut between letters. */
static void no_error_is_longer_than_512_bytes(void) {
    hive_registry_t *registry = registry_of(NULL);
    size_t len = 1 << 20;
    char *long_id = malloc(len + 1);
    CHECK(long_id != NULL);
    const char *const letters[] = {"x", "\xc3\xa9", "\xf0\x9f\x90\x9d", "\x01"};
    for (size_t at = 0; at < LEN(letters); at++) {
        size_t bytes = strlen(letters[at]);
        for (size_t byte = 0; byte < len; byte++)
            long_id[byte] = letters[at][byte % bytes];
        long_id[len] = 0;
        hive_worker_report_t report = worker(long_id, long_id);
        hive_heartbeat_t heartbeat = {.hive_id = {long_id, len}, .timestamp = {long_id, len}, .workers = &report, .workers_len = 1};
        hive_model_t *model = NULL;
#define SHORT(call)                                                              \
    do {                                                                         \
        hive_status_t status = call;                                             \
        CHECK(status != HIVE_OK && status != HIVE_NONE && status != HIVE_PANIC); \
        hive_str_t said = hive_last_error_message();                             \
        CHECK(said.len > 0 && said.len <= 512);                                  \
    } while (0)
        SHORT(hive_registry_update_hive_state(registry, long_id, len, &heartbeat, NULL));
        SHORT(hive_registry_update_hive_state(registry, TEXT("gpu-1"), &heartbeat, NULL));
        heartbeat.hive_id = hive_str("gpu-1");
        SHORT(hive_registry_update_hive_state(registry, long_id, len, &heartbeat, NULL));
        SHORT(hive_registry_update_hive_state(registry, TEXT("gpu-1"), &heartbeat, NULL));
        heartbeat.timestamp = hive_str("2025-10-21T10:00:00Z");
        SHORT(hive_registry_update_hive_state(registry, TEXT("gpu-1"), &heartbeat, NULL));
        report.worker_id = hive_str("w");
        SHORT(hive_registry_update_hive_state(registry, TEXT("gpu-1"), &heartbeat, NULL));
        SHORT(hive_registry_ingest_json(registry, long_id, len, NULL));
        SHORT(hive_registry_model(registry, long_id, len, &model));
#undef SHORT
    }
    free(long_id);
    hive_registry_free(registry);
}

int main(void) {
    the_last_error_stays_until_the_next();
    numbers_are_pinned();
    any_number_is_a_status();
    the_header_is_of_the_library();
    a_view_is_of_a_c_string();
    no_error_is_longer_than_512_bytes();
    return 0;
}
