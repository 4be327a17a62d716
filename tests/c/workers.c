/* Every question about workers, and about the processes of the telemetry form. */
#include "test.h"

#define MB (UINT64_C(1) << 20)

/* Takes the list over; `names` as "gpu-1/a gpu-2/b ". */
static void checks_list(hive_worker_list_t *list, const char *names) {
    char told[256] = "";
    for (size_t at = 0; at < hive_worker_list_len(list); at++) {
        const hive_worker_t *worker = hive_worker_list_get(list, at);
        hive_str_t hive = hive_worker_hive_id(worker), id = hive_worker_id(worker);
        size_t used = strlen(told);
        snprintf(told + used, sizeof told - used, "%.*s/%.*s ", (int)hive.len, hive.ptr,
                 (int)id.len, id.ptr);
    }
    CHECK_STR(hive_str(told), names);
    CHECK(hive_worker_list_get(list, hive_worker_list_len(list)) == NULL);
    CHECK(hive_worker_list_get(list, SIZE_MAX) == NULL);
    hive_worker_list_free(list);
}

/* Registered in neither order. */
static hive_registry_t *fleet(hive_clock_t *clock) {
    hive_registry_t *registry = registry_on(clock);
    hive_worker_report_t workers[] = {worker("c", "llama"), worker("a", "llama"),
                                      worker("b", NULL)};
    workers[0].backend = hive_str("CUDA");
    workers[0].state = hive_str("Busy");
    workers[0].url = hive_str("http://10.0.0.2:1");
    workers[1].backend = hive_str("cpu");
    workers[2].backend = hive_str("ROCm");
    beat(registry, "gpu-2", 0, workers, 3);
    workers[1].url = hive_str("http://10.0.0.1:1");
    beat(registry, "gpu-1", 0, &workers[1], 2);
    return registry;
}

#define CHECK_LIST(call, names)               \
    do {                                      \
        hive_worker_list_t *list = NULL;      \
        CHECK_STATUS(call, HIVE_OK);          \
        checks_list(list, names);             \
    } while (0)

static void lists_are_in_order(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = fleet(clock);
    CHECK_LIST(hive_registry_list_all_workers(registry, &list),
               "gpu-1/a gpu-1/b gpu-2/a gpu-2/b gpu-2/c ");
    CHECK_LIST(hive_registry_find_idle_workers(registry, &list),
               "gpu-1/a gpu-1/b gpu-2/a gpu-2/b ");
    CHECK_LIST(hive_registry_find_workers_by_model(registry, TEXT("llama"), &list),
               "gpu-1/a gpu-2/a gpu-2/c ");
    CHECK_LIST(hive_registry_find_workers_by_model(registry, TEXT("nobody's"), &list), "");
    CHECK_LIST(hive_registry_find_workers_with_model(registry, TEXT("llama"), &list),
               "gpu-1/a gpu-2/a gpu-2/c ");
    CHECK_LIST(hive_registry_find_workers_by_backend(registry, TEXT("cuda"), &list), "gpu-2/c ");
    CHECK_LIST(hive_registry_find_workers_by_backend(registry, TEXT("CPU"), &list),
               "gpu-1/a gpu-2/a ");
    CHECK_LIST(hive_registry_find_workers_by_backend(registry, TEXT("rocm"), &list),
               "gpu-1/b gpu-2/b ");
    CHECK_LIST(hive_registry_get_workers_on_hive(registry, TEXT("gpu-2"), &list),
               "gpu-2/a gpu-2/b gpu-2/c ");
    CHECK_LIST(hive_registry_get_workers_on_hive(registry, TEXT("gpu-9"), &list), "");

    size_t count = 0;
    CHECK_STATUS(hive_registry_total_worker_count(registry, &count), HIVE_OK);
    CHECK_EQ(count, 5);

    /* A list is of its moment and outlives the registry. */
    hive_worker_list_t *kept = NULL;
    CHECK_STATUS(hive_registry_list_all_workers(registry, &kept), HIVE_OK);
    CHECK_STATUS(hive_registry_remove_hive(registry, TEXT("gpu-2")), HIVE_OK);
    CHECK_LIST(hive_registry_list_all_workers(registry, &list), "gpu-1/a gpu-1/b ");
    hive_registry_free(registry);
    checks_list(kept, "gpu-1/a gpu-1/b gpu-2/a gpu-2/b gpu-2/c ");
    hive_clock_free(clock);
}

static void checks_worker(hive_worker_t *worker, const char *hive, const char *id) {
    CHECK_STR(hive_worker_hive_id(worker), hive);
    CHECK_STR(hive_worker_id(worker), id);
    hive_worker_free(worker);
}

static void a_worker_is_found_by_name(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = fleet(clock);
    hive_worker_t *found = NULL;
    /* Heard at the same time: the lesser hive id. */
    CHECK_STATUS(hive_registry_get_worker(registry, TEXT("a"), &found), HIVE_OK);
    checks_worker(found, "gpu-1", "a");
    CHECK_STATUS(hive_registry_get_worker_on(registry, TEXT("gpu-2"), TEXT("a"), &found),
                 HIVE_OK);
    checks_worker(found, "gpu-2", "a");
    hive_text_t *url = NULL;
    CHECK_STATUS(hive_registry_get_worker_url(registry, TEXT("a"), &url), HIVE_OK);
    CHECK_STR(hive_text_str(url), "http://10.0.0.1:1");
    hive_text_free(url);
    hive_str_t name = hive_str("a");
    CHECK_STATUS(hive_registry_get_worker(registry, HIVE_STR_ARGS(name), &found), HIVE_OK);
    checks_worker(found, "gpu-1", "a");

    /* Heard last: the other. */
    hive_clock_advance(clock, 1000);
    beat_one(registry, "gpu-2", 1, "a", NULL);
    CHECK_STATUS(hive_registry_get_worker(registry, TEXT("a"), &found), HIVE_OK);
    checks_worker(found, "gpu-2", "a");

    found = NULL;
    CHECK_STATUS(hive_registry_get_worker(registry, TEXT("x"), &found), HIVE_NONE);
    CHECK_STATUS(hive_registry_get_worker_on(registry, TEXT("gpu-1"), TEXT("c"), &found),
                 HIVE_NONE);
    CHECK_STATUS(hive_registry_get_worker_on(registry, TEXT("gpu-9"), TEXT("a"), &found),
                 HIVE_NONE);
    url = NULL;
    CHECK_STATUS(hive_registry_get_worker_url(registry, TEXT("b"), &url), HIVE_NONE);
    CHECK_STATUS(hive_registry_get_worker_url(registry, TEXT("x"), &url), HIVE_NONE);
    CHECK(found == NULL && url == NULL);
    hive_registry_free(registry);
    hive_clock_free(clock);
}

