/* What hives send, in every form; what is told of it, and what is refused. */
#include "test.h"

static const char PLAIN[] =
    "{\"hive_id\":\"gpu-1\",\"timestamp\":\"2025-10-21T10:00:00Z\",\"workers\":[{"
    "\"worker_id\":\"w\",\"state\":\"busy\",\"last_heartbeat\":\"2025-10-21T09:59:59.5Z\","
    "\"health_status\":\"Degraded\",\"url\":\"http://10.0.0.1:9300\",\"model_id\":\"llama\","
    "\"backend\":\"CUDA\",\"device_id\":3,\"vram_bytes\":6,\"vram_total_bytes\":10,"
    "\"ram_bytes\":5,\"cpu_percent\":150.5,\"gpu_percent\":42,\"max_concurrency\":8}]}";

static const char TELEMETRY[] =
    "{\"hive\":{\"id\":\"gpu-1\",\"hostname\":\"node\",\"port\":9000,"
    "\"operational_status\":\"busy\","
    "\"health_status\":{\"status\":\"degraded\",\"reason\":\"hot\"},\"version\":\"1.2\"},"
    "\"timestamp\":\"2025-10-21T10:00:00Z\",\"workers\":[{\"pid\":77,\"group\":\"llm\","
    "\"instance\":\"8080\",\"cpu_pct\":12.5,\"rss_mb\":2,\"io_r_mb_s\":1.5,\"io_w_mb_s\":0.5,"
    "\"uptime_s\":60,\"gpu_util_pct\":0,\"vram_mb\":3,\"total_vram_mb\":4,\"model\":null}],"
    "\"capabilities\":[{\"id\":\"GPU-0\",\"name\":\"RTX\",\"device_type\":\"cuda\","
    "\"vram_gb\":24,\"compute_capability\":\"8.9\"},"
    "{\"id\":\"CPU-0\",\"name\":\"EPYC\",\"device_type\":\"cpu\"}]}";

static uint32_t ingest(const hive_registry_t *registry, const char *body) {
    uint32_t applied = UINT32_MAX;
    CHECK_STATUS(hive_registry_ingest_json(registry, body, strlen(body), &applied), HIVE_OK);
    return applied;
}

static hive_state_t *state_of(const hive_registry_t *registry, const char *hive) {
    hive_state_t *state = NULL;
    CHECK_STATUS(hive_registry_get_hive_state(registry, hive, strlen(hive), &state), HIVE_OK);
    return state;
}

/* The worker of PLAIN, however it was sent. */
static void checks_full(const hive_registry_t *registry) {
    hive_state_t *state = state_of(registry, "gpu-1");
    const hive_worker_t *told = hive_state_worker(state, 0);
    hive_str_t text;
    uint32_t number;
    uint64_t bytes;
    float percent;
    CHECK_STR(hive_worker_hive_id(told), "gpu-1");
    CHECK_STR(hive_worker_id(told), "w");
    CHECK_STR(hive_worker_state(told), "Busy");
    CHECK_STR(hive_worker_health_status(told), "degraded");
    CHECK_EQ(hive_worker_last_heartbeat_ms(told), T0 - 500);
    CHECK(hive_worker_url(told, &text));
    CHECK_STR(text, "http://10.0.0.1:9300");
    CHECK(hive_worker_model_id(told, &text));
    CHECK_STR(text, "llama");
    CHECK(hive_worker_backend(told, &text));
    CHECK_STR(text, "cuda");
    CHECK(hive_worker_device_id(told, &number));
    CHECK_EQ(number, 3);
    CHECK(hive_worker_vram_bytes(told, &bytes));
    CHECK_EQ(bytes, 6);
    CHECK(hive_worker_vram_total_bytes(told, &bytes));
    CHECK_EQ(bytes, 10);
    CHECK(hive_worker_vram_free_bytes(told, &bytes));
    CHECK_EQ(bytes, 4);
    CHECK(hive_worker_ram_bytes(told, &bytes));
    CHECK_EQ(bytes, 5);
    CHECK(hive_worker_cpu_percent(told, &percent));
    CHECK_NEAR(percent, 150.5);
    CHECK(hive_worker_gpu_percent(told, &percent));
    CHECK_NEAR(percent, 42);
    CHECK(hive_worker_max_concurrency(told, &number));
    CHECK_EQ(number, 8);
    hive_process_t process;
    CHECK(!hive_worker_process(told, &process));
    hive_state_free(state);
}

