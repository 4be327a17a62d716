/**
 * @file
 * A live registry of GPU machines (hives) and inference workers, for programs that schedule LLM work.
 *
 * Conventions, the same for every function:
 *
 * - Strings are UTF-8 with a length, not NUL-terminated. Going in they are read during the call only, and may not be
 *   NULL, be their length 0. Going out they are views that live as long as the handle they came from. An argument is a
 *   pointer and a length, which HIVE_STR_ARGS makes of a hive_str_t.
 * - Lengths are looked at before what they are of: text and lists that are longer than the registry takes are refused with
 *   HIVE_INVALID_FIELD and HIVE_OVER_LIMIT at once, whatever their length, names in questions too.
 * - A call that can fail returns a hive_status_t. HIVE_OK and HIVE_NONE are no errors. Out-parameters are written on
 *   HIVE_OK only, and asked for before anything is done: a NULL one is refused with HIVE_NULL_ARGUMENT; where it says
 *   otherwise, it says so at the function.
 *   hive_last_error_message() tells why the last failing call of this thread failed; hive_registry_take_error() tells
 *   it of the last one through a handle, to whatever thread asks.
 * - A handle that comes through an out-parameter is yours, and goes back to its _free function, once; _free takes NULL.
 *   A pointer to const is borrowed, and valid as long as what it came from.
 * - Whatever takes a const handle may be called from any thread at once. _free may not run while another call uses the
 *   same handle.
 * - A handle that is NULL is refused, or answered by 0, false or empty text; a handle that was freed, and a pointer to
 *   fewer bytes than its length says or to memory that was never written, is a defect of the program that nothing here can find.
 * - No function is async-signal-safe: none may be called from a signal handler. Any may wait for a lock that another
 *   thread holds for a short time, a pick too.
 * - Whoever has called this library and forks may only exec in the child, which may call nothing of it, be it on what it
 *   makes itself: the child has no other thread, and a lock that one of them held is held for ever.
 *
 * For tools that read this header for another language, HIVE_NO_INLINE leaves out the bodies of inline functions, which
 * the library has under the same names, and HIVE_NO_INCLUDES the #include lines.
 *
 * bindings/c/README.md has a first program.
 */
#ifndef HIVE_REGISTRY_H
#define HIVE_REGISTRY_H

/** A hive_str_t as the two arguments that a text is. Looks at `s` twice. */
#define HIVE_STR_ARGS(s) (s).ptr, (s).len


/* Made by `make header` of bindings/c/src; changes here are lost. */

#ifndef HIVE_NO_INCLUDES
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#endif

/**
 * Of the header: major, minor and patch version.
 */
#define HIVE_REGISTRY_VERSION "0.1.0"

/**
 * Shards of each map, unless `shards` of hive_config_t says another number; as all defaults.
 */
#define HIVE_DEFAULT_SHARDS 128

/**
 * How long after its last heartbeat a hive counts as live, milliseconds.
 */
#define HIVE_DEFAULT_LIVENESS_WINDOW_MS 30000

/**
 * Hives known at once.
 */
#define HIVE_DEFAULT_MAX_HIVES 1000000

/**
 * Workers of all hives at once.
 */
#define HIVE_DEFAULT_MAX_WORKERS 16000000

/**
 * Workers in one heartbeat.
 */
#define HIVE_DEFAULT_MAX_WORKERS_PER_HIVE 1024

/**
 * Devices that one hive declares.
 */
#define HIVE_DEFAULT_MAX_DEVICES_PER_HIVE 256

/**
 * Models loaded somewhere at once.
 */
#define HIVE_DEFAULT_MAX_MODELS 100000

/**
 * Bytes of one JSON body.
 */
#define HIVE_DEFAULT_MAX_HEARTBEAT_BYTES 1048576

/**
 * Gigabytes of VRAM that a worker counts for when it does not say.
 */
#define HIVE_DEFAULT_ASSUMED_VRAM_GB 4.0

/**
 * Gigabytes of RAM that a worker counts for when it does not say.
 */
#define HIVE_DEFAULT_ASSUMED_RAM_GB 2.0

/**
 * Requests at once that a worker is ranked by when it does not say.
 */
#define HIVE_DEFAULT_ASSUMED_CONCURRENCY 16

/**
 * Bytes of a name of a hive, a worker, a model or a device, at most.
 */
#define HIVE_MAX_ID_BYTES 256

/**
 * Bytes of a url, at most.
 */
#define HIVE_MAX_URL_BYTES 2048

/**
 * Bytes of any other text, at most.
 */
#define HIVE_MAX_TEXT_BYTES 256

/**
 * Fleets of fewer hives are evicted without the guard.
 */
#define HIVE_GUARDED_FLEET 8

/**
 * Percent of a guarded fleet that one pass evicts at most, but at least one hive.
 */
#define HIVE_MAX_EVICTED_PERCENT 15

/**
 * How long passes hold while over half of a guarded fleet is silent, milliseconds.
 */
#define HIVE_MAX_HOLD_MS 300000

/**
 * For how long heartbeats made before the removal of a hive are dropped, milliseconds.
 */
#define HIVE_TOMBSTONE_AGE_MS 600000

/**
 * Removals remembered at once, at most.
 */
#define HIVE_MAX_TOMBSTONES 100000

/**
 * Under HIVE_LIVENESS_ARRIVAL, what comes later than this after the removal was sent after it, milliseconds.
 */
#define HIVE_ARRIVAL_GRACE_MS 2000

/**
 * A heartbeat that is older than the newest applied one may be its hive's beginning anew, once that one arrived
 * HIVE_RESET_INTERVALS of the hive's mean intervals ago, but no less than this, milliseconds, ...
 */
#define HIVE_MIN_RESET_AFTER_MS 10000

/**
 * ... and no more than this.
 */
#define HIVE_MAX_RESET_AFTER_MS 60000

/**
 * See HIVE_MIN_RESET_AFTER_MS.
 */
#define HIVE_RESET_INTERVALS 3

/**
 * The heartbeat that is believed then came this much later than an older one, milliseconds.
 */
#define HIVE_RESET_SPACING_MS 1000

/**
 * Of the header. Below 1.0 a new minor version may break programs, and the library's soname changes with it.
 */
#define HIVE_VERSION_MAJOR 0

/**
 * Of the header.
 */
#define HIVE_VERSION_MINOR 1

/**
 * Of the header.
 */
#define HIVE_VERSION_PATCH 0

/**
 * How a call went. The numbers are never given another meaning; new ones may come.
 */
enum hive_status_t
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Done; the out-parameters are written.
     */
    HIVE_OK = 0,
    /**
     * There is no such thing: no worker to pick, no hive of that name. No error: nothing is written, and
     * `hive_last_error_message` keeps what it said.
     */
    HIVE_NONE = 1,
    /**
     * A handle or another pointer was NULL.
     */
    HIVE_NULL_ARGUMENT = 2,
    /**
     * Text was not UTF-8.
     */
    HIVE_INVALID_UTF8 = 3,
    /**
     * A length was past PTRDIFF_MAX.
     */
    HIVE_INVALID_LENGTH = 4,
    /**
     * A number that means nothing here.
     */
    HIVE_INVALID_ARGUMENT = 5,
    /**
     * A setting was out of bounds.
     */
    HIVE_INVALID_CONFIG = 6,
    /**
     * A heartbeat was not JSON, or a field of it missing or of the wrong type.
     */
    HIVE_MALFORMED = 7,
    /**
     * A field of a heartbeat was out of bounds.
     */
    HIVE_INVALID_FIELD = 8,
    /**
     * A limit of the registry would have been passed.
     */
    HIVE_OVER_LIMIT = 9,
    /**
     * No event came in time.
     */
    HIVE_TIMEOUT = 10,
    /**
     * The reader of events was too slow and lost some.
     */
    HIVE_LAGGED = 11,
    /**
     * The registry is gone, and every event was read.
     */
    HIVE_CLOSED = 12,
    /**
     * The system refused something.
     */
    HIVE_SYSTEM = 13,
    /**
     * A defect in this library: it panicked. The registry remains usable.
     */
    HIVE_PANIC = 14,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum hive_status_t hive_status_t;
#else
typedef uint32_t hive_status_t;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What became of a heartbeat.
 */
enum hive_applied_t
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Something that this version knows no number for.
     */
    HIVE_APPLIED_OTHER = 0,
    /**
     * The hive was not known before.
     */
    HIVE_APPLIED_REGISTERED = 1,
    /**
     * The hive was known.
     */
    HIVE_APPLIED_UPDATED = 2,
    /**
     * It was older than what is known; nothing was applied.
     */
    HIVE_APPLIED_SUPERSEDED = 3,
    /**
     * The hive was removed after it was made; nothing was applied.
     */
    HIVE_APPLIED_REMOVED = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum hive_applied_t hive_applied_t;
