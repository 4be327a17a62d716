/// @file
/// The registry for C++17: hive_registry.h in classes. Header-only; link with libhive_registry.
///
/// - Names, meanings and costs are those of the C functions without their prefix, hive_registry_find_idle_workers is
///   hive::Registry::find_idle_workers; hive_registry.h says what they do.
/// - Errors are hive::Error. HIVE_NONE is no error: it is an empty optional, or false.
/// - Registry, Worker, Reservation and the other owners can be moved, not copied, and give back what they hold in their
///   destructors. One that was moved from is empty: it converts to false, tells nothing, and what can throw does.
/// - Every const member function may be called from any thread at once.
/// - A std::string_view, a view (WorkerView, StateView) and a range live as long as the owner they came from.
///   `auto url = registry.get_worker("w")->url();` dangles, as the worker is gone at the semicolon; and so does
///   `for (auto worker : registry.get_hive_state("h")->workers())`. Name the owner first. What the compiler can see it
///   refuses: views of a temporary owner, and a temporary reservation altogether, which is given back at the semicolon.
/// - Whoever has called this library and forks may only exec in the child.
#ifndef HIVE_REGISTRY_HPP
#define HIVE_REGISTRY_HPP

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iterator>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "hive_registry.h"

namespace hive {

using std::chrono::milliseconds;

/// A moment, in milliseconds since 1970.
using Time = std::chrono::time_point<std::chrono::system_clock, milliseconds>;

// === errors ===

/// The version of the library.
inline std::string_view version() noexcept {
    const hive_str_t text = hive_version();
    return {text.ptr, text.len};
}

/// The status in a word: "HIVE_OK".
inline std::string_view status_name(hive_status_t status) noexcept {
    const hive_str_t text = hive_status_name(status);
    return {text.ptr, text.len};
}

/// Why the last call of this thread that failed did; valid until the next that fails.
inline std::string_view last_error_message() noexcept {
    const hive_str_t text = hive_last_error_message();
    return {text.ptr, text.len};
}

/// A call failed; what() says field, value and bound.
class Error : public std::runtime_error {
public:
    /// Takes the error of the call that just failed on this thread.
    explicit Error(hive_status_t status) : std::runtime_error(std::string(last_error_message())), status_(status) {
        hive_error_t* taken = nullptr;
        if (hive_error_take(&taken) == HIVE_OK) {
            error_.reset(taken, hive_error_free);
        }
    }

    hive_status_t status() const noexcept { return status_; }
    /// What was refused, where it is about something: a field of a heartbeat by its path, a limit, a setting, an argument.
    /// A view, as the two below; lives as long as the error and its copies.
    std::optional<std::string_view> field() const noexcept { return part(hive_error_field); }
    /// The value that was refused: text in quotes, and its beginning only if it is long.
    std::optional<std::string_view> value() const noexcept { return part(hive_error_value); }
    /// What would have been accepted, in words.
    std::optional<std::string_view> bound() const noexcept { return part(hive_error_bound); }

private:
    template <class Function>
    std::optional<std::string_view> part(Function function) const noexcept {
        hive_str_t text{};
        return function(error_.get(), &text) ? std::optional(std::string_view(text.ptr, text.len)) : std::nullopt;
    }

    hive_status_t status_;
    std::shared_ptr<hive_error_t> error_;
};

/// The reader of events was too slow and lost some: resync from a snapshot.
class Lagged : public Error {
public:
    explicit Lagged(std::uint64_t lost) : Error(HIVE_LAGGED), lost_(lost) {}

    /// How many events are lost.
    std::uint64_t lost() const noexcept { return lost_; }

private:
    std::uint64_t lost_;
};

// === what the rest is made of ===

namespace detail {

/// True for HIVE_OK, false for HIVE_NONE, else throws.
inline bool check(hive_status_t status) {
    if (status != HIVE_OK && status != HIVE_NONE) {
        throw Error(status);
    }
    return status == HIVE_OK;
}

/// An argument's first byte: never NULL, which C takes for a missing argument.
inline const char* ptr(std::string_view text) noexcept { return text.data() != nullptr ? text.data() : ""; }

inline hive_str_t to_c(std::string_view text) noexcept { return {ptr(text), text.size()}; }
inline hive_str_t to_c(const std::optional<std::string_view>& text) noexcept {
    return text ? to_c(*text) : hive_str_t{nullptr, 0};
}
inline hive_opt_u32_t to_c(const std::optional<std::uint32_t>& n) noexcept { return {n.has_value(), n.value_or(0)}; }
inline hive_opt_u64_t to_c(const std::optional<std::uint64_t>& n) noexcept { return {n.has_value(), n.value_or(0)}; }
inline hive_opt_f32_t to_c(const std::optional<float>& n) noexcept { return {n.has_value(), n.value_or(0)}; }
inline hive_opt_f64_t to_c(const std::optional<double>& n) noexcept { return {n.has_value(), n.value_or(0)}; }
/// Less than nothing counts as nothing.
inline std::uint64_t to_c(milliseconds time) noexcept {
    return time.count() < 0 ? 0 : static_cast<std::uint64_t>(time.count());
}

inline std::optional<std::string_view> maybe(hive_str_t text) noexcept {
    return text.ptr != nullptr ? std::optional(std::string_view(text.ptr, text.len)) : std::nullopt;
}
template <class Opt>
auto maybe(const Opt& number) noexcept -> std::optional<decltype(number.value)> {
    return number.some ? std::optional(number.value) : std::nullopt;
}
inline Time time(std::int64_t unix_ms) noexcept { return Time(milliseconds(unix_ms)); }
template <class T>
T from_c(T plain) noexcept {
    return plain;
}
inline std::string_view from_c(hive_str_t text) noexcept { return {text.ptr, text.len}; }

/// The owner of the handle that a C function makes; empty for HIVE_NONE.
template <class Owner, class Function, class... Args>
Owner made(Function function, Args... args) {
    typename Owner::Raw* raw = nullptr;
    check(function(args..., &raw));
    return Owner(raw);
}

/// The same where there may be none.
template <class Owner, class Function, class... Args>
std::optional<Owner> found(Function function, Args... args) {
    Owner owner = made<Owner>(function, args...);
    return owner ? std::optional<Owner>(std::move(owner)) : std::nullopt;
}

/// Owns a handle of C.
template <class T, auto Free>
class Handle {
public:
    using Raw = T;

    /// Holds nothing.
    Handle() noexcept = default;
    /// Takes over what a C function gave.
    explicit Handle(T* raw) noexcept : raw_(raw) {}

    /// Whether it holds something.
    explicit operator bool() const noexcept { return raw_ != nullptr; }
    /// For calls of C functions; remains owned here.
    T* get() const noexcept { return raw_.get(); }
    /// Gives up ownership: free it with the C function.
    T* release() noexcept { return raw_.release(); }
    /// Gives back what it holds now rather than in the destructor.
    void reset() noexcept { raw_.reset(); }

private:
    struct Deleter {
        void operator()(T* raw) const noexcept { Free(raw); }
    };
    std::unique_ptr<T, Deleter> raw_;
};

using Text = Handle<hive_text_t, hive_text_free>;

/// Borrows a handle of C.
template <class T>
class View {
public:
    View() noexcept = default;
    explicit View(const T* raw) noexcept : raw_(raw) {}

