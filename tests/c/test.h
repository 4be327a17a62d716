/* What the tests share: checks that tell where and what, and a registry on a manual clock. */
#ifndef HIVE_TEST_H
#define HIVE_TEST_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hive_registry.h"

/* 2025-10-21T10:00:00Z */
#define T0 INT64_C(1761040800000)

/* A literal as the two arguments that a text is. */
#define TEXT(literal) (literal), (sizeof(literal) - 1)

#define LEN(array) (sizeof(array) / sizeof *(array))

#define FAIL(...)                                      \
    do {                                               \
        fprintf(stderr, "%s:%d: ", __FILE__, __LINE__); \
        fprintf(stderr, __VA_ARGS__);                  \
        fputc('\n', stderr);                           \
        exit(1);                                       \
    } while (0)

#define CHECK(cond)                \
    do {                           \
        if (!(cond))               \
            FAIL("%s", #cond);     \
    } while (0)

/* Whole numbers and enums. */
#define CHECK_EQ(got, want)                                                  \
    do {                                                                     \
        long long got_ = (long long)(got), want_ = (long long)(want);        \
        if (got_ != want_)                                                   \
            FAIL("%s is %lld, not %lld (%s)", #got, got_, want_, #want);     \
    } while (0)

/* Numbers that are told rounded. */
#define CHECK_NEAR(got, want)                                                \
    do {                                                                     \
        double got_ = (double)(got), want_ = (double)(want);                 \
        if (!(got_ > want_ - 1e-3 && got_ < want_ + 1e-3))                   \
            FAIL("%s is %g, not %g (%s)", #got, got_, want_, #want);         \
    } while (0)

#define CHECK_STR(got, want)                                                         \
    do {                                                                             \
        hive_str_t got_ = (got), want_ = hive_str(want);                             \
        if (got_.len != want_.len || memcmp(got_.ptr, want_.ptr, want_.len) != 0)    \
            FAIL("%s is \"%.*s\", not \"%s\"", #got, (int)got_.len, got_.ptr, want_.ptr); \
    } while (0)

#define CHECK_STATUS(call, want)                                                     \
    do {                                                                             \
        uint32_t got_ = (uint32_t)(call);                                            \
        if (got_ != (uint32_t)(want)) {                                              \
            hive_str_t name_ = hive_status_name(got_), why_ = hive_last_error_message(); \
            FAIL("%s is %.*s, not %s; last error: %.*s", #call, (int)name_.len, name_.ptr, \
                 #want, (int)why_.len, why_.ptr);                                    \
        }                                                                            \
    } while (0)

/* What the last error says, somewhere in it. */
#define CHECK_MESSAGE(part)                                                          \
    do {                                                                             \
        hive_str_t why_ = hive_last_error_message();                                 \
        char text_[1024];                                                            \
        snprintf(text_, sizeof text_, "%.*s", (int)why_.len, why_.ptr);              \
        if (strstr(text_, (part)) == NULL)                                           \
            FAIL("last error is \"%s\", without \"%s\"", text_, (part));             \
    } while (0)

#define CHECK_REFUSED(call, status, message) \
    do {                                     \
        CHECK_STATUS(call, status);          \
        CHECK_MESSAGE(message);              \
    } while (0)

static inline hive_clock_t *clock_new(void) {
    hive_clock_t *clock = NULL;
    CHECK_STATUS(hive_clock_new(T0, &clock), HIVE_OK);
    return clock;
}

static inline hive_registry_t *registry_of(const hive_config_t *config) {
    hive_registry_t *registry = NULL;
    CHECK_STATUS(hive_registry_new(config, &registry), HIVE_OK);
    return registry;
}

static inline hive_config_t config_on(const hive_clock_t *clock) {
    hive_config_t config = {.size = sizeof config, .clock = clock};
    return config;
}

static inline hive_registry_t *registry_on(const hive_clock_t *clock) {
    hive_config_t config = config_on(clock);
    return registry_of(&config);
}

/* An idle, healthy worker; `model` may be NULL. */
static inline hive_worker_report_t worker(const char *id, const char *model) {
    hive_worker_report_t report = {.worker_id = hive_str(id), .model_id = hive_str(model)};
    return report;
}

/* A plain heartbeat made `seconds` (below 3,600) after T0; what became of it. */
static inline uint32_t beat(const hive_registry_t *registry, const char *hive, int seconds,
                            const hive_worker_report_t *workers, size_t len) {
    char timestamp[64];
    snprintf(timestamp, sizeof timestamp, "2025-10-21T10:%02d:%02dZ", seconds / 60, seconds % 60);
    hive_heartbeat_t heartbeat = {
        .hive_id = hive_str(hive),
        .timestamp = hive_str(timestamp),
        .workers = workers,
        .workers_len = len,
    };
    uint32_t applied = 0;
    CHECK_STATUS(hive_registry_update_hive_state(registry, hive, strlen(hive), &heartbeat,
                                                 &applied),
                 HIVE_OK);
    return applied;
}

/* The same with one worker. */
static inline uint32_t beat_one(const hive_registry_t *registry, const char *hive, int seconds,
                                const char *id, const char *model) {
    hive_worker_report_t report = worker(id, model);
    return beat(registry, hive, seconds, &report, 1);
}

static inline size_t hive_count(const hive_registry_t *registry) {
    size_t count = SIZE_MAX;
    CHECK_STATUS(hive_registry_hive_count(registry, &count), HIVE_OK);
    return count;
}

static inline hive_totals_t totals(const hive_registry_t *registry) {
    hive_stats_t *stats = NULL;
    hive_totals_t told;
    CHECK_STATUS(hive_registry_stats(registry, &stats), HIVE_OK);
    CHECK(hive_stats_totals(stats, &told));
    hive_stats_free(stats);
    return told;
}

#endif
