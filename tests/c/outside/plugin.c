/* A host that loads the library by its path, uses it in a thread that ends, and unloads it, again and again. Of keys for
 * what a thread keeps a process has 1,024, and a library that were loaded anew would take another one each time. */
#include <dlfcn.h>
#include <hive_registry.h>
#include <pthread.h>
#include <stdio.h>

#define ROUNDS 1100

static void *library;

/* ISO C has no cast from an object's address to a function's. */
#define FIND(function) (*(void **)&(function) = dlsym(library, #function))

/* All that keeps something for a thread: text of errors, the index of hives, a thread of the library's own. */
static void *scheduler(void *unused) {
    (void)unused;
    hive_status_t (*hive_registry_new)(const hive_config_t *, hive_registry_t **);
    hive_status_t (*hive_registry_ingest_json)(const hive_registry_t *, const char *, size_t, uint32_t *);
    hive_status_t (*hive_registry_spawn_sweeper)(const hive_registry_t *, uint64_t, uint64_t, hive_sweeper_t **);
    hive_status_t (*hive_registry_find_best_worker_for_model)(const hive_registry_t *, const char *, size_t,
                                                              hive_worker_t **);
    hive_str_t (*hive_last_error_message)(void);
    void (*hive_sweeper_free)(hive_sweeper_t *);
    void (*hive_registry_free)(hive_registry_t *);
    FIND(hive_registry_new);
    FIND(hive_registry_ingest_json);
    FIND(hive_registry_spawn_sweeper);
    FIND(hive_registry_find_best_worker_for_model);
    FIND(hive_last_error_message);
    FIND(hive_sweeper_free);
    FIND(hive_registry_free);

    hive_registry_t *registry = NULL;
    hive_sweeper_t *sweeper = NULL;
    hive_worker_t *worker = NULL;
    bool right = hive_registry_new(NULL, &registry) == HIVE_OK &&
                 hive_registry_ingest_json(registry, "{}", 2, NULL) == HIVE_MALFORMED &&
                 hive_last_error_message().len > 0 &&
                 hive_registry_spawn_sweeper(registry, 1000, 30000, &sweeper) == HIVE_OK &&
                 hive_registry_find_best_worker_for_model(registry, "m", 1, &worker) == HIVE_NONE;
    hive_sweeper_free(sweeper);
    hive_registry_free(registry);
    return right ? &library : NULL;
}

int main(int argc, char **argv) {
    for (int round = 0; round < ROUNDS; round++) {
        library = argc == 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
        if (library == NULL) {
            fprintf(stderr, "plugin LIBRARY: %s\n", argc == 2 ? dlerror() : "which library?");
            return 1;
        }
        pthread_t thread;
        void *right = NULL;
        if (pthread_create(&thread, NULL, scheduler, NULL) != 0 || pthread_join(thread, &right) != 0 || right == NULL ||
            dlclose(library) != 0) {
            fprintf(stderr, "round %d went wrong\n", round);
            return 1;
        }
    }
    return 0;
}