    explicit operator bool() const noexcept { return raw_ != nullptr; }
    const T* get() const noexcept { return raw_; }

private:
    const T* raw_ = nullptr;
};

/// A random access range of what Items::get makes, on demand and by value; borrows.
template <class Items>
class Range {
public:
    using Source = typename Items::Source;
    using value_type = decltype(Items::get(std::declval<Source>(), std::size_t{}));

    class iterator {
    public:
        using iterator_category = std::random_access_iterator_tag;
        using difference_type = std::ptrdiff_t;
        using value_type = typename Range::value_type;
        using reference = value_type;
        struct pointer {
            value_type value;
            const value_type* operator->() const noexcept { return &value; }
        };

        iterator() = default;
        iterator(Source source, difference_type at) : source_(source), at_(at) {}

        reference operator*() const { return Items::get(source_, static_cast<std::size_t>(at_)); }
        pointer operator->() const { return {**this}; }
        reference operator[](difference_type by) const { return *(*this + by); }
        iterator& operator+=(difference_type by) { return at_ += by, *this; }
        iterator& operator-=(difference_type by) { return at_ -= by, *this; }
        iterator& operator++() { return *this += 1; }
        iterator& operator--() { return *this -= 1; }
        iterator operator++(int) { return ++at_, iterator(source_, at_ - 1); }
        iterator operator--(int) { return --at_, iterator(source_, at_ + 1); }
        friend iterator operator+(iterator it, difference_type by) { return it += by; }
        friend iterator operator+(difference_type by, iterator it) { return it += by; }
        friend iterator operator-(iterator it, difference_type by) { return it -= by; }
        friend difference_type operator-(const iterator& a, const iterator& b) { return a.at_ - b.at_; }
        friend bool operator==(const iterator& a, const iterator& b) { return a.at_ == b.at_; }
        friend bool operator!=(const iterator& a, const iterator& b) { return a.at_ != b.at_; }
        friend bool operator<(const iterator& a, const iterator& b) { return a.at_ < b.at_; }
        friend bool operator>(const iterator& a, const iterator& b) { return a.at_ > b.at_; }
        friend bool operator<=(const iterator& a, const iterator& b) { return a.at_ <= b.at_; }
        friend bool operator>=(const iterator& a, const iterator& b) { return a.at_ >= b.at_; }

    private:
        Source source_{};
        difference_type at_ = 0;
    };
    using const_iterator = iterator;

    explicit Range(Source source) : source_(source) {}

    std::size_t size() const noexcept { return Items::size(source_); }
    bool empty() const noexcept { return size() == 0; }
    iterator begin() const { return {source_, 0}; }
    iterator end() const { return {source_, static_cast<std::ptrdiff_t>(size())}; }
    /// An empty one from size() on.
    value_type operator[](std::size_t at) const { return Items::get(source_, at); }

private:
    Source source_;
};

/// Owns a list of C; its iterators remain valid when it is moved.
template <class T, auto Free, class Items>
class List : public Handle<T, Free> {
public:
    using value_type = typename Range<Items>::value_type;
    using iterator = typename Range<Items>::iterator;
    using const_iterator = iterator;

    using Handle<T, Free>::Handle;

    std::size_t size() const noexcept { return all().size(); }
    bool empty() const noexcept { return size() == 0; }
    iterator begin() const& { return all().begin(); }
    iterator end() const& { return all().end(); }
    /// An empty one from size() on.
    value_type operator[](std::size_t at) const& { return all()[at]; }
    iterator begin() const&& = delete;
    iterator end() const&& = delete;
    value_type operator[](std::size_t at) const&& = delete;

private:
    Range<Items> all() const noexcept { return Range<Items>(this->get()); }
};

}  // namespace detail

// === words ===

/// What became of a heartbeat; may be a number that has no name here yet, as all of these.
enum class Applied : std::uint32_t {
    other = HIVE_APPLIED_OTHER,
    registered = HIVE_APPLIED_REGISTERED,
    updated = HIVE_APPLIED_UPDATED,
    superseded = HIVE_APPLIED_SUPERSEDED,
    removed = HIVE_APPLIED_REMOVED,
};

/// What happened.
enum class EventKind : std::uint32_t {
    other = HIVE_EVENT_OTHER,
    hive_registered = HIVE_EVENT_HIVE_REGISTERED,
    hive_updated = HIVE_EVENT_HIVE_UPDATED,
    hive_offline = HIVE_EVENT_HIVE_OFFLINE,
    hive_removed = HIVE_EVENT_HIVE_REMOVED,
    worker_added = HIVE_EVENT_WORKER_ADDED,
    worker_changed = HIVE_EVENT_WORKER_CHANGED,
    worker_removed = HIVE_EVENT_WORKER_REMOVED,
};

/// How a hive feels.
enum class Health : std::uint32_t {
    healthy = HIVE_HEALTH_HEALTHY,
    degraded = HIVE_HEALTH_DEGRADED,
    unhealthy = HIVE_HEALTH_UNHEALTHY,
};

/// What a hive is doing.
enum class Operational : std::uint32_t {
    starting = HIVE_OPERATIONAL_STARTING,
    ready = HIVE_OPERATIONAL_READY,
    busy = HIVE_OPERATIONAL_BUSY,
    stopping = HIVE_OPERATIONAL_STOPPING,
    stopped = HIVE_OPERATIONAL_STOPPED,
};

/// Which time counts as a hive's last heartbeat.
enum class Liveness : std::uint32_t {
    reported = HIVE_LIVENESS_REPORTED,
    arrival = HIVE_LIVENESS_ARRIVAL,
};

/// Whether picks look at the age of a hive.
enum class Stale : std::uint32_t {
    exclude = HIVE_STALE_EXCLUDE,
    ignore = HIVE_STALE_IGNORE,
};

// === what hives send ===

/// One worker in a Heartbeat: hive_worker_report_t.
struct WorkerReport {
    std::string_view worker_id;
    std::optional<std::string_view> state, last_heartbeat, health_status, url, model_id, backend;
    std::optional<std::uint32_t> device_id;
    std::optional<std::uint64_t> vram_bytes, vram_total_bytes, ram_bytes;
    std::optional<float> cpu_percent, gpu_percent;
    std::optional<std::uint32_t> max_concurrency;
};

/// What a hive says about itself: hive_info_t.
struct HiveInfo {
    std::string_view id, hostname;
    std::uint16_t port = 0;
    Operational operational_status = Operational::starting;
    Health health_status = Health::healthy;
    std::optional<std::string_view> health_reason;
    std::string_view version;
};

/// A device that a hive declares: hive_device_t.
struct Device {
    std::string_view id, name, device_type;
    std::optional<double> vram_gb;
    std::optional<std::string_view> compute_capability;
};

/// The full state of one hive's workers: hive_heartbeat_t.
struct Heartbeat {
    std::string_view hive_id;
    /// RFC 3339: "2025-10-21T10:00:00Z".
    std::string_view timestamp;
    std::vector<WorkerReport> workers;
    std::optional<std::uint64_t> epoch, seq;
    /// What the hive says about itself, if anything. Its id may be empty.
    std::optional<HiveInfo> hive_info = {};
    /// None if it does not tell; a vector without any says that it has none.
    std::optional<std::vector<Device>> capabilities = {};
};

/// One process, in the telemetry form: hive_process_t.
struct Process {
    std::uint32_t pid = 0;
    std::string_view group, instance;
    float cpu_pct = 0;
    std::uint64_t rss_mb = 0;
    float io_r_mb_s = 0, io_w_mb_s = 0;
    std::uint64_t uptime_s = 0;
    /// Percent; 0 means idle, and so does none: the GPU does not tell.
    std::optional<float> gpu_util_pct;
    std::uint64_t vram_mb = 0, total_vram_mb = 0;
    std::optional<std::string_view> model;
};

/// The telemetry form of a heartbeat: hive_telemetry_t.
struct Telemetry {
    HiveInfo hive;
    std::string_view timestamp;
    /// None says nothing of them, and they stay as they were.
    std::optional<std::vector<Process>> workers = std::vector<Process>();
    /// Empty if it does not tell; a vector without any says that it has none.
    std::optional<std::vector<Device>> capabilities;
    std::optional<std::uint64_t> epoch, seq;
};

// === what it tells in plain structs ===

/// Counters.
using Totals = hive_totals_t;

/// What an eviction pass did.
using Eviction = hive_eviction_t;

/// Bounds on what a registry holds.
using Limits = hive_limits_t;

/// Memory of one hive: hive_resources_t.
struct Resources {
    float vram_used_gb = 0, ram_used_gb = 0;
    std::size_t worker_count = 0;
    std::optional<float> vram_total_gb, vram_free_gb, ram_total_gb;
    std::size_t workers_estimated = 0;
};

/// How regularly a hive beats: hive_hive_stats_t.
struct HiveStats {
    using Duration = std::chrono::duration<double, std::milli>;