static void a_plain_heartbeat_tells_every_field(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = registry_on(clock);
    CHECK_EQ(ingest(registry, PLAIN), HIVE_APPLIED_REGISTERED);
    checks_full(registry);
    CHECK_STATUS(hive_registry_remove_hive(registry, TEXT("gpu-1")), HIVE_OK);
    hive_clock_advance(clock, 1);

    /* None of it need be NUL-terminated. */
    hive_worker_report_t full = {
        .worker_id = {"w!", 1},
        .state = {"Busy!", 4},
        .last_heartbeat = hive_str("2025-10-21T11:59:59.500+02:00"),
        .health_status = hive_str("degraded"),
        .url = hive_str("http://10.0.0.1:9300"),
        .model_id = hive_str("llama"),
        .backend = hive_str("cuda"),
        .device_id = {true, 3},
        .vram_bytes = {true, 6},
        .vram_total_bytes = {true, 10},
        .ram_bytes = {true, 5},
        .cpu_percent = {true, 150.5f},
        .gpu_percent = {true, 42.0f},
        .max_concurrency = {true, 8},
    };
    CHECK_EQ(beat(registry, "gpu-1", 1, &full, 1), HIVE_APPLIED_REGISTERED);
    checks_full(registry);
    hive_registry_free(registry);
    hive_clock_free(clock);
}

static void what_is_not_said_is_not_told(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = registry_on(clock);
    beat_one(registry, "gpu-1", 0, "w", NULL);
    hive_state_t *state = state_of(registry, "gpu-1");
    const hive_worker_t *told = hive_state_worker(state, 0);
    CHECK_STR(hive_worker_state(told), "Idle");
    CHECK_STR(hive_worker_health_status(told), "healthy");
    CHECK_EQ(hive_worker_last_heartbeat_ms(told), T0);
    hive_str_t text = {NULL, 42};
    uint32_t number = 42;
    uint64_t bytes = 42;
    float percent = 42;
    CHECK(!hive_worker_url(told, &text) && !hive_worker_model_id(told, &text));
    CHECK(!hive_worker_backend(told, &text) && text.len == 42);
    CHECK(!hive_worker_device_id(told, &number) && !hive_worker_max_concurrency(told, &number));
    CHECK_EQ(number, 42);
    CHECK(!hive_worker_vram_bytes(told, &bytes) && !hive_worker_vram_total_bytes(told, &bytes));
    CHECK(!hive_worker_vram_free_bytes(told, &bytes) && !hive_worker_ram_bytes(told, &bytes));
    CHECK_EQ(bytes, 42);
    CHECK(!hive_worker_cpu_percent(told, &percent) && !hive_worker_gpu_percent(told, &percent));
    CHECK_NEAR(percent, 42);
    hive_info_t info;
    size_t devices;
    CHECK(!hive_state_info(state, &info) && !hive_state_device_count(state, &devices));
    hive_state_free(state);
    hive_registry_free(registry);
    hive_clock_free(clock);
}