#else
typedef uint32_t hive_applied_t;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What happened.
 */
enum hive_event_kind_t
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Of a kind that this version knows no number for, or NULL.
     */
    HIVE_EVENT_OTHER = 0,
    /**
     * A hive not known before; an event for each of its workers follows.
     */
    HIVE_EVENT_HIVE_REGISTERED = 1,
    /**
     * Something about the hive or a worker of it changed; comes after the worker's event.
     */
    HIVE_EVENT_HIVE_UPDATED = 2,
    /**
     * A sweep found it silent; told once per silence.
     */
    HIVE_EVENT_HIVE_OFFLINE = 3,
    /**
     * Removed or evicted, after its workers.
     */
    HIVE_EVENT_HIVE_REMOVED = 4,
    /**
     * A worker not known before on this hive.
     */
    HIVE_EVENT_WORKER_ADDED = 5,
    /**
     * As it is now.
     */
    HIVE_EVENT_WORKER_CHANGED = 6,
    /**
     * As it was last.
     */
    HIVE_EVENT_WORKER_REMOVED = 7,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum hive_event_kind_t hive_event_kind_t;
#else
typedef uint32_t hive_event_kind_t;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * How a hive feels.
 */
enum hive_health_t
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Well.
     */
    HIVE_HEALTH_HEALTHY = 0,
    /**
     * Its workers rank after those of healthy hives.
     */
    HIVE_HEALTH_DEGRADED = 1,
    /**
     * Its workers are not picked.
     */
    HIVE_HEALTH_UNHEALTHY = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum hive_health_t hive_health_t;
#else
typedef uint32_t hive_health_t;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Which time counts as a hive's last heartbeat.
 */
enum hive_liveness_t
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The heartbeat's own timestamp, never later than its arrival. Replayed heartbeats are old, hence stale, unless the
     * registry goes by a clock that is set to their time.
     */
    HIVE_LIVENESS_REPORTED = 0,
    /**
     * The moment of arrival on a monotonic clock.
     */
    HIVE_LIVENESS_ARRIVAL = 1,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum hive_liveness_t hive_liveness_t;
#else
typedef uint32_t hive_liveness_t;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What a hive is doing.
 */
enum hive_operational_t
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Coming up: its workers are not picked yet.
     */
    HIVE_OPERATIONAL_STARTING = 0,
    /**
     * Up.
     */
    HIVE_OPERATIONAL_READY = 1,
    /**
     * Up, with work.
     */
    HIVE_OPERATIONAL_BUSY = 2,
    /**
     * Going down: its workers are not picked.
     */
    HIVE_OPERATIONAL_STOPPING = 3,
    /**
     * Down.
     */
    HIVE_OPERATIONAL_STOPPED = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum hive_operational_t hive_operational_t;
#else
typedef uint32_t hive_operational_t;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The ways to choose.
 */
enum hive_policy_kind_t
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Healthy before degraded, the lowest load, then the one reserved least recently: the rule of
     * `hive_registry_find_best_worker_for_model`. O(1).
     */
    HIVE_POLICY_LEAST_LOADED = 0,
    /**
     * The best of `choices` drawn at random. O(choices).
     */
    HIVE_POLICY_POWER_OF_CHOICES = 1,
    /**
     * Each in turn, per model. O(1).
     */
    HIVE_POLICY_ROUND_ROBIN = 2,
    /**
     * Any, with equal chances. O(1).
     */
    HIVE_POLICY_RANDOM = 3,
    /**
     * The lowest score that `score` gives. O(n) in the candidates.
     */
    HIVE_POLICY_SCORE = 4,
    /**
     * Whom `choose` names, which is shown all candidates at once. O(1), and what `choose` looks at.
     */
    HIVE_POLICY_CHOOSE = 5,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum hive_policy_kind_t hive_policy_kind_t;
#else
typedef uint32_t hive_policy_kind_t;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Whether picks look at the age of a hive.
 */
enum hive_stale_t
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Workers of a hive not heard within the liveness window are never picked.
     */
    HIVE_STALE_EXCLUDE = 0,
    /**
     * A worker is picked until its hive is evicted or removed.
     */
    HIVE_STALE_IGNORE = 1,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum hive_stale_t hive_stale_t;
#else
typedef uint32_t hive_stale_t;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * All who may be chosen, for `hive_choose_t`; valid during the call it is given to.
 *
 * A view of the live registry, not a copy: others change it meanwhile, and one found ineligible is taken out, whereupon
 * the last one takes its place.
 */
typedef struct hive_candidates_t hive_candidates_t;

/**
 * A source of time: one that stands still until it is told to move, for tests, replays and simulations, or functions of
 * the program. May be used from any thread at once, and freed while registries still go by it: they keep its time.
 */
typedef struct hive_clock_t hive_clock_t;

/**
 * An error, to be kept: why one call failed. Immutable; its texts live as long as it does.
 */
typedef struct hive_error_t hive_error_t;

/**
 * Something a scheduler would want to know of.
 */
typedef struct hive_event_t hive_event_t;

/**
 * A bounded feed of changes. A slow reader never slows a writer. May be read from several threads at once: each
 * event goes to one of them.
 */
typedef struct hive_events_t hive_events_t;

/**
 * Names of hives, in order.
 */
typedef struct hive_id_list_t hive_id_list_t;

/**
 * A model looked up once, for those who pick from it again and again. While it exists the model is known, and counts
 * towards `max_models`. May be used from any thread at once.
 */
typedef struct hive_model_t hive_model_t;

/**
 * What hives sent of their processes, ordered by hive id, then worker id.
 */
typedef struct hive_process_list_t hive_process_list_t;

/**
 * A live registry of hives and their workers. Every function that takes one const may be called from any thread at
 * once.
 */
typedef struct hive_registry_t hive_registry_t;

/**
 * One place on one worker, given back when it is freed. It never runs out; it ends by itself if its worker goes.
 */
typedef struct hive_reservation_t hive_reservation_t;

/**
 * All hives at about one moment; each hive's copy is consistent in itself.
 */
typedef struct hive_snapshot_t hive_snapshot_t;

/**
 * One hive as one heartbeat left it: the shared record itself; immutable. Owned where it came through an
 * out-parameter, and to be freed; borrowed where it is const.
 */
typedef struct hive_state_t hive_state_t;

/**
 * What a registry has done since it was built, and how regularly each hive beats.
 */
typedef struct hive_stats_t hive_stats_t;

/**
 * Evicts silent hives from time to time until it is freed.
 */
typedef struct hive_sweeper_t hive_sweeper_t;

/**
 * Text that is yours: a handle, to be freed.
 */
typedef struct hive_text_t hive_text_t;

/**
 * One worker as its hive last reported it; immutable. Owned where it came through an out-parameter, and to be
 * freed; borrowed where it is const: valid as long as what it came from.
 */
typedef struct hive_worker_t hive_worker_t;

/**
 * Workers, ordered by hive id, then worker id.
 */
typedef struct hive_worker_list_t hive_worker_list_t;

/**
 * What a clock of the program calls. `wall_ms` and `monotonic_ms` may not be NULL.
 *
 * Called on every pick and every heartbeat, on the thread that makes it, from several at once, without any lock held: so
 * they may call the registry, but not free what the call under way uses. They must return: neither longjmp nor a C++
 * exception may leave them. Values are cut to +-2^60 ms.
 */
typedef struct hive_clock_functions_t {
    /**
     * What each is given.
     */
    void *user;
    /**
     * Milliseconds since 1970. May jump either way.
     */
    int64_t (*wall_ms)(void *user);
    /**
     * Milliseconds since any fixed moment. Should never go back.
     */
    int64_t (*monotonic_ms)(void *user);
    /**
     * Called before each heartbeat, each sweep and each lease, but not before a pick, for what is not to be looked up each
     * time; may be NULL.
     */
    void (*refresh)(void *user);
    /**
     * Called once, when the clock was freed and no registry goes by it any more, by the thread that gave back the last of
     * them; may be NULL.
     */
    void (*on_free)(void *user);
} hive_clock_functions_t;

/**
 * UTF-8, not NUL-terminated. Going out, a view that lives as long as the handle it came from.
 */
typedef struct hive_str_t {
    /**
     * Its first byte. Going in, NULL says that there is no text where that may be.
     */
    const char *ptr;
    /**
     * Its bytes.
     */
    size_t len;
} hive_str_t;

