/* Built against an installed prefix only, through pkg-config and through CMake: says which version it found. */
#include <hive_registry.h>
#include <stdio.h>
#include <string.h>

int main(void) {
    hive_registry_t *registry = NULL;
    if (hive_registry_new(NULL, &registry) != HIVE_OK) {
        return 1;
    }
    size_t hives = 1;
    hive_status_t status = hive_registry_hive_count(registry, &hives);
    hive_registry_free(registry);
    hive_str_t version = hive_version(), header = hive_str(HIVE_REGISTRY_VERSION);
    printf("%.*s\n", (int)version.len, version.ptr);
    bool same = version.len == header.len && memcmp(version.ptr, header.ptr, header.len) == 0;
    return status == HIVE_OK && hives == 0 && same && hive_str(NULL).len == 0 ? 0 : 1;
}