/* The hive and the process of TELEMETRY, however they were sent. */
static void checks_telemetry(const hive_registry_t *registry) {
    hive_state_t *state = state_of(registry, "gpu-1");
    hive_info_t info;
    CHECK(hive_state_info(state, &info));
    CHECK_STR(info.id, "gpu-1");
    CHECK_STR(info.hostname, "node");
    CHECK_EQ(info.port, 9000);
    CHECK_EQ(info.operational_status, HIVE_OPERATIONAL_BUSY);
    CHECK_EQ(info.health_status, HIVE_HEALTH_DEGRADED);
    CHECK_STR(info.health_reason, "hot");
    CHECK_STR(info.version, "1.2");

    size_t devices = 0;
    hive_device_t device;
    CHECK(hive_state_device_count(state, &devices));
    CHECK_EQ(devices, 2);
    CHECK(hive_state_device(state, 0, &device));
    CHECK_STR(device.id, "GPU-0");
    CHECK_STR(device.name, "RTX");
    CHECK_STR(device.device_type, "cuda");
    CHECK(device.vram_gb.some);
    CHECK_NEAR(device.vram_gb.value, 24);
    CHECK_STR(device.compute_capability, "8.9");
    CHECK(hive_state_device(state, 1, &device));
    CHECK(!device.vram_gb.some && device.compute_capability.ptr == NULL);
    CHECK(!hive_state_device(state, 2, &device));

    const hive_worker_t *told = hive_state_worker(state, 0);
    CHECK_STR(hive_worker_id(told), "llm-8080");
    CHECK_STR(hive_worker_state(told), "Idle");
    CHECK_STR(hive_worker_health_status(told), "degraded");
    hive_str_t text;
    CHECK(hive_worker_url(told, &text));
    CHECK_STR(text, "http://node:8080");
    uint64_t bytes = 0;
    CHECK(hive_worker_vram_bytes(told, &bytes));
    CHECK_EQ(bytes, 3 << 20);
    hive_process_t process;
    CHECK(hive_worker_process(told, &process));
    CHECK_EQ(process.pid, 77);
    CHECK_STR(process.group, "llm");
    CHECK_STR(process.instance, "8080");
    CHECK_NEAR(process.cpu_pct, 12.5);
    CHECK_EQ(process.rss_mb, 2);
    CHECK_NEAR(process.io_r_mb_s, 1.5);
    CHECK_NEAR(process.io_w_mb_s, 0.5);
    CHECK_EQ(process.uptime_s, 60);
    CHECK(process.gpu_util_pct.some);
    CHECK_NEAR(process.gpu_util_pct.value, 0);
    CHECK_EQ(process.vram_mb, 3);
    CHECK_EQ(process.total_vram_mb, 4);
    CHECK(process.model.ptr == NULL);
    hive_state_free(state);
}

static const hive_process_t PROCESS = {
    .pid = 77, .group = {"llm", 3}, .instance = {"8080", 4}, .cpu_pct = 12.5f, .rss_mb = 2,
    .io_r_mb_s = 1.5f, .io_w_mb_s = 0.5f, .uptime_s = 60, .gpu_util_pct = {true, 0}, .vram_mb = 3, .total_vram_mb = 4,
};

static hive_telemetry_t telemetry(void) {
    static const hive_device_t devices[] = {
        {{"GPU-0", 5}, {"RTX", 3}, {"cuda", 4}, {true, 24}, {"8.9", 3}},
        {{"CPU-0", 5}, {"EPYC", 4}, {"cpu", 3}, {false, 0}, {NULL, 0}},
    };
    hive_telemetry_t sent = {
        .hive = {hive_str("gpu-1"), hive_str("node"), 9000, HIVE_OPERATIONAL_BUSY,
                 HIVE_HEALTH_DEGRADED, hive_str("hot"), hive_str("1.2")},
        .timestamp = hive_str("2025-10-21T10:00:00Z"),
        .workers = &PROCESS,
        .workers_len = 1,
        .capabilities = devices,
        .capabilities_len = 2,
    };
    return sent;
}

