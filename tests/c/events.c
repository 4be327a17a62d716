/* The change feed, eviction and the sweeper. */
#include "test.h"

/* Long enough for any machine; an event that comes ends it. */
#define A_MINUTE 60000

static hive_events_t *subscribe(const hive_registry_t *registry, size_t capacity) {
    hive_events_t *events = NULL;
    CHECK_STATUS(hive_registry_subscribe(registry, capacity, &events), HIVE_OK);
    return events;
}

static hive_event_t *next(const hive_events_t *events) {
    hive_event_t *event = NULL;
    uint64_t lost = 42;
    CHECK_STATUS(hive_events_next(events, A_MINUTE, &event, &lost), HIVE_OK);
    CHECK_EQ(lost, 42);
    return event;
}

/* The next event is this one; `id` is NULL for an event of the hive. Tells its sequence. */
static uint64_t expect(const hive_events_t *events, uint32_t kind, const char *hive,
                       const char *id) {
    hive_event_t *event = next(events);
    CHECK_EQ(hive_event_kind(event), kind);
    CHECK_STR(hive_event_hive_id(event), hive);
    const hive_worker_t *worker = hive_event_worker(event);
    CHECK((worker == NULL) == (id == NULL));
    if (id != NULL) {
        CHECK_STR(hive_worker_id(worker), id);
        CHECK_STR(hive_worker_hive_id(worker), hive);
    }
    uint64_t sequence = hive_event_sequence(event);
    hive_event_free(event);
    return sequence;
}

static void expect_no_more(const hive_events_t *events, uint32_t status) {
    hive_event_t *event = NULL;
    CHECK_STATUS(hive_events_next(events, 0, &event, NULL), status);
    CHECK(event == NULL);
}

static void changes_are_told_in_order(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = registry_on(clock);
    hive_events_t *events = subscribe(registry, 64);
    expect_no_more(events, HIVE_TIMEOUT);
    CHECK_MESSAGE("no event yet");

    hive_worker_report_t workers[] = {worker("b", NULL), worker("a", NULL)};
    beat(registry, "gpu-1", 0, workers, 2);
    uint64_t first = expect(events, HIVE_EVENT_HIVE_REGISTERED, "gpu-1", NULL);
    CHECK_EQ(expect(events, HIVE_EVENT_WORKER_ADDED, "gpu-1", "a"), first + 1);
    CHECK_EQ(expect(events, HIVE_EVENT_WORKER_ADDED, "gpu-1", "b"), first + 2);

    /* Nothing that a scheduler would want to know of. */
    workers[0].cpu_percent = (hive_opt_f32_t){true, 50};
    beat(registry, "gpu-1", 1, workers, 2);
    expect_no_more(events, HIVE_TIMEOUT);

    workers[0].state = hive_str("Busy");
    beat(registry, "gpu-1", 2, workers, 1);
    hive_state_t *state = NULL;
    CHECK_STATUS(hive_registry_get_hive_state(registry, TEXT("gpu-1"), &state), HIVE_OK);
    hive_event_t *event = next(events);
    CHECK_EQ(hive_event_kind(event), HIVE_EVENT_WORKER_CHANGED);
    CHECK_EQ(hive_event_sequence(event), first + 3);
    CHECK_EQ(hive_event_version(event), hive_state_version(state));
    hive_worker_t *kept = hive_worker_clone(hive_event_worker(event));
    hive_event_free(event);
    hive_state_free(state);
    expect(events, HIVE_EVENT_WORKER_REMOVED, "gpu-1", "a");
    expect(events, HIVE_EVENT_HIVE_UPDATED, "gpu-1", NULL);

    CHECK_STATUS(hive_registry_remove_hive(registry, TEXT("gpu-1")), HIVE_OK);
    expect(events, HIVE_EVENT_WORKER_REMOVED, "gpu-1", "b");
    CHECK_EQ(expect(events, HIVE_EVENT_HIVE_REMOVED, "gpu-1", NULL), first + 7);
    expect_no_more(events, HIVE_TIMEOUT);
    hive_events_free(events);
    hive_registry_free(registry);
    CHECK_STR(hive_worker_state(kept), "Busy");
    hive_worker_free(kept);
    hive_clock_free(clock);
}