    /// Empty from Registry::hive_stats, as all text.
    std::string_view hive_id;
    std::uint64_t heartbeats = 0;
    Duration mean_interval{}, jitter{}, longest_gap{};
    std::uint64_t workers_added = 0, workers_removed = 0;
    /// How far the hive's clock is ahead of the registry's, negative if it is behind: of its last heartbeats the
    /// difference between timestamp and arrival that is nearest to 0.
    milliseconds clock_skew{0};
    /// What its heartbeats said that counts as not reported.
    std::uint64_t complaints = 0;
    std::optional<std::string_view> last_complaint;
    std::uint64_t refusals = 0;
    std::optional<std::string_view> last_refusal;
};

namespace detail {

inline hive_worker_report_t to_c(const WorkerReport& it) noexcept {
    return {to_c(it.worker_id),   to_c(it.state),            to_c(it.last_heartbeat), to_c(it.health_status),
            to_c(it.url),         to_c(it.model_id),         to_c(it.backend),        to_c(it.device_id),
            to_c(it.vram_bytes),  to_c(it.vram_total_bytes), to_c(it.ram_bytes),      to_c(it.cpu_percent),
            to_c(it.gpu_percent), to_c(it.max_concurrency)};
}

inline hive_info_t to_c(const HiveInfo& it) noexcept {
    return {to_c(it.id),
            to_c(it.hostname),
            it.port,
            static_cast<std::uint32_t>(it.operational_status),
            static_cast<std::uint32_t>(it.health_status),
            to_c(it.health_reason),
            to_c(it.version)};
}

inline hive_process_t to_c(const Process& it) noexcept {
    return {it.pid,       to_c(it.group), to_c(it.instance),     it.cpu_pct, it.rss_mb,        it.io_r_mb_s,
            it.io_w_mb_s, it.uptime_s,    to_c(it.gpu_util_pct), it.vram_mb, it.total_vram_mb, to_c(it.model)};
}

inline hive_device_t to_c(const Device& it) noexcept {
    return {to_c(it.id), to_c(it.name), to_c(it.device_type), to_c(it.vram_gb), to_c(it.compute_capability)};
}

template <class T>
auto to_c(const std::vector<T>& items) {
    std::vector<decltype(to_c(items[0]))> out;
    out.reserve(items.size());
    for (const T& item : items) {
        out.push_back(to_c(item));
    }
    return out;
}

/// A list that need not be told. What is told, but empty, is a pointer that is not NULL.
template <class C>
class Told {
public:
    template <class T>
    explicit Told(const std::optional<std::vector<T>>& items)
        : items_(items ? to_c(*items) : std::vector<C>()), is_told_(items.has_value()) {}

    const C* data() const noexcept { return !is_told_ ? nullptr : items_.empty() ? &none_ : items_.data(); }
    std::size_t size() const noexcept { return items_.size(); }

private:
    std::vector<C> items_;
    bool is_told_;
    C none_{};
};
template <class T>
Told(const std::optional<std::vector<T>>&) -> Told<decltype(to_c(std::declval<const T&>()))>;

inline HiveInfo from_c(const hive_info_t& it) noexcept {
    return {from_c(it.id),
            from_c(it.hostname),
            it.port,
            static_cast<Operational>(it.operational_status),
            static_cast<Health>(it.health_status),
            maybe(it.health_reason),
            from_c(it.version)};
}

inline Process from_c(const hive_process_t& it) noexcept {
    return {it.pid,       from_c(it.group), from_c(it.instance), it.cpu_pct, it.rss_mb,        it.io_r_mb_s,
            it.io_w_mb_s, it.uptime_s,      maybe(it.gpu_util_pct), it.vram_mb, it.total_vram_mb, maybe(it.model)};
}

inline Device from_c(const hive_device_t& it) noexcept {
    return {from_c(it.id), from_c(it.name), from_c(it.device_type), maybe(it.vram_gb), maybe(it.compute_capability)};
}

inline Resources from_c(const hive_resources_t& it) noexcept {
    return {it.vram_used_gb,         it.ram_used_gb,         it.worker_count,     maybe(it.vram_total_gb),
            maybe(it.vram_free_gb),  maybe(it.ram_total_gb), it.workers_estimated};
}

inline HiveStats from_c(const hive_hive_stats_t& it) noexcept {
    using Duration = HiveStats::Duration;
    return {from_c(it.hive_id),          it.heartbeats,    Duration(it.mean_interval_ms), Duration(it.jitter_ms),
            Duration(it.longest_gap_ms), it.workers_added, it.workers_removed,
            milliseconds(it.clock_skew_ms), it.complaints, maybe(it.last_complaint),
            it.refusals,                 maybe(it.last_refusal)};
}

/// What a C function writes where its answer is a bool.
template <class C, class Function, class... Args>
auto told(Function function, Args... args) noexcept {
    C out{};
    return function(args..., &out) ? std::optional(from_c(out)) : std::nullopt;
}

/// What a C function writes where its answer is a status; nothing for HIVE_NONE.
template <class C, class Function, class... Args>
auto value(Function function, Args... args) {
    C out{};
    return check(function(args..., &out)) ? std::optional(from_c(out)) : std::nullopt;
}

}  // namespace detail

// === workers ===

class Worker;

namespace detail {

/// What a worker tells, whoever owns it.
template <class Self>
class WorkerFields {
public:
    std::string_view hive_id() const noexcept { return from_c(hive_worker_hive_id(raw())); }
    std::string_view id() const noexcept { return from_c(hive_worker_id(raw())); }
    std::string_view state() const noexcept { return from_c(hive_worker_state(raw())); }
    std::string_view health_status() const noexcept { return from_c(hive_worker_health_status(raw())); }
    Time last_heartbeat() const noexcept { return time(hive_worker_last_heartbeat_ms(raw())); }
    auto url() const noexcept { return told<hive_str_t>(hive_worker_url, raw()); }
    auto model_id() const noexcept { return told<hive_str_t>(hive_worker_model_id, raw()); }
    auto backend() const noexcept { return told<hive_str_t>(hive_worker_backend, raw()); }
    auto device_id() const noexcept { return told<std::uint32_t>(hive_worker_device_id, raw()); }
    auto vram_bytes() const noexcept { return told<std::uint64_t>(hive_worker_vram_bytes, raw()); }
    auto vram_total_bytes() const noexcept { return told<std::uint64_t>(hive_worker_vram_total_bytes, raw()); }
    auto vram_free_bytes() const noexcept { return told<std::uint64_t>(hive_worker_vram_free_bytes, raw()); }
    auto ram_bytes() const noexcept { return told<std::uint64_t>(hive_worker_ram_bytes, raw()); }
    auto cpu_percent() const noexcept { return told<float>(hive_worker_cpu_percent, raw()); }
    auto gpu_percent() const noexcept { return told<float>(hive_worker_gpu_percent, raw()); }
    auto max_concurrency() const noexcept { return told<std::uint32_t>(hive_worker_max_concurrency, raw()); }
    /// What was sent, where the telemetry form was.
    auto process() const noexcept { return told<hive_process_t>(hive_worker_process, raw()); }
    /// Another owner of the same record. Copies nothing.
    Worker keep() const noexcept;

private:
    const hive_worker_t* raw() const noexcept { return static_cast<const Self*>(this)->get(); }
};

}  // namespace detail

/// A worker that somebody else owns.
class WorkerView : public detail::View<hive_worker_t>, public detail::WorkerFields<WorkerView> {
public:
    using View::View;
};

/// Owns a share of one immutable record of a worker.
class Worker : public detail::Handle<hive_worker_t, hive_worker_free>, public detail::WorkerFields<Worker> {
public:
    using Handle::Handle;