static void telemetry_tells_every_field(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = registry_on(clock);
    CHECK_EQ(ingest(registry, TELEMETRY), HIVE_APPLIED_REGISTERED);
    checks_telemetry(registry);
    hive_registry_free(registry);

    registry = registry_on(clock);
    hive_telemetry_t sent = telemetry();
    uint32_t applied = 0;
    CHECK_STATUS(hive_registry_update_hive(registry, &sent, &applied), HIVE_OK);
    CHECK_EQ(applied, HIVE_APPLIED_REGISTERED);
    checks_telemetry(registry);

    /* A list of no devices is not the same as none. */
    size_t devices = 42;
    sent.capabilities_len = 0;
    CHECK_STATUS(hive_registry_update_hive(registry, &sent, NULL), HIVE_OK);
    hive_state_t *state = state_of(registry, "gpu-1");
    CHECK(hive_state_device_count(state, &devices));
    CHECK_EQ(devices, 0);
    hive_state_free(state);
    sent.capabilities = NULL;
    sent.hive.health_status = HIVE_HEALTH_HEALTHY;
    CHECK_STATUS(hive_registry_update_hive(registry, &sent, NULL), HIVE_OK);
    state = state_of(registry, "gpu-1");
    hive_info_t info;
    CHECK(!hive_state_device_count(state, &devices));
    CHECK(hive_state_info(state, &info) && info.health_reason.ptr == NULL);
    hive_state_free(state);

    hive_process_t process = PROCESS;
    process.instance = hive_str("blue");
    process.gpu_util_pct = (hive_opt_f32_t){true, 1};
    CHECK_STATUS(hive_registry_update_workers(registry, TEXT("gpu-1"), &process, 1, &applied),
                 HIVE_OK);
    CHECK_EQ(applied, HIVE_APPLIED_UPDATED);
    state = state_of(registry, "gpu-1");
    CHECK(hive_state_info(state, &info));
    CHECK_EQ(hive_state_worker_count(state), 1);
    const hive_worker_t *told = hive_state_worker(state, 0);
    hive_str_t url;
    CHECK_STR(hive_worker_id(told), "llm-blue");
    CHECK_STR(hive_worker_state(told), "Busy");
    CHECK(!hive_worker_url(told, &url));
    hive_state_free(state);
    CHECK_STATUS(hive_registry_update_workers(registry, TEXT("gpu-2"), NULL, 0, &applied),
                 HIVE_OK);
    CHECK_EQ(applied, HIVE_APPLIED_REGISTERED);
    hive_registry_free(registry);
    hive_clock_free(clock);
}

static void the_outcome_is_told(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = registry_on(clock);
    CHECK_EQ(beat_one(registry, "gpu-1", 10, "w", NULL), HIVE_APPLIED_REGISTERED);
    CHECK_EQ(beat_one(registry, "gpu-1", 10, "w", NULL), HIVE_APPLIED_UPDATED);
    CHECK_EQ(beat_one(registry, "gpu-1", 9, "w", NULL), HIVE_APPLIED_SUPERSEDED);
    hive_clock_advance(clock, 20000);
    CHECK_STATUS(hive_registry_remove_hive(registry, TEXT("gpu-1")), HIVE_OK);
    CHECK_EQ(beat_one(registry, "gpu-1", 20, "w", NULL), HIVE_APPLIED_REMOVED);
    CHECK_EQ(hive_count(registry), 0);
    CHECK_EQ(beat_one(registry, "gpu-1", 21, "w", NULL), HIVE_APPLIED_REGISTERED);

    /* The pair orders whatever the clock says. */
    hive_heartbeat_t paired = {
        .hive_id = hive_str("gpu-2"),
        .timestamp = hive_str("2025-10-21T10:00:00Z"),
        .epoch = {true, 1},
        .seq = {true, 2},
    };
    beat_one(registry, "gpu-2", 15, "w", NULL);
    uint32_t applied = 0;
    CHECK_STATUS(
        hive_registry_update_hive_state(registry, TEXT("gpu-2"), &paired, &applied), HIVE_OK);
    CHECK_EQ(applied, HIVE_APPLIED_UPDATED);
    paired.seq.value = 1;
    paired.timestamp = hive_str("2025-10-21T10:30:00Z");
    CHECK_STATUS(
        hive_registry_update_hive_state(registry, TEXT("gpu-2"), &paired, &applied), HIVE_OK);
    CHECK_EQ(applied, HIVE_APPLIED_SUPERSEDED);
    paired.epoch.some = paired.seq.some = false;
    CHECK_STATUS(
        hive_registry_update_hive_state(registry, TEXT("gpu-2"), &paired, &applied), HIVE_OK);
    CHECK_EQ(applied, HIVE_APPLIED_SUPERSEDED);
    hive_registry_free(registry);
    hive_clock_free(clock);
}

#define BODY(workers) \
    "{\"hive_id\":\"gpu-1\",\"timestamp\":\"2025-10-21T10:00:01Z\",\"workers\":[" workers "]}"
#define WORKER(more)                                                          \
    "{\"worker_id\":\"w\",\"state\":\"Idle\",\"health_status\":\"healthy\"," \
    "\"last_heartbeat\":\"2025-10-21T10:00:00Z\"" more "}"