/**
 * A 32-bit whole number that may be missing; all zero is missing.
 */
typedef struct hive_opt_u32_t {
    /**
     * Whether there is one.
     */
    bool some;
    /**
     * The number.
     */
    uint32_t value;
} hive_opt_u32_t;

/**
 * A whole number that may be missing; all zero is missing.
 */
typedef struct hive_opt_u64_t {
    /**
     * Whether there is one.
     */
    bool some;
    /**
     * The number.
     */
    uint64_t value;
} hive_opt_u64_t;

/**
 * A single-precision number that may be missing; all zero is missing.
 */
typedef struct hive_opt_f32_t {
    /**
     * Whether there is one.
     */
    bool some;
    /**
     * The number.
     */
    float value;
} hive_opt_f32_t;

/**
 * One worker in a `hive_heartbeat_t`. All zero but `worker_id` is an idle, healthy worker that says nothing of the
 * rest. A text whose `ptr` is NULL is not there; `worker_id` may not be missing.
 */
typedef struct hive_worker_report_t {
    /**
     * Its name on this hive.
     */
    struct hive_str_t worker_id;
    /**
     * "Idle", "Busy", "Loading", "Draining" or other; "Idle" if missing.
     */
    struct hive_str_t state;
    /**
     * When the hive last heard from it, RFC 3339; if missing, the heartbeat's own time.
     */
    struct hive_str_t last_heartbeat;
    /**
     * "healthy", "degraded", "unhealthy" or other; "healthy" if missing.
     */
    struct hive_str_t health_status;
    /**
     * Where it takes requests.
     */
    struct hive_str_t url;
    /**
     * The model it has loaded.
     */
    struct hive_str_t model_id;
    /**
     * "cuda", "cpu", "metal" or other.
     */
    struct hive_str_t backend;
    /**
     * The index of its GPU on the hive.
     */
    struct hive_opt_u32_t device_id;
    /**
     * VRAM in use, bytes.
     */
    struct hive_opt_u64_t vram_bytes;
    /**
     * VRAM of its device, bytes.
     */
    struct hive_opt_u64_t vram_total_bytes;
    /**
     * RAM in use, bytes.
     */
    struct hive_opt_u64_t ram_bytes;
    /**
     * CPU in use, percent of one core; may pass 100.
     */
    struct hive_opt_f32_t cpu_percent;
    /**
     * GPU in use, percent.
     */
    struct hive_opt_f32_t gpu_percent;
    /**
     * Requests it takes at once, at least 1; 0 counts as not reported.
     */
    struct hive_opt_u32_t max_concurrency;
} hive_worker_report_t;

/**
 * What a hive says about itself.
 */
typedef struct hive_info_t {
    /**
     * Its name.
     */
    struct hive_str_t id;
    /**
     * Its host name or address; what is neither makes no url.
     */
    struct hive_str_t hostname;
    /**
     * The port of its own service.
     */
    uint16_t port;
    /**
     * What it is doing: a `hive_operational_t`.
     */
    uint32_t operational_status;
    /**
     * How it feels: a `hive_health_t`.
     */
    uint32_t health_status;
    /**
     * Why it does not feel well: not empty, unless it is healthy; then NULL.
     */
    struct hive_str_t health_reason;
    /**
     * The version of its software.
     */
    struct hive_str_t version;
} hive_info_t;

/**
 * A number that may be missing; all zero is missing.
 */
typedef struct hive_opt_f64_t {
    /**
     * Whether there is one.
     */
    bool some;
    /**
     * The number.
     */
    double value;
} hive_opt_f64_t;

/**
 * A device that a hive declares.
 */
typedef struct hive_device_t {
    /**
     * Its name on the hive, "GPU-0".
     */
    struct hive_str_t id;
    /**
     * What it is, "NVIDIA RTX 4090".
     */
    struct hive_str_t name;
    /**
     * "cuda", "cpu", "metal" or other.
     */
    struct hive_str_t device_type;
    /**
     * Memory, GiB; 1,048,576 at most.
     */
    struct hive_opt_f64_t vram_gb;
    /**
     * "8.9"; NULL if not known.
     */
    struct hive_str_t compute_capability;
} hive_device_t;

/**
 * A heartbeat: the full state of one hive's workers; one it does not name is gone.
 */
typedef struct hive_heartbeat_t {
    /**
     * The hive's name.
     */
    struct hive_str_t hive_id;
    /**
     * When the heartbeat was made, RFC 3339: "2025-10-21T10:00:00Z".
     */
    struct hive_str_t timestamp;
    /**
     * Its workers.
     */
    const struct hive_worker_report_t *workers;
    /**
     * How many.
     */
    size_t workers_len;
    /**
     * Which boot of the hive this is; with `seq`, orders its heartbeats whatever its clock does.
     */
    struct hive_opt_u64_t epoch;
    /**
     * A counter within the boot.
     */
    struct hive_opt_u64_t seq;
    /**
     * What the hive says about itself; NULL if nothing, and then nothing is known from now on. Its `id` may be missing.
     */
    const struct hive_info_t *hive_info;
    /**
     * Its devices; NULL if it does not tell, and then none are known from now on; any other pointer with a length of 0 if
     * it has none.
     */
    const struct hive_device_t *capabilities;
    /**
     * How many.
     */
    size_t capabilities_len;
} hive_heartbeat_t;

/**
 * What a hive sent of one process, in the telemetry form. The texts live as long as the handle they came from.
 */
typedef struct hive_process_t {
    /**
     * Process id.
     */
    uint32_t pid;
    /**
     * The group it belongs to; with `instance`, its worker id: "group-instance".
     */
    struct hive_str_t group;
    /**
     * Its instance; where it is a port, the worker's url is made of it.
     */
    struct hive_str_t instance;
    /**
     * CPU in use, percent of one core.
     */
    float cpu_pct;
    /**
     * Resident memory, units of 1,048,576 bytes.
     */
    uint64_t rss_mb;
    /**
     * Reads, MB/s.
     */
    float io_r_mb_s;
    /**
     * Writes, MB/s.
     */
    float io_w_mb_s;
    /**
     * Seconds since it started.
     */
    uint64_t uptime_s;
    /**
     * GPU in use, percent; 0 means idle, and so does none: the GPU does not tell.
     */
    struct hive_opt_f32_t gpu_util_pct;
    /**
     * VRAM in use, units of 1,048,576 bytes.
     */
    uint64_t vram_mb;
    /**
     * VRAM of its device, units of 1,048,576 bytes.
     */
    uint64_t total_vram_mb;
    /**
     * The model it has loaded; `ptr` is NULL if none.
     */
    struct hive_str_t model;
} hive_process_t;

/**
 * The telemetry form of a heartbeat: the hive describes itself and its processes.
 */
typedef struct hive_telemetry_t {
    /**
     * The hive.
     */
    struct hive_info_t hive;
    /**
     * When the heartbeat was made, RFC 3339.
     */
    struct hive_str_t timestamp;
    /**
     * All its worker processes; NULL if it says nothing of them, and then they stay as they were; any other pointer with
     * a length of 0 if it has none.
     */
    const struct hive_process_t *workers;
    /**
     * How many.
     */
    size_t workers_len;
    /**
     * Its devices; NULL if it does not tell, any other pointer with a length of 0 if it has none.
     */
    const struct hive_device_t *capabilities;
    /**
     * How many.
     */
    size_t capabilities_len;
    /**
     * Which boot of the hive this is.
     */
    struct hive_opt_u64_t epoch;
    /**
     * A counter within the boot.
     */
    struct hive_opt_u64_t seq;
} hive_telemetry_t;

/**
 * One worker that may be chosen; valid during the call it is given to.
 */
typedef struct hive_candidate_t {
    /**
     * Its record, borrowed; `hive_worker_clone` keeps it.
     */
    const struct hive_worker_t *worker;
    /**
     * Its load: less is better. An order, not a measure: to be compared with others, and nothing else.
     */
    uint64_t load;
    /**
     * Reservations it holds.
     */
    uint32_t reservations;
    /**
     * Its place among those that are alike: the least is the one reserved least recently, before it those never
     * reserved, in the order of registration. No two are alike.
     */
    uint64_t turn;
} hive_candidate_t;

/**
 * Settings of a registry. Set `size` to `sizeof(hive_config_t)` and the rest to zero: that is the default of every
 * setting. Later versions add fields at the end only; a library takes a struct of any version that says nothing it does
 * not know.
 */
