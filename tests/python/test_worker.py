import copy
import pickle
import random
import struct
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from fleet import START, heartbeat, worker
from hive_registry import (
    Candidate,
    Capability,
    HiveHeartbeat,
    HiveInfo,
    HiveRegistry,
    HiveState,
    ManualClock,
    ProcessStats,
    Worker,
)

FULL: dict[str, Any] = {
    "hive_id": "h",
    "worker_id": "w",
    "state": "Busy",
    "last_heartbeat": START - timedelta(microseconds=1),
    "health_status": "degraded",
    "url": "http://10.0.0.1:9300",
    "model_id": "llama",
    "backend": "cuda",
    "device_id": 3,
    "vram_bytes": 7,
    "vram_total_bytes": 2**64 - 1,
    "ram_bytes": 9,
    "cpu_percent": 212.5,
    "gpu_percent": 12.25,
    "max_concurrency": 2**32 - 1,
    "process": None,
}
"""Every field as `asdict()` tells it, in the order of the attributes."""

REQUIRED = ("hive_id", "worker_id", "state", "last_heartbeat", "health_status")
OPTIONAL = tuple(name for name in FULL if name not in REQUIRED)
PROCESS = ProcessStats(
    pid=12,
    group="vllm",
    instance="8080",
    cpu_pct=50.5,
    rss_mb=3,
    io_r_mb_s=0.25,
    io_w_mb_s=0.75,
    uptime_s=99,
    gpu_util_pct=25.5,
    vram_mb=4,
    total_vram_mb=10,
    model="llama",
)
HIVE = HiveInfo(id="t", hostname="gpu-1", port=7835, version="1.2.3")
DEVICES = [Capability("GPU-0", "H100", "cuda", 80.0, "9.0"), Capability("CPU-0", "Xeon", "cpu")]


def sent(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in ("hive_id", "process")}


def told(registry: HiveRegistry, fields: dict[str, Any], hive_id: str = "h") -> Worker:
    registry.ingest(heartbeat(hive_id, sent(fields)))
    found = registry.get_worker_on(hive_id, fields["worker_id"])
    assert found is not None
    return found


def bare() -> dict[str, Any]:
    return {name: FULL[name] if name in REQUIRED else None for name in FULL}


def of_a_process(registry: HiveRegistry) -> Worker:
    registry.ingest(HiveHeartbeat(HIVE, START, [PROCESS], DEVICES))
    found = registry.get_worker_on("t", "vllm-8080")
    assert found is not None
    return found


def candidate_of(registry: HiveRegistry, model_id: str) -> Candidate:
    seen: list[Candidate] = []
    registry.pick(model_id, lambda candidate: seen.append(candidate))
    return seen[0]


def state_of(registry: HiveRegistry, hive_id: str) -> HiveState:
    state = registry.get_hive_state(hive_id)
    assert state is not None
    return state


# === fields ===


@pytest.mark.parametrize("name", FULL)
def test_a_field_is_as_it_was_sent(registry: HiveRegistry, name: str) -> None:
    assert getattr(told(registry, FULL), name) == FULL[name]


@pytest.mark.parametrize("name", OPTIONAL)
def test_a_field_that_was_not_sent_is_none(registry: HiveRegistry, name: str) -> None:
    assert getattr(told(registry, bare()), name) is None


@pytest.mark.parametrize(
    ("total", "used", "free"), [(10, 4, 6), (10, None, 10), (10, 10, 0), (10, 11, 0), (None, 4, None)]
)
def test_free_vram_is_the_total_less_its_own_use(
    registry: HiveRegistry, total: int | None, used: int | None, free: int | None
) -> None:
    assert told(registry, FULL | {"vram_total_bytes": total, "vram_bytes": used}).vram_free_bytes == free


@pytest.mark.parametrize(
    ("name", "word", "comes_out"),
    [
        ("state", "idle", "Idle"),
        ("state", "READY", "Idle"),
        ("state", "starting", "Loading"),
        ("state", "stopped", "Draining"),
        ("state", "Napping", "Napping"),
        ("health_status", "Healthy", "healthy"),
        ("health_status", "UNHEALTHY", "unhealthy"),
        ("health_status", "Tired", "Tired"),
        ("backend", "CUDA", "cuda"),
        ("backend", "ROCm", "rocm"),
    ],
)
def test_words_come_out_in_one_spelling(registry: HiveRegistry, name: str, word: str, comes_out: str) -> None:
    assert getattr(told(registry, FULL | {name: word}), name) == comes_out


