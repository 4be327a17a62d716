"""A scheduler in Python by cffi: of the library it knows the installed header and the shared object, and nothing else."""

import subprocess
import sys
import threading
from pathlib import Path

from cffi import FFI

header, shared = sys.argv[1:]
ffi = FFI()
ffi.cdef(
    subprocess.run(
        ["cpp", "-P", "-DHIVE_NO_INLINE", "-DHIVE_NO_INCLUDES", header], check=True, capture_output=True, text=True
    ).stdout
)
lib = ffi.dlopen(shared)

BEAT = '{"hive_id":"gpu-1","timestamp":"2025-10-21T10:00:00Z","workers":[%s]}'
WORKER = (
    '{"worker_id":"%s","state":"Idle","last_heartbeat":"2025-10-21T10:00:00Z","health_status":"healthy",'
    '"url":"http://10.0.0.1:%d","model_id":"llama-3-8b","max_concurrency":1}'
)
MODEL = b"llama-3-8b"


class Refused(Exception):
    pass


def text(view):
    """A copy, for the view ends with its handle."""
    return ffi.unpack(view.ptr, view.len).decode()


def why():
    """What the last call of this thread that failed said."""
    out = ffi.new("hive_error_t **")
    if lib.hive_error_take(out) != lib.HIVE_OK:
        return ""
    return text(lib.hive_error_message(ffi.gc(out[0], lib.hive_error_free)))


def answer(status):
    """Whether there is an answer; an error is raised with its text."""
    if status in (lib.HIVE_OK, lib.HIVE_NONE):
        return status == lib.HIVE_OK
    raise Refused(f"{text(lib.hive_status_name(status))}: {why()}")


def made(free, call, *arguments):
    """The handle that `call` writes to its last argument, freed by Python's collector; None if there is none."""
    out = ffi.new(ffi.typeof(call).args[-1])
    return ffi.gc(out[0], free) if answer(call(*arguments, out)) else None


def ingest(registry, body):
    applied = ffi.new("uint32_t *")
    answer(lib.hive_registry_ingest_json(registry, body, len(body), applied))
    return applied[0]


def refusal(call, *arguments):
    try:
        call(*arguments)
    except Refused as refused:
        return str(refused)
    return "taken"


clock = made(lib.hive_clock_free, lib.hive_clock_new, 1_761_040_800_000)
config = ffi.new("hive_config_t *", {"size": ffi.sizeof("hive_config_t"), "clock": clock})
registry = made(lib.hive_registry_free, lib.hive_registry_new, config)
events = ffi.new("hive_events_t **")
assert answer(lib.hive_registry_subscribe(registry, 16, events))

# A heartbeat as JSON, and one as a struct, whose texts live as long as the names here.
assert ingest(registry, (BEAT % (WORKER % ("a", 9300))).encode()) == lib.HIVE_APPLIED_REGISTERED
kept = [ffi.new("char[]", word) for word in (b"gpu-2", b"2025-10-21T10:00:00Z", b"b", MODEL)]
hive, moment, worker_id, model = map(lib.hive_str, kept)
workers = ffi.new("hive_worker_report_t[]", [{"worker_id": worker_id, "model_id": model, "max_concurrency": (True, 1)}])
heartbeat = ffi.new(
    "hive_heartbeat_t *", {"hive_id": hive, "timestamp": moment, "workers": workers, "workers_len": len(workers)}
)
assert answer(lib.hive_registry_update_hive_state(registry, b"gpu-2", 5, heartbeat, ffi.NULL))

# Two places, each given back; a third request finds none.
reserve = (lib.hive_registry_reserve_worker_for_model, registry, MODEL, len(MODEL))
held = [made(lib.hive_reservation_free, *reserve) for _ in range(3)]
assert held[2] is None
chosen = [text(lib.hive_worker_id(lib.hive_reservation_worker(it))) for it in held[:2]]
assert sorted(chosen) == ["a", "b"], chosen
url = ffi.new("hive_str_t *")
assert lib.hive_worker_url(lib.hive_reservation_worker(held[chosen.index("a")]), url)
assert text(url[0]) == "http://10.0.0.1:9300"
ffi.release(held[0])
again = made(lib.hive_reservation_free, *reserve)
assert text(lib.hive_worker_id(lib.hive_reservation_worker(again))) == chosen[0]
ffi.release(again)
ffi.release(held[1])



def pick(scores):
    """By a policy of our own, whose closure must be kept as long as it may be called. None passes over."""

    @ffi.callback("bool(void *, const hive_candidate_t *, double *)", error=False)
    def score(user, candidate, out):
        number = scores[text(lib.hive_worker_id(candidate.worker))]
        out[0] = number or 0
        return number is not None

    policy = ffi.new("hive_policy_t *", {"kind": lib.HIVE_POLICY_SCORE, "score": score})
    worker = made(lib.hive_worker_free, lib.hive_registry_pick, registry, MODEL, len(MODEL), policy)
    return worker and text(lib.hive_worker_id(worker))


assert pick({"a": 1, "b": 2}) == "a"
assert pick({"a": 2, "b": 1}) == "b"
assert pick({"a": 2, "b": None}) == "a"
assert pick({"a": None, "b": None}) is None
assert pick({}) is None, "what raises passes over"


def wrong(moment):
    """Each thread is told its own error, when all have failed since the last was told."""
    body = (BEAT.replace("2025-10-21T10:00:00Z", moment) % "").encode()
    for _ in range(20):
        status = lib.hive_registry_ingest_json(registry, body, len(body), ffi.NULL)
        together.wait(timeout=60)
        said[moment].add(refusal(answer, status))
        together.wait(timeout=60)


said = {f"noon {at}": set() for at in range(4)}
together = threading.Barrier(len(said))
threads = [threading.Thread(target=wrong, args=[moment]) for moment in said]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
for moment, errors in said.items():
    assert len(errors) == 1, errors
    assert f'"{moment}"' in errors.pop(), moment

# The events of both heartbeats, then none in time.
kinds = []
lost = ffi.new("uint64_t *")
event = ffi.new("hive_event_t **")
while (status := lib.hive_events_next(events[0], 50, event, lost)) == lib.HIVE_OK:
    kinds.append(lib.hive_event_kind(event[0]))
    lib.hive_event_free(event[0])
assert status == lib.HIVE_TIMEOUT, status
assert kinds == [lib.HIVE_EVENT_HIVE_REGISTERED, lib.HIVE_EVENT_WORKER_ADDED] * 2, kinds
lib.hive_events_free(events[0])
print("scheduler by cffi:", text(lib.hive_version()))