typedef struct hive_config_t {
    /**
     * `sizeof(hive_config_t)` as the program was compiled.
     */
    size_t size;
    /**
     * Shards of each map: a power of two from 2 to 65,536; 128.
     */
    struct hive_opt_u64_t shards;
    /**
     * How long after its last heartbeat a hive counts as live, milliseconds: at least 1; 30,000.
     */
    struct hive_opt_u64_t liveness_window_ms;
    /**
     * A `hive_liveness_t`.
     */
    uint32_t liveness_clock;
    /**
     * A `hive_stale_t`.
     */
    uint32_t stale_mode;
    /**
     * Hives known at once: at least 1, as all limits; 1,000,000.
     */
    struct hive_opt_u64_t max_hives;
    /**
     * Workers of all hives at once; 16,000,000.
     */
    struct hive_opt_u64_t max_workers;
    /**
     * Workers in one heartbeat; 1,024.
     */
    struct hive_opt_u64_t max_workers_per_hive;
    /**
     * Models loaded somewhere at once; 100,000.
     */
    struct hive_opt_u64_t max_models;
    /**
     * Bytes of one JSON body; 1,048,576.
     */
    struct hive_opt_u64_t max_heartbeat_bytes;
    /**
     * Gigabytes (10^9 bytes) of VRAM that a worker counts for when it does not say; 4.
     */
    struct hive_opt_f32_t assumed_vram_gb;
    /**
     * Gigabytes of RAM that a worker counts for when it does not say; 2.
     */
    struct hive_opt_f32_t assumed_ram_gb;
    /**
     * Fixes the hasher and every random choice.
     */
    struct hive_opt_u64_t seed;
    /**
     * The source of time; NULL for the system's. The registry keeps its time, not the handle.
     */
    const struct hive_clock_t *clock;
    /**
     * Devices that one hive declares; 256.
     */
    struct hive_opt_u64_t max_devices_per_hive;
    /**
     * Requests at once that a worker is ranked by when it does not say how many it takes, which then does not limit it:
     * at least 1; 16.
     */
    struct hive_opt_u32_t assumed_concurrency;
    /**
     * Shuffles the order of workers that are alike in all else, which is that of registration where it is not set: for
     * several registries of one fleet, each with another seed.
     */
    struct hive_opt_u64_t tie_seed;
} hive_config_t;

/**
 * Bounds on what a registry holds, as it was built.
 */
typedef struct hive_limits_t {
    /**
     * Hives known at once.
     */
    size_t hives;
    /**
     * Workers of all hives at once.
     */
    size_t workers;
    /**
     * Workers in one heartbeat.
     */
    size_t workers_per_hive;
    /**
     * Devices that one hive declares.
     */
    size_t devices_per_hive;
    /**
     * Models loaded somewhere at once.
     */
    size_t models;
    /**
     * Bytes of one JSON body.
     */
    size_t heartbeat_bytes;
} hive_limits_t;

/**
 * Memory of one hive; 1 GB = 10^9 bytes.
 */
typedef struct hive_resources_t {
    /**
     * VRAM in use: what its workers report, and an assumed amount for each that does not.
     */
    float vram_used_gb;
    /**
     * RAM in use, likewise.
     */
    float ram_used_gb;
    /**
     * How many workers it runs.
     */
    size_t worker_count;
    /**
     * VRAM of the GPUs it declares, else of the devices its workers report.
     */
    struct hive_opt_f32_t vram_total_gb;
    /**
     * VRAM free, summed over the devices whose total is known.
     */
    struct hive_opt_f32_t vram_free_gb;
    /**
     * RAM of the CPU it declares.
     */
    struct hive_opt_f32_t ram_total_gb;
    /**
     * Workers that report no VRAM or no RAM, and count as assumed.
     */
    size_t workers_estimated;
} hive_resources_t;

/**
 * What an eviction pass did.
 */
typedef struct hive_eviction_t {
    /**
     * Hives evicted.
     */
    size_t hives;
    /**
     * Whether it held because over half of the fleet is silent.
     */
    bool held;
    /**
     * Silent hives that remain for a later pass.
     */
    size_t remaining;
} hive_eviction_t;

/**
 * Scores a candidate: the lowest wins, of equal ones the one reserved least recently, as `turn` says. False, or a score that is NaN, passes it over.
 *
 * Called without any lock held, once for each candidate each time the registry asks, on the thread that picks. It may
 * call the registry, also to pick, and any function of this library, but free nothing that the pick under way uses. It
 * must return: neither longjmp nor a C++ exception may leave it.
 */
typedef bool (*hive_score_t)(void *user, const struct hive_candidate_t *candidate, double *out_score);

/**
 * Chooses among candidates: writes the place of one, as `hive_candidates_get` showed it. False chooses nobody. A place where
 * there is nobody makes the registry ask again.
 *
 * Called as `hive_score_t` is, once each time the registry asks.
 */
typedef bool (*hive_choose_t)(void *user, const struct hive_candidates_t *candidates, size_t *out_at);

/**
 * A way to choose, and what it needs. All zero is `HIVE_POLICY_LEAST_LOADED`.
 */
typedef struct hive_policy_t {
    /**
     * A `hive_policy_kind_t`.
     */
    uint32_t kind;
    /**
     * How many `HIVE_POLICY_POWER_OF_CHOICES` draws; 0 counts as 1.
     */
    uint32_t choices;
    /**
     * What `HIVE_POLICY_SCORE` calls.
     */
    hive_score_t score;
    /**
     * What `score` or `choose` is given first.
     */
    void *user;
    /**
     * What `HIVE_POLICY_CHOOSE` calls.
     */
    hive_choose_t choose;
} hive_policy_t;

/**
 * A reservation that ends by itself, for a holder elsewhere.
 */
typedef struct hive_lease_t {
    /**
     * By which it is renewed and released; never used again.
     */
    uint64_t id;
    /**
     * When it runs out unless it is renewed, milliseconds since 1970.
     */
    int64_t expires_at_ms;
} hive_lease_t;

/**
 * Why a pick goes where it goes. Each worker with the model loaded is counted once, under the first reason that
 * applies, in the order of the fields from `stale` on, `stale_by_clock` aside.
 */
typedef struct hive_explanation_t {
    /**
     * Workers that have it loaded.
     */
    size_t workers;
    /**
     * Of these, workers that may be picked.
     */
    size_t eligible;
    /**
     * Their hive was not heard within the liveness window.
     */
    size_t stale;
    /**
     * Of the stale, those whose hive's last heartbeat arrived within the window: what its clock says, and it alone,
     * makes them stale. See `clock_skew_ms` of `hive_hive_stats_t`.
     */
    size_t stale_by_clock;
    /**
     * They or their hive are unhealthy.
     */
    size_t unhealthy;
    /**
     * They are loading.
     */
    size_t loading;
    /**
     * They are draining, or their hive is stopping or stopped.
     */
    size_t draining;
    /**
     * They are in another state that takes no requests.
     */
    size_t other;
    /**
     * They hold as many reservations as they take.
     */
    size_t full;
    /**
     * Eligible idle workers of any model or none, among which a pick falls back when `eligible` is 0.
     */
    size_t idle_fallbacks;
} hive_explanation_t;

/**
 * One worker in a snapshot.
 */
typedef struct hive_worker_snapshot_t {
    /**
     * Its record, borrowed from the snapshot.
     */
    const struct hive_worker_t *worker;
    /**
     * Reservations it holds.
     */
    uint32_t reservations;
    /**
     * Its load: an order, not a measure.
     */
    uint64_t load;
} hive_worker_snapshot_t;

/**
 * How regularly a hive beats. Times are 0 until it has beaten twice.
 */
typedef struct hive_hive_stats_t {
    /**
     * The hive; valid as long as the handle it came from, empty from `hive_registry_hive_stats`.
     */
    struct hive_str_t hive_id;
    /**
     * Heartbeats since it was registered, superseded ones included.
     */
    uint64_t heartbeats;
    /**
     * Mean time between arrivals, milliseconds.
     */
    double mean_interval_ms;
    /**
     * Smoothed difference between successive intervals, as RFC 3550, section 6.4.1, milliseconds.
     */
    double jitter_ms;
    /**
     * The longest time between two arrivals, milliseconds.
     */
    double longest_gap_ms;
    /**
     * Workers that appeared since it was registered, those it registered with included.
     */
    uint64_t workers_added;
    /**
     * Workers that vanished since it was registered.
     */
    uint64_t workers_removed;
    /**
     * How far the hive's clock is ahead of the registry's, milliseconds; negative if it is behind. Of its last 9 to 16
     * heartbeats, superseded ones included, the difference between timestamp and arrival that is nearest to 0. 0 until
     * it has sent one.
     */
    int64_t clock_skew_ms;
    /**
     * What its heartbeats said that counts as not reported: an empty text, a number that is none.
     */
    uint64_t complaints;
    /**
     * The last of these; NULL if none. As `hive_id`, empty from `hive_registry_hive_stats`.
     */
    struct hive_str_t last_complaint;
    /**
     * Heartbeats refused since it was registered, as far as it could be read whose they were.
     */
    uint64_t refusals;
    /**
     * The error of the last of these; NULL if none. As `hive_id`, empty from `hive_registry_hive_stats`.
     */
    struct hive_str_t last_refusal;
} hive_hive_stats_t;