static void a_worker_may_be_kept(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = fleet(clock);
    hive_worker_t *found = NULL;
    CHECK_STATUS(hive_registry_get_worker(registry, TEXT("c"), &found), HIVE_OK);
    hive_worker_t *kept = hive_worker_clone(found);
    CHECK(kept == found);
    hive_worker_free(found);
    hive_registry_free(registry);
    checks_worker(kept, "gpu-2", "c");
    hive_clock_free(clock);
}

/* What is free is a matter of the device, which workers may share. */
static void capacity_is_of_the_device(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = registry_on(clock);
    hive_worker_report_t workers[] = {worker("a", NULL), worker("b", NULL), worker("c", NULL),
                                      worker("d", NULL)};
    for (size_t at = 0; at < 3; at++) {
        workers[at].vram_total_bytes = (hive_opt_u64_t){true, 24 * MB};
        workers[at].vram_bytes = (hive_opt_u64_t){true, 10 * MB};
    }
    workers[0].device_id = workers[1].device_id = (hive_opt_u32_t){true, 0};
    beat(registry, "gpu-1", 0, workers, 4);
    CHECK_LIST(hive_registry_find_workers_with_capacity(registry, 0, &list),
               "gpu-1/a gpu-1/b gpu-1/c ");
    CHECK_LIST(hive_registry_find_workers_with_capacity(registry, 4, &list),
               "gpu-1/a gpu-1/b gpu-1/c ");
    CHECK_LIST(hive_registry_find_workers_with_capacity(registry, 5, &list), "gpu-1/c ");
    CHECK_LIST(hive_registry_find_workers_with_capacity(registry, 14, &list), "gpu-1/c ");
    CHECK_LIST(hive_registry_find_workers_with_capacity(registry, 15, &list), "");
    CHECK_LIST(hive_registry_find_workers_with_capacity(registry, UINT64_MAX, &list), "");
    hive_registry_free(registry);
    hive_clock_free(clock);
}

static void processes_are_told_as_sent(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = registry_on(clock);
    hive_process_t sent[] = {
        {.pid = 2, .group = hive_str("llm"), .instance = hive_str("b"), .model = hive_str("m")},
        {.pid = 1, .group = hive_str("llm"), .instance = hive_str("a")},
    };
    beat_one(registry, "gpu-0", 0, "plain", NULL);
    CHECK_STATUS(hive_registry_update_workers(registry, TEXT("gpu-2"), sent, 1, NULL), HIVE_OK);
    CHECK_STATUS(hive_registry_update_workers(registry, TEXT("gpu-1"), sent, 2, NULL), HIVE_OK);

    hive_process_list_t *list = NULL;
    hive_process_t told;
    CHECK_STATUS(hive_registry_get_workers(registry, TEXT("gpu-9"), &list), HIVE_NONE);
    CHECK(list == NULL);
    CHECK_STATUS(hive_registry_get_workers(registry, TEXT("gpu-0"), &list), HIVE_OK);
    CHECK_EQ(hive_process_list_len(list), 0);
    hive_process_list_free(list);
    CHECK_STATUS(hive_registry_get_workers(registry, TEXT("gpu-1"), &list), HIVE_OK);
    CHECK_EQ(hive_process_list_len(list), 2);
    CHECK(hive_process_list_get(list, 0, &told));
    CHECK_EQ(told.pid, 1);
    CHECK(told.model.ptr == NULL);
    CHECK(hive_process_list_get(list, 1, &told));
    CHECK_EQ(told.pid, 2);
    CHECK_STR(told.model, "m");
    CHECK_STR(hive_process_list_hive_id(list, 1), "gpu-1");
    hive_process_list_free(list);

    CHECK_STATUS(hive_registry_get_all_workers(registry, &list), HIVE_OK);
    hive_registry_free(registry);
    const char *hives[] = {"gpu-1", "gpu-1", "gpu-2"};
    const uint32_t pids[] = {1, 2, 2};
    CHECK_EQ(hive_process_list_len(list), 3);
    for (size_t at = 0; at < 3; at++) {
        CHECK_STR(hive_process_list_hive_id(list, at), hives[at]);
        CHECK(hive_process_list_get(list, at, &told));
        CHECK_EQ(told.pid, pids[at]);
        CHECK_STR(told.group, "llm");
    }
    CHECK(!hive_process_list_get(list, 3, &told));
    CHECK_STR(hive_process_list_hive_id(list, 3), "");
    hive_process_list_free(list);
    hive_clock_free(clock);
}

int main(void) {
    lists_are_in_order();
    a_worker_is_found_by_name();
    a_worker_may_be_kept();
    capacity_is_of_the_device();
    processes_are_told_as_sent();
    return 0;
}
