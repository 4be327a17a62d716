// A scheduler in JavaScript by koffi: what it uses of the header, written as koffi reads it.
'use strict';

const assert = require('node:assert/strict');
const { promisify } = require('node:util');
const koffi = require('koffi');

const library = koffi.load(process.argv[2]);

const OK = 0, NONE = 1, MALFORMED = 7, TIMEOUT = 10;
const REGISTERED = 1;
const HIVE_REGISTERED = 1, WORKER_ADDED = 5;
const SCORE = 4;

// `void *`, for a view has no NUL at its end, which koffi's own strings look for.
koffi.struct('hive_str_t', { ptr: 'const void *', len: 'size_t' });
for (const kind of ['u32:uint32_t', 'u64:uint64_t', 'f32:float']) {
    const [name, type] = kind.split(':');
    koffi.struct(`hive_opt_${name}_t`, { some: 'bool', value: type });
}
for (const handle of ['clock', 'error', 'event', 'events', 'registry', 'reservation', 'worker']) {
    koffi.opaque(`hive_${handle}_t`);
}
koffi.struct('hive_config_t', {
    size: 'size_t', shards: 'hive_opt_u64_t', liveness_window_ms: 'hive_opt_u64_t', liveness_clock: 'uint32_t',
    stale_mode: 'uint32_t', max_hives: 'hive_opt_u64_t', max_workers: 'hive_opt_u64_t',
    max_workers_per_hive: 'hive_opt_u64_t', max_models: 'hive_opt_u64_t', max_heartbeat_bytes: 'hive_opt_u64_t',
    assumed_vram_gb: 'hive_opt_f32_t', assumed_ram_gb: 'hive_opt_f32_t', seed: 'hive_opt_u64_t',
    clock: 'const hive_clock_t *', max_devices_per_hive: 'hive_opt_u64_t', assumed_concurrency: 'hive_opt_u32_t',
    tie_seed: 'hive_opt_u64_t',
});
koffi.struct('hive_worker_report_t', {
    worker_id: 'hive_str_t', state: 'hive_str_t', last_heartbeat: 'hive_str_t', health_status: 'hive_str_t',
    url: 'hive_str_t', model_id: 'hive_str_t', backend: 'hive_str_t', device_id: 'hive_opt_u32_t',
    vram_bytes: 'hive_opt_u64_t', vram_total_bytes: 'hive_opt_u64_t', ram_bytes: 'hive_opt_u64_t',
    cpu_percent: 'hive_opt_f32_t', gpu_percent: 'hive_opt_f32_t', max_concurrency: 'hive_opt_u32_t',
});
koffi.struct('hive_heartbeat_t', {
    hive_id: 'hive_str_t', timestamp: 'hive_str_t', workers: 'const hive_worker_report_t *', workers_len: 'size_t',
    epoch: 'hive_opt_u64_t', seq: 'hive_opt_u64_t', hive_info: 'const void *', capabilities: 'const void *',
    capabilities_len: 'size_t',
});
koffi.struct('hive_candidate_t', {
    worker: 'const hive_worker_t *', load: 'uint64_t', reservations: 'uint32_t', turn: 'uint64_t',
});
koffi.proto('bool hive_score_t(void *user, const hive_candidate_t *candidate, double *out_score)');
koffi.struct('hive_policy_t', { kind: 'uint32_t', choices: 'uint32_t', score: 'hive_score_t *', user: 'void *', choose: 'void *' });

