/* A pick allocates nothing: every allocation of the process is counted here, those of the library too. */
#include "test.h"

#include <stdatomic.h>
#include <stdlib.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static atomic_ulong allocations;

void *malloc(size_t size) {
    atomic_fetch_add(&allocations, 1);
    return __libc_malloc(size);
}

void *calloc(size_t items, size_t size) {
    atomic_fetch_add(&allocations, 1);
    return __libc_calloc(items, size);
}

void *realloc(void *old, size_t size) {
    atomic_fetch_add(&allocations, 1);
    return __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    atomic_fetch_add(&allocations, 1);
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size) {
    atomic_fetch_add(&allocations, 1);
    *out = __libc_memalign(alignment, size);
    return *out ? 0 : 12;
}

int main(void) {
    hive_registry_t *registry = NULL;
    CHECK_STATUS(hive_registry_new(NULL, &registry), HIVE_OK);
    hive_worker_report_t workers[] = {
        {.worker_id = hive_str("a"), .model_id = hive_str("m")},
        {.worker_id = hive_str("b"), .model_id = hive_str("m")},
    };
    hive_heartbeat_t heartbeat = {
        .hive_id = hive_str("gpu-1"),
        .timestamp = hive_str("2100-01-01T00:00:00Z"),
        .workers = workers,
        .workers_len = 2,
    };
    CHECK_STATUS(hive_registry_update_hive_state(registry, "gpu-1", 5, &heartbeat, NULL), HIVE_OK);
    hive_model_t *model = NULL;
    CHECK_STATUS(hive_registry_model(registry, "m", 1, &model), HIVE_OK);

    unsigned long before = 0;
    for (int round = 0; round < 1000; round++) {
        hive_worker_t *worker = NULL;
        CHECK_STATUS(hive_registry_find_best_worker_for_model(registry, "m", 1, &worker), HIVE_OK);
        hive_worker_t *kept = hive_worker_clone(worker);
        hive_worker_free(worker);
        hive_worker_free(kept);
        CHECK_STATUS(hive_registry_find_best_worker_for_model(registry, "none", 4, &worker), HIVE_OK);
        hive_worker_free(worker);
        CHECK_STATUS(hive_model_find_best_worker(model, &worker), HIVE_OK);
        hive_worker_free(worker);
        if (round == 0) {
            /* What a thread needs once is there now. */
            before = atomic_load(&allocations);
            CHECK(before > 0);
        }
    }
    CHECK(atomic_load(&allocations) == before);
    hive_model_free(model);
    hive_registry_free(registry);
    return 0;
}
