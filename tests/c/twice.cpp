// Both headers twice, in either order; wrapper.cpp has the one for C++ first.
#include "hive_registry.h"
#include "hive_registry.hpp"
#include "hive_registry.hpp"
#include "hive_registry.h"

int main() {
    const hive::Registry registry;
    return registry.hive_count() == 0 && hive_str("ab").len == 2 ? 0 : 1;
}
