/* Four threads on one registry do everything at once; afterwards every count is exact.
   HIVE_ITERATIONS says how often each goes round. */
#include <pthread.h>

#include "test.h"

enum { THREADS = 4, WORKERS = 3, HELD = 8 };

typedef struct {
    const hive_registry_t *registry;
    int iterations;
    int number;
    /* What this thread asked for. */
    uint64_t beats, refused, picks;
} thread_t;

/* A worker is there or not, for others remove and register meanwhile; but nothing fails. */
static bool found(hive_status_t status) {
    CHECK(status == HIVE_OK || status == HIVE_NONE);
    return status == HIVE_OK;
}

static void beats(thread_t *self, int round) {
    const hive_registry_t *registry = self->registry;
    char hive[16];
    snprintf(hive, sizeof hive, "gpu-%d", self->number);
    hive_worker_report_t workers[WORKERS] = {worker("a", "m"), worker("b", "m"),
                                             worker("c", NULL)};
    workers[0].gpu_percent = (hive_opt_f32_t){true, (float)(round % 100)};
    workers[0].max_concurrency = (hive_opt_u32_t){true, 3};
    beat(registry, hive, 0, workers, round % 4 == 0 ? WORKERS - 1 : WORKERS);

    /* A hive that all threads take from each other. */
    hive_process_t process = {.group = hive_str("llm"), .instance = hive_str("1"),
                              .model = hive_str("m")};
    CHECK_STATUS(hive_registry_update_workers(registry, TEXT("shared"), &process, 1, NULL),
                 HIVE_OK);
    self->beats += 2;
    if (round % 3 == 0)
        found(hive_registry_remove_hive(registry, TEXT("shared")));
}

static void reads(thread_t *self) {
    const hive_registry_t *registry = self->registry;
    hive_worker_list_t *workers = NULL;
    hive_id_list_t *ids = NULL;
    hive_snapshot_t *snapshot = NULL;
    CHECK_STATUS(hive_registry_find_workers_by_model(registry, TEXT("m"), &workers), HIVE_OK);
    CHECK_STATUS(hive_registry_list_all_hives(registry, &ids), HIVE_OK);
    CHECK_STATUS(hive_registry_snapshot(registry, &snapshot), HIVE_OK);
    /* This thread's own hive stays, and two workers of it have the model. */
    CHECK(hive_id_list_len(ids) >= 1 && hive_id_list_len(ids) <= THREADS + 1);
    CHECK(hive_worker_list_len(workers) >= 2 && hive_worker_list_len(workers) <= 2 * THREADS + 1);
    for (size_t at = 0; at < hive_worker_list_len(workers); at++) {
        hive_str_t model;
        CHECK(hive_worker_model_id(hive_worker_list_get(workers, at), &model));
        CHECK_STR(model, "m");
    }
    hive_worker_list_free(workers);
    hive_id_list_free(ids);
    hive_snapshot_free(snapshot);
}

static void schedules(thread_t *self, hive_reservation_t **held, int round) {
    const hive_registry_t *registry = self->registry;
    hive_worker_t *picked = NULL;
    hive_lease_t lease;
    hive_policy_t policy = {.kind = (uint32_t)round % HIVE_POLICY_SCORE, .choices = 2};
    if (found(hive_registry_find_best_worker_for_model(registry, TEXT("m"), &picked)))
        hive_worker_free(picked);
    if (found(hive_registry_pick(registry, TEXT("m"), &policy, &picked))) {
        CHECK(hive_worker_hive_id(picked).len > 0);
        hive_worker_free(picked);
    }
    hive_reservation_free(held[round % HELD]);
    held[round % HELD] = NULL;
    if (round % 2 == 0)
        found(hive_registry_reserve_worker_for_model(registry, TEXT("m"), &held[round % HELD]));
    else
        found(hive_registry_reserve_with(registry, TEXT("m"), &policy, &held[round % HELD]));
    if (found(hive_registry_reserve_detached(registry, TEXT("m"), 1000, &lease, NULL)))
        found(hive_registry_release_lease(registry, lease.id));
    self->picks += 4;
}

/* Each thread is told its own last error, whatever the others do. */
static void fails(thread_t *self, int round) {
    char body[96], message[64];
    snprintf(body, sizeof body, "{\"hive_id\":\"h\",\"timestamp\":\"%d-%d\",\"workers\":[]}",
             self->number, round);
    snprintf(message, sizeof message, "timestamp: \"%d-%d\" refused", self->number, round);
    CHECK_STATUS(hive_registry_ingest_json(self->registry, body, strlen(body), NULL),
                 HIVE_INVALID_FIELD);
    self->refused++;
    reads(self);
    CHECK_MESSAGE(message);
}

static void *runs(void *argument) {
    thread_t *self = argument;
    hive_reservation_t *held[HELD] = {NULL};
    CHECK_STR(hive_last_error_message(), "");
    for (int round = 0; round < self->iterations; round++) {
        beats(self, round);
        schedules(self, held, round);
        fails(self, round);
    }
    for (size_t at = 0; at < HELD; at++)
        hive_reservation_free(held[at]);
    return NULL;
}

int main(void) {
    const char *asked = getenv("HIVE_ITERATIONS");
    int iterations = asked != NULL ? atoi(asked) : 1000;
    CHECK(iterations > 0);
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = registry_on(clock);
    CHECK_REFUSED(hive_clock_advance(NULL, 1), HIVE_NULL_ARGUMENT, "clock");

    pthread_t ids[THREADS];
    thread_t threads[THREADS];
    for (int at = 0; at < THREADS; at++) {
        threads[at] = (thread_t){.registry = registry, .iterations = iterations, .number = at};
        CHECK_EQ(pthread_create(&ids[at], NULL, runs, &threads[at]), 0);
    }
    uint64_t beats_sent = 0, refused = 0, picks = 0;
    for (int at = 0; at < THREADS; at++) {
        CHECK_EQ(pthread_join(ids[at], NULL), 0);
        beats_sent += threads[at].beats;
        refused += threads[at].refused;
        picks += threads[at].picks;
    }
    CHECK_STR(hive_last_error_message(), "clock: NULL refused");

    hive_totals_t told = totals(registry);
    CHECK_EQ(told.registered + told.updated, beats_sent);
    CHECK_EQ(told.superseded + told.removed, 0);
    CHECK_EQ(told.refused, refused);
    CHECK_EQ(told.picks + told.misses, picks);
    CHECK_EQ(told.reservations_open, 0);

    CHECK_STATUS(hive_registry_update_workers(registry, TEXT("shared"), NULL, 0, NULL), HIVE_OK);
    size_t count = 0, last = (iterations - 1) % 4 == 0 ? WORKERS - 1 : WORKERS;
    CHECK_EQ(hive_count(registry), THREADS + 1);
    CHECK_STATUS(hive_registry_total_worker_count(registry, &count), HIVE_OK);
    CHECK_EQ(count, THREADS * last);
    hive_snapshot_t *snapshot = NULL;
    CHECK_STATUS(hive_registry_snapshot(registry, &snapshot), HIVE_OK);
    for (size_t hive = 0; hive < THREADS; hive++) {
        hive_worker_snapshot_t worker;
        for (size_t at = 0; at < last; at++) {
            CHECK(hive_snapshot_worker(snapshot, hive, at, &worker));
            CHECK_EQ(worker.reservations, 0);
        }
        CHECK(!hive_snapshot_worker(snapshot, hive, last, &worker));
    }
    hive_snapshot_free(snapshot);
    hive_registry_free(registry);
    hive_clock_free(clock);
    return 0;
}