static void a_slow_reader_is_told_what_it_lost(void) {
    const char *hives[] = {"gpu-1", "gpu-2", "gpu-3", "gpu-4", "gpu-5"};
    const struct {
        size_t asked, holds;
    } capacities[] = {{0, 1}, {1, 1}, {2, 2}, {4, 4}};
    for (size_t at = 0; at < LEN(capacities); at++) {
        hive_registry_t *registry = registry_of(NULL);
        hive_events_t *events = subscribe(registry, capacities[at].asked);
        size_t holds = capacities[at].holds;
        for (size_t hive = 0; hive < LEN(hives); hive++)
            beat(registry, hives[hive], 0, NULL, 0);
        hive_event_t *event = NULL;
        uint64_t lost = 0;
        CHECK_REFUSED(hive_events_next(events, 0, &event, &lost), HIVE_LAGGED,
                      "events were lost");
        CHECK_EQ(lost, 5 - holds);
        CHECK(event == NULL);
        for (size_t hive = 5 - holds; hive < 5; hive++)
            expect(events, HIVE_EVENT_HIVE_REGISTERED, hives[hive], NULL);
        expect_no_more(events, HIVE_TIMEOUT);
        CHECK_EQ(totals(registry).events_dropped, 5 - holds);
        hive_events_free(events);
        hive_registry_free(registry);
    }
}

static void a_feed_ends_with_the_registry(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = registry_on(clock), *other = NULL;
    CHECK_STATUS(hive_registry_clone(registry, &other), HIVE_OK);
    hive_events_t *events = subscribe(registry, SIZE_MAX);
    beat(registry, "gpu-1", 0, NULL, 0);
    hive_registry_free(registry);
    beat(other, "gpu-2", 0, NULL, 0);
    hive_registry_free(other);
    expect(events, HIVE_EVENT_HIVE_REGISTERED, "gpu-1", NULL);
    expect(events, HIVE_EVENT_HIVE_REGISTERED, "gpu-2", NULL);
    expect_no_more(events, HIVE_CLOSED);
    CHECK_MESSAGE("the registry is gone");
    hive_event_t *event = NULL;
    CHECK_STATUS(hive_events_next(events, UINT64_MAX, &event, NULL), HIVE_CLOSED);
    hive_events_free(events);
    hive_clock_free(clock);
}

/* Subscribe, take a snapshot, and pass over the events that it holds already. */
static void a_feed_resumes_from_a_snapshot(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = registry_on(clock);
    hive_events_t *events = subscribe(registry, 64);
    beat(registry, "gpu-1", 0, NULL, 0);
    beat(registry, "gpu-2", 0, NULL, 0);
    hive_snapshot_t *snapshot = NULL;
    CHECK_STATUS(hive_registry_snapshot(registry, &snapshot), HIVE_OK);
    CHECK_EQ(hive_snapshot_len(snapshot), 2);
    beat(registry, "gpu-3", 0, NULL, 0);

    uint64_t seen = hive_snapshot_sequence(snapshot);
    CHECK(expect(events, HIVE_EVENT_HIVE_REGISTERED, "gpu-1", NULL) <= seen);
    CHECK_EQ(expect(events, HIVE_EVENT_HIVE_REGISTERED, "gpu-2", NULL), seen);
    CHECK_EQ(expect(events, HIVE_EVENT_HIVE_REGISTERED, "gpu-3", NULL), seen + 1);
    hive_snapshot_free(snapshot);
    hive_events_free(events);
    hive_registry_free(registry);
    hive_clock_free(clock);
}