def test_a_moment_of_another_time_zone_is_told_in_utc(registry: HiveRegistry) -> None:
    moment = datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    found = told(registry, FULL | {"last_heartbeat": moment})
    assert found.last_heartbeat == START
    assert found.last_heartbeat.tzinfo is timezone.utc


@pytest.mark.parametrize("moment", ["0000-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00", "2016-12-31T23:59:60Z"])
def test_a_moment_that_was_accepted_can_be_read(registry: HiveRegistry, moment: str) -> None:
    found = told(registry, FULL | {"last_heartbeat": moment})
    assert found.last_heartbeat.tzinfo is timezone.utc
    assert found.asdict()["last_heartbeat"] == found.last_heartbeat


def test_a_process_is_told_as_a_worker(registry: HiveRegistry) -> None:
    assert of_a_process(registry).asdict() == {
        "hive_id": "t",
        "worker_id": "vllm-8080",
        "state": "Busy",
        "last_heartbeat": START,
        "health_status": "healthy",
        "url": "http://gpu-1:8080",
        "model_id": "llama",
        "backend": "cuda",
        "device_id": None,
        "vram_bytes": 4 << 20,
        "vram_total_bytes": 10 << 20,
        "ram_bytes": 3 << 20,
        "cpu_percent": 50.5,
        "gpu_percent": 25.5,
        "max_concurrency": None,
        "process": PROCESS,
    }


def test_f32_values_survive(registry: HiveRegistry) -> None:
    draw = random.Random(1)
    patterns = [0, 1, 0x7F7F_FFFF, *(draw.randrange(0x7F80_0000) for _ in range(500))]
    values = [struct.unpack("f", struct.pack("I", pattern))[0] for pattern in patterns]
    registry.ingest(heartbeat("h", *(worker(f"{at:04}", gpu_percent=value) for at, value in enumerate(values))))
    found = registry.get_workers_on_hive("h")
    assert [each.gpu_percent for each in found] == values
    assert pickle.loads(pickle.dumps(found)) == found


def test_a_double_becomes_the_nearest_f32(registry: HiveRegistry) -> None:
    assert told(registry, FULL | {"gpu_percent": 0.1}).gpu_percent == struct.unpack("f", struct.pack("f", 0.1))[0]


def test_a_worker_does_not_change_with_the_registry(registry: HiveRegistry) -> None:
    before = told(registry, FULL)
    after = told(registry, FULL | {"state": "Idle"})
    assert (before.state, after.state) == ("Busy", "Idle")


# === frozen ===


@pytest.mark.parametrize("name", [*FULL, "vram_free_bytes", "extra"])
def test_a_worker_takes_no_attribute(registry: HiveRegistry, name: str) -> None:
    found = told(registry, FULL)
    with pytest.raises(AttributeError):
        setattr(found, name, None)
    assert found.asdict() == FULL


@pytest.mark.parametrize("name", ["load", "reservations", "state", "extra"])
def test_a_candidate_takes_no_attribute(registry: HiveRegistry, name: str) -> None:
    told(registry, FULL)
    with pytest.raises(AttributeError):
        setattr(candidate_of(registry, "llama"), name, 0)


@pytest.mark.parametrize("name", ["hive_id", "workers", "version", "extra"])
def test_a_state_takes_no_attribute(registry: HiveRegistry, name: str) -> None:
    told(registry, FULL)
    with pytest.raises(AttributeError):
        setattr(state_of(registry, "h"), name, None)


@pytest.mark.parametrize("cls", [Worker, Candidate, HiveState])
def test_only_a_registry_makes_them(cls: type) -> None:
    with pytest.raises(TypeError):
        cls()


# === asdict ===


def test_asdict_is_what_was_sent_and_the_hive(registry: HiveRegistry) -> None:
    assert told(registry, FULL).asdict() == FULL