    auto hive_id() const& noexcept { return WorkerFields::hive_id(); }
    auto id() const& noexcept { return WorkerFields::id(); }
    auto state() const& noexcept { return WorkerFields::state(); }
    auto health_status() const& noexcept { return WorkerFields::health_status(); }
    auto url() const& noexcept { return WorkerFields::url(); }
    auto model_id() const& noexcept { return WorkerFields::model_id(); }
    auto backend() const& noexcept { return WorkerFields::backend(); }
    auto process() const& noexcept { return WorkerFields::process(); }
    void hive_id() const&& = delete;
    void id() const&& = delete;
    void state() const&& = delete;
    void health_status() const&& = delete;
    void url() const&& = delete;
    void model_id() const&& = delete;
    void backend() const&& = delete;
    void process() const&& = delete;

    operator WorkerView() const& noexcept { return WorkerView(get()); }
    operator WorkerView() const&& = delete;
};

template <class Self>
Worker detail::WorkerFields<Self>::keep() const noexcept {
    return Worker(hive_worker_clone(raw()));
}

// === lists ===

/// A process and whose it is.
struct HiveProcess {
    std::string_view hive_id;
    Process process;
};

namespace detail {

inline WorkerView from_c(const hive_worker_t* raw) noexcept { return WorkerView(raw); }

/// The items of a handle that has one function for their number and one for the item.
template <class Raw, auto Size, auto Get>
struct Items {
    using Source = const Raw*;
    static std::size_t size(Source source) noexcept { return Size(source); }
    static auto get(Source source, std::size_t at) noexcept { return from_c(Get(source, at)); }
};

using WorkerItems = Items<hive_worker_list_t, hive_worker_list_len, hive_worker_list_get>;
using StateWorkerItems = Items<hive_state_t, hive_state_worker_count, hive_state_worker>;
using IdItems = Items<hive_id_list_t, hive_id_list_len, hive_id_list_get>;

struct ProcessItems {
    using Source = const hive_process_list_t*;
    static std::size_t size(Source list) noexcept { return hive_process_list_len(list); }
    static HiveProcess get(Source list, std::size_t at) noexcept {
        return {from_c(hive_process_list_hive_id(list, at)),
                told<hive_process_t>(hive_process_list_get, list, at).value_or(Process{})};
    }
};

struct DeviceItems {
    using Source = const hive_state_t*;
    static std::size_t size(Source state) noexcept {
        return told<std::size_t>(hive_state_device_count, state).value_or(0);
    }
    static Device get(Source state, std::size_t at) noexcept {
        return told<hive_device_t>(hive_state_device, state, at).value_or(Device{});
    }
};

}  // namespace detail

/// Of WorkerView.
using WorkerList = detail::List<hive_worker_list_t, hive_worker_list_free, detail::WorkerItems>;
/// Of std::string_view.
using IdList = detail::List<hive_id_list_t, hive_id_list_free, detail::IdItems>;
/// Of HiveProcess.
using ProcessList = detail::List<hive_process_list_t, hive_process_list_free, detail::ProcessItems>;

// === states ===

class State;

namespace detail {

/// What a hive's state tells, whoever owns it.
template <class Self>
class StateFields {
public:
    std::string_view hive_id() const noexcept { return from_c(hive_state_hive_id(raw())); }
    Time last_heartbeat() const noexcept { return time(hive_state_last_heartbeat_ms(raw())); }
    float vram_used_gb() const noexcept { return hive_state_vram_used_gb(raw()); }
    float ram_used_gb() const noexcept { return hive_state_ram_used_gb(raw()); }
    std::uint64_t version() const noexcept { return hive_state_version(raw()); }
    std::size_t worker_count() const noexcept { return hive_state_worker_count(raw()); }
    /// Its workers, by worker id.
    Range<StateWorkerItems> workers() const noexcept { return Range<StateWorkerItems>(raw()); }
    /// That of this id.
    std::optional<WorkerView> worker(std::string_view worker_id) const noexcept {
        const WorkerView view(hive_state_worker_by_id(raw(), ptr(worker_id), worker_id.size()));
        return view ? std::optional(view) : std::nullopt;
    }
    /// What the hive said about itself, if it sends the telemetry form.
    auto info() const noexcept { return told<hive_info_t>(hive_state_info, raw()); }
    /// The devices that the hive declared, if it told.
    std::optional<Range<DeviceItems>> devices() const noexcept {
        std::size_t count = 0;
        return hive_state_device_count(raw(), &count) ? std::optional(Range<DeviceItems>(raw())) : std::nullopt;
    }
    /// Another owner of the same record. Copies nothing.
    State keep() const noexcept;

private:
    const hive_state_t* raw() const noexcept { return static_cast<const Self*>(this)->get(); }
};

}  // namespace detail

/// A state that somebody else owns.
class StateView : public detail::View<hive_state_t>, public detail::StateFields<StateView> {
public:
    using View::View;
};

/// Owns a share of one hive's state, as one heartbeat left it.
class State : public detail::Handle<hive_state_t, hive_state_free>, public detail::StateFields<State> {
public:
    using Handle::Handle;

    auto hive_id() const& noexcept { return StateFields::hive_id(); }
    auto workers() const& noexcept { return StateFields::workers(); }
    auto worker(std::string_view worker_id) const& noexcept { return StateFields::worker(worker_id); }
    auto info() const& noexcept { return StateFields::info(); }
    auto devices() const& noexcept { return StateFields::devices(); }
    void hive_id() const&& = delete;
    void workers() const&& = delete;
    void worker(std::string_view) const&& = delete;
    void info() const&& = delete;
    void devices() const&& = delete;