static void a_refusal_names_field_value_and_bound(void) {
    const struct {
        const char *body;
        uint32_t status;
        const char *message;
    } refusals[] = {
        {"", HIVE_MALFORMED, "line 1 column 0"},
        {"nonsense", HIVE_MALFORMED, "line 1 column"},
        {"{}", HIVE_MALFORMED, "timestamp: missing field"},
        {BODY("") " 1", HIVE_MALFORMED, "trailing characters"},
        {BODY("\"\xff\""), HIVE_MALFORMED, "workers[0]"},
        {BODY("{}"), HIVE_MALFORMED, "workers[0].worker_id: missing field"},
        {BODY(WORKER(",\"vram_bytes\":\"4\"")), HIVE_MALFORMED,
         "workers[0].vram_bytes: invalid type: string \"4\", expected u64"},
        {"{\"hive_id\":\"h\",\"timestamp\":\"\",\"workers\":[],\"hive\":{\"id\":\"h\","
         "\"hostname\":\"n\",\"port\":1,\"operational_status\":\"ready\","
         "\"health_status\":{\"status\":\"healthy\"},\"version\":\"1\"}}", HIVE_MALFORMED,
         "`hive_id` and `hive` exclude each other"},
        {"{\"hive_id\":\"h\",\"timestamp\":\"noon\",\"workers\":[]}", HIVE_INVALID_FIELD,
         "timestamp: \"noon\" refused: RFC 3339, as 2025-10-21T10:00:00Z"},
        {"{\"hive_id\":\"\",\"timestamp\":\"noon\",\"workers\":[]}", HIVE_INVALID_FIELD,
         "hive_id: \"\" refused: 1 to 256 bytes, not 0"},
        {"{\"hive_id\":\"gpu-1\",\"timestamp\":\"2025-10-21T10:00:01Z\",\"workers\":[],"
         "\"epoch\":1}", HIVE_INVALID_FIELD,
         "seq: \"none\" refused: both of epoch and seq, or neither"},
        {BODY(WORKER("") "," WORKER("")), HIVE_INVALID_FIELD,
         "workers[].worker_id: \"w\" refused: no two workers of one id"},
        {"{\"hive_id\":\"gpu-1\",\"timestamp\":\"2025-10-21T10:00:01Z\",\"workers\":[],"
         "\"capabilities\":[{\"id\":\"G\",\"name\":\"n\",\"device_type\":\"cuda\",\"vram_gb\":-1}]}",
         HIVE_INVALID_FIELD, "capabilities[0].vram_gb: \"-1\" refused: finite and from 0 to 1048576"},
        {BODY(WORKER(",\"url\":\"\\u0007\"")), HIVE_INVALID_FIELD,
         "workers[0].url: \"\\u{7}\" refused: no control characters"},
    };
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = registry_on(clock);
    beat_one(registry, "gpu-1", 0, "before", "m");
    hive_state_t *before = state_of(registry, "gpu-1");
    for (size_t at = 0; at < LEN(refusals); at++) {
        const char *body = refusals[at].body;
        uint32_t applied = 42;
        CHECK_REFUSED(hive_registry_ingest_json(registry, body, strlen(body), &applied),
                      refusals[at].status, refusals[at].message);
        CHECK_EQ(applied, 42);
    }
    hive_state_t *after = state_of(registry, "gpu-1");
    CHECK(after == before);
    CHECK_EQ(hive_count(registry), 1);
    CHECK_EQ(totals(registry).refused, LEN(refusals));
    hive_state_free(before);
    hive_state_free(after);
    hive_registry_free(registry);
    hive_clock_free(clock);
}