def test_asdict_of_a_bare_worker_has_every_field(registry: HiveRegistry) -> None:
    assert told(registry, bare()).asdict() == bare()


def test_asdict_has_the_order_of_the_attributes(registry: HiveRegistry) -> None:
    assert list(told(registry, FULL).asdict()) == list(FULL)


def test_a_dict_of_a_worker_is_its_own(registry: HiveRegistry) -> None:
    found = told(registry, FULL)
    found.asdict().clear()
    assert found.asdict() == FULL


def test_the_repr_names_worker_hive_and_state(registry: HiveRegistry) -> None:
    assert repr(told(registry, FULL)) == '<Worker "w" on "h": Busy degraded "llama">'


# === equality ===


def test_workers_of_equal_fields_are_equal(registry: HiveRegistry, clock: ManualClock) -> None:
    one, other = told(registry, FULL), told(HiveRegistry(clock=clock), FULL)
    assert one is not other
    assert one == other
    assert hash(one) == hash(other)


@pytest.mark.parametrize("name", [name for name in FULL if name not in ("hive_id", "worker_id", "process")])
def test_workers_that_differ_in_a_field_are_not_equal(registry: HiveRegistry, name: str) -> None:
    others: dict[type, Any] = {str: "other", int: 1, float: 1.0, datetime: START}
    changed = told(registry, FULL | {name: others[type(FULL[name])]})
    assert changed != told(registry, FULL)


def test_one_worker_id_on_two_hives_is_two_workers(registry: HiveRegistry) -> None:
    assert told(registry, FULL) != told(registry, FULL, hive_id="g")


def test_workers_that_differ_in_the_process_are_not_equal(registry: HiveRegistry) -> None:
    with_process = of_a_process(registry)
    plain = told(registry, with_process.asdict(), hive_id="t")
    assert plain.asdict() == with_process.asdict() | {"process": None}
    assert plain != with_process


def test_a_set_of_workers_holds_equal_ones_once(registry: HiveRegistry) -> None:
    one, other = told(registry, FULL), told(registry, FULL | {"worker_id": "v"}, hive_id="g")
    assert {one, registry.get_worker_on("h", "w"), other} == {one, other}
    assert {one: 1}[told(registry, FULL)] == 1


@pytest.mark.parametrize("other", [None, 1, "w", FULL, FULL.values(), object()])
def test_a_worker_equals_nothing_else(registry: HiveRegistry, other: object) -> None:
    found = told(registry, FULL)
    assert found != other
    assert other != found


def test_a_worker_is_no_dict_of_itself(registry: HiveRegistry) -> None:
    found = told(registry, FULL)
    assert found != found.asdict()


# === pickle, copy ===


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_worker_is_pickled_whole(registry: HiveRegistry, protocol: int) -> None:
    for found in (told(registry, FULL), told(registry, bare(), hive_id="g"), of_a_process(registry)):
        copied = pickle.loads(pickle.dumps(found, protocol))
        assert type(copied) is Worker
        assert copied == found
        assert hash(copied) == hash(found)
        assert copied.asdict() == found.asdict()


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_of_a_worker_equals_it(registry: HiveRegistry, copied: Any) -> None:
    for found in (told(registry, FULL), of_a_process(registry)):
        assert copied(found) == found
        assert copied(found).asdict() == found.asdict()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_candidate_is_pickled_as_the_worker_it_is(registry: HiveRegistry, protocol: int) -> None:
    found = told(registry, FULL)
    candidate = candidate_of(registry, "llama")
    assert type(candidate) is Candidate
    copied = pickle.loads(pickle.dumps(candidate, protocol))
    assert type(copied) is Worker
    assert copied == found
    assert copied == candidate


def test_a_candidate_equals_its_worker(registry: HiveRegistry) -> None:
    found = told(registry, FULL)
    candidate = candidate_of(registry, "llama")
    assert candidate == found
    assert found == candidate
    assert hash(candidate) == hash(found)
    assert candidate.asdict() == found.asdict()