    operator StateView() const& noexcept { return StateView(get()); }
    operator StateView() const&& = delete;
};

template <class Self>
State detail::StateFields<Self>::keep() const noexcept {
    return State(hive_state_clone(raw()));
}

/// What a hive said about itself, and the state that its texts live in.
struct Hive {
    HiveInfo info;
    State state;
};

// === snapshots ===

/// One worker in a snapshot.
struct WorkerSnapshot {
    WorkerView worker;
    std::uint32_t reservations = 0;
    std::uint64_t load = 0;
};

namespace detail {

struct SnapshotWorkerItems {
    struct Source {
        const hive_snapshot_t* snapshot = nullptr;
        std::size_t hive = 0;
    };
    static std::size_t size(Source hive) noexcept {
        return hive_state_worker_count(hive_snapshot_state(hive.snapshot, hive.hive));
    }
    static WorkerSnapshot get(Source hive, std::size_t at) noexcept {
        const auto it = told<hive_worker_snapshot_t>(hive_snapshot_worker, hive.snapshot, hive.hive, at);
        return it ? WorkerSnapshot{WorkerView(it->worker), it->reservations, it->load} : WorkerSnapshot{};
    }
};

}  // namespace detail

/// One hive in a snapshot.
struct HiveSnapshot {
    StateView state;
    /// Since it was last heard.
    milliseconds age;
    /// Whether that is within the liveness window.
    bool online;
    /// By worker id.
    detail::Range<detail::SnapshotWorkerItems> workers;
};

namespace detail {

struct SnapshotItems {
    using Source = const hive_snapshot_t*;
    static std::size_t size(Source snapshot) noexcept { return hive_snapshot_len(snapshot); }
    static HiveSnapshot get(Source snapshot, std::size_t at) noexcept {
        return {StateView(hive_snapshot_state(snapshot, at)),
                milliseconds(told<std::int64_t>(hive_snapshot_age_ms, snapshot, at).value_or(0)),
                hive_snapshot_online(snapshot, at), Range<SnapshotWorkerItems>({snapshot, at})};
    }
};

}  // namespace detail

/// All hives at about one moment, by hive id: a list of HiveSnapshot.
class Snapshot : public detail::List<hive_snapshot_t, hive_snapshot_free, detail::SnapshotItems> {
public:
    using List::List;

    /// Of the last event before copying began: resume a feed with the events after it.
    std::uint64_t sequence() const noexcept { return hive_snapshot_sequence(get()); }
    /// When copying began.
    Time taken_at() const noexcept { return detail::time(hive_snapshot_taken_at_ms(get())); }
};

// === statistics ===

namespace detail {

struct StatsItems {
    using Source = const hive_stats_t*;
    static std::size_t size(Source stats) noexcept { return hive_stats_len(stats); }
    static HiveStats get(Source stats, std::size_t at) noexcept {
        return told<hive_hive_stats_t>(hive_stats_hive, stats, at).value_or(HiveStats{});
    }
};

}  // namespace detail

/// What a registry has done, and how regularly each hive beats: a list of HiveStats by hive id.
class Stats : public detail::List<hive_stats_t, hive_stats_free, detail::StatsItems> {
public:
    using List::List;

    Totals totals() const noexcept { return detail::told<Totals>(hive_stats_totals, get()).value_or(Totals{}); }
};

// === events ===

/// Something a scheduler would want to know of.
class Event : public detail::Handle<hive_event_t, hive_event_free> {
public:
    using Handle::Handle;

    EventKind kind() const noexcept { return static_cast<EventKind>(hive_event_kind(get())); }
    std::uint64_t sequence() const noexcept { return hive_event_sequence(get()); }
    std::uint64_t version() const noexcept { return hive_event_version(get()); }
    std::string_view hive_id() const& noexcept { return detail::from_c(hive_event_hive_id(get())); }
    void hive_id() const&& = delete;
    /// The worker that was added, changed or removed; none for an event of a hive.
    std::optional<WorkerView> worker() const& noexcept {
        const WorkerView view(hive_event_worker(get()));
        return view ? std::optional(view) : std::nullopt;
    }
    std::optional<WorkerView> worker() const&& = delete;
};

/// A bounded feed of changes.
class Events : public detail::Handle<hive_events_t, hive_events_free> {
public:
    using Handle::Handle;

    /// The next event, waiting for it for so long; none if none came. Throws Lagged if some were lost, an Error of
    /// HIVE_CLOSED if the registry is gone and every event was read.
    std::optional<Event> next(milliseconds timeout = milliseconds(0)) const {
        hive_event_t* event = nullptr;
        std::uint64_t lost = 0;
        const hive_status_t status = hive_events_next(get(), detail::to_c(timeout), &event, &lost);
        if (status == HIVE_TIMEOUT) {
            return std::nullopt;
        }
        if (status == HIVE_LAGGED) {
            throw Lagged(lost);
        }
        detail::check(status);
        return Event(event);
    }
};

// === picks ===

/// One worker that may be chosen; valid during the call it is given to.
struct Candidate {
    WorkerView worker;
    /// An order, not a measure: less is better.
    std::uint64_t load;
    std::uint32_t reservations;
    /// Its place among those that are alike: the least is the one reserved least recently. No two are alike.
    std::uint64_t turn;
};

/// All who may be chosen: hive_candidates_t; valid during the call it is given to.
class Candidates {
public:
    explicit Candidates(const hive_candidates_t* raw) noexcept : raw_(raw) {}
    Candidates(const Candidates&) = delete;
    Candidates& operator=(const Candidates&) = delete;

    /// Some may prove ineligible when looked at.
    std::size_t size() const noexcept { return hive_candidates_len(raw_); }
    bool empty() const noexcept { return size() == 0; }
    /// The one at `at`; none if there are not so many. Look from the last one down to 0: one that proves ineligible leaves,
    /// and the last one takes its place.
    std::optional<Candidate> get(std::size_t at) const noexcept {
        hive_candidate_t it;
        return hive_candidates_get(raw_, at, &it) ? std::optional(one(it)) : std::nullopt;
    }
    /// One drawn with equal chances, and its place; none if there is nobody.
    std::optional<std::pair<std::size_t, Candidate>> random() const noexcept {
        std::size_t at = 0;
        hive_candidate_t it;
        return hive_candidates_random(raw_, &at, &it) ? std::optional(std::pair(at, one(it))) : std::nullopt;
    }

private:
    static Candidate one(const hive_candidate_t& it) noexcept {
        return {WorkerView(it.worker), it.load, it.reservations, it.turn};
    }

    const hive_candidates_t* raw_;
};

/// A way to choose. Others are whatever takes a const Candidate& and gives a std::optional<double>, its score, or takes
/// a const Candidates& and gives a std::optional<std::size_t>, the place of one.
class Policy {
public:
    static Policy least_loaded() noexcept { return Policy(HIVE_POLICY_LEAST_LOADED); }
    /// The best of so many, drawn at random.
    static Policy power_of_choices(std::uint32_t choices) noexcept {
        return Policy(HIVE_POLICY_POWER_OF_CHOICES, choices);
    }
    static Policy round_robin() noexcept { return Policy(HIVE_POLICY_ROUND_ROBIN); }
    static Policy random() noexcept { return Policy(HIVE_POLICY_RANDOM); }