static void the_plain_form_tells_of_the_hive(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = registry_on(clock);
    const hive_telemetry_t told = telemetry();
    hive_info_t info = told.hive;
    info.id = hive_str(NULL);
    hive_heartbeat_t sent = {
        .hive_id = hive_str("gpu-1"),
        .timestamp = hive_str("2025-10-21T10:00:00Z"),
        .hive_info = &info,
        .capabilities = told.capabilities,
        .capabilities_len = 2,
    };
    CHECK_STATUS(hive_registry_update_hive_state(registry, TEXT("gpu-1"), &sent, NULL), HIVE_OK);
    hive_state_t *state = state_of(registry, "gpu-1");
    hive_info_t known;
    size_t devices = 0;
    CHECK(hive_state_info(state, &known) && hive_state_device_count(state, &devices));
    CHECK_STR(known.id, "gpu-1");
    CHECK_STR(known.hostname, "node");
    CHECK_EQ(devices, 2);
    hive_state_free(state);
    info.id = hive_str("gpu-2");
    CHECK_REFUSED(hive_registry_update_hive_state(registry, TEXT("gpu-1"), &sent, NULL),
                  HIVE_INVALID_FIELD,
                  "hive_info.id: \"gpu-2\" refused: the hive_id beside it, \"gpu-1\"");
    sent.hive_info = NULL;
    sent.capabilities = NULL;
    sent.capabilities_len = 0;
    CHECK_STATUS(hive_registry_update_hive_state(registry, TEXT("gpu-1"), &sent, NULL), HIVE_OK);
    state = state_of(registry, "gpu-1");
    CHECK(!hive_state_info(state, &known) && !hive_state_device_count(state, &devices));
    hive_state_free(state);
    hive_registry_free(registry);
    hive_clock_free(clock);
}

static void telemetry_without_workers_leaves_them(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = registry_on(clock);
    hive_telemetry_t sent = telemetry();
    CHECK_STATUS(hive_registry_update_hive(registry, &sent, NULL), HIVE_OK);
    for (size_t says = 0; says < 2; says++) {
        sent.workers = says ? &PROCESS : NULL;
        sent.workers_len = 0;
        CHECK_STATUS(hive_registry_update_hive(registry, &sent, NULL), HIVE_OK);
        hive_state_t *state = state_of(registry, "gpu-1");
        CHECK_EQ(hive_state_worker_count(state), 1 - says);
        hive_state_free(state);
    }
    hive_registry_free(registry);
    hive_clock_free(clock);
}

static void structs_are_refused_alike(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = registry_on(clock);
    hive_worker_report_t report = worker("w", "\a");
    hive_heartbeat_t sent = {
        .hive_id = hive_str("gpu-1"),
        .timestamp = hive_str("2025-10-21T10:00:00Z"),
        .workers = &report,
        .workers_len = 1,
    };
    CHECK_REFUSED(hive_registry_update_hive_state(registry, TEXT("gpu-1"), &sent, NULL),
                  HIVE_INVALID_FIELD, "workers[0].model_id: \"\\u{7}\" refused: no control characters");
    CHECK_REFUSED(hive_registry_update_hive_state(registry, TEXT("gpu-2"), &sent, NULL),
                  HIVE_INVALID_FIELD,
                  "hive_id: \"gpu-1\" refused: the hive_id it is given for, \"gpu-2\"");

    hive_process_t process = PROCESS;
    process.rss_mb = UINT64_MAX;
    CHECK_REFUSED(hive_registry_update_workers(registry, TEXT("gpu-1"), &process, 1, NULL),
                  HIVE_INVALID_FIELD,
                  "workers[0].rss_mb: \"18446744073709551615\" refused: at most 17592186044415");

    hive_telemetry_t numbers = telemetry();
    numbers.hive.operational_status = 5;
    CHECK_REFUSED(hive_registry_update_hive(registry, &numbers, NULL), HIVE_INVALID_FIELD,
                  "hive.operational_status: 5 refused: a hive_operational_t");
    numbers = telemetry();
    numbers.hive.health_status = UINT32_MAX;
    CHECK_REFUSED(hive_registry_update_hive(registry, &numbers, NULL), HIVE_INVALID_FIELD,
                  "hive.health_status: 4294967295 refused: a hive_health_t");
    numbers = telemetry();
    numbers.hive.health_reason = hive_str(NULL);
    CHECK_REFUSED(hive_registry_update_hive(registry, &numbers, NULL), HIVE_INVALID_FIELD,
                  "reason: \"\" refused: 1 to 256 bytes, not 0");
    CHECK_EQ(hive_count(registry), 0);
    hive_registry_free(registry);
    hive_clock_free(clock);
}

int main(void) {
    a_plain_heartbeat_tells_every_field();
    what_is_not_said_is_not_told();
    telemetry_tells_every_field();
    the_outcome_is_told();
    a_refusal_names_field_value_and_bound();
    the_plain_form_tells_of_the_hive();
    telemetry_without_workers_leaves_them();
    structs_are_refused_alike();
    return 0;
}