/**
 * Counters. Each is exact at rest.
 */
typedef struct hive_totals_t {
    /**
     * Heartbeats of hives not known before.
     */
    uint64_t registered;
    /**
     * Heartbeats of known hives.
     */
    uint64_t updated;
    /**
     * Heartbeats too old, dropped.
     */
    uint64_t superseded;
    /**
     * Heartbeats of removed hives, dropped.
     */
    uint64_t removed;
    /**
     * Heartbeats that the registry refused with an error; structs that could not be read at all are not counted.
     */
    uint64_t refused;
    /**
     * Picks and reservations that found a worker.
     */
    uint64_t picks;
    /**
     * Picks and reservations that found none.
     */
    uint64_t misses;
    /**
     * Reservations held now, leases included.
     */
    uint64_t reservations_open;
    /**
     * Events lost by slow readers.
     */
    uint64_t events_dropped;
    /**
     * Hives evicted.
     */
    uint64_t evictions;
    /**
     * Eviction passes that held for a mass silence.
     */
    uint64_t holds;
} hive_totals_t;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * A clock that shows `unix_ms`, milliseconds since 1970, and stands still.
 */
hive_status_t hive_clock_new(int64_t unix_ms, struct hive_clock_t **out_clock);

/**
 * A clock that asks the program. Refused, `user` remains the caller's, and `on_free` is not called.
 *
 * Errors: HIVE_NULL_ARGUMENT where a function is missing that may not be.
 */
hive_status_t hive_clock_new_of(const struct hive_clock_functions_t *functions,
                                struct hive_clock_t **out_clock);

/**
 * NULL does nothing.
 */
void hive_clock_free(struct hive_clock_t *clock);

/**
 * Lets so many milliseconds pass.
 *
 * Errors: HIVE_INVALID_ARGUMENT for a clock of the program, which nobody but it can move; so the two below.
 */
hive_status_t hive_clock_advance(const struct hive_clock_t *clock,
                                 uint64_t ms);

/**
 * Shows `unix_ms` from now on. Going forward, that much time passes; going back, only the wall clock moves.
 */
hive_status_t hive_clock_set(const struct hive_clock_t *clock,
                             int64_t unix_ms);

/**
 * Steps the wall clock while no time passes.
 */
hive_status_t hive_clock_jump_wall(const struct hive_clock_t *clock, int64_t delta_ms);

/**
 * What it shows, milliseconds since 1970; 0 for NULL.
 */
int64_t hive_clock_wall_ms(const struct hive_clock_t *clock);

/**
 * Takes the error of the last call of this thread that failed. HIVE_NONE if none has, or it was taken.
 * `hive_last_error_message` goes on telling it.
 */
hive_status_t hive_error_take(struct hive_error_t **out_error);

/**
 * Takes the error of the last call through this handle that failed, on whatever thread it ran. HIVE_NONE if none has, or it
 * was taken. For callers that do not stay on one thread, each of which has a handle of its own from
 * `hive_registry_clone`. Calls through models, events, clocks and errors are not looked at: these take a NULL amiss,
 * and else say all by their status.
 */
hive_status_t hive_registry_take_error(const struct hive_registry_t *registry,
                                       struct hive_error_t **out_error);

/**
 * NULL does nothing.
 */
void hive_error_free(struct hive_error_t *error);

/**
 * What the call returned; HIVE_OK for NULL.
 */
hive_status_t hive_error_status(const struct hive_error_t *error);

/**
 * Field, value and bound in a sentence, in at most 512 bytes; empty for NULL.
 */
struct hive_str_t hive_error_message(const struct hive_error_t *error);

/**
 * What was refused: a field of a heartbeat by its path, "workers[3].url", a limit, a setting, an argument. False, and
 * `out` not written, if it is about none, or a pointer is NULL; so the two below.
 */
bool hive_error_field(const struct hive_error_t *error,
                      struct hive_str_t *out);

/**
 * The value that was refused: text in quotes, and its beginning only if it is long.
 */
bool hive_error_value(const struct hive_error_t *error, struct hive_str_t *out);

/**
 * What would have been accepted, in words: "1 to 256 bytes, not 300".
 */
bool hive_error_bound(const struct hive_error_t *error, struct hive_str_t *out);

/**
 * A feed of changes from now on, which holds at most `capacity` unread events, at least 1.
 */
hive_status_t hive_registry_subscribe(const struct hive_registry_t *registry,
                                      size_t capacity,
                                      struct hive_events_t **out_events);

/**
 * The next event, waiting for it for at most `timeout_ms`; 0 does not wait.
 *
 * Errors: HIVE_TIMEOUT if none came; HIVE_LAGGED if the reader lost some, the oldest first: how many is written to
 * `out_lost`, unless that is NULL; HIVE_CLOSED if the registry is gone and every event was read.
 */
hive_status_t hive_events_next(const struct hive_events_t *events,
                               uint64_t timeout_ms,
                               struct hive_event_t **out_event,
                               uint64_t *out_lost);

/**
 * Ends the feed. No other call may be under way on it. NULL does nothing.
 */
void hive_events_free(struct hive_events_t *events);

/**
 * What happened: a `hive_event_kind_t`.
 */
uint32_t hive_event_kind(const struct hive_event_t *event);

/**
 * Grows by one with each event of the registry.
 */
uint64_t hive_event_sequence(const struct hive_event_t *event);

/**
 * The version of the hive's state that the change made.
 */
uint64_t hive_event_version(const struct hive_event_t *event);

/**
 * The hive, valid as long as the event; empty for NULL.
 */
struct hive_str_t hive_event_hive_id(const struct hive_event_t *event);

/**
 * The worker that was added, changed or removed, borrowed from the event; NULL for an event of a hive.
 */
const struct hive_worker_t *hive_event_worker(const struct hive_event_t *event);

/**
 * NULL does nothing.
 */
void hive_event_free(struct hive_event_t *event);

/**
 * Applies a heartbeat from JSON, of any form: "hive_id" marks the plain one, "hive" the telemetry one, and "hive_id"
 * with the "type" "telemetry" or "hive_telemetry" the event of a stream, which says the same flat. Whole or not at all; once it returns, every query sees it. `out_applied` may be NULL, else becomes a `hive_applied_t`.
 * O(bytes).
 *
 * Errors: HIVE_MALFORMED, also for what is not UTF-8; HIVE_INVALID_FIELD, HIVE_OVER_LIMIT.
 */
hive_status_t hive_registry_ingest_json(const struct hive_registry_t *registry,
                                        const char *body,
                                        size_t body_len,
                                        uint32_t *out_applied);

/**
 * The same of the plain form alone and of this hive alone.
 */
hive_status_t hive_registry_update_hive_state_json(const struct hive_registry_t *registry,
                                                   const char *hive_id,
                                                   size_t hive_id_len,
                                                   const char *body,
                                                   size_t body_len,
                                                   uint32_t *out_applied);

/**
 * The same of the telemetry form alone.
 */
hive_status_t hive_registry_update_hive_json(const struct hive_registry_t *registry,
                                             const char *body,
                                             size_t body_len,
                                             uint32_t *out_applied);

/**
 * As `hive_registry_update_workers`, from a JSON array of processes.
 */
hive_status_t hive_registry_update_workers_json(const struct hive_registry_t *registry,
                                                const char *hive_id,
                                                size_t hive_id_len,
                                                const char *workers,
                                                size_t workers_len,
                                                uint32_t *out_applied);

/**
 * Applies a heartbeat of the hive `hive_id`, which must be the one it names; otherwise as
 * `hive_registry_ingest_json`. O(workers).
 */
hive_status_t hive_registry_update_hive_state(const struct hive_registry_t *registry,
                                              const char *hive_id,
                                              size_t hive_id_len,
                                              const struct hive_heartbeat_t *heartbeat,
                                              uint32_t *out_applied);

/**
 * The same of the hive that the heartbeat names.
 */
hive_status_t hive_registry_ingest_payload(const struct hive_registry_t *registry,
                                           const struct hive_heartbeat_t *heartbeat,
                                           uint32_t *out_applied);

/**
 * Applies a heartbeat in the telemetry form.
 */
