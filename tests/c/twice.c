/* The header, twice over: it guards itself. */
#include "hive_registry.h"
#include "hive_registry.h"

int main(void) {
    return HIVE_OK;
}
