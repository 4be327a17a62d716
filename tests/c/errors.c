/* Errors that are somebody's own: of this thread, and of a handle. */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>

#include "test.h"

/* The texts of the parts; NULL where there is none. */
static void checks(const hive_error_t *error, uint32_t status, const char *field, const char *value,
                   const char *bound) {
    CHECK_EQ(hive_error_status(error), status);
    CHECK(hive_error_message(error).len > 0);
    const struct {
        bool (*tells)(const hive_error_t *, hive_str_t *);
        const char *want;
    } parts[] = {{hive_error_field, field}, {hive_error_value, value}, {hive_error_bound, bound}};
    for (size_t at = 0; at < LEN(parts); at++) {
        hive_str_t told = hive_str("untouched");
        CHECK_EQ(parts[at].tells(error, &told), parts[at].want != NULL);
        CHECK_STR(told, parts[at].want != NULL ? parts[at].want : "untouched");
        CHECK(!parts[at].tells(error, NULL));
    }
}

/* First in main: nothing has failed yet. */
static void an_error_is_taken_once(void) {
    hive_error_t *error = NULL, *other = NULL;
    hive_registry_t *registry = registry_of(NULL);
    CHECK_STATUS(hive_error_take(&error), HIVE_NONE);
    CHECK_STATUS(hive_registry_take_error(registry, &error), HIVE_NONE);
    CHECK(error == NULL);

    CHECK_STATUS(hive_registry_ingest_json(registry, NULL, 0, NULL), HIVE_NULL_ARGUMENT);
    hive_str_t said = hive_last_error_message();
    CHECK_STATUS(hive_error_take(&error), HIVE_OK);
    checks(error, HIVE_NULL_ARGUMENT, "body", NULL, NULL);
    CHECK_STR(hive_error_message(error), "body: NULL refused");
    CHECK_STATUS(hive_error_take(&other), HIVE_NONE);
    CHECK(other == NULL);
    /* The view is as good as before, whoever took it. */
    hive_error_free(error);
    CHECK(hive_last_error_message().ptr == said.ptr);
    CHECK_STR(said, "body: NULL refused");

    CHECK_STATUS(hive_registry_take_error(registry, &error), HIVE_OK);
    checks(error, HIVE_NULL_ARGUMENT, "body", NULL, NULL);
    CHECK_STATUS(hive_registry_take_error(registry, &other), HIVE_NONE);
    /* It outlives the next one, and the handle. */
    CHECK_STATUS(hive_registry_ingest_json(registry, "{", 1, NULL), HIVE_MALFORMED);
    hive_registry_free(registry);
    CHECK_STR(hive_error_message(error), "body: NULL refused");
    hive_error_free(error);
}