static void silent_hives_are_evicted(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = registry_on(clock);
    hive_eviction_t done;
    beat_one(registry, "gpu-1", 0, "w", NULL);
    hive_clock_advance(clock, 40000);
    beat(registry, "gpu-2", 40, NULL, 0);
    hive_events_t *events = subscribe(registry, 64);
    /* Silent, but not for so long: told once. */
    CHECK_STATUS(hive_registry_evict_stale(registry, 40001, &done), HIVE_OK);
    CHECK(done.hives == 0 && !done.held && done.remaining == 0);
    CHECK_STATUS(hive_registry_evict_stale(registry, UINT64_MAX, NULL), HIVE_OK);
    expect(events, HIVE_EVENT_HIVE_OFFLINE, "gpu-1", NULL);
    expect_no_more(events, HIVE_TIMEOUT);
    CHECK_STATUS(hive_registry_evict_stale(registry, 40000, &done), HIVE_OK);
    CHECK(done.hives == 1 && !done.held && done.remaining == 0);
    expect(events, HIVE_EVENT_WORKER_REMOVED, "gpu-1", "w");
    expect(events, HIVE_EVENT_HIVE_REMOVED, "gpu-1", NULL);
    CHECK_EQ(hive_count(registry), 1);

    /* A fleet that fell silent as a whole is kept for a while. */
    const char *hives[] = {"a", "b", "c", "d", "e", "f", "g"};
    for (size_t at = 0; at < LEN(hives); at++)
        beat(registry, hives[at], 40, NULL, 0);
    hive_clock_advance(clock, 40000);
    CHECK_STATUS(hive_registry_evict_stale(registry, 40000, &done), HIVE_OK);
    CHECK(done.hives == 0 && done.held && done.remaining == 8);
    CHECK_EQ(totals(registry).evictions, 1);
    CHECK_EQ(totals(registry).holds, 1);
    hive_events_free(events);
    hive_registry_free(registry);
    hive_clock_free(clock);
}

static void a_sweeper_evicts_until_it_is_freed(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = registry_on(clock);
    hive_events_t *events = subscribe(registry, 64);
    hive_sweeper_t *sweeper = NULL, *other = NULL;
    beat(registry, "gpu-1", 0, NULL, 0);
    expect(events, HIVE_EVENT_HIVE_REGISTERED, "gpu-1", NULL);
    hive_clock_advance(clock, 40000);
    CHECK_STATUS(hive_registry_spawn_sweeper(registry, 1, 40000, &sweeper), HIVE_OK);
    expect(events, HIVE_EVENT_HIVE_OFFLINE, "gpu-1", NULL);
    expect(events, HIVE_EVENT_HIVE_REMOVED, "gpu-1", NULL);
    hive_sweeper_free(sweeper);

    /* It swept for the last time when that returned. */
    beat(registry, "gpu-2", 40, NULL, 0);
    hive_clock_advance(clock, 40000);
    expect(events, HIVE_EVENT_HIVE_REGISTERED, "gpu-2", NULL);
    hive_event_t *event = NULL;
    CHECK_STATUS(hive_events_next(events, 50, &event, NULL), HIVE_TIMEOUT);
    CHECK_EQ(hive_count(registry), 1);

    /* One that would sleep for ever does not keep anybody waiting, nor the registry. */
    CHECK_STATUS(hive_registry_spawn_sweeper(registry, UINT64_MAX, 0, &sweeper), HIVE_OK);
    CHECK_STATUS(hive_registry_spawn_sweeper(registry, 0, UINT64_MAX, &other), HIVE_OK);
    expect(events, HIVE_EVENT_HIVE_OFFLINE, "gpu-2", NULL);
    hive_registry_free(registry);
    CHECK_STATUS(hive_events_next(events, A_MINUTE, &event, NULL), HIVE_CLOSED);
    hive_sweeper_free(sweeper);
    hive_sweeper_free(other);
    hive_events_free(events);
    hive_clock_free(clock);
}

int main(void) {
    changes_are_told_in_order();
    a_slow_reader_is_told_what_it_lost();
    a_feed_ends_with_the_registry();
    a_feed_resumes_from_a_snapshot();
    silent_hives_are_evicted();
    a_sweeper_evicts_until_it_is_freed();
    return 0;
}