    const hive_policy_t* get() const noexcept { return &policy_; }

private:
    explicit Policy(hive_policy_kind_t kind, std::uint32_t choices = 0) noexcept
        : policy_{static_cast<std::uint32_t>(kind), choices, nullptr, nullptr, nullptr} {}
    hive_policy_t policy_;
};

namespace detail {

/// Lets C call a callable; keeps what it throws, and asks it no more after that.
template <class Score>
struct Scorer {
    Score& score;
    std::exception_ptr thrown;

    hive_policy_t policy() noexcept { return {HIVE_POLICY_SCORE, 0, call, this, nullptr}; }

    static bool call(void* user, const hive_candidate_t* it, double* out_score) noexcept {
        Scorer& self = *static_cast<Scorer*>(user);
        if (self.thrown) {
            return false;
        }
        try {
            const Candidate candidate{WorkerView(it->worker), it->load, it->reservations, it->turn};
            const std::optional<double> score = self.score(candidate);
            *out_score = score.value_or(0);
            return score.has_value();
        } catch (...) {
            self.thrown = std::current_exception();
            return false;
        }
    }
};

/// The same of one that chooses among all.
template <class Choose>
struct Chooser {
    Choose& choose;
    std::exception_ptr thrown;

    hive_policy_t policy() noexcept { return {HIVE_POLICY_CHOOSE, 0, nullptr, this, call}; }

    static bool call(void* user, const hive_candidates_t* raw, std::size_t* out_at) noexcept {
        Chooser& self = *static_cast<Chooser*>(user);
        if (self.thrown) {
            return false;
        }
        try {
            const std::optional<std::size_t> at = self.choose(Candidates(raw));
            *out_at = at.value_or(0);
            return at.has_value();
        } catch (...) {
            self.thrown = std::current_exception();
            return false;
        }
    }
};

template <class Callable>
using IsScore = std::is_invocable_r<std::optional<double>, Callable&, const Candidate&>;
template <class Callable>
using IsChoose = std::is_invocable_r<std::optional<std::size_t>, Callable&, const Candidates&>;
/// A callable that takes either is asked for scores.
template <class Callable>
using IfPolicy = std::enable_if_t<std::disjunction_v<IsScore<Callable>, IsChoose<Callable>>, int>;
template <class Callable>
using Caller = std::conditional_t<IsScore<Callable>::value, Scorer<Callable>, Chooser<Callable>>;

}  // namespace detail

/// One place on one worker, given back by reset() or the destructor.
class Reservation : public detail::Handle<hive_reservation_t, hive_reservation_free> {
public:
    using Handle::Handle;

    /// As it was when it was chosen.
    WorkerView worker() const& noexcept { return WorkerView(hive_reservation_worker(get())); }
    WorkerView worker() const&& = delete;
};

/// A std::optional<Reservation>, into which nobody looks where it is a temporary.
class Reserved : public std::optional<Reservation> {
public:
    Reserved() = default;
    Reserved(std::optional<Reservation>&& held) noexcept : optional(std::move(held)) {}

    Reservation* operator->() & noexcept { return optional::operator->(); }
    const Reservation* operator->() const& noexcept { return optional::operator->(); }
    const Reservation* operator->() const&& = delete;
};

/// A reservation that ends by itself; a description, which gives nothing back.
struct Lease {
    std::uint64_t id;
    Time expires_at;
    /// As it was when it was chosen.
    Worker worker;
};

/// A model looked up once.
class Model : public detail::Handle<hive_model_t, hive_model_free> {
public:
    using Handle::Handle;

    std::string_view id() const& noexcept { return detail::from_c(hive_model_id(get())); }
    void id() const&& = delete;
    std::optional<Worker> find_best_worker() const {
        return detail::found<Worker>(hive_model_find_best_worker, get());
    }
    [[nodiscard]] Reserved reserve_worker() const {
        return detail::found<Reservation>(hive_model_reserve_worker, get());
    }
};

/// Why a pick goes where it goes, and where.
struct Explanation : hive_explanation_t {
    std::optional<Worker> pick;
};

// === the registry ===

/// A source of time; the registries that go by it keep its time.
class Clock : public detail::Handle<hive_clock_t, hive_clock_free> {
public:
    using Handle::Handle;

    /// What it shows.
    Time wall() const noexcept { return detail::time(hive_clock_wall_ms(get())); }
};

/// A clock that stands still until it is told to move.
class ManualClock : public Clock {
public:
    explicit ManualClock(Time start) : Clock(detail::made<Clock>(hive_clock_new, start.time_since_epoch().count())) {}

    /// Less than nothing counts as nothing.
    void advance(milliseconds by) const { detail::check(hive_clock_advance(get(), detail::to_c(by))); }
    /// Going forward, that much time passes; going back, only the wall clock moves.
    void set(Time time) const { detail::check(hive_clock_set(get(), time.time_since_epoch().count())); }
    /// Steps the wall clock while no time passes.
    void jump_wall(milliseconds by) const { detail::check(hive_clock_jump_wall(get(), by.count())); }
};

/// A clock that asks a Source, which has `Time wall()` and `milliseconds monotonic()` and may have `void refresh()`: const,
/// noexcept, and called from any thread at once. The source lives as long as this or a registry that goes by it.
template <class Source>
class SourceClock : public Clock {
public:
    explicit SourceClock(Source source) : Clock(make(std::make_unique<const Source>(std::move(source)))) {}

private:
    static_assert(noexcept(std::declval<const Source&>().wall()) && noexcept(std::declval<const Source&>().monotonic()),
                  "nothing may be thrown through C");

    template <class T, class = void>
    struct Refresh {
        static constexpr void (*call)(void*) = nullptr;
    };
    template <class T>
    struct Refresh<T, std::void_t<decltype(std::declval<const T&>().refresh())>> {
        static_assert(noexcept(std::declval<const T&>().refresh()), "nothing may be thrown through C");
        static void call(void* it) noexcept { static_cast<const T*>(it)->refresh(); }
    };

    static Clock make(std::unique_ptr<const Source> source) {
        hive_clock_functions_t functions{};
        functions.user = const_cast<Source*>(source.get());
        functions.wall_ms = [](void* it) noexcept -> std::int64_t {
            return static_cast<const Source*>(it)->wall().time_since_epoch().count();
        };
        functions.monotonic_ms = [](void* it) noexcept -> std::int64_t {
            return milliseconds(static_cast<const Source*>(it)->monotonic()).count();
        };
        functions.refresh = Refresh<Source>::call;
        functions.on_free = [](void* it) noexcept { delete static_cast<const Source*>(it); };
        Clock clock = detail::made<Clock>(hive_clock_new_of, &functions);
        static_cast<void>(source.release());
        return clock;
    }
};

/// Evicts silent hives from time to time until it is destroyed.
class Sweeper : public detail::Handle<hive_sweeper_t, hive_sweeper_free> {
public:
    using Handle::Handle;
};

/// Settings of a registry, the default of every one where none is given: hive_config_t.
struct Config {
    std::optional<std::uint64_t> shards;
    std::optional<milliseconds> liveness_window;
    Liveness liveness_clock = Liveness::reported;
    Stale stale_mode = Stale::exclude;
    std::optional<std::uint64_t> max_hives, max_workers, max_workers_per_hive, max_models, max_heartbeat_bytes;
    std::optional<float> assumed_vram_gb, assumed_ram_gb;
    std::optional<std::uint64_t> seed;
    /// None for the system's. Need not outlive the registry.
    const Clock* clock = nullptr;
    std::optional<std::uint64_t> max_devices_per_hive;
    std::optional<std::uint32_t> assumed_concurrency;
    std::optional<std::uint64_t> tie_seed;
};

/// A live registry of hives and their workers.
class Registry : public detail::Handle<hive_registry_t, hive_registry_free> {
public:
    using Handle::Handle;