hive_status_t hive_registry_update_hive(const struct hive_registry_t *registry,
                                        const struct hive_telemetry_t *telemetry,
                                        uint32_t *out_applied);

/**
 * Replaces a hive's workers by processes and counts it as heard now; what is known of the hive itself stays, and an
 * unknown hive is registered.
 */
hive_status_t hive_registry_update_workers(const struct hive_registry_t *registry,
                                           const char *hive_id,
                                           size_t hive_id_len,
                                           const struct hive_process_t *workers,
                                           size_t workers_len,
                                           uint32_t *out_applied);

/**
 * How many there are; 0 for NULL.
 */
size_t hive_worker_list_len(const struct hive_worker_list_t *list);

/**
 * The worker at `at`, borrowed from the list; NULL if there are not so many.
 */
const struct hive_worker_t *hive_worker_list_get(const struct hive_worker_list_t *list, size_t at);

/**
 * NULL does nothing.
 */
void hive_worker_list_free(struct hive_worker_list_t *list);

/**
 * How many there are; 0 for NULL.
 */
size_t hive_id_list_len(const struct hive_id_list_t *list);

/**
 * The name at `at`, valid as long as the list; empty if there are not so many.
 */
struct hive_str_t hive_id_list_get(const struct hive_id_list_t *list, size_t at);

/**
 * NULL does nothing.
 */
void hive_id_list_free(struct hive_id_list_t *list);

/**
 * How many there are; 0 for NULL.
 */
size_t hive_process_list_len(const struct hive_process_list_t *list);

/**
 * The hive of the process at `at`; empty if there are not so many.
 */
struct hive_str_t hive_process_list_hive_id(const struct hive_process_list_t *list, size_t at);

/**
 * The process at `at`; false if there are not so many.
 */
bool hive_process_list_get(const struct hive_process_list_t *list,
                           size_t at,
                           struct hive_process_t *out);

/**
 * NULL does nothing.
 */
void hive_process_list_free(struct hive_process_list_t *list);

/**
 * How many there are; some may prove ineligible when looked at. 0 for NULL. O(1).
 */
size_t hive_candidates_len(const struct hive_candidates_t *candidates);

/**
 * The candidate at `at`; false if there are not so many. Its record is valid until the policy returns.
 *
 * One that proves ineligible leaves, and the last one takes its place, and is shown instead. So look from the last one
 * down to 0: nobody is missed, though one may come twice. O(1), a short lock.
 */
bool hive_candidates_get(const struct hive_candidates_t *candidates,
                         size_t at,
                         struct hive_candidate_t *out);

/**
 * One drawn with equal chances, and its place, by the random numbers of the registry; false if there is nobody. O(1)
 * expected.
 */
bool hive_candidates_random(const struct hive_candidates_t *candidates,
                            size_t *out_at,
                            struct hive_candidate_t *out);

/**
 * An empty registry. `config` may be NULL: all defaults.
 *
 * Errors: HIVE_INVALID_CONFIG names the setting that is out of bounds.
 */
hive_status_t hive_registry_new(const struct hive_config_t *config,
                                struct hive_registry_t **out_registry);

/**
 * Another handle on the same registry, to be freed like the first.
 */
hive_status_t hive_registry_clone(const struct hive_registry_t *registry,
                                  struct hive_registry_t **out_registry);

/**
 * The bounds it was built with. O(1).
 */
hive_status_t hive_registry_limits(const struct hive_registry_t *registry,
                                   struct hive_limits_t *out_limits);

/**
 * Gives a handle back. The registry ends with the last of its handles, models and reservations; lists, workers, states
 * and subscriptions taken from it remain valid until they are freed. No other call may be under way on this handle.
 * NULL does nothing.
 */
void hive_registry_free(struct hive_registry_t *registry);

/**
 * One heartbeat's state, never a mixture of two. HIVE_NONE if the hive is not registered. O(1).
 */
hive_status_t hive_registry_get_hive_state(const struct hive_registry_t *registry,
                                           const char *hive_id,
                                           size_t hive_id_len,
                                           struct hive_state_t **out_state);

/**
 * What a hive last said about itself, and its state, for the texts live as long as that. HIVE_NONE if it is not
 * registered, or its newest heartbeat says nothing of it. O(1).
 */
hive_status_t hive_registry_get_hive(const struct hive_registry_t *registry,
                                     const char *hive_id,
                                     size_t hive_id_len,
                                     struct hive_info_t *out_info,
                                     struct hive_state_t **out_state);

/**
 * Hives heard less than `max_age_ms` ago. O(hives log hives).
 */
hive_status_t hive_registry_list_active_hives(const struct hive_registry_t *registry,
                                              int64_t max_age_ms,
                                              struct hive_id_list_t **out_ids);

/**
 * Memory in use, total and free. HIVE_NONE if the hive is not registered. O(workers of the hive).
 */
hive_status_t hive_registry_get_available_resources(const struct hive_registry_t *registry,
                                                    const char *hive_id,
                                                    size_t hive_id_len,
                                                    struct hive_resources_t *out_resources);

/**
 * Removes a hive and its workers from everything at once. HIVE_NONE if it was not there. For 10 minutes a heartbeat
 * made before the removal is dropped.
 */
hive_status_t hive_registry_remove_hive(const struct hive_registry_t *registry,
                                        const char *hive_id,
                                        size_t hive_id_len);

/**
 * All registered hives, live or not. O(hives log hives).
 */
hive_status_t hive_registry_list_all_hives(const struct hive_registry_t *registry,
                                           struct hive_id_list_t **out_ids);

/**
 * How many workers the hive runs. HIVE_NONE if it is not registered. O(1).
 */
hive_status_t hive_registry_get_worker_count(const struct hive_registry_t *registry,
                                             const char *hive_id,
                                             size_t hive_id_len,
                                             size_t *out_count);

/**
 * Whether it was heard less than `max_age_ms` ago; false for one that is not registered. O(1).
 */
hive_status_t hive_registry_is_hive_online(const struct hive_registry_t *registry,
                                           const char *hive_id,
                                           size_t hive_id_len,
                                           int64_t max_age_ms,
                                           bool *out_online);

/**
 * How many hives are registered, live or not. O(1).
 */
hive_status_t hive_registry_hive_count(const struct hive_registry_t *registry, size_t *out_count);

/**
 * Hives heard within the liveness window. O(hives log hives).
 */
hive_status_t hive_registry_list_online_hives(const struct hive_registry_t *registry,
                                              struct hive_id_list_t **out_ids);

/**
 * Online hives that, where they sent their status, are ready or busy and not unhealthy. O(hives log hives).
 */
hive_status_t hive_registry_list_available_hives(const struct hive_registry_t *registry,
                                                 struct hive_id_list_t **out_ids);

/**
 * How many hives were heard within the liveness window. O(hives).
 */
hive_status_t hive_registry_count_online(const struct hive_registry_t *registry, size_t *out_count);

/**
 * How many hives are available. O(hives).
 */
hive_status_t hive_registry_count_available(const struct hive_registry_t *registry,
                                            size_t *out_count);

/**
 * The worker of this id; where several hives have one, that on the hive heard last among live hives, else among all.
 * HIVE_NONE if nobody has. O(1).
 */
hive_status_t hive_registry_get_worker(const struct hive_registry_t *registry,
                                       const char *worker_id,
                                       size_t worker_id_len,
                                       struct hive_worker_t **out_worker);

/**
 * The worker of this id on this hive. HIVE_NONE if it has none. O(1) in the fleet.
 */
hive_status_t hive_registry_get_worker_on(const struct hive_registry_t *registry,
                                          const char *hive_id,
                                          size_t hive_id_len,
                                          const char *worker_id,
                                          size_t worker_id_len,
                                          struct hive_worker_t **out_worker);

/**
 * Where the worker of this id, chosen as by `hive_registry_get_worker`, takes requests. HIVE_NONE if nobody has this id,
 * or it has no url. O(1).
 */
hive_status_t hive_registry_get_worker_url(const struct hive_registry_t *registry,
                                           const char *worker_id,
                                           size_t worker_id_len,
                                           struct hive_text_t **out_url);

/**
 * All workers, live or not. O(workers + hives log hives), as all lists of workers but those named otherwise.
 */
hive_status_t hive_registry_list_all_workers(const struct hive_registry_t *registry,
                                             struct hive_worker_list_t **out_workers);

/**
 * Workers whose state is "Idle". As all functions named `find_`: under HIVE_STALE_EXCLUDE of live hives only, for they
 * tell who could be given work. O(k log k) in them.
 */
hive_status_t hive_registry_find_idle_workers(const struct hive_registry_t *registry,
                                              struct hive_worker_list_t **out_workers);