def test_a_candidate_tells_what_the_registry_counts(registry: HiveRegistry) -> None:
    told(registry, FULL | {"max_concurrency": 4})
    with registry.reserve("llama"):
        candidate = candidate_of(registry, "llama")
    # 1,001 x 2**20 x 1 / 4 + 10 x 12.25
    assert (candidate.load, candidate.reservations) == (1_001 * 2**18 + 122, 1)


def test_the_turn_of_a_candidate_is_later_once_it_is_reserved(registry: HiveRegistry) -> None:
    told(registry, FULL)
    before = candidate_of(registry, "llama").turn
    assert candidate_of(registry, "llama").turn == before
    registry.reserve("llama").release()
    assert candidate_of(registry, "llama").turn > before


@pytest.mark.parametrize("garbage", [b"", b"{}", b"null", b"\xff", b'{"hive_id": 1}'])
def test_a_broken_pickle_is_a_value_error(registry: HiveRegistry, garbage: bytes) -> None:
    unpickle, _ = told(registry, FULL).__reduce__()
    with pytest.raises(ValueError, match="at line"):
        unpickle(garbage)


# === states ===


def test_a_state_tells_one_heartbeat(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", worker("b", vram_bytes=3_000_000_000, ram_bytes=500_000_000), "a", at=-1.5))
    state = state_of(registry, "h")
    assert state.hive_id == "h"
    assert state.worker_count == 2
    assert state.last_heartbeat == START - timedelta(seconds=1.5)
    # What "b" reports, and 4 and 2 GB for "a", which reports nothing.
    assert (state.vram_used_gb, state.ram_used_gb) == (7.0, 2.5)
    assert state.hive is None
    assert state.capabilities is None


def test_the_workers_of_a_state_are_ordered_by_id(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "b", "a10", "a9", "Z"))
    state = state_of(registry, "h")
    assert [each.worker_id for each in state.workers] == ["Z", "a10", "a9", "b"]
    assert state.workers == registry.get_workers_on_hive("h")


def test_a_state_finds_its_workers_by_id(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "b", "a"))
    state = state_of(registry, "h")
    assert [state.worker("a"), state.worker("b")] == state.workers
    assert state.worker("c") is None


def test_a_state_without_workers(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h"))
    state = state_of(registry, "h")
    assert (state.workers, state.worker_count) == ([], 0)
    assert (state.vram_used_gb, state.ram_used_gb) == (0.0, 0.0)


def test_a_state_tells_what_the_hive_says_of_itself(registry: HiveRegistry) -> None:
    of_a_process(registry)
    state = state_of(registry, "t")
    assert state.hive == HIVE
    assert state.capabilities == DEVICES


def test_a_state_without_declared_devices(registry: HiveRegistry) -> None:
    registry.ingest(HiveHeartbeat(HIVE, START, [PROCESS]))
    assert state_of(registry, "t").capabilities is None


def test_the_version_grows_with_each_heartbeat(registry: HiveRegistry) -> None:
    versions = []
    for second in range(3):
        registry.ingest(heartbeat("h", at=second - 3))
        versions.append(state_of(registry, "h").version)
    assert versions == sorted(set(versions))


def test_a_state_does_not_change_with_the_registry(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "a"))
    state = state_of(registry, "h")
    registry.remove_hive("h")
    assert [each.worker_id for each in state.workers] == ["a"]


def test_a_state_equals_itself_however_often_it_is_asked_for(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "a"))
    one, other = state_of(registry, "h"), state_of(registry, "h")
    assert one == other
    assert hash(one) == hash(other)
    assert len({one, other}) == 1


def test_states_of_two_heartbeats_are_not_equal(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "a"))
    before = state_of(registry, "h")
    registry.ingest(heartbeat("h", "a"))
    assert state_of(registry, "h") != before


@pytest.mark.parametrize("other", [None, "h", 1, object()])
def test_a_state_equals_nothing_else(registry: HiveRegistry, other: object) -> None:
    registry.ingest(heartbeat("h", "a"))
    assert state_of(registry, "h") != other


def test_the_repr_of_a_state_names_the_hive(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "a"))
    version = state_of(registry, "h").version
    expected = f'<HiveState "h": 1 workers, version {version}, heard 2026-01-01T00:00:00+00:00>'
    assert repr(state_of(registry, "h")) == expected