    /// Of all defaults. Not explicit: a struct that has one may be made by `{}`.
    Registry() : Registry(Config{}) {}
    explicit Registry(const Config& config) : Handle(make(config)) {}

    /// The bounds it was built with.
    Limits limits() const { return *detail::value<Limits>(hive_registry_limits, get()); }
    /// Another handle on the same registry, which ends with its last one.
    [[nodiscard]] Registry clone() const { return detail::made<Registry>(hive_registry_clone, get()); }

    // --- heartbeats ---

    Applied ingest_json(std::string_view body) const {
        return applied(hive_registry_ingest_json, detail::ptr(body), body.size());
    }
    /// Of the plain form alone and of this hive alone.
    Applied update_hive_state_json(std::string_view hive_id, std::string_view body) const {
        return applied(hive_registry_update_hive_state_json, detail::ptr(hive_id), hive_id.size(), detail::ptr(body),
                       body.size());
    }
    /// Of the telemetry form alone.
    Applied update_hive_json(std::string_view body) const {
        return applied(hive_registry_update_hive_json, detail::ptr(body), body.size());
    }
    /// Of a JSON array of processes.
    Applied update_workers_json(std::string_view hive_id, std::string_view processes) const {
        return applied(hive_registry_update_workers_json, detail::ptr(hive_id), hive_id.size(),
                       detail::ptr(processes), processes.size());
    }
    Applied update_hive_state(std::string_view hive_id, const Heartbeat& heartbeat) const {
        return sent(heartbeat, [&](const hive_heartbeat_t* it) {
            return applied(hive_registry_update_hive_state, detail::ptr(hive_id), hive_id.size(), it);
        });
    }
    /// The same of the hive that the heartbeat names.
    Applied ingest_payload(const Heartbeat& heartbeat) const {
        return sent(heartbeat,
                    [&](const hive_heartbeat_t* it) { return applied(hive_registry_ingest_payload, it); });
    }
    Applied update_hive(const Telemetry& telemetry) const {
        const detail::Told workers(telemetry.workers);
        const detail::Told devices(telemetry.capabilities);
        const hive_telemetry_t sent{detail::to_c(telemetry.hive),
                                    detail::to_c(telemetry.timestamp),
                                    workers.data(),
                                    workers.size(),
                                    devices.data(),
                                    devices.size(),
                                    detail::to_c(telemetry.epoch),
                                    detail::to_c(telemetry.seq)};
        return applied(hive_registry_update_hive, &sent);
    }
    Applied update_workers(std::string_view hive_id, const std::vector<Process>& processes) const {
        const auto sent = detail::to_c(processes);
        return applied(hive_registry_update_workers, detail::ptr(hive_id), hive_id.size(), sent.data(), sent.size());
    }

    // --- hives ---

    std::optional<State> get_hive_state(std::string_view hive_id) const {
        return about<State>(hive_registry_get_hive_state, hive_id);
    }
    std::optional<Hive> get_hive(std::string_view hive_id) const {
        hive_info_t info{};
        hive_state_t* state = nullptr;
        if (!detail::check(hive_registry_get_hive(get(), detail::ptr(hive_id), hive_id.size(), &info, &state))) {
            return std::nullopt;
        }
        return Hive{detail::from_c(info), State(state)};
    }
    std::optional<Resources> get_available_resources(std::string_view hive_id) const {
        return detail::value<hive_resources_t>(hive_registry_get_available_resources, get(), detail::ptr(hive_id),
                                               hive_id.size());
    }
    /// False if it was not there.
    bool remove_hive(std::string_view hive_id) const {
        return detail::check(hive_registry_remove_hive(get(), detail::ptr(hive_id), hive_id.size()));
    }
    bool is_hive_online(std::string_view hive_id, milliseconds max_age) const {
        return *detail::value<bool>(hive_registry_is_hive_online, get(), detail::ptr(hive_id), hive_id.size(),
                                    max_age.count());
    }
    std::optional<std::size_t> get_worker_count(std::string_view hive_id) const {
        return detail::value<std::size_t>(hive_registry_get_worker_count, get(), detail::ptr(hive_id), hive_id.size());
    }
    IdList list_active_hives(milliseconds max_age) const {
        return list<IdList>(hive_registry_list_active_hives, max_age.count());
    }
    IdList list_all_hives() const { return list<IdList>(hive_registry_list_all_hives); }
    IdList list_online_hives() const { return list<IdList>(hive_registry_list_online_hives); }
    IdList list_available_hives() const { return list<IdList>(hive_registry_list_available_hives); }
    std::size_t hive_count() const { return count(hive_registry_hive_count); }
    std::size_t count_online() const { return count(hive_registry_count_online); }
    std::size_t count_available() const { return count(hive_registry_count_available); }

    // --- workers ---

    std::optional<Worker> get_worker(std::string_view worker_id) const {
        return about<Worker>(hive_registry_get_worker, worker_id);
    }
    std::optional<Worker> get_worker_on(std::string_view hive_id, std::string_view worker_id) const {
        return about<Worker>(hive_registry_get_worker_on, hive_id, detail::ptr(worker_id), worker_id.size());
    }
    /// A copy, for nobody else would own the text.
    std::optional<std::string> get_worker_url(std::string_view worker_id) const {
        const auto url = about<detail::Text>(hive_registry_get_worker_url, worker_id);
        return url ? std::optional<std::string>(detail::from_c(hive_text_str(url->get()))) : std::nullopt;
    }
    WorkerList list_all_workers() const { return list<WorkerList>(hive_registry_list_all_workers); }
    WorkerList find_idle_workers() const { return list<WorkerList>(hive_registry_find_idle_workers); }
    WorkerList find_workers_by_model(std::string_view model_id) const {
        return list<WorkerList>(hive_registry_find_workers_by_model, detail::ptr(model_id), model_id.size());
    }
    WorkerList find_workers_with_model(std::string_view model_id) const {
        return list<WorkerList>(hive_registry_find_workers_with_model, detail::ptr(model_id), model_id.size());
    }
    WorkerList find_workers_by_backend(std::string_view backend) const {
        return list<WorkerList>(hive_registry_find_workers_by_backend, detail::ptr(backend), backend.size());
    }
    WorkerList get_workers_on_hive(std::string_view hive_id) const {
        return list<WorkerList>(hive_registry_get_workers_on_hive, detail::ptr(hive_id), hive_id.size());
    }
    /// Units of 1,048,576 bytes.
    WorkerList find_workers_with_capacity(std::uint64_t vram_mb) const {
        return list<WorkerList>(hive_registry_find_workers_with_capacity, vram_mb);
    }
    std::optional<ProcessList> get_workers(std::string_view hive_id) const {
        return about<ProcessList>(hive_registry_get_workers, hive_id);
    }
    ProcessList get_all_workers() const { return list<ProcessList>(hive_registry_get_all_workers); }
    std::size_t total_worker_count() const { return count(hive_registry_total_worker_count); }