/**
 * Workers that have the model loaded. O(k log k) in them.
 */
hive_status_t hive_registry_find_workers_by_model(const struct hive_registry_t *registry,
                                                  const char *model_id,
                                                  size_t model_id_len,
                                                  struct hive_worker_list_t **out_workers);

/**
 * The same as `hive_registry_find_workers_by_model`, by its other name.
 */
hive_status_t hive_registry_find_workers_with_model(const struct hive_registry_t *registry,
                                                    const char *model_id,
                                                    size_t model_id_len,
                                                    struct hive_worker_list_t **out_workers);

/**
 * Workers that compute on `backend`; ASCII case does not matter.
 */
hive_status_t hive_registry_find_workers_by_backend(const struct hive_registry_t *registry,
                                                    const char *backend,
                                                    size_t backend_len,
                                                    struct hive_worker_list_t **out_workers);

/**
 * How many workers all hives run, live or not. O(1).
 */
hive_status_t hive_registry_total_worker_count(const struct hive_registry_t *registry,
                                               size_t *out_count);

/**
 * The hive's workers, by worker id; an empty list if it is not registered. O(workers of the hive).
 */
hive_status_t hive_registry_get_workers_on_hive(const struct hive_registry_t *registry,
                                                const char *hive_id,
                                                size_t hive_id_len,
                                                struct hive_worker_list_t **out_workers);

/**
 * Workers whose device has at least `vram_mb` units of 1,048,576 bytes free, as reported.
 */
hive_status_t hive_registry_find_workers_with_capacity(const struct hive_registry_t *registry,
                                                       uint64_t vram_mb,
                                                       struct hive_worker_list_t **out_workers);

/**
 * What a hive sent of its processes; an empty list if it sends the plain form, HIVE_NONE if it is not registered.
 * O(workers of the hive).
 */
hive_status_t hive_registry_get_workers(const struct hive_registry_t *registry,
                                        const char *hive_id,
                                        size_t hive_id_len,
                                        struct hive_process_list_t **out_processes);

/**
 * What all hives sent of their processes.
 */
hive_status_t hive_registry_get_all_workers(const struct hive_registry_t *registry,
                                            struct hive_process_list_t **out_processes);

/**
 * Removes hives not heard for `max_age_ms`; in a fleet of 8 or more at most 15 % of it, and for a while nothing when
 * over half is silent. `out_eviction` may be NULL. O(hives + workers of those removed).
 */
hive_status_t hive_registry_evict_stale(const struct hive_registry_t *registry,
                                        uint64_t max_age_ms,
                                        struct hive_eviction_t *out_eviction);

/**
 * The best worker for the model: healthy before degraded, the lowest load, then the one reserved least recently; an
 * idle worker of any model if none that has it loaded may be picked; HIVE_NONE if there is none. Counts nothing: see
 * `hive_registry_reserve_worker_for_model`. O(1), waits for nobody, allocates nothing.
 */
hive_status_t hive_registry_find_best_worker_for_model(const struct hive_registry_t *registry,
                                                       const char *model_id,
                                                       size_t model_id_len,
                                                       struct hive_worker_t **out_worker);

/**
 * Chooses by another policy; NULL is the default rule. If the one it chose has gone it is asked again, 64 times at most.
 * HIVE_NONE if it chose nobody: whom a policy passes over is not chosen, whatever others do meanwhile.
 *
 * Errors: HIVE_INVALID_ARGUMENT.
 */
hive_status_t hive_registry_pick(const struct hive_registry_t *registry,
                                 const char *model_id,
                                 size_t model_id_len,
                                 const struct hive_policy_t *policy,
                                 struct hive_worker_t **out_worker);

/**
 * Chooses as `hive_registry_find_best_worker_for_model` and counts the reservation in one step, so that a burst
 * spreads; the worker's max_concurrency is never exceeded. HIVE_NONE if no place is free. O(log n) in the workers of
 * the model.
 */
hive_status_t hive_registry_reserve_worker_for_model(const struct hive_registry_t *registry,
                                                     const char *model_id,
                                                     size_t model_id_len,
                                                     struct hive_reservation_t **out_reservation);

/**
 * Chooses by another policy, as `hive_registry_pick`, and counts the reservation: of whom it chose, if a place is free
 * there. If none is, the policy is asked again, 64 times at most; then nobody is chosen.
 *
 * Errors: HIVE_INVALID_ARGUMENT.
 */
hive_status_t hive_registry_reserve_with(const struct hive_registry_t *registry,
                                         const char *model_id,
                                         size_t model_id_len,
                                         const struct hive_policy_t *policy,
                                         struct hive_reservation_t **out_reservation);

/**
 * The worker as it was when it was chosen, borrowed from the reservation; NULL for NULL.
 */
const struct hive_worker_t *hive_reservation_worker(const struct hive_reservation_t *reservation);

/**
 * Gives the place back. O(log n) in the workers of the model. NULL does nothing.
 */
void hive_reservation_free(struct hive_reservation_t *reservation);

/**
 * Reserves for a holder elsewhere, until `lease_ms` have passed. `out_worker` may be NULL, else becomes the chosen
 * worker, owned. HIVE_NONE if no place is free.
 */
hive_status_t hive_registry_reserve_detached(const struct hive_registry_t *registry,
                                             const char *model_id,
                                             size_t model_id_len,
                                             uint64_t lease_ms,
                                             struct hive_lease_t *out_lease,
                                             struct hive_worker_t **out_worker);

/**
 * Lets a lease run for `lease_ms` from now; when it runs out is written to `out_expires_at_ms`, milliseconds since 1970,
 * unless that is NULL. HIVE_NONE if it has run out, was released, or its worker has gone.
 */
hive_status_t hive_registry_renew_lease(const struct hive_registry_t *registry,
                                        uint64_t lease_id,
                                        uint64_t lease_ms,
                                        int64_t *out_expires_at_ms);

/**
 * Ends a lease. HIVE_NONE if it has run out, was released, or its worker has gone.
 */
hive_status_t hive_registry_release_lease(const struct hive_registry_t *registry,
                                          uint64_t lease_id);

/**
 * Looks a model up once.
 *
 * Errors: HIVE_INVALID_FIELD for a name that no worker may have, HIVE_OVER_LIMIT for one model too many.
 */
hive_status_t hive_registry_model(const struct hive_registry_t *registry,
                                  const char *model_id,
                                  size_t model_id_len,
                                  struct hive_model_t **out_model);

/**
 * Its name, valid as long as the model; empty for NULL.
 */
struct hive_str_t hive_model_id(const struct hive_model_t *model);

/**
 * As `hive_registry_find_best_worker_for_model`.
 */
hive_status_t hive_model_find_best_worker(const struct hive_model_t *model,
                                          struct hive_worker_t **out_worker);

/**
 * As `hive_registry_reserve_worker_for_model`.
 */
hive_status_t hive_model_reserve_worker(const struct hive_model_t *model,
                                        struct hive_reservation_t **out_reservation);

/**
 * NULL does nothing.
 */
void hive_model_free(struct hive_model_t *model);

/**
 * Tells why a pick goes where it goes. `out_pick` may be NULL, else becomes what the pick would be, owned, or NULL if
 * it would be nobody. O(workers of the model + idle workers).
 */
hive_status_t hive_registry_explain(const struct hive_registry_t *registry,
                                    const char *model_id,
                                    size_t model_id_len,
                                    struct hive_explanation_t *out_explanation,
                                    struct hive_worker_t **out_pick);

/**
 * Another owner of the same record; NULL for NULL. O(1), allocates nothing.
 */
struct hive_state_t *hive_state_clone(const struct hive_state_t *state);

/**
 * Gives an owned state back. NULL does nothing.
 */
void hive_state_free(struct hive_state_t *state);

/**
 * The hive's name; empty for NULL.
 */
struct hive_str_t hive_state_hive_id(const struct hive_state_t *state);

/**
 * Of this heartbeat, milliseconds since 1970 by the liveness clock; 0 for NULL.
 */
int64_t hive_state_last_heartbeat_ms(const struct hive_state_t *state);

/**
 * VRAM in use, 10^9 bytes; 0 for NULL.
 */
float hive_state_vram_used_gb(const struct hive_state_t *state);

/**
 * RAM in use, 10^9 bytes; 0 for NULL.
 */
float hive_state_ram_used_gb(const struct hive_state_t *state);

/**
 * Grows with every heartbeat applied, over all hives; 0 for NULL.
 */
uint64_t hive_state_version(const struct hive_state_t *state);

/**
 * How many workers it runs; 0 for NULL.
 */
