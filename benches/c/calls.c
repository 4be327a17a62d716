/* The calls as a program in C makes them, each so many times; main.rs takes the time. */
#include <hive_registry.h>

hive_registry_t *c_registry(void);
bool c_beat(hive_registry_t *registry, const char *body, size_t len);
bool c_pick(const hive_registry_t *registry, const char *model, size_t len, size_t times);
bool c_reserve(const hive_registry_t *registry, const char *model, size_t len, size_t times);

hive_registry_t *c_registry(void) {
    hive_config_t config = {
        .size = sizeof config,
        .liveness_window_ms = {true, 3600000},
        .seed = {true, 1},
    };
    hive_registry_t *registry = NULL;
    return hive_registry_new(&config, &registry) == HIVE_OK ? registry : NULL;
}

bool c_beat(hive_registry_t *registry, const char *body, size_t len) {
    return hive_registry_ingest_json(registry, body, len, NULL) == HIVE_OK;
}

bool c_pick(const hive_registry_t *registry, const char *model, size_t len, size_t times) {
    for (size_t at = 0; at < times; at++) {
        hive_worker_t *worker;
        if (hive_registry_find_best_worker_for_model(registry, model, len, &worker) != HIVE_OK) {
            return false;
        }
        hive_worker_free(worker);
    }
    return true;
}

bool c_reserve(const hive_registry_t *registry, const char *model, size_t len, size_t times) {
    for (size_t at = 0; at < times; at++) {
        hive_reservation_t *reservation;
        if (hive_registry_reserve_worker_for_model(registry, model, len, &reservation) != HIVE_OK) {
            return false;
        }
        hive_reservation_free(reservation);
    }
    return true;
}