const hive = {};
for (const prototype of [
    'void hive_clock_free(hive_clock_t *clock)',
    'uint32_t hive_clock_new(int64_t unix_ms, _Out_ hive_clock_t **out_clock)',
    'void hive_error_free(hive_error_t *error)',
    'hive_str_t hive_error_message(const hive_error_t *error)',
    'uint32_t hive_error_take(_Out_ hive_error_t **out_error)',
    'void hive_event_free(hive_event_t *event)',
    'uint32_t hive_event_kind(const hive_event_t *event)',
    'void hive_events_free(hive_events_t *events)',
    'uint32_t hive_events_next(const hive_events_t *events, uint64_t timeout_ms, _Out_ hive_event_t **out_event, uint64_t *out_lost)',
    'uint32_t hive_registry_clone(const hive_registry_t *registry, _Out_ hive_registry_t **out_registry)',
    'void hive_registry_free(hive_registry_t *registry)',
    'uint32_t hive_registry_ingest_json(const hive_registry_t *registry, const char *body, size_t body_len, _Out_ uint32_t *out_applied)',
    'uint32_t hive_registry_new(const hive_config_t *config, _Out_ hive_registry_t **out_registry)',
    'uint32_t hive_registry_pick(const hive_registry_t *registry, const char *model_id, size_t model_id_len, const hive_policy_t *policy, _Out_ hive_worker_t **out_worker)',
    'uint32_t hive_registry_reserve_worker_for_model(const hive_registry_t *registry, const char *model_id, size_t model_id_len, _Out_ hive_reservation_t **out_reservation)',
    'uint32_t hive_registry_subscribe(const hive_registry_t *registry, size_t capacity, _Out_ hive_events_t **out_events)',
    'uint32_t hive_registry_take_error(const hive_registry_t *registry, _Out_ hive_error_t **out_error)',
    'uint32_t hive_registry_update_hive_state(const hive_registry_t *registry, const char *hive_id, size_t hive_id_len, const hive_heartbeat_t *heartbeat, _Out_ uint32_t *out_applied)',
    'void hive_reservation_free(hive_reservation_t *reservation)',
    'const hive_worker_t *hive_reservation_worker(const hive_reservation_t *reservation)',
    'hive_str_t hive_status_name(uint32_t status)',
    'hive_str_t hive_version()',
    'void hive_worker_free(hive_worker_t *worker)',
    'hive_str_t hive_worker_id(const hive_worker_t *worker)',
    'bool hive_worker_url(const hive_worker_t *worker, _Out_ hive_str_t *out)',
]) {
    const name = prototype.match(/hive_\w+(?=\()/)[0];
    hive[name.slice('hive_'.length)] = library.func(prototype);
}

// A copy, for the view ends with its handle.
const text = view => (view.len === 0 ? '' : Buffer.from(koffi.view(view.ptr, view.len)).toString());

// A text of a struct; its length is in bytes, which a string's own is not.
const view = string => {
    const bytes = Buffer.from(string);
    return { ptr: bytes, len: bytes.length };
};

// `fields` over a struct of zeroes, for koffi wants every field.
const zeroed = (type, fields) => ({ ...koffi.decode(Buffer.alloc(koffi.sizeof(type)), type), ...fields });

// A text argument: it is two.
const of = string => [string, Buffer.byteLength(string)];

// The words of an error, which `take` gives: of this thread, or of a handle on the registry.
const why = (take, ...of) => {
    const out = [null];
    if (take(...of, out) !== OK) return '';
    const words = text(hive.error_message(out[0]));
    hive.error_free(out[0]);
    return words;
};

// Whether there is an answer; an error is thrown with its text.
const answer = status => {
    if (status === OK || status === NONE) return status === OK;
    throw new Error(`${text(hive.status_name(status))}: ${why(hive.error_take)}`);
};

// The handle that `call` writes to its last argument; null if there is none.
const made = (call, ...args) => {
    const out = [null];
    return answer(call(...args, out)) ? out[0] : null;
};

const beat = (worker, port) => JSON.stringify({
    hive_id: 'gpu-1', timestamp: '2025-10-21T10:00:00Z',
    workers: [{
        worker_id: worker, state: 'Idle', last_heartbeat: '2025-10-21T10:00:00Z', health_status: 'healthy',
        url: `http://10.0.0.1:${port}`, model_id: 'llama-3-8b', max_concurrency: 1,
    }],
});

const main = async () => {
    const clock = made(hive.clock_new, 1761040800000);
    const config = zeroed('hive_config_t', { size: koffi.sizeof('hive_config_t'), clock });
    const registry = made(hive.registry_new, config);
    const events = made(hive.registry_subscribe, registry, 16);
    const model = of('llama-3-8b');

    // A heartbeat as JSON, and one as a struct.
    const applied = [0];
    assert(answer(hive.registry_ingest_json(registry, ...of(beat('a', 9300)), applied)));
    assert.equal(applied[0], REGISTERED);
    const worker = zeroed('hive_worker_report_t', {
        worker_id: view('bü'), model_id: view('llama-3-8b'), max_concurrency: { some: true, value: 1 },
    });
    const heartbeat = zeroed('hive_heartbeat_t', {
        hive_id: view('gpu-2'), timestamp: view('2025-10-21T10:00:00Z'), workers: [worker], workers_len: 1,
    });
    assert(answer(hive.registry_update_hive_state(registry, ...of('gpu-2'), heartbeat, null)));

    // Two places, each given back; a third request finds none.
    const held = [1, 2, 3].map(() => made(hive.registry_reserve_worker_for_model, registry, ...model));
    assert.equal(held[2], null);
    const chosen = held.slice(0, 2).map(it => text(hive.worker_id(hive.reservation_worker(it))));
    assert.deepEqual([...chosen].sort(), ['a', 'bü']);
    const url = {};
    assert(hive.worker_url(hive.reservation_worker(held[chosen.indexOf('a')]), url));
    assert.equal(text(url), 'http://10.0.0.1:9300');
    hive.reservation_free(held[0]);
    held[0] = made(hive.registry_reserve_worker_for_model, registry, ...model);
    assert.equal(text(hive.worker_id(hive.reservation_worker(held[0]))), chosen[0]);
    held.forEach(it => hive.reservation_free(it));

    // A policy of our own: called on this thread, within the pick. Null passes over.
    const pick = scores => {
        const score = koffi.register((_user, candidate, out) => {
            const { worker } = koffi.decode(candidate, 'hive_candidate_t');
            const number = scores[text(hive.worker_id(worker))];
            koffi.encode(out, 'double', number ?? 0);
            return number !== null;
        }, 'hive_score_t *');
        const worker = made(hive.registry_pick, registry, ...model, zeroed('hive_policy_t', { kind: SCORE, score }));
        koffi.unregister(score);
        const picked = worker && text(hive.worker_id(worker));
        hive.worker_free(worker);
        return picked;
    };
    assert.equal(pick({ a: 1, 'bü': 2 }), 'a');
    assert.equal(pick({ a: 2, 'bü': 1 }), 'bü');
    assert.equal(pick({ a: 2, 'bü': null }), 'a');
    assert.equal(pick({ a: null, 'bü': null }), null);

    // An error with its text.
    const malformed = beat('a', 9300).replace('2025-10-21T10:00:00Z', 'noon');
    assert.throws(() => answer(hive.registry_ingest_json(registry, ...of(malformed), null)), /^Error: HIVE_\w+: .*"noon"/);
    assert.equal(hive.registry_ingest_json(registry, '{}', 2, null), MALFORMED);

    // Errors of asynchronous calls, which run on threads of koffi's: each has a handle of its own, and is asked by that.
    const ingest = promisify(hive.registry_ingest_json.async);
    await Promise.all(['noon', 'dusk', 'dawn'].map(async moment => {
        const own = made(hive.registry_clone, registry);
        const body = malformed.replace('noon', moment);
        const status = await ingest(own, ...of(body), null);
        assert(status !== OK && status !== NONE);
        assert.match(why(hive.registry_take_error, own), new RegExp(`"${moment}"`));
        assert.equal(why(hive.registry_take_error, own), '');
        hive.registry_free(own);
    }));

    // The events of both heartbeats, then none in time: waited for on another thread, while this one goes on.
    const next = promisify(hive.events_next.async);
    const kinds = [];
    for (;;) {
        const out = [null];
        const status = await next(events, 50, out, null);
        if (status !== OK) {
            assert.equal(status, TIMEOUT);
            break;
        }
        kinds.push(hive.event_kind(out[0]));
        hive.event_free(out[0]);
    }
    assert.deepEqual(kinds, [HIVE_REGISTERED, WORKER_ADDED, HIVE_REGISTERED, WORKER_ADDED]);
    hive.events_free(events);
    hive.registry_free(registry);
    hive.clock_free(clock);
    console.log('scheduler by koffi:', text(hive.version()));
};

main();
