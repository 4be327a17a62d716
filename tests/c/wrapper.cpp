// The C++ wrapper, area by area.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <iterator>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "hive_registry.hpp"

using std::chrono::milliseconds;
using std::chrono::seconds;
using namespace std::string_view_literals;

static int failures = 0;

#define CHECK(condition)                                                          \
    do {                                                                          \
        if (!(condition)) {                                                       \
            std::fprintf(stderr, "%s:%d: not %s\n", __FILE__, __LINE__, #condition); \
            ++failures;                                                           \
        }                                                                         \
    } while (false)

// That `expression` throws a hive::Error of `expected` whose message holds `words`.
#define CHECK_ERROR(expression, expected, words)                                                              \
    do {                                                                                                      \
        bool was_thrown = false;                                                                              \
        try {                                                                                                 \
            static_cast<void>(expression);                                                                    \
        } catch (const hive::Error& error) {                                                                  \
            was_thrown = true;                                                                                \
            CHECK(error.status() == (expected));                                                              \
            CHECK(std::string_view(error.what()).find(words) != std::string_view::npos);                      \
        }                                                                                                     \
        CHECK(was_thrown);                                                                                    \
    } while (false)

static const hive::Time START{milliseconds(1'761'040'800'000)};  // 2025-10-21T10:00:00Z
static constexpr std::string_view NOW = "2025-10-21T10:00:00Z";

static hive::Registry registry_at(const hive::ManualClock& clock) {
    hive::Config config;
    config.clock = &clock;
    config.seed = 1;
    return hive::Registry(config);
}

static hive::WorkerReport report(std::string_view id, std::string_view model, float gpu, std::uint32_t places) {
    hive::WorkerReport it;
    it.worker_id = id;
    it.state = gpu > 0 ? "Busy" : "Idle";
    it.model_id = model;
    it.gpu_percent = gpu;
    it.max_concurrency = places;
    return it;
}

// Hive "h" with "a" (idle) and "b" (10 %) of model "m", two places each.
static void fill(const hive::Registry& registry) {
    registry.update_hive_state("h", {"h", NOW, {report("a", "m", 0, 2), report("b", "m", 10, 2)}, {}, {}});
}

static std::size_t open_reservations(const hive::Registry& registry) {
    return registry.stats().totals().reservations_open;
}

static void errors() {
    const hive::Registry registry;
    CHECK_ERROR(registry.ingest_json("{"), HIVE_MALFORMED, "line 1");
    CHECK_ERROR(registry.ingest_json({}), HIVE_MALFORMED, "");
    CHECK_ERROR(registry.get_worker("\xff"), HIVE_INVALID_UTF8, "worker_id");
    CHECK_ERROR(registry.model(""), HIVE_INVALID_FIELD, "");
    CHECK_ERROR(registry.update_hive_state("other", {"h", NOW, {}, {}, {}}), HIVE_INVALID_FIELD, "hive_id");
    CHECK_ERROR(registry.update_hive_state("h", {"h", NOW, {{}}, {}, {}}), HIVE_INVALID_FIELD, "workers[0].worker_id");
    CHECK_ERROR(registry.update_hive_state("h", {"h", "noon", {}, {}, {}}), HIVE_INVALID_FIELD, "noon");

    hive::Config config;
    config.shards = 3;
    CHECK_ERROR(hive::Registry(config), HIVE_INVALID_CONFIG, "shards: 3");
    config = {};
    config.liveness_window = milliseconds(-5);
    CHECK_ERROR(hive::Registry(config), HIVE_INVALID_CONFIG, "liveness_window");
    config = {};
    config.assumed_concurrency = 0;
    CHECK_ERROR(hive::Registry(config), HIVE_INVALID_CONFIG, "assumed_concurrency: 0");
    config = {};
    config.stale_mode = static_cast<hive::Stale>(7);
    CHECK_ERROR(hive::Registry(config), HIVE_INVALID_CONFIG, "stale_mode: 7");
    config = {};
    config.max_hives = 1;
    const hive::Registry small(config);
    small.update_hive_state("h", {"h", NOW, {}, {}, {}});
    CHECK_ERROR(small.update_hive_state("i", {"i", NOW, {}, {}, {}}), HIVE_OVER_LIMIT, "hives: 2");

    // Who says that it takes 4 at once, and who does not say: ranked by what is assumed.
    for (const std::uint32_t assumed : {16U, 1U}) {
        config = {};
        config.stale_mode = hive::Stale::ignore;
        config.assumed_concurrency = assumed;
        config.tie_seed = std::nullopt;
        const hive::Registry ranked(config);
        hive::WorkerReport silent = report("b", "m", 0, 0);
        silent.max_concurrency = std::nullopt;
        ranked.update_hive_state("h", {"h", NOW, {report("a", "m", 0, 4), silent}, {}, {}});
        std::string order;
        std::vector<hive::Reservation> held;
        for (int at = 0; at < 5; ++at) {
            held.push_back(*ranked.reserve_worker_for_model("m"));
            order += held.back().worker().id();
        }
        CHECK(order == (assumed == 1 ? "abaaa" : "abbbb"));
    }
    // Who are alike come in another order than that of registration.
    config.tie_seed = 7;
    const hive::Registry shuffled(config);
    hive::Heartbeat eight{"h", NOW, {}, {}, {}};
    for (const char* id : {"a", "b", "c", "d", "e", "f", "g", "h"}) {
        eight.workers.push_back(report(id, "m", 0, 1));
    }
    shuffled.update_hive_state("h", eight);
    std::string order;
    std::vector<hive::Reservation> held;
    while (auto one = shuffled.reserve_worker_for_model("m")) {
        order += one->worker().id();
        held.push_back(std::move(*one));
    }
    CHECK(order.size() == 8 && order != "abcdefgh");

    CHECK(hive::status_name(HIVE_OVER_LIMIT) == "HIVE_OVER_LIMIT");
    CHECK(hive::last_error_message().find("hives") != std::string_view::npos);
    CHECK(hive::version() == "0.1.0");
    try {
        static_cast<void>(registry.ingest_json("x"));
        CHECK(false);
    } catch (const std::runtime_error& error) {
        CHECK(error.what()[0] != '\0');
    }
}

struct App {
    hive::Registry registry;
    int x;
};

static void aggregates() {
    App a{};
    App b{hive::Registry(hive::Config{}), 3};
    CHECK(a.registry && a.x == 0 && b.x == 3 && a.registry.hive_count() == 0);
    hive::Registry c = {};
    fill(c);
    App d{std::move(c), 4};
    CHECK(d.registry.hive_count() == 1 && d.x == 4);
    struct Owners {
        hive::Worker worker;
        hive::State state;
        hive::Reserved reserved;
    };
    const Owners none{};
    CHECK(!none.worker && !none.state && !none.reserved);
}

// A library of later makes numbers that this program has no name for: none of this is undefined.
static void numbers() {
    // Of braces only where the width is fixed.
    CHECK(hive_status_t{16} != HIVE_OK && hive_applied_t{16} != HIVE_APPLIED_OTHER);
    CHECK(hive_event_kind_t{16} != HIVE_EVENT_OTHER && hive_health_t{16} != HIVE_HEALTH_HEALTHY);
    CHECK(hive_liveness_t{16} != HIVE_LIVENESS_ARRIVAL && hive_stale_t{16} != HIVE_STALE_IGNORE);
    CHECK(hive_operational_t{16} != HIVE_OPERATIONAL_READY && hive_policy_kind_t{16} != HIVE_POLICY_CHOOSE);
    static_assert(sizeof(hive_status_t) == 4 && std::is_same_v<std::underlying_type_t<hive_status_t>, std::uint32_t>);
    for (const std::uint32_t number : {15U, 16U, 255U, 4'000'000'000U}) {
        // Written and read again, which is what the sanitizer looks at.
        const volatile auto status = static_cast<hive_status_t>(number);
        const volatile auto kind = static_cast<hive_event_kind_t>(number);
        CHECK(status != HIVE_OK && static_cast<std::uint32_t>(status) == number);
        CHECK(static_cast<std::uint32_t>(kind) == number && hive::status_name(status) == "unknown");
    }
}

static void error_parts() {
    const hive::Registry registry;
    std::optional<hive::Error> kept;
    try {
        registry.ingest_payload({"h", "noon", {}, {}, {}});
    } catch (const hive::Error& error) {
        kept = error;
    }
    CHECK_ERROR(registry.get_worker("\xff"), HIVE_INVALID_UTF8, "worker_id");
    CHECK(kept && kept->status() == HIVE_INVALID_FIELD && kept->field() == "timestamp");
    CHECK(kept->value() == "\"noon\"" && kept->bound() == "RFC 3339, as 2025-10-21T10:00:00Z");
    CHECK(kept->what() == "timestamp: \"noon\" refused: RFC 3339, as 2025-10-21T10:00:00Z"sv);
    try {
        registry.get_worker("\xff");
    } catch (const hive::Error& error) {
        CHECK(error.field() == "worker_id" && !error.value() && !error.bound());
    }
    CHECK(registry.limits().workers_per_hive == HIVE_DEFAULT_MAX_WORKERS_PER_HIVE);
    const std::string plain = R"({"hive_id": "h", "timestamp": "2025-10-21T10:00:00Z", "workers": []})";
    CHECK(registry.update_hive_state_json("h", plain) == hive::Applied::registered);
    CHECK_ERROR(registry.update_hive_state_json("g", plain), HIVE_INVALID_FIELD, "hive_id: \"h\" refused");
    CHECK_ERROR(registry.update_hive_json(plain), HIVE_MALFORMED, "hive: missing");
    CHECK(registry.update_workers_json("g", "[]") == hive::Applied::registered);
    const std::string long_name(257, 'x');
    CHECK_ERROR(registry.find_best_worker_for_model(long_name), HIVE_INVALID_FIELD, "1 to 256 bytes, not 257");
}

static void moves() {
    static_assert(!std::is_copy_constructible_v<hive::Registry> && !std::is_copy_assignable_v<hive::Worker>);
    static_assert(std::is_nothrow_move_constructible_v<hive::Registry>);
    static_assert(std::is_nothrow_move_assignable_v<hive::Worker>);
    static_assert(!std::is_copy_constructible_v<hive::Reservation> && !std::is_copy_constructible_v<hive::Events>);
    static_assert(!std::is_copy_constructible_v<hive::WorkerList> && !std::is_copy_constructible_v<hive::State>);
    static_assert(!std::is_convertible_v<hive::Worker, hive::WorkerView>, "it would dangle");
    static_assert(std::is_convertible_v<const hive::Worker&, hive::WorkerView>);
    static_assert(!std::is_convertible_v<hive::State, hive::StateView>, "it would dangle");

    const hive::ManualClock still(START);
    hive::Registry registry = registry_at(still);
    fill(registry);
    const hive::Registry other = registry.clone();
    hive::Registry taken = std::move(registry);
    CHECK(!registry && taken && other);
    CHECK_ERROR(registry.hive_count(), HIVE_NULL_ARGUMENT, "registry");
    CHECK_ERROR(registry.find_best_worker_for_model("m"), HIVE_NULL_ARGUMENT, "registry");
    CHECK_ERROR(registry.pick("m", [](const hive::Candidate&) { return 1.0; }), HIVE_NULL_ARGUMENT, "registry");
    CHECK(taken.hive_count() == 1);
    taken = hive::Registry();
    CHECK(taken.hive_count() == 0 && other.hive_count() == 1);

    auto found = other.get_worker("a");
    CHECK(found && found->id() == "a");
    const hive::Worker kept = std::move(*found);
    CHECK(kept.id() == "a" && !*found);
    CHECK(found->id().empty() && !found->url() && !found->process() && found->last_heartbeat() == hive::Time{});
    CHECK(!found->keep());

    auto reservation = other.reserve_worker_for_model("m");
    CHECK(reservation && open_reservations(other) == 1);
    {
        const hive::Reservation moved = std::move(*reservation);
        CHECK(moved && !*reservation && !reservation->worker() && open_reservations(other) == 1);
    }
    CHECK(open_reservations(other) == 0);
    reservation = other.reserve_worker_for_model("m");
    reservation->reset();
    CHECK(open_reservations(other) == 0 && !*reservation);

    hive::WorkerList workers = other.list_all_workers();
    const auto first = workers.begin();
    const hive::WorkerList stolen = std::move(workers);
    CHECK((*first).id() == "a" && first->id() == "a");
    CHECK(workers.empty() && workers.begin() == workers.end() && !workers[0]);
    hive::Snapshot snapshot = other.snapshot();
    const hive::Snapshot snapshot_taken = std::move(snapshot);
    CHECK(snapshot.empty() && snapshot.sequence() == 0 && snapshot_taken.size() == 1);
    hive::Stats stats = other.stats();
    const hive::Stats stats_taken = std::move(stats);
    CHECK(stats.empty() && stats.totals().registered == 0 && stats_taken.totals().registered == 1);
    auto state = other.get_hive_state("h");
    const hive::State state_taken = std::move(*state);
    CHECK(state->workers().empty() && !state->info() && !state->devices() && state_taken.workers().size() == 2);
    {
        const hive::StateView view = state_taken;
        const hive::State kept_state = view.keep();
        CHECK(kept_state.hive_id() == "h" && kept_state.get() == state_taken.get() && !state->keep());
    }
    hive::Events events = other.subscribe(4);
    const hive::Events events_taken = std::move(events);
    CHECK_ERROR(events.next(), HIVE_NULL_ARGUMENT, "events");
    CHECK(!events_taken.next());
    hive::Model model = other.model("m");
    const hive::Model model_taken = std::move(model);
    CHECK(model.id().empty() && model_taken.id() == "m");
    CHECK_ERROR(model.find_best_worker(), HIVE_NULL_ARGUMENT, "model");
    hive::ManualClock clock(START);
    const hive::ManualClock clock_taken = std::move(clock);
    CHECK(clock.wall() == hive::Time{} && clock_taken.wall() == START);
    CHECK_ERROR(clock.advance(seconds(1)), HIVE_NULL_ARGUMENT, "clock");

    // Back and forth with C.
    hive_worker_t* raw = other.get_worker("b")->release();
    const hive::Worker back(raw);
    CHECK(back.id() == "b");
}

// Whether an expression of `it`, a T, compiles.
#define COMPILES(name, expression)                                                          \
    template <class T>                                                                      \
    auto name##_of(T&& it) -> decltype(static_cast<void>(expression), std::true_type());    \
    template <class T>                                                                      \
    std::false_type name##_of(...);                                                         \
    template <class T>                                                                      \
    constexpr bool name = decltype(name##_of<T>(std::declval<T>()))::value

COMPILES(begins, std::forward<T>(it).begin());
COMPILES(indexes, std::forward<T>(it)[0]);
COMPILES(tells_hive_id, std::forward<T>(it).hive_id());
COMPILES(tells_id, std::forward<T>(it).id());
COMPILES(tells_state, std::forward<T>(it).state());
COMPILES(tells_health, std::forward<T>(it).health_status());
COMPILES(tells_url, std::forward<T>(it).url());
COMPILES(tells_model_id, std::forward<T>(it).model_id());
COMPILES(tells_backend, std::forward<T>(it).backend());
COMPILES(tells_process, std::forward<T>(it).process());
COMPILES(tells_load, std::forward<T>(it).vram_bytes());
COMPILES(tells_workers, std::forward<T>(it).workers());
COMPILES(tells_worker_by_id, std::forward<T>(it).worker(std::string_view()));
COMPILES(tells_worker, std::forward<T>(it).worker());
COMPILES(tells_info, std::forward<T>(it).info());
COMPILES(tells_devices, std::forward<T>(it).devices());
COMPILES(looks_into, std::forward<T>(it)->worker());
COMPILES(looks_behind, (*std::forward<T>(it)).worker());

// What is a view of an owner is told of one that has a name, and not of a temporary.
#define OF_NAMED_ONLY(name, Owner) \
    static_assert(name<Owner&> && name<const Owner&> && !name<Owner> && !name<const Owner>, #name)

static void temporaries() {
    OF_NAMED_ONLY(begins, hive::WorkerList);
    OF_NAMED_ONLY(begins, hive::IdList);
    OF_NAMED_ONLY(begins, hive::ProcessList);
    OF_NAMED_ONLY(begins, hive::Snapshot);
    OF_NAMED_ONLY(begins, hive::Stats);
    OF_NAMED_ONLY(indexes, hive::IdList);
    OF_NAMED_ONLY(tells_hive_id, hive::Worker);
    OF_NAMED_ONLY(tells_id, hive::Worker);
    OF_NAMED_ONLY(tells_state, hive::Worker);
    OF_NAMED_ONLY(tells_health, hive::Worker);
    OF_NAMED_ONLY(tells_url, hive::Worker);
    OF_NAMED_ONLY(tells_model_id, hive::Worker);
    OF_NAMED_ONLY(tells_backend, hive::Worker);
    OF_NAMED_ONLY(tells_process, hive::Worker);
    OF_NAMED_ONLY(tells_hive_id, hive::State);
    OF_NAMED_ONLY(tells_workers, hive::State);
    OF_NAMED_ONLY(tells_worker_by_id, hive::State);
    OF_NAMED_ONLY(tells_info, hive::State);
    OF_NAMED_ONLY(tells_devices, hive::State);
    OF_NAMED_ONLY(tells_hive_id, hive::Event);
    OF_NAMED_ONLY(tells_worker, hive::Event);
    OF_NAMED_ONLY(tells_id, hive::Model);
    OF_NAMED_ONLY(tells_worker, hive::Reservation);
    OF_NAMED_ONLY(looks_into, hive::Reserved);
    OF_NAMED_ONLY(looks_behind, hive::Reserved);
    // What is no view, and views of what somebody else owns, are told of temporaries, too.
    static_assert(tells_load<hive::Worker> && tells_id<hive::WorkerView> && tells_workers<hive::StateView>);
}

static void ranges() {
    const hive::ManualClock clock(START);
    const hive::Registry registry = registry_at(clock);
    fill(registry);
    registry.update_hive_state("g", {"g", NOW, {report("z", "n", 0, 1)}, {}, {}});

    const hive::IdList ids = registry.list_all_hives();
    CHECK((std::vector<std::string_view>(ids.begin(), ids.end()) == std::vector{"g"sv, "h"sv}));
    CHECK(ids[0] == "g" && ids[2].empty() && ids.size() == 2);
    const auto it = ids.begin();
    CHECK(it[1] == "h" && *(it + 1) == "h" && *(1 + it) == "h");
    CHECK(ids.end() - it == 2 && it < ids.end() && it->size() == 1);
    CHECK(std::distance(ids.begin(), ids.end()) == 2);
    CHECK(*std::make_reverse_iterator(ids.end()) == "h" && std::make_reverse_iterator(ids.end())->size() == 1);
    CHECK(*std::lower_bound(ids.begin(), ids.end(), "gg"sv) == "h");
    CHECK(*std::prev(ids.end()) == "h" && *std::next(it) == "h");
    auto moving = ids.begin();
    CHECK(*moving++ == "g" && *moving == "h" && *--moving == "g" && moving == it);

    std::string seen;
    for (const hive::WorkerView worker : registry.list_all_workers()) {
        seen.append(worker.hive_id()).append("/").append(worker.id()).append(" ");
    }
    CHECK(seen == "g/z h/a h/b ");
    const hive::WorkerList workers = registry.list_all_workers();
    CHECK(std::count_if(workers.begin(), workers.end(), [](hive::WorkerView w) { return w.model_id() == "m"; }) == 2);
    CHECK(registry.find_idle_workers().size() == 2);
    CHECK(registry.find_workers_by_model("m").size() == 2 && registry.find_workers_by_model("?").empty());
    CHECK(registry.find_workers_with_model("m").size() == 2 && registry.find_workers_with_model("?").empty());
    CHECK(registry.find_workers_by_backend("cuda").empty());
    CHECK(registry.find_workers_with_capacity(1).empty());
    CHECK(registry.get_workers_on_hive("h").size() == 2 && registry.get_workers_on_hive("?").empty());
    CHECK(registry.total_worker_count() == 3 && registry.hive_count() == 2);
    CHECK(registry.get_workers("h") && registry.get_workers("h")->empty() && !registry.get_workers("?"));
    CHECK(registry.get_all_workers().empty());

    const hive::Snapshot snapshot = registry.snapshot();
    const auto held = registry.reserve_worker_for_model("n");
    const hive::Snapshot later = registry.snapshot();
    CHECK(snapshot[0].workers[0].reservations == 0 && later[0].workers[0].reservations == 1);
    seen.clear();
    for (const hive::HiveSnapshot& hive : later) {
        seen.append(hive.state.hive_id()).append(":");
        for (const hive::WorkerSnapshot& it_has : hive.workers) {
            seen.append(it_has.worker.id());
        }
    }
    CHECK(seen == "g:zh:ab");
    CHECK(!later[2].state && later[2].workers.empty() && !later[0].workers[9].worker);
}

static void optionals() {
    const hive::ManualClock clock(START);
    const hive::Registry registry = registry_at(clock);
    CHECK(!registry.get_hive_state("h") && !registry.get_worker("a") && !registry.get_worker_on("h", "a"));
    CHECK(!registry.get_worker_url("a") && !registry.get_worker_count("h") && !registry.get_available_resources("h"));
    CHECK(!registry.find_best_worker_for_model("m") && !registry.reserve_worker_for_model("m"));
    CHECK(!registry.hive_stats("h") && !registry.remove_hive("h") && !registry.is_hive_online("h", seconds(30)));
    CHECK(!registry.get_worker({}) && !registry.find_best_worker_for_model(std::string_view()));
    CHECK(!registry.reserve_detached("m", seconds(1)) && !registry.pick("m", hive::Policy::round_robin()));

    hive::WorkerReport worker = report("a", "m", 0, 3);
    worker.url = "http://h:1";
    worker.backend = "CUDA";
    worker.vram_bytes = 1'000'000'000;
    worker.vram_total_bytes = 4'000'000'000;
    worker.device_id = 0;
    CHECK(registry.update_hive_state("h", {"h", NOW, {worker}, 7, 1}) == hive::Applied::registered);
    CHECK(registry.ingest_payload({"h", NOW, {worker}, 7, 2}) == hive::Applied::updated);
    CHECK(registry.update_hive_state("h", {"h", NOW, {worker}, 7, 1}) == hive::Applied::superseded);
    const auto found = registry.get_worker_on("h", "a");
    CHECK(found && found->hive_id() == "h" && found->state() == "Idle" && found->health_status() == "healthy");
    CHECK(found->last_heartbeat() == START && found->url() == "http://h:1" && found->backend() == "cuda");
    CHECK(found->vram_bytes() == 1'000'000'000u && found->vram_total_bytes() == 4'000'000'000u);
    CHECK(found->vram_free_bytes() == 3'000'000'000u && found->device_id() == 0u && found->gpu_percent() == 0.0f);
    CHECK(found->max_concurrency() == 3u);
    CHECK(!found->ram_bytes() && !found->cpu_percent() && !found->process());
    CHECK(registry.get_worker_url("a") == "http://h:1" && registry.get_worker_count("h") == 1u);
    const auto resources = registry.get_available_resources("h");
    CHECK(resources && resources->worker_count == 1 && resources->vram_free_gb == 3.0f && !resources->ram_total_gb);
    CHECK(resources->workers_estimated == 1 && resources->ram_used_gb == 2.0f);
    const hive::WorkerView view = *found;
    const hive::Worker another = view.keep();
    CHECK(another.get() == found->get());
    const auto state = registry.get_hive_state("h");
    CHECK(state && state->hive_id() == "h" && state->last_heartbeat() == START && state->worker_count() == 1);
    CHECK(!state->info() && !state->devices() && state->workers()[0].id() == "a" && state->vram_used_gb() == 1.0f);
    CHECK(state->ram_used_gb() == 2.0f && state->version() > 0);
    CHECK(registry.remove_hive("h") && !registry.remove_hive("h"));
    CHECK(registry.update_hive_state("h", {"h", NOW, {}, 7, 3}) == hive::Applied::removed);
}

static void telemetry() {
    const hive::ManualClock clock(START);
    const hive::Registry registry = registry_at(clock);
    hive::Telemetry sent;
    sent.hive = {"t", "10.0.0.1", 7835, hive::Operational::busy, hive::Health::degraded, "hot"sv, "0.1.0"};
    sent.timestamp = NOW;
    hive::Process process;
    process.pid = 4711;
    process.group = "llm";
    process.instance = "9300";
    process.vram_mb = 1024;
    process.total_vram_mb = 4096;
    process.model = "m";
    sent.workers = {{process}};
    CHECK(registry.update_hive(sent) == hive::Applied::registered);
    CHECK(!registry.get_hive_state("t")->devices());
    sent.capabilities.emplace();
    clock.advance(seconds(1));
    sent.timestamp = "2025-10-21T10:00:01Z";
    CHECK(registry.update_hive(sent) == hive::Applied::updated);
    auto state = registry.get_hive_state("t");
    CHECK(state->devices() && state->devices()->empty());
    sent.capabilities = {{"GPU-0", "RTX", "cuda", 24.0, "8.9"sv}, {"CPU-0", "CPU", "cpu", {}, {}}};
    sent.timestamp = "2025-10-21T10:00:02Z";
    registry.update_hive(sent);
    state = registry.get_hive_state("t");
    const auto devices = state->devices();
    CHECK(devices && devices->size() == 2);
    CHECK((*devices)[0].vram_gb == 24.0 && (*devices)[0].compute_capability == "8.9");
    CHECK(!(*devices)[1].vram_gb && !(*devices)[1].compute_capability && (*devices)[1].name == "CPU");
    CHECK((*devices)[2].id.empty());
    CHECK(state->worker("llm-9300")->id() == "llm-9300" && !state->worker("?") && !state->worker({}));
    const auto told = registry.get_hive("t");
    CHECK(told && told->info.hostname == "10.0.0.1" && told->state.get() == state->get());
    CHECK(!registry.get_hive("?"));
    const auto info = state->info();
    CHECK(info && info->id == "t" && info->hostname == "10.0.0.1" && info->port == 7835 && info->version == "0.1.0");
    CHECK(info->operational_status == hive::Operational::busy && info->health_status == hive::Health::degraded);
    CHECK(info->health_reason == "hot");
    const auto worker = registry.get_worker("llm-9300");
    CHECK(worker && worker->process() && worker->process()->pid == 4711 && worker->process()->model == "m");
    CHECK(registry.get_worker_url("llm-9300") == "http://10.0.0.1:9300");
    const auto processes = registry.get_workers("t");
    CHECK(processes && processes->size() == 1);
    CHECK((*processes)[0].hive_id == "t" && (*processes)[0].process.vram_mb == 1024);
    // The only GPU that it declares has 24 GiB.
    CHECK(registry.find_workers_with_capacity(23552).size() == 1);
    CHECK(registry.find_workers_with_capacity(23553).empty());

    process.instance = "9301";
    process.model = {};
    CHECK(registry.update_workers("t", {process}) == hive::Applied::updated);
    CHECK(registry.update_workers("u", {}) == hive::Applied::registered);
    const hive::ProcessList all = registry.get_all_workers();
    CHECK(all.size() == 1 && all[0].process.instance == "9301" && !all[0].process.model && all[1].hive_id.empty());

    sent.hive.operational_status = static_cast<hive::Operational>(9);
    CHECK_ERROR(registry.update_hive(sent), HIVE_INVALID_FIELD, "operational_status: 9");
    CHECK(registry.list_available_hives().size() == 2 && registry.count_available() == 2);
}

struct Refusal : std::runtime_error {
    using std::runtime_error::runtime_error;
};

static void policies() {
    const hive::ManualClock clock(START);
    const hive::Registry registry = registry_at(clock);
    fill(registry);
    CHECK(registry.find_best_worker_for_model("m")->id() == "a");
    CHECK(registry.pick("m", hive::Policy::least_loaded())->id() == "a");
    CHECK(registry.pick("m", hive::Policy::power_of_choices(2))->id() == "a");
    CHECK(registry.pick("m", hive::Policy::random()));
    const auto turn = registry.pick("m", hive::Policy::round_robin());
    CHECK(turn->id() != registry.pick("m", hive::Policy::round_robin())->id());
    CHECK(registry.reserve_with("m", hive::Policy::round_robin()));

    // Whatever may be called: a lambda, with what it holds, a function.
    const auto heaviest = [](const hive::Candidate& it) { return std::optional(-static_cast<double>(it.load)); };
    CHECK(registry.pick("m", heaviest)->id() == "b");
    CHECK(registry.pick("m", [](const hive::Candidate& it) { return it.worker.id() == "b" ? 0 : 1; })->id() == "b");
    struct Free {
        static std::optional<double> none(const hive::Candidate&) { return std::nullopt; }
    };
    CHECK(!registry.pick("m", Free::none) && !registry.reserve_with("m", Free::none));
    std::vector<hive::Worker> kept;
    CHECK(registry.pick("m", [&](const hive::Candidate& it) {
        kept.push_back(it.worker.keep());
        return it.worker.id() == "a" ? std::nullopt : std::optional(1.0);
    })->id() == "b");
    CHECK(kept.size() == 2 && !kept[0].id().empty());
    // Scores that are equal go by turns: the least is the one reserved least recently.
    std::vector<std::uint64_t> seen;
    std::string drawn;
    for (int at = 0; at < 4; ++at) {
        seen.clear();
        const auto held = registry.reserve_with("m", [&](const hive::Candidate& it) { return seen.push_back(it.turn), 0; });
        CHECK(held && seen.size() == 2 && seen[0] != seen[1]);
        drawn += held->worker().id();
    }
    CHECK(drawn == "abab" || drawn == "baba");
    // Shown all at once: the last by name.
    const auto last = [](const hive::Candidates& all) {
        std::optional<std::size_t> chosen;
        std::string name;
        for (std::size_t at = all.size(); at-- > 0;) {
            const auto it = all.get(at);
            if (it && it->worker.id() > name) {
                name = it->worker.id();
                chosen = at;
            }
        }
        return chosen;
    };
    CHECK(registry.pick("m", last)->id() == "b");
    {
        const auto held = registry.reserve_with("m", last);
        CHECK(held && held->worker().id() == "b");
    }
    CHECK(!registry.pick("m", [](const hive::Candidates& all) {
        CHECK(all.size() == 2 && !all.empty() && !all.get(2));
        return std::optional<std::size_t>();
    }));
    std::string told;
    const auto drawn_one = registry.pick("m", [&](const hive::Candidates& all) {
        const auto it = all.random();
        told = it->second.worker.id();
        return it->first;
    });
    CHECK(drawn_one->id() == told);
    // One that takes anything is asked for scores.
    CHECK(registry.pick("m", [](const auto& it) { return static_cast<double>(it.load); })->id() == "a");
    bool is_thrown = false;
    try {
        static_cast<void>(registry.reserve_with("m", [](const hive::Candidates&) -> std::size_t { throw 8; }));
    } catch (int number) {
        is_thrown = number == 8;
    }
    CHECK(is_thrown && open_reservations(registry) == 0);
    auto counter = [calls = 0](const hive::Candidate&) mutable { return static_cast<double>(++calls); };
    CHECK(registry.pick("m", counter) && *registry.pick("m", hive::Policy::least_loaded()));
    // A score that is not a number passes a candidate over.
    CHECK(!registry.pick("m", [](const hive::Candidate&) { return std::numeric_limits<double>::quiet_NaN(); }));
    {
        const auto held = registry.reserve_with("m", heaviest);
        CHECK(held && held->worker().id() == "b" && open_reservations(registry) == 1);
        std::uint32_t reserved = 9;
        CHECK(registry.pick("m", [&](const hive::Candidate& it) {
            if (it.worker.id() == "b") reserved = it.reservations;
            return 0.0;
        }));
        CHECK(reserved == 1);
    }

    // At the first candidate, and at the second, when the first would already be the choice.
    for (int good = 0; good < 2; ++good) {
        for (const bool reserve : {false, true}) {
            int calls = 0;
            const auto throws = [&](const hive::Candidate&) -> std::optional<double> {
                if (calls++ == good) throw Refusal("no more");
                return 1.0;
            };
            bool thrown = false;
            try {
                if (reserve) {
                    static_cast<void>(registry.reserve_with("m", throws));
                } else {
                    static_cast<void>(registry.pick("m", throws));
                }
            } catch (const Refusal& refusal) {
                thrown = refusal.what() == "no more"sv;
            }
            CHECK(thrown && calls == good + 1);
            CHECK(open_reservations(registry) == 0);
        }
    }
    bool thrown = false;
    try {
        static_cast<void>(registry.pick("m", [](const hive::Candidate&) -> double { throw 7; }));
    } catch (int number) {
        thrown = number == 7;
    }
    CHECK(thrown);
    // An exception from a pick within a pick.
    CHECK_ERROR(registry.pick("m",
                              [&](const hive::Candidate&) {
                                  static_cast<void>(registry.get_worker("\xff"));
                                  return 0.0;
                              }),
                HIVE_INVALID_UTF8, "worker_id");

    // All is as it was: every place can be had, and no more.
    std::vector<hive::Reservation> held;
    while (auto reservation = registry.reserve_with("m", heaviest)) {
        held.push_back(std::move(*reservation));
    }
    CHECK(held.size() == 4 && !registry.reserve_worker_for_model("m"));
    const hive::Explanation full = registry.explain("m");
    CHECK(full.workers == 2 && full.full == 2 && full.eligible == 0 && full.idle_fallbacks == 0 && !full.pick);
    held.clear();
    CHECK(open_reservations(registry) == 0 && registry.explain("m").pick->id() == "a");

    const hive::Model model = registry.model("m");
    const auto own = model.reserve_worker();
    CHECK(model.id() == "m" && own->worker().id() == "a" && model.find_best_worker()->id() == "b");
    CHECK(registry.model("unheard of").find_best_worker());  // An idle worker of another model.
}

static void events() {
    std::optional<hive::Registry> registry(std::in_place);
    const hive::Events events = registry->subscribe(16);
    CHECK(!events.next() && !events.next(milliseconds(1)) && !events.next(milliseconds(-1)));
    fill(*registry);
    const auto registered = events.next();
    CHECK(registered && registered->kind() == hive::EventKind::hive_registered && registered->hive_id() == "h");
    CHECK(!registered->worker() && registered->version() > 0);
    const auto added = events.next(seconds(60));
    CHECK(added && added->kind() == hive::EventKind::worker_added && added->worker()->id() == "a");
    CHECK(added->sequence() == registered->sequence() + 1);
    const hive::Worker kept = added->worker()->keep();
    CHECK(events.next()->worker()->id() == "b" && kept.id() == "a");

    const hive::Events slow = registry->subscribe(1);
    registry->remove_hive("h");
    std::uint64_t lost = 0;
    try {
        static_cast<void>(slow.next());
    } catch (const hive::Lagged& lagged) {
        lost = lagged.lost();
        CHECK(lagged.status() == HIVE_LAGGED);
        CHECK(std::string_view(lagged.what()).find("2 events") != std::string_view::npos);
    }
    CHECK(lost == 2);
    CHECK(slow.next()->kind() == hive::EventKind::hive_removed);
    CHECK(registry->snapshot().sequence() == 6 && registry->stats().totals().events_dropped == 2);

    int read = 0;
    std::thread reader([&] {
        try {
            while (events.next(seconds(60))) ++read;
        } catch (const hive::Error& error) {
            if (error.status() == HIVE_CLOSED) read += 100;
        }
    });
    registry.reset();
    reader.join();
    CHECK(read == 103);
}

static void leases() {
    const hive::ManualClock clock(START);
    const hive::Registry registry = registry_at(clock);
    fill(registry);
    const auto lease = registry.reserve_detached("m", seconds(10));
    CHECK(lease && lease->worker.id() == "a" && lease->expires_at == START + seconds(10));
    CHECK(open_reservations(registry) == 1);
    clock.advance(seconds(9));
    CHECK(registry.renew_lease(lease->id, seconds(10)) == START + seconds(19));
    clock.advance(seconds(9));
    CHECK(open_reservations(registry) == 1 && registry.release_lease(lease->id) && !registry.release_lease(lease->id));
    CHECK(!registry.renew_lease(lease->id, seconds(1)) && open_reservations(registry) == 0);
    const auto brief = registry.reserve_detached("m", milliseconds(1'500));
    clock.advance(milliseconds(1'499));
    CHECK(open_reservations(registry) == 1);
    clock.advance(milliseconds(1));
    CHECK(open_reservations(registry) == 0 && !registry.renew_lease(brief->id, seconds(1)));
}

static void times() {
    const hive::ManualClock clock(START);
    clock.advance(seconds(2));
    CHECK(clock.wall() == START + seconds(2));
    clock.advance(seconds(-2));
    CHECK(clock.wall() == START + seconds(2));
    clock.jump_wall(seconds(-1));
    CHECK(clock.wall() == START + seconds(1));
    clock.set(START);
    CHECK(clock.wall() == START);

    hive::Config config;
    config.liveness_window = seconds(10);
    config.clock = &clock;
    const hive::Registry registry(config);
    fill(registry);
    CHECK(registry.is_hive_online("h", milliseconds(1)) && !registry.is_hive_online("h", milliseconds(0)));
    clock.advance(milliseconds(9'999));
    CHECK(registry.count_online() == 1 && registry.list_online_hives().size() == 1);
    const hive::Snapshot last_moment = registry.snapshot();
    CHECK(last_moment[0].age == milliseconds(9'999) && last_moment[0].online);
    clock.advance(milliseconds(1));
    CHECK(registry.count_online() == 0 && !registry.find_best_worker_for_model("m"));
    const hive::Snapshot silent = registry.snapshot();
    CHECK(registry.explain("m").stale == 2 && !silent[0].online && silent.taken_at() == START + seconds(10));
    CHECK(registry.list_active_hives(seconds(11)).size() == 1 && registry.list_active_hives(seconds(10)).empty());

    registry.update_hive_state("h", {"h", "2025-10-21T10:00:10Z", {report("a", "m", 0, 2)}, {}, {}});
    const auto beats = registry.hive_stats("h");
    CHECK(beats && beats->heartbeats == 2 && beats->mean_interval == seconds(10) && beats->longest_gap == seconds(10));
    CHECK(beats->hive_id.empty() && beats->workers_added == 2 && beats->workers_removed == 1);
    CHECK(beats->clock_skew == milliseconds(0) && registry.explain("m").stale_by_clock == 0);
    const hive::Stats stats = registry.stats();
    CHECK(stats.size() == 1 && stats[0].hive_id == "h" && stats[0].heartbeats == 2 && stats[1].heartbeats == 0);
    CHECK(stats.totals().updated == 1 && stats.totals().misses == 1);

    clock.advance(seconds(60));
    CHECK(registry.evict_stale(seconds(61)).hives == 0);
    const hive::Eviction evicted = registry.evict_stale(seconds(60));
    CHECK(evicted.hives == 1 && !evicted.held && evicted.remaining == 0 && registry.hive_count() == 0);

    config.stale_mode = hive::Stale::ignore;
    const hive::Registry lenient(config);
    fill(lenient);
    CHECK(lenient.count_online() == 0 && lenient.find_best_worker_for_model("m"));
    config.liveness_clock = hive::Liveness::arrival;
    config.stale_mode = hive::Stale::exclude;
    const hive::Registry arrival(config);
    fill(arrival);
    CHECK(arrival.count_online() == 1);

    // A clock of the program's own.
    struct Shared {
        std::atomic<std::int64_t> ms{0};
        std::atomic<int> refreshed{0};
    };
    struct Ticks {
        std::shared_ptr<Shared> shared;
        hive::Time wall() const noexcept { return START + milliseconds(shared->ms); }
        milliseconds monotonic() const noexcept { return milliseconds(shared->ms); }
        void refresh() const noexcept { ++shared->refreshed; }
    };
    struct Still {
        hive::Time wall() const noexcept { return START; }
        milliseconds monotonic() const noexcept { return milliseconds(0); }
    };
    const auto shared = std::make_shared<Shared>();
    {
        auto ticks = std::make_unique<hive::SourceClock<Ticks>>(Ticks{shared});
        hive::Config own;
        own.clock = ticks.get();
        const hive::Registry ticking(own);
        CHECK(ticks->wall() == START);
        ticks.reset();
        fill(ticking);
        CHECK(ticking.count_online() == 1 && shared->refreshed > 0);
        shared->ms = 30'000;
        CHECK(ticking.count_online() == 0 && shared.use_count() == 2);
        const hive::SourceClock<Still> unmoved{Still{}};
        own.clock = &unmoved;
        const hive::Registry resting(own);
        fill(resting);
        CHECK(resting.count_online() == 1);
    }
    CHECK(shared.use_count() == 1);

    // The registry keeps the time of a clock that is gone.
    auto short_lived = std::make_unique<hive::ManualClock>(START);
    const hive::Registry keeper = registry_at(*short_lived);
    short_lived.reset();
    fill(keeper);
    CHECK(keeper.snapshot().taken_at() == START && keeper.count_online() == 1);
}

static void sweepers() {
    const hive::ManualClock clock(START);
    const hive::Registry registry = registry_at(clock);
    const hive::Events events = registry.subscribe(16);
    fill(registry);
    clock.advance(seconds(60));
    const hive::Sweeper sweeper = registry.spawn_sweeper(milliseconds(1), seconds(30));
    // Waits for what the sweeper's thread tells, however long it takes.
    while (const auto event = events.next(std::chrono::hours(1))) {
        if (event->kind() == hive::EventKind::hive_removed) break;
    }
    CHECK(registry.hive_count() == 0 && registry.stats().totals().evictions == 1);
}

int main() {
    try {
        errors();
        error_parts();
        numbers();
        aggregates();
        moves();
        temporaries();
        ranges();
        optionals();
        telemetry();
        policies();
        events();
        leases();
        times();
        sweepers();
    } catch (const std::exception& error) {
        std::fprintf(stderr, "wrapper.cpp: not caught: %s\n", error.what());
        return 1;
    }
    return failures == 0 ? 0 : 1;
}