static void an_error_tells_its_parts(void) {
    hive_config_t config = {.size = sizeof config, .max_hives = {true, 1}, .shards = {true, 3}};
    hive_registry_t *registry = NULL;
    hive_error_t *error = NULL;
    CHECK_STATUS(hive_registry_new(&config, &registry), HIVE_INVALID_CONFIG);
    CHECK_STATUS(hive_error_take(&error), HIVE_OK);
    checks(error, HIVE_INVALID_CONFIG, "shards", "3", "a power of two from 2 to 65536");
    hive_error_free(error);

    config.shards.some = false;
    hive_clock_t *clock = clock_new();
    config.clock = clock;
    registry = registry_of(&config);
#define TELLS(call, status, field, value, bound)                               \
    do {                                                                       \
        CHECK_STATUS(call, status);                                            \
        CHECK_STATUS(hive_registry_take_error(registry, &error), HIVE_OK);     \
        checks(error, status, field, value, bound);                            \
        hive_error_free(error);                                                \
    } while (0)
    hive_worker_report_t workers[2] = {worker("a", NULL), worker("", NULL)};
    hive_heartbeat_t sent = {.hive_id = hive_str("gpu-1"),
                             .timestamp = hive_str("noon"),
                             .workers = workers,
                             .workers_len = 2};
#define SEND hive_registry_ingest_payload(registry, &sent, NULL)
    TELLS(SEND, HIVE_INVALID_FIELD, "timestamp", "\"noon\"", "RFC 3339, as 2025-10-21T10:00:00Z");
    sent.timestamp = hive_str("2025-10-21T10:00:00Z");
    TELLS(SEND, HIVE_INVALID_FIELD, "workers[1].worker_id", "\"\"", "1 to 256 bytes, not 0");
    workers[1].worker_id.ptr = NULL;
    TELLS(SEND, HIVE_NULL_ARGUMENT, "workers[1].worker_id", NULL, NULL);
    workers[1].worker_id = hive_str("\xff");
    TELLS(SEND, HIVE_INVALID_UTF8, "workers[1].worker_id", NULL, NULL);
    sent.workers_len = 1;
    hive_info_t info = {.operational_status = 9};
    sent.hive_info = &info;
    TELLS(SEND, HIVE_INVALID_FIELD, "hive_info.operational_status", "9",
          "a hive_operational_t, 0 to 4");
    sent.hive_info = NULL;
    CHECK_STATUS(SEND, HIVE_OK);
    sent.hive_id = hive_str("gpu-2");
    TELLS(SEND, HIVE_OVER_LIMIT, "hives", "2", "at most 1");
#undef SEND
    TELLS(hive_registry_ingest_json(registry, TEXT("{\"hive_id\": 7}"), NULL), HIVE_MALFORMED,
          "hive_id", NULL, NULL);
    hive_worker_t *picked = NULL;
    hive_policy_t policy = {.kind = 77};
    TELLS(hive_registry_pick(registry, TEXT("m"), &policy, &picked), HIVE_INVALID_ARGUMENT,
          "policy.kind", "77", "a hive_policy_kind_t, 0 to 5");
#undef TELLS
    hive_registry_free(registry);
    hive_clock_free(clock);
}

/* Two threads, each with a handle of its own, and a field that says whose it is. */
typedef struct {
    hive_registry_t *handle;
    char field[8];
    pthread_barrier_t *meet;
} caller_t;

static void *fails(void *argument) {
    caller_t *caller = argument;
    char body[64];
    pthread_barrier_wait(caller->meet);
    for (int round = 0; round < 200; round++) {
        CHECK_STATUS(hive_registry_ingest_json(caller->handle, "{", 1, NULL), HIVE_MALFORMED);
        int len = snprintf(body, sizeof body,
                       "{\"hive_id\":\"%s\",\"timestamp\":\"%s\",\"workers\":[]}", caller->field,
                       caller->field);
        CHECK_STATUS(hive_registry_ingest_json(caller->handle, body, (size_t)len, NULL),
                     HIVE_INVALID_FIELD);
    }
    return NULL;
}

static void each_handle_keeps_its_own(void) {
    hive_registry_t *registry = registry_of(NULL);
    pthread_barrier_t meet;
    CHECK_EQ(pthread_barrier_init(&meet, NULL, 2), 0);
    caller_t callers[2] = {{.field = "one", .meet = &meet}, {.field = "two", .meet = &meet}};
    pthread_t threads[2];
    for (size_t at = 0; at < 2; at++) {
        CHECK_STATUS(hive_registry_clone(registry, &callers[at].handle), HIVE_OK);
        CHECK_EQ(pthread_create(&threads[at], NULL, fails, &callers[at]), 0);
    }
    for (size_t at = 0; at < 2; at++)
        CHECK_EQ(pthread_join(threads[at], NULL), 0);
    /* A third thread, this one, which has not failed, nor has its handle. */
    hive_error_t *error = NULL;
    CHECK_STATUS(hive_registry_take_error(registry, &error), HIVE_NONE);
    for (size_t at = 0; at < 2; at++) {
        CHECK_STATUS(hive_registry_take_error(callers[at].handle, &error), HIVE_OK);
        char value[16];
        snprintf(value, sizeof value, "\"%s\"", callers[at].field);
        checks(error, HIVE_INVALID_FIELD, "timestamp", value, "RFC 3339, as 2025-10-21T10:00:00Z");
        hive_error_free(error);
        hive_registry_free(callers[at].handle);
    }
    pthread_barrier_destroy(&meet);
    hive_registry_free(registry);
}

int main(void) {
    an_error_is_taken_once();
    an_error_tells_its_parts();
    each_handle_keeps_its_own();
    return 0;
}