size_t hive_state_worker_count(const struct hive_state_t *state);

/**
 * The worker at `at`, by worker id, borrowed from the state; NULL if there are not so many.
 */
const struct hive_worker_t *hive_state_worker(const struct hive_state_t *state, size_t at);

/**
 * Its worker of this id, borrowed from the state; NULL if it has none, or `worker_id` is no text. O(log workers).
 */
const struct hive_worker_t *hive_state_worker_by_id(const struct hive_state_t *state,
                                                    const char *worker_id,
                                                    size_t worker_id_len);

/**
 * What the hive said about itself; false if it sends the plain form. Its texts live as long as the state.
 */
bool hive_state_info(const struct hive_state_t *state,
                     struct hive_info_t *out);

/**
 * How many devices the hive declared; false if it did not tell.
 */
bool hive_state_device_count(const struct hive_state_t *state, size_t *out);

/**
 * The device at `at`; false if there are not so many.
 */
bool hive_state_device(const struct hive_state_t *state, size_t at, struct hive_device_t *out);

/**
 * A copy of everything. O(hives log hives + workers).
 */
hive_status_t hive_registry_snapshot(const struct hive_registry_t *registry,
                                     struct hive_snapshot_t **out_snapshot);

/**
 * NULL does nothing.
 */
void hive_snapshot_free(struct hive_snapshot_t *snapshot);

/**
 * The sequence of the last event before copying began: resume a feed with the events after it.
 */
uint64_t hive_snapshot_sequence(const struct hive_snapshot_t *snapshot);

/**
 * When copying began, milliseconds since 1970 by the liveness clock.
 */
int64_t hive_snapshot_taken_at_ms(const struct hive_snapshot_t *snapshot);

/**
 * How many hives there are; 0 for NULL.
 */
size_t hive_snapshot_len(const struct hive_snapshot_t *snapshot);

/**
 * The state of the hive at `at`, by hive id, borrowed from the snapshot; NULL if there are not so many.
 */
const struct hive_state_t *hive_snapshot_state(const struct hive_snapshot_t *snapshot,
                                               size_t at);

/**
 * Milliseconds since that hive was last heard; false if there are not so many.
 */
bool hive_snapshot_age_ms(const struct hive_snapshot_t *snapshot, size_t at, int64_t *out);

/**
 * Whether that is within the liveness window; false if there are not so many.
 */
bool hive_snapshot_online(const struct hive_snapshot_t *snapshot, size_t at);

/**
 * A worker of that hive with its reservations, by worker id; false if there are not so many.
 */
bool hive_snapshot_worker(const struct hive_snapshot_t *snapshot,
                          size_t hive_at,
                          size_t worker_at,
                          struct hive_worker_snapshot_t *out);

/**
 * Counters, and heartbeat statistics of each hive. O(hives log hives).
 */
hive_status_t hive_registry_stats(const struct hive_registry_t *registry,
                                  struct hive_stats_t **out_stats);

/**
 * Heartbeat statistics of one hive. HIVE_NONE if it is not registered. O(1).
 */
hive_status_t hive_registry_hive_stats(const struct hive_registry_t *registry,
                                       const char *hive_id,
                                       size_t hive_id_len,
                                       struct hive_hive_stats_t *out_stats);

/**
 * The counters; false for NULL.
 */
bool hive_stats_totals(const struct hive_stats_t *stats, struct hive_totals_t *out);

/**
 * How many hives there are; 0 for NULL.
 */
size_t hive_stats_len(const struct hive_stats_t *stats);

/**
 * The hive at `at`, by hive id; false if there are not so many.
 */
bool hive_stats_hive(const struct hive_stats_t *stats, size_t at, struct hive_hive_stats_t *out);

/**
 * NULL does nothing.
 */
void hive_stats_free(struct hive_stats_t *stats);

/**
 * Why the last call of this thread that failed did: field, value and bound, in at most 512 bytes. Empty if none has
 * failed. Valid until the next call of this thread that fails. Callers that do not stay on one thread ask
 * `hive_registry_take_error`.
 */
struct hive_str_t hive_last_error_message(void);

/**
 * The status in a word: "HIVE_OK". Valid for ever; "unknown" for a number that is none.
 */
struct hive_str_t hive_status_name(uint32_t status);

/**
 * Starts a thread that calls `hive_registry_evict_stale` every `every_ms` (at least 1), until the sweeper is freed or
 * the registry ends.
 *
 * Errors: HIVE_SYSTEM if the system refuses the thread.
 */
hive_status_t hive_registry_spawn_sweeper(const struct hive_registry_t *registry,
                                          uint64_t every_ms,
                                          uint64_t max_age_ms,
                                          struct hive_sweeper_t **out_sweeper);

/**
 * Stops the thread and waits for it. NULL does nothing.
 */
void hive_sweeper_free(struct hive_sweeper_t *sweeper);

/**
 * The text, valid as long as the handle; empty for NULL.
 */
struct hive_str_t hive_text_str(const struct hive_text_t *text);

/**
 * NULL does nothing.
 */
void hive_text_free(struct hive_text_t *text);

/**
 * Of the library: "0.1.0". Valid for ever.
 */
struct hive_str_t hive_version(void);

/**
 * Another owner of the same record; NULL for NULL. O(1), allocates nothing.
 */
struct hive_worker_t *hive_worker_clone(const struct hive_worker_t *worker);

/**
 * Gives an owned worker back. NULL does nothing.
 */
void hive_worker_free(struct hive_worker_t *worker);

/**
 * The hive it runs on; empty for NULL, as all texts of a worker.
 */
struct hive_str_t hive_worker_hive_id(const struct hive_worker_t *worker);

/**
 * Its name, unique on its hive only.
 */
struct hive_str_t hive_worker_id(const struct hive_worker_t *worker);

/**
 * What it is doing: "Idle", "Busy", "Loading", "Draining" or what was sent.
 */
struct hive_str_t hive_worker_state(const struct hive_worker_t *worker);

/**
 * How it feels: "healthy", "degraded", "unhealthy" or what was sent.
 */
struct hive_str_t hive_worker_health_status(const struct hive_worker_t *worker);

/**
 * When its hive last heard from it, milliseconds since 1970; 0 for NULL.
 */
int64_t hive_worker_last_heartbeat_ms(const struct hive_worker_t *worker);

/**
 * Where it takes requests. False, and `out` not written, if that is not known or a pointer is NULL; so all
 * optional fields.
 */
bool hive_worker_url(const struct hive_worker_t *worker,
                     struct hive_str_t *out);

/**
 * The model it has loaded.
 */
bool hive_worker_model_id(const struct hive_worker_t *worker, struct hive_str_t *out);

/**
 * What it computes on: "cuda", "cpu", "metal" or what was sent, in lower case.
 */
bool hive_worker_backend(const struct hive_worker_t *worker, struct hive_str_t *out);

/**
 * The index of its GPU on the hive.
 */
bool hive_worker_device_id(const struct hive_worker_t *worker, uint32_t *out);

/**
 * VRAM in use, bytes.
 */
bool hive_worker_vram_bytes(const struct hive_worker_t *worker, uint64_t *out);

/**
 * VRAM of its device, bytes.
 */
bool hive_worker_vram_total_bytes(const struct hive_worker_t *worker, uint64_t *out);

/**
 * VRAM free on its own account, bytes: the total of its device less its own use.
 */
bool hive_worker_vram_free_bytes(const struct hive_worker_t *worker, uint64_t *out);

/**
 * RAM in use, bytes.
 */
bool hive_worker_ram_bytes(const struct hive_worker_t *worker, uint64_t *out);

/**
 * CPU in use, percent of one core.
 */
bool hive_worker_cpu_percent(const struct hive_worker_t *worker, float *out);

/**
 * GPU in use, percent.
 */
bool hive_worker_gpu_percent(const struct hive_worker_t *worker, float *out);

/**
 * Requests it takes at once.
 */
bool hive_worker_max_concurrency(const struct hive_worker_t *worker, uint32_t *out);

/**
 * What was sent, where the telemetry form was.
 */
bool hive_worker_process(const struct hive_worker_t *worker, struct hive_process_t *out);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#ifdef __cplusplus
extern "C" {
#endif

/** The view of a NUL-terminated string, for arguments and fields; its ptr is NULL for NULL. */
#ifdef HIVE_NO_INLINE
hive_str_t hive_str(const char *text);
#else
static inline hive_str_t hive_str(const char *text) {
    hive_str_t view;
    view.ptr = text;
    view.len = text ? strlen(text) : 0;
    return view;
}
#endif

#ifdef __cplusplus
}
#endif

#endif