    // --- picks and reservations ---

    /// Allocates nothing.
    std::optional<Worker> find_best_worker_for_model(std::string_view model_id) const {
        return about<Worker>(hive_registry_find_best_worker_for_model, model_id);
    }
    std::optional<Worker> pick(std::string_view model_id, const Policy& policy) const {
        return about<Worker>(hive_registry_pick, model_id, policy.get());
    }
    /// The candidate for which a callable gives the lowest score, of equal ones the one reserved least recently, or the one
    /// whose place it names; what it throws comes out of here.
    template <class Callable, detail::IfPolicy<Callable> = 0>
    std::optional<Worker> pick(std::string_view model_id, Callable&& callable) const {
        return by_callable<Worker>(hive_registry_pick, model_id, callable);
    }
    [[nodiscard]] Reserved reserve_worker_for_model(std::string_view model_id) const {
        return about<Reservation>(hive_registry_reserve_worker_for_model, model_id);
    }
    [[nodiscard]] Reserved reserve_with(std::string_view model_id, const Policy& policy) const {
        return about<Reservation>(hive_registry_reserve_with, model_id, policy.get());
    }
    /// The same as `pick` with a callable; if that throws, nothing is reserved.
    template <class Callable, detail::IfPolicy<Callable> = 0>
    [[nodiscard]] Reserved reserve_with(std::string_view model_id, Callable&& callable) const {
        return by_callable<Reservation>(hive_registry_reserve_with, model_id, callable);
    }
    [[nodiscard]] std::optional<Lease> reserve_detached(std::string_view model_id, milliseconds lease) const {
        hive_lease_t told{};
        hive_worker_t* worker = nullptr;
        if (!detail::check(hive_registry_reserve_detached(get(), detail::ptr(model_id), model_id.size(),
                                                          detail::to_c(lease), &told, &worker))) {
            return std::nullopt;
        }
        return Lease{told.id, detail::time(told.expires_at_ms), Worker(worker)};
    }
    /// When it runs out from now on; none if it has run out, was released, or its worker has gone.
    std::optional<Time> renew_lease(std::uint64_t lease_id, milliseconds lease) const {
        const auto expires_at =
            detail::value<std::int64_t>(hive_registry_renew_lease, get(), lease_id, detail::to_c(lease));
        return expires_at ? std::optional(detail::time(*expires_at)) : std::nullopt;
    }
    /// False if it has run out, was released, or its worker has gone.
    bool release_lease(std::uint64_t lease_id) const {
        return detail::check(hive_registry_release_lease(get(), lease_id));
    }
    Model model(std::string_view model_id) const {
        return detail::made<Model>(hive_registry_model, get(), detail::ptr(model_id), model_id.size());
    }
    Explanation explain(std::string_view model_id) const {
        Explanation told{};
        hive_worker_t* pick = nullptr;
        detail::check(hive_registry_explain(get(), detail::ptr(model_id), model_id.size(), &told, &pick));
        if (pick != nullptr) {
            told.pick = Worker(pick);
        }
        return told;
    }

    // --- upkeep ---

    Eviction evict_stale(milliseconds max_age) const {
        return *detail::value<Eviction>(hive_registry_evict_stale, get(), detail::to_c(max_age));
    }
    [[nodiscard]] Sweeper spawn_sweeper(milliseconds every, milliseconds max_age) const {
        return detail::made<Sweeper>(hive_registry_spawn_sweeper, get(), detail::to_c(every), detail::to_c(max_age));
    }
    [[nodiscard]] Events subscribe(std::size_t capacity) const {
        return detail::made<Events>(hive_registry_subscribe, get(), capacity);
    }
    Snapshot snapshot() const { return detail::made<Snapshot>(hive_registry_snapshot, get()); }
    Stats stats() const { return detail::made<Stats>(hive_registry_stats, get()); }
    std::optional<HiveStats> hive_stats(std::string_view hive_id) const {
        return detail::value<hive_hive_stats_t>(hive_registry_hive_stats, get(), detail::ptr(hive_id),
                                                hive_id.size());
    }

private:
    static Handle make(const Config& config) {
        hive_config_t c{};
        c.size = sizeof c;
        c.shards = detail::to_c(config.shards);
        if (config.liveness_window) {
            c.liveness_window_ms = {true, detail::to_c(*config.liveness_window)};
        }
        c.liveness_clock = static_cast<std::uint32_t>(config.liveness_clock);
        c.stale_mode = static_cast<std::uint32_t>(config.stale_mode);
        c.max_hives = detail::to_c(config.max_hives);
        c.max_workers = detail::to_c(config.max_workers);
        c.max_workers_per_hive = detail::to_c(config.max_workers_per_hive);
        c.max_models = detail::to_c(config.max_models);
        c.max_heartbeat_bytes = detail::to_c(config.max_heartbeat_bytes);
        c.assumed_vram_gb = detail::to_c(config.assumed_vram_gb);
        c.assumed_ram_gb = detail::to_c(config.assumed_ram_gb);
        c.seed = detail::to_c(config.seed);
        c.clock = config.clock != nullptr ? config.clock->get() : nullptr;
        c.max_devices_per_hive = detail::to_c(config.max_devices_per_hive);
        c.assumed_concurrency = detail::to_c(config.assumed_concurrency);
        c.tie_seed = detail::to_c(config.tie_seed);
        return detail::made<Handle>(hive_registry_new, &c);
    }

    /// Gives a heartbeat to C.
    template <class Give>
    static Applied sent(const Heartbeat& heartbeat, Give give) {
        const auto workers = detail::to_c(heartbeat.workers);
        const detail::Told devices(heartbeat.capabilities);
        const hive_info_t info = detail::to_c(heartbeat.hive_info.value_or(HiveInfo{}));
        const hive_heartbeat_t it{detail::to_c(heartbeat.hive_id),
                                  detail::to_c(heartbeat.timestamp),
                                  workers.data(),
                                  workers.size(),
                                  detail::to_c(heartbeat.epoch),
                                  detail::to_c(heartbeat.seq),
                                  heartbeat.hive_info ? &info : nullptr,
                                  devices.data(),
                                  devices.size()};
        return give(&it);
    }
    template <class Function, class... Args>
    Applied applied(Function function, Args... args) const {
        return static_cast<Applied>(*detail::value<std::uint32_t>(function, get(), args...));
    }
    /// What there is of this name.
    template <class Owner, class Function, class... Args>
    std::optional<Owner> about(Function function, std::string_view name, Args... args) const {
        return detail::found<Owner>(function, get(), detail::ptr(name), name.size(), args...);
    }
    template <class Owner, class Function, class... Args>
    Owner list(Function function, Args... args) const {
        return detail::made<Owner>(function, get(), args...);
    }
    template <class Function>
    std::size_t count(Function function) const {
        return *detail::value<std::size_t>(function, get());
    }
    template <class Owner, class Function, class Callable>
    std::optional<Owner> by_callable(Function function, std::string_view model_id, Callable& callable) const {
        detail::Caller<Callable> caller{callable, nullptr};
        const hive_policy_t policy = caller.policy();
        auto chosen = about<Owner>(function, model_id, &policy);
        if (caller.thrown) {
            std::rethrow_exception(caller.thrown);  // And gives back what was chosen before it was thrown.
        }
        return chosen;
    }
};

}  // namespace hive

#endif
