import enum
import importlib
import json
from collections import ChainMap, UserDict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl
import pytest

from fleet import START, heartbeat, worker
from hive_registry import (
    Capability,
    HeartbeatError,
    HeartbeatOutcome,
    HiveHealth,
    HiveHeartbeat,
    HiveHeartbeatPayload,
    HiveInfo,
    HiveRegistry,
    HiveState,
    Limits,
    ManualClock,
    ProcessStats,
    WorkerState,
)

# It brings no types of its own.
pd: Any = importlib.import_module("pandas")

STAMP = "2026-01-01T00:00:00Z"


class Lifecycle(str, enum.Enum):
    BUSY = "Busy"


class Device(enum.IntEnum):
    SECOND = 1


FIELDS: dict[str, Any] = {
    "state": "Busy",
    "health_status": "degraded",
    "backend": "cuda",
    "device_id": 1,
    "vram_bytes": 8_000_000_000,
    "vram_total_bytes": 24_000_000_000,
    "ram_bytes": 3_000_000_000,
    "cpu_percent": 150.0,
    "gpu_percent": 62.5,
    "max_concurrency": 4,
}
"""All that a worker may tell, so that a form that loses one is found."""

WORKER = worker("a", **FIELDS)
JSON_WORKER = WORKER | {"last_heartbeat": STAMP}
JSON = json.dumps({"hive_id": "h", "timestamp": STAMP, "workers": [JSON_WORKER], "epoch": 3, "seq": 4})


def plain(*workers: Any) -> dict[str, Any]:
    return heartbeat("h", epoch=3, seq=4) | {"workers": list(workers)}


PLAIN_FORMS: dict[str, Any] = {
    "dict": json.loads(JSON),
    "dict with datetime": plain(WORKER),
    "datetime in another zone": plain(WORKER) | {"timestamp": START.astimezone(timezone(timedelta(hours=5)))},
    "dataclass": HiveHeartbeatPayload("h", START, [WorkerState(**WORKER)], epoch=3, seq=4),
    "dataclass with dicts": HiveHeartbeatPayload("h", STAMP, [JSON_WORKER], epoch=3, seq=4),
    "dict with dataclasses": plain(WorkerState(**WORKER)),
    "str": JSON,
    "bytes": JSON.encode(),
    "bytearray": bytearray(JSON.encode()),
    "workers first": json.dumps(dict(reversed(json.loads(JSON).items()))),
    "MappingProxyType": MappingProxyType(plain(MappingProxyType(WORKER))),
    "ChainMap": ChainMap(plain(ChainMap(WORKER))),
    "UserDict": UserDict(plain(UserDict(WORKER))),
    "tuple": plain() | {"workers": (WORKER,)},
    "deque": plain() | {"workers": deque([WORKER])},
    "numpy numbers": plain(
        WORKER
        | {
            "device_id": np.uint8(1),
            "vram_bytes": np.int64(8_000_000_000),
            "vram_total_bytes": np.uint64(24_000_000_000),
            "cpu_percent": np.float64(150.0),
            "gpu_percent": np.float32(62.5),
            "max_concurrency": np.array(4),
            "model_id": np.str_("m"),
        }
    )
    | {"seq": np.int16(4)},
    "enums": plain(WORKER | {"state": Lifecycle.BUSY, "device_id": Device.SECOND}),
    "unknown fields": plain(WORKER | {"colour": "red"}) | {"weather": {"rain": [1, None, True]}},
    "None for what is not told": plain(WORKER) | {"capabilities": None},
}

INFO = HiveInfo("h", "gpu-1", 9000, "1.2", "busy", HiveHealth("degraded", "hot"))
PROCESS = ProcessStats(77, "llm", "8080", 150.0, 4096, 1.5, 2.5, 60, 62.5, 8192, 24576, "m")
CAPABILITY = Capability("GPU-0", "RTX 4090", "cuda", 24.0, "8.9")
TELEMETRY: dict[str, Any] = {
    "hive": asdict(INFO),
    "timestamp": STAMP,
    "workers": [asdict(PROCESS)],
    "capabilities": [asdict(CAPABILITY)],
    "epoch": 3,
    "seq": 4,
}

TELEMETRY_FORMS: dict[str, Any] = {
    "dataclass": HiveHeartbeat(INFO, START, [PROCESS], [CAPABILITY], epoch=3, seq=4),
    "dataclass with dicts": HiveHeartbeat(INFO, STAMP, [asdict(PROCESS)], [asdict(CAPABILITY)], epoch=3, seq=4),
    "dict": TELEMETRY,
    "dict with datetime": TELEMETRY | {"timestamp": START},
    "dict with dataclasses": TELEMETRY | {"hive": INFO, "workers": (PROCESS,), "capabilities": (CAPABILITY,)},
    "str": json.dumps(TELEMETRY),
    "bytes": json.dumps(TELEMETRY).encode(),
    "bytearray": bytearray(json.dumps(TELEMETRY).encode()),
    "Mapping": MappingProxyType(TELEMETRY),
    "numpy numbers": TELEMETRY | {"workers": [asdict(PROCESS) | {"pid": np.int32(77), "cpu_pct": np.float32(150.0)}]},
}


def forms(all_: dict[str, Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("form", [pytest.param(form, id=name) for name, form in all_.items()])


def state_after(apply: Callable[[HiveRegistry], HeartbeatOutcome]) -> HiveState:
    registry = HiveRegistry(clock=ManualClock(START), seed=1)
    assert apply(registry) is HeartbeatOutcome.REGISTERED
    state = registry.get_hive_state("h")
    assert state is not None
    return state


# === forms ===


def test_every_field_of_the_plain_form_is_kept(registry: HiveRegistry) -> None:
    registry.ingest_json(JSON)
    found = registry.get_worker_on("h", "a")
    assert found is not None
    assert found.asdict() == WORKER | {"hive_id": "h", "process": None}


def test_every_field_of_the_telemetry_form_is_kept(registry: HiveRegistry) -> None:
    registry.ingest_json(json.dumps(TELEMETRY))
    state = registry.get_hive_state("h")
    assert state is not None
    assert state.hive == registry.get_hive("h") == INFO
    assert state.capabilities == [CAPABILITY]
    assert registry.get_workers("h") == [PROCESS]
    assert registry.get_all_workers() == [("h", PROCESS)]
    assert state.workers[0].process == PROCESS


def test_a_process_becomes_a_worker(registry: HiveRegistry) -> None:
    registry.ingest(HiveHeartbeat(INFO, START, [PROCESS], [CAPABILITY]))
    found = registry.get_worker_on("h", "llm-8080")
    assert found is not None
    mb = 1 << 20
    assert found.asdict() == {
        "hive_id": "h",
        "worker_id": "llm-8080",
        "state": "Busy",
        "last_heartbeat": START,
        "health_status": "degraded",
        "url": "http://gpu-1:8080",
        "model_id": "m",
        "backend": "cuda",
        "device_id": None,
        "vram_bytes": 8192 * mb,
        "vram_total_bytes": 24576 * mb,
        "ram_bytes": 4096 * mb,
        "cpu_percent": 150.0,
        "gpu_percent": 62.5,
        "max_concurrency": None,
        "process": PROCESS,
    }


@forms(PLAIN_FORMS)
def test_ingest_takes_every_plain_form_alike(form: Any) -> None:
    assert state_after(lambda registry: registry.ingest(form)) == state_after(
        lambda registry: registry.ingest_json(JSON)
    )


@forms(PLAIN_FORMS)
def test_update_hive_state_takes_every_plain_form_alike(form: Any) -> None:
    assert state_after(lambda registry: registry.update_hive_state("h", form)) == state_after(
        lambda registry: registry.ingest_json(JSON)
    )


@forms(PLAIN_FORMS)
def test_ingest_many_takes_every_plain_form_alike(registry: HiveRegistry, form: Any) -> None:
    assert registry.ingest_many([form]).registered == 1
    assert registry.get_hive_state("h") == state_after(lambda registry: registry.ingest_json(JSON))


@forms(TELEMETRY_FORMS)
def test_ingest_takes_every_telemetry_form_alike(form: Any) -> None:
    assert state_after(lambda registry: registry.ingest(form)) == state_after(
        lambda registry: registry.ingest_json(json.dumps(TELEMETRY))
    )


@forms(TELEMETRY_FORMS)
def test_update_hive_takes_every_telemetry_form_alike(form: Any) -> None:
    assert state_after(lambda registry: registry.update_hive(form)) == state_after(
        lambda registry: registry.ingest_json(json.dumps(TELEMETRY))
    )


@pytest.mark.parametrize(
    "processes",
    [
        pytest.param([PROCESS], id="dataclasses"),
        pytest.param((asdict(PROCESS),), id="dicts"),
        pytest.param([MappingProxyType(asdict(PROCESS))], id="Mapping"),
        pytest.param(json.dumps([asdict(PROCESS)]), id="str"),
        pytest.param(json.dumps([asdict(PROCESS)]).encode(), id="bytes"),
        pytest.param(bytearray(json.dumps([asdict(PROCESS)]).encode()), id="bytearray"),
    ],
)
def test_update_workers_takes_processes_in_every_form(registry: HiveRegistry, processes: Any) -> None:
    assert registry.update_workers("h", processes) is HeartbeatOutcome.REGISTERED
    assert registry.get_workers("h") == [PROCESS]


def test_update_workers_replaces_the_workers_and_keeps_the_hive(registry: HiveRegistry, clock: ManualClock) -> None:
    registry.ingest(HiveHeartbeat(INFO, START, [PROCESS]))
    clock.advance(5)
    second = ProcessStats(78, "llm", "8081")
    assert registry.update_workers("h", [second]) is HeartbeatOutcome.UPDATED
    assert registry.get_workers("h") == [second]
    assert registry.get_hive("h") == INFO
    assert registry.is_hive_online("h", 1)


def test_update_workers_with_none_leaves_a_hive_without_workers(registry: HiveRegistry) -> None:
    registry.update_workers("h", [PROCESS])
    registry.update_workers("h", [])
    assert registry.get_worker_count("h") == 0


def test_a_hive_may_be_made_with_its_defaults(registry: HiveRegistry) -> None:
    said = HiveInfo("h", "gpu-1", 9000, "1.2")
    assert registry.update_hive(HiveHeartbeat(said, START)) is HeartbeatOutcome.REGISTERED
    assert registry.get_hive("h") == said


def test_a_worker_may_be_made_with_its_defaults(registry: HiveRegistry) -> None:
    registry.ingest(HiveHeartbeatPayload("h", START, [WorkerState("a", START)]))
    found = registry.get_worker_on("h", "a")
    assert found is not None
    assert (found.state, found.health_status, found.url) == ("Idle", "healthy", None)


def test_a_process_may_be_made_with_its_defaults(registry: HiveRegistry) -> None:
    registry.update_workers("h", [ProcessStats(1, "llm", "8080")])
    assert registry.get_workers("h") == [ProcessStats(1, "llm", "8080")]


def test_text_of_all_languages_is_kept(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("улей-蜂-🐝", worker("ö", model_id="מודל")))
    assert registry.list_all_hives() == ["улей-蜂-🐝"]
    assert registry.find_workers_by_model("מודל")[0][1].worker_id == "ö"


def test_a_very_busy_gpu_is_told_on(registry: HiveRegistry) -> None:
    # I2 refuses what is negative or not finite; there is no upper bound.
    registry.ingest(heartbeat("h", worker("a", gpu_percent=1e9)))
    found = registry.get_worker_on("h", "a")
    assert found is not None
    assert found.gpu_percent == 1e9


@pytest.mark.parametrize("length", [1, 256])
def test_ids_from_1_to_256_bytes_are_taken(registry: HiveRegistry, length: int) -> None:
    name = "x" * length
    assert registry.ingest(heartbeat(name, worker(name, model_id=name))) is HeartbeatOutcome.REGISTERED


# === outcomes ===


def test_the_first_heartbeat_of_a_hive_registers_it(registry: HiveRegistry) -> None:
    assert registry.ingest(heartbeat("h", "a")) is HeartbeatOutcome.REGISTERED


def test_a_later_heartbeat_updates(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "a"))
    assert registry.ingest(heartbeat("h", "b", at=1)) is HeartbeatOutcome.UPDATED
    assert [each.worker_id for each in registry.get_workers_on_hive("h")] == ["b"]


def test_an_earlier_heartbeat_is_superseded_and_dropped(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "a", at=1))
    assert registry.ingest(heartbeat("h", "b")) is HeartbeatOutcome.SUPERSEDED
    assert [each.worker_id for each in registry.get_workers_on_hive("h")] == ["a"]


def test_epoch_and_seq_order_whatever_the_clock_says(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "a", at=1, epoch=1, seq=1))
    assert registry.ingest(heartbeat("h", "b", epoch=1, seq=2)) is HeartbeatOutcome.UPDATED
    assert registry.ingest(heartbeat("h", "c", at=2, epoch=1, seq=2)) is HeartbeatOutcome.SUPERSEDED
    assert [each.worker_id for each in registry.get_workers_on_hive("h")] == ["b"]


def test_a_heartbeat_from_before_a_removal_is_removed(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "a"))
    registry.remove_hive("h")
    assert registry.ingest(heartbeat("h", "a")) is HeartbeatOutcome.REMOVED
    assert registry.hive_count() == 0


def test_a_heartbeat_from_after_a_removal_registers(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "a"))
    registry.remove_hive("h")
    assert registry.ingest(heartbeat("h", "a", at=1)) is HeartbeatOutcome.REGISTERED


# === refusals ===


def nested(depth: int) -> dict[str, Any]:
    outer: dict[str, Any] = {}
    inner = outer
    for _ in range(depth):
        inner["a"] = {}
        inner = inner["a"]
    return outer


endless_list: list[Any] = []
endless_list.append(endless_list)
endless_dict: dict[str, Any] = {}
endless_dict["a"] = endless_dict


class Odd:
    def __repr__(self) -> str:
        return "<Odd>"


def bad_worker(**fields: Any) -> dict[str, Any]:
    return heartbeat("h", worker("b") | fields, at=1)


def bad_beat(**fields: Any) -> dict[str, Any]:
    return heartbeat("h", at=1) | fields


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in bad_beat().items() if key != name}


def bad_process(**fields: Any) -> dict[str, Any]:
    return TELEMETRY | {"timestamp": START + timedelta(seconds=1), "workers": [asdict(PROCESS) | fields]}


def bad_hive(**fields: Any) -> dict[str, Any]:
    return TELEMETRY | {"timestamp": START + timedelta(seconds=1), "hive": asdict(INFO) | fields}


def nested_list(depth: int) -> list[Any]:
    outer: list[Any] = []
    for _ in range(depth):
        outer = [outer]
    return outer


class BrokenZone(tzinfo):
    def utcoffset(self, _: datetime | None) -> timedelta:
        raise ZeroDivisionError("no zone")

    dst = utcoffset

    def tzname(self, _: datetime | None) -> str:
        raise ZeroDivisionError("no zone")


class Endless(Sequence[Any]):
    """Ends the test instead of the machine's memory."""

    def __init__(self, item: Any = 5) -> None:
        self.item = item
        self.read = 0

    def __len__(self) -> int:
        return 2**62

    def __getitem__(self, _: Any) -> Any:
        self.read += 1
        assert self.read < 100_000
        return self.item


FORMS = "a dict, JSON, a dataclass, or a model of pydantic, attrs or msgspec"
NAIVE = datetime(2026, 1, 1)
LONG = "x" * 257

# By name: the heartbeat, and what the error must say: the field, the value, the bound.
BAD: dict[str, tuple[Any, tuple[str, ...]]] = {
    "NaN in bytes": (
        b'{"hive_id":"h","timestamp":"2026-01-01T00:00:01Z","workers":[],"epoch":NaN,"seq":1}',
        ("epoch: ",),
    ),
    "naive timestamp": (bad_beat(timestamp=NAIVE), ("timestamp: ", "2026, 1, 1", "time zone")),
    "naive last_heartbeat": (bad_worker(last_heartbeat=NAIVE), ("workers[0].last_heartbeat: ", "2026", "time zone")),
    "naive datetime64": (bad_beat(timestamp=np.datetime64("2026-01-01T00:00")), ("timestamp: ", "2026", "time zone")),
    "timestamp of words": (bad_beat(timestamp="noon"), ("timestamp: ", '"noon"', "RFC 3339")),
    "timestamp without a zone": (bad_beat(timestamp="2026-01-01T00:00:00"), ("timestamp: ", "2026", "RFC 3339")),
    "milliseconds for seconds": (
        bad_beat(timestamp=1767225600000),
        ("timestamp: ", '"1767225600000"', "seconds since 1970 up to the year 9999"),
    ),
    "NaN for a moment": (bad_worker(last_heartbeat=float("nan")), ("workers[0].last_heartbeat: ", '"nan"', "seconds")),
    "bool for a moment": (bad_beat(timestamp=True), ("timestamp: ", '"True"', "seconds since 1970")),
    "NaT": (bad_beat(timestamp=pd.NaT), ("timestamp: ", '"NaT"', "a datetime with a time zone")),
    "naive moment of pandas": (bad_beat(timestamp=pd.Timestamp("2026-01-01")), ("timestamp: ", "2026", "time zone")),
    "a date": (bad_beat(timestamp=NAIVE.date()), ("timestamp: ", "2026, 1, 1", "a datetime with a time zone")),
    "a zone that raises": (
        bad_worker(last_heartbeat=datetime(2026, 1, 1, tzinfo=BrokenZone())),
        (
            "workers[0].last_heartbeat: ",
            '"datetime.datetime(2026, 1, 1, 0, 0, tzinfo=',
            "a datetime with a time zone",
            "ZeroDivisionError: no zone",
        ),
    ),
    "last_heartbeat of words": (
        bad_worker(last_heartbeat="noon"),
        ("workers[0].last_heartbeat: ", '"noon"', "RFC 3339"),
    ),
    "object": (bad_worker(url=Odd()), ("workers[0].url: ", "<Odd>", "a string")),
    "class": (HiveHeartbeatPayload, ("heartbeat: ", "HiveHeartbeatPayload", FORMS)),
    "an object of no known form": (Odd(), ("heartbeat: ", "<Odd>", FORMS)),
    "a worker of no known form": (bad_beat(workers=[Odd()]), ("workers[0]: ", "<Odd>", "a dict, a dataclass")),
    "bytes for text": (bad_worker(url=b"http"), ("workers[0].url: ", "http", "a string")),
    "set": (bad_beat(workers={"b"}), ("workers: ", "{\\'b\\'}", "a sequence")),
    "generator": ((each for each in "ab"), ("heartbeat: ", "generator", FORMS)),
    "array of numpy": (
        bad_worker(gpu_percent=np.array([1.0, 2.0])),
        ("workers[0].gpu_percent: ", "array([1., 2.])", "f32"),
    ),
    "array of one": (bad_worker(gpu_percent=np.array([1.0])), ("workers[0].gpu_percent: ", "array([1.])", "f32")),
    "array of workers": (bad_beat(workers=np.array([WORKER])), ("workers: ", "array([", "a sequence")),
    "span of numpy": (
        bad_worker(vram_bytes=np.timedelta64(5, "ns")),
        ("workers[0].vram_bytes: ", "np.timedelta64(5,\\'ns\\')", "u64"),
    ),
    # As a number it is 5.
    "nanoseconds of numpy": (
        bad_beat(timestamp=np.datetime64(5, "ns")),
        ("timestamp: ", "00:00:00.000000005", "a datetime with a time zone"),
    ),
    "a sequence without an end": (bad_beat(workers=Endless()), ("workers[0]: ", "`5`", "a dict, a dataclass")),
    "workers without an end": (bad_beat(workers=Endless(WORKER)), ("heartbeat_bytes: ", "refused", "1048576")),
    "deep nesting": (bad_worker(url=nested(100_000)), ("workers[0].url: ", "map", "a string")),
    "deep lists": (bad_beat(capabilities=nested_list(100_000)), ("capabilities[0][0]: ", "sequence", "a string")),
    "list in itself": (bad_worker(url=endless_list), ("workers[0].url: ", "sequence", "a string")),
    "workers in themselves": (bad_beat(workers=endless_list), ("workers[0][0]: ", "sequence", "a string")),
    "nothing but a list in itself": (endless_list, ("heartbeat: ", "[[...]]", FORMS)),
    "dict in itself": (endless_dict, ("timestamp: ", "missing")),
    "hive in itself": (bad_hive(health_status=endless_dict), ("hive.health_status.status: ", "missing")),
    "a number as a Decimal": (bad_worker(gpu_percent=Decimal("1.5")), ("workers[0].gpu_percent: ", "Decimal(", "f32")),
    "a number as a Fraction": (bad_worker(vram_bytes=Fraction(3)), ("workers[0].vram_bytes: ", "Fraction(", "u64")),
    "NA of pandas": (bad_worker(gpu_percent=pd.NA), ("workers[0].gpu_percent: ", '"<NA>"', "f32")),
    "empty hive_id": (heartbeat(""), ("hive_id: ", '""', "1 to 256 bytes, not 0")),
    "long hive_id": (heartbeat(LONG), ("hive_id: ", '"xxxx', "1 to 256 bytes, not 257")),
    "long worker_id": (bad_worker(worker_id=LONG), ("workers[0].worker_id: ", '"xxxx', "1 to 256 bytes, not 257")),
    "long in bytes": (bad_worker(worker_id="ö" * 129), ("workers[0].worker_id: ", '"öööö', "1 to 256 bytes, not 258")),
    "long model_id": (bad_worker(model_id=LONG), ("workers[0].model_id: ", '"xxxx', "1 to 256 bytes, not 257")),
    "long url": (bad_worker(url="u" * 2049), ("workers[0].url: ", '"uuuu', "1 to 2048 bytes, not 2049")),
    "long state": (bad_worker(state=LONG), ("workers[0].state: ", '"xxxx', "1 to 256 bytes, not 257")),
    "long group": (bad_process(group=LONG), ("workers[0].group: ", '"xxxx', "1 to 256 bytes, not 257")),
    "control characters": (bad_worker(worker_id="b\n"), ("workers[0].worker_id: ", r'"b\n"', "no control characters")),
    "two workers of one id": (heartbeat("h", "b", "b", at=1), ("workers[].worker_id: ", '"b"', "no two workers")),
    "too many bytes": (
        bad_worker(vram_bytes=2**64),
        ("workers[0].vram_bytes: ", '"18446744073709551616"', "u64, at most 18446744073709551615"),
    ),
    "a number past all": (bad_worker(gpu_percent=10**400), ("workers[0].gpu_percent: ", '"1000', "1.8e308")),
    "an epoch past 64 bits": (
        bad_beat(epoch=2**64, seq=1),
        ("epoch: ", '"18446744073709551616"', "u64, from 0 to 18446744073709551615"),
    ),
    "a counter below 64 bits": (
        bad_beat(epoch=1, seq=-(2**63) - 1),
        ("seq: ", '"-9223372036854775809"', "u64, from 0 to 18446744073709551615"),
    ),
    "a port past 64 bits": (bad_hive(port=2**64), ("hive.port: ", '"18446744073709551616"', "u16, from 0 to 65535")),
    "bool for a number": (bad_worker(device_id=True), ("workers[0].device_id: ", "`true`", "u32")),
    "text for a number": (bad_worker(device_id="0"), ("workers[0].device_id: ", '"0"', "u32")),
    "number for text": (bad_worker(worker_id=5), ("workers[0].worker_id: ", "`5`", "string")),
    "None for text": (bad_worker(worker_id=None), ("workers[0].worker_id: ", "null", "string")),
    "number for a hive": (bad_beat(hive_id=5), ("hive_id: ", "`5`", "string")),
    "number for a worker": (heartbeat("h", at=1) | {"workers": ["b"]}, ("workers[0]: ", '"b"', "a dict, a dataclass")),
    "dict for the workers": (bad_beat(workers={"b": 1}), ("workers: ", "map", "sequence")),
    "no workers": (without("workers"), ("workers: ", "missing")),
    "no timestamp": (without("timestamp"), ("timestamp: ", "missing")),
    "no hive_id": (without("hive_id"), ("hive_id: ", "missing")),
    "worker without a state": (
        bad_beat(workers=[{"worker_id": "b", "last_heartbeat": STAMP}]),
        ("workers[0].state: ", "missing"),
    ),
    "both forms": (TELEMETRY | {"hive_id": "h"}, (".: ", "`hive_id`", "`hive`", "exclude")),
    "epoch without seq": (bad_beat(epoch=1), ("seq: ", "none", "both")),
    "seq without epoch": (bad_beat(seq=1), ("epoch: ", "none", "both")),
    "negative seq": (bad_beat(epoch=1, seq=-1), ("seq: ", "`-1`", "u64, from 0 to 18446744073709551615")),
    "None": (None, ("heartbeat: ", '"None"', FORMS)),
    "a number": (42, ("heartbeat: ", '"42"', FORMS)),
    "a list": ([], ("heartbeat: ", '"[]"', FORMS)),
    "empty bytes": (b"", (".: ", "EOF")),
    "empty bytearray": (bytearray(), (".: ", "EOF")),
    "empty text": ("", (".: ", "EOF")),
    "text that is no JSON": ("noon", (".: ", "line 1")),
    "two bodies": (json.dumps(TELEMETRY) * 2, (".: ", "trailing")),
    "a body that ends early": ('{"hive_id":"h"', (".: ", "EOF")),
    "bytes that are no UTF-8": (b"\xff\xfe", (".: ", "line 1")),
    "text that is no UTF-8": (b'{"hive_id":"\xff","timestamp":"' + STAMP.encode() + b'","workers":[]}', ("hive_id: ",)),
    "lone surrogate": (bad_worker(worker_id="b\ud800"), ("workers[0].worker_id: ", "ud800")),
    "lone trailing surrogate": (bad_beat(hive_id="h\udfff"), ("hive_id: ", "udfff")),
    "lone surrogate in JSON": (json.dumps(bad_beat(hive_id="h\ud800", timestamp=STAMP)), ("hive_id: ",)),
    "lone surrogate in a str body": ("\ud800", (".: ",)),
    "large pid": (bad_process(pid=2**32), ("workers[0].pid: ", "`4294967296`", "u32")),
    "more memory than there is": (bad_process(rss_mb=2**50), ("workers[0].rss_mb: ", f'"{2**50}"', "at most")),
    "port past the last": (bad_hive(port=65_536), ("hive.port: ", "`65536`", "u16, from 0 to 65535")),
    "unknown status": (bad_hive(operational_status="asleep"), ("hive.operational_status: ", "`asleep`", "`ready`")),
    "unknown health": (
        bad_hive(health_status={"status": "sad"}),
        ("hive.health_status.status: ", "`sad`", "`healthy`"),
    ),
    "no reason": (bad_hive(health_status={"status": "degraded"}), ("hive.health_status.reason: ", "none", "reason")),
    "negative capability": (
        TELEMETRY | {"capabilities": [asdict(CAPABILITY) | {"vram_gb": -1.0}]},
        ("capabilities[0].vram_gb: ", '"-1"', "from 0 to 1048576"),
    ),
}

bad = pytest.mark.parametrize(
    ("heartbeat_", "says"), [pytest.param(form, says, id=name) for name, (form, says) in BAD.items()]
)


UNKNOWN: dict[str, tuple[Any, str]] = {
    "NaN": (bad_worker(gpu_percent=float("nan")), "gpu_percent"),
    "infinity": (bad_worker(cpu_percent=float("inf")), "cpu_percent"),
    "minus infinity": (bad_worker(cpu_percent=float("-inf")), "cpu_percent"),
    "NaN of numpy": (bad_worker(gpu_percent=np.float32("nan")), "gpu_percent"),
    "negative percent": (bad_worker(gpu_percent=-1.5), "gpu_percent"),
    "negative device_id": (bad_worker(device_id=-1), "device_id"),
    "negative bytes": (bad_worker(vram_bytes=-1), "vram_bytes"),
    "part of a device": (bad_worker(device_id=1.5), "device_id"),
    "no requests": (bad_worker(max_concurrency=0), "max_concurrency"),
    "negative pid": (bad_process(pid=-1), "pid"),
    "part of a process": (bad_process(uptime_s=1.5), "uptime_s"),
    "None of a process": (bad_process(rss_mb=None), "rss_mb"),
    "negative percent of a process": (bad_process(cpu_pct=-0.5), "cpu_pct"),
    "NaN of a process": (bad_process(gpu_util_pct=float("nan")), "gpu_util_pct"),
}
"""A number that is none, and its field."""


@pytest.mark.parametrize(
    ("heartbeat_", "field"), [pytest.param(form, field, id=name) for name, (form, field) in UNKNOWN.items()]
)
def test_a_number_that_is_none_counts_as_not_reported(registry: HiveRegistry, heartbeat_: Any, field: str) -> None:
    registry.ingest(heartbeat_)
    (hive_id,) = registry.list_all_hives()
    (worker,) = registry.get_workers_on_hive(hive_id)
    assert getattr(worker, field, None) is None
    stats = registry.hive_stats(hive_id)
    assert stats is not None
    # What has no word in JSON is left out.
    if stats.complaints:
        assert stats.last_complaint is not None
        assert stats.last_complaint.startswith(f"workers[0].{field}: ")


def update(registry: HiveRegistry, heartbeat_: Any) -> HeartbeatOutcome:
    """By the call that is for its form alone."""
    if "hive_id" in heartbeat_:
        return registry.update_hive_state(heartbeat_["hive_id"], heartbeat_)
    return registry.update_hive(heartbeat_)


@pytest.mark.parametrize("heartbeat_", [pytest.param(form, id=name) for name, (form, _) in UNKNOWN.items()])
def test_every_call_takes_what_ingest_takes(clock: ManualClock, heartbeat_: Any) -> None:
    told = []
    for call in (HiveRegistry.ingest, update):
        registry = HiveRegistry(clock=clock)
        assert call(registry, heartbeat_) is HeartbeatOutcome.REGISTERED
        (hive_id,) = registry.list_all_hives()
        told.append((registry.get_hive_state(hive_id), registry.hive_stats(hive_id)))
    assert told[0] == told[1]


@pytest.mark.parametrize(
    "number",
    [-1, 1.5, -0.5, None, float("nan"), float("inf")],
    ids=["negative", "part", "percent", "None", "NaN", "inf"],
)
@pytest.mark.parametrize("field", ["pid", "rss_mb", "uptime_s", "vram_mb", "total_vram_mb"])
def test_update_workers_takes_a_number_that_is_none(registry: HiveRegistry, field: str, number: float | None) -> None:
    assert registry.update_workers("h", [asdict(PROCESS) | {field: number}]) is HeartbeatOutcome.REGISTERED
    processes = registry.get_workers("h")
    assert processes is not None
    (process,) = processes
    assert getattr(process, field) == 0
    stats = registry.hive_stats("h")
    assert stats is not None
    assert stats.complaints == 1
    assert stats.last_complaint is not None
    assert f"{field}: " in stats.last_complaint


@pytest.mark.parametrize(
    "refused",
    [
        lambda registry: registry.update_hive_state("h", "{"),
        lambda registry: registry.update_hive_state("h", TELEMETRY),
        lambda registry: registry.update_hive_state("h", heartbeat("g")),
        lambda registry: registry.update_hive_state("h", heartbeat("h", "w") | {"timestamp": "noon"}),
        lambda registry: registry.update_hive_state("h", " " * (1 << 20) + "{}"),
        lambda registry: registry.update_hive(heartbeat("h")),
        lambda registry: registry.update_hive(bad_hive(id="h", port=-1)),
        lambda registry: registry.update_workers("h", [{}]),
        lambda registry: registry.update_workers("h", [PROCESS, PROCESS]),
        lambda registry: registry.update_workers("h", "{"),
        lambda registry: registry.update_workers("h", b"[" + b" " * (1 << 20)),
    ],
)
def test_every_refusal_is_counted(registry: HiveRegistry, refused: Callable[[HiveRegistry], object]) -> None:
    registry.ingest(heartbeat("h"))
    with pytest.raises(HeartbeatError) as raised:
        refused(registry)
    assert registry.stats().heartbeats.refused == 1
    stats = registry.hive_stats("h")
    assert stats is not None
    assert (stats.refusals, stats.last_refusal) == (1, str(raised.value))


def seen(registry: HiveRegistry) -> tuple[Any, ...]:
    """What a refused heartbeat must not change."""
    states = [registry.get_hive_state(hive_id) for hive_id in registry.list_all_hives()]
    return registry.hive_count(), registry.total_worker_count(), states, registry.list_all_workers()


@bad
def test_a_bad_heartbeat_is_refused_by_name_and_changes_nothing(
    registry: HiveRegistry, heartbeat_: Any, says: tuple[str, ...]
) -> None:
    registry.ingest(heartbeat("h", "a"))
    before = seen(registry)
    with pytest.raises(HeartbeatError) as raised:
        registry.ingest(heartbeat_)
    text = str(raised.value)
    assert text.startswith(says[0])
    assert [part for part in says if part not in text] == []
    assert seen(registry) == before


@bad
def test_a_bad_heartbeat_registers_nothing(registry: HiveRegistry, heartbeat_: Any, says: tuple[str, ...]) -> None:
    refused = registry.ingest_many([heartbeat_]).refused
    assert [at for at, _ in refused] == [0]
    assert says[0] in str(refused[0][1])
    assert seen(registry) == (0, 0, [], [])
    assert registry.stats().heartbeats.registered == 0


def test_an_error_is_short_whatever_the_value(registry: HiveRegistry) -> None:
    with pytest.raises(HeartbeatError) as raised:
        registry.ingest(heartbeat("h", worker("a", device_id="x" * 100_000)))
    assert len(str(raised.value)) <= 512


def test_update_hive_state_refuses_the_heartbeat_of_another_hive(registry: HiveRegistry) -> None:
    with pytest.raises(HeartbeatError, match=r'^hive_id: "h" refused: .*"g"'):
        registry.update_hive_state("g", heartbeat("h", "a"))
    assert registry.hive_count() == 0


def test_update_hive_state_refuses_the_telemetry_form(registry: HiveRegistry) -> None:
    with pytest.raises(HeartbeatError, match=r"^hive_id: missing field `hive_id`$"):
        registry.update_hive_state("h", TELEMETRY)
    assert registry.hive_count() == 0


def test_update_hive_refuses_the_plain_form(registry: HiveRegistry) -> None:
    with pytest.raises(HeartbeatError, match=r"^hive: missing field `hive`$"):
        registry.update_hive(heartbeat("h"))
    assert registry.hive_count() == 0


@pytest.mark.parametrize(
    ("hive_id", "processes", "says"),
    [
        ("", [], ("hive_id: ", '""', "1 to 256 bytes")),
        (LONG, [], ("hive_id: ", '"xxx', "1 to 256 bytes")),
        ("h", [asdict(PROCESS) | {"pid": "1"}], ("[0].pid: ", '"1"', "u32")),
        ("h", [asdict(PROCESS) | {"pid": 2**32}], ("[0].pid: ", "`4294967296`", "u32")),
        ("h", [asdict(PROCESS), 5], ("[1]: ", "`5`", "a dict, a dataclass")),
        ("h", [{}], ("[0].group: ", "missing")),
        ("h", [PROCESS, PROCESS], ("worker_id: ", '"llm-8080"', "no two workers")),
        ("h", 5, (".: ", "`5`", "sequence")),
        ("h", [Odd()], ("[0]: ", "<Odd>", "a dict, a dataclass")),
        ("h", b"", (".: ", "EOF")),
    ],
)
def test_update_workers_refuses_bad_processes_by_name(
    registry: HiveRegistry, hive_id: str, processes: Any, says: tuple[str, ...]
) -> None:
    registry.ingest(heartbeat("h", "a"))
    before = seen(registry)
    with pytest.raises(HeartbeatError) as raised:
        registry.update_workers(hive_id, processes)
    assert [part for part in says if part not in str(raised.value)] == []
    assert seen(registry) == before


@pytest.mark.parametrize("body", [5, None, {}, [], HiveHeartbeatPayload("h", START)])
def test_ingest_json_takes_json_only(registry: HiveRegistry, body: Any) -> None:
    with pytest.raises(TypeError):
        registry.ingest_json(body)


@pytest.mark.parametrize("call", ["ingest_json", "update_hive_state", "update_workers"])
def test_a_lone_surrogate_in_an_argument_is_refused(registry: HiveRegistry, call: str) -> None:
    calls: dict[str, Callable[[], object]] = {
        "ingest_json": lambda: registry.ingest_json('{"hive_id":"\ud800"}'),
        "update_hive_state": lambda: registry.update_hive_state("\ud800", heartbeat("h")),
        "update_workers": lambda: registry.update_workers("\ud800", []),
    }
    with pytest.raises(HeartbeatError):
        calls[call]()
    assert registry.hive_count() == 0


def test_a_hive_that_sends_no_epoch_and_seq_any_more_is_heard_in_time(
    registry: HiveRegistry, clock: ManualClock
) -> None:
    registry.ingest(heartbeat("h", "a", epoch=1, seq=1))
    for at in range(1, 10):
        clock.advance(1)
        assert registry.ingest(heartbeat("h", "b", at=at)) is HeartbeatOutcome.SUPERSEDED
    clock.advance(1)
    assert registry.ingest(heartbeat("h", "b", at=10)) is HeartbeatOutcome.UPDATED


class Broken(UserDict[str, Any]):
    """Raises when it is read."""

    error: type[BaseException] = RuntimeError

    def __iter__(self) -> Iterator[str]:
        raise self.error("broken")


def test_what_an_object_raises_when_read_is_the_cause_of_its_refusal(registry: HiveRegistry) -> None:
    for beat, path in ((Broken(heartbeat("h")), "."), (heartbeat("h") | {"workers": [Broken()]}, r"workers\[0\]")):
        with pytest.raises(HeartbeatError, match=rf"^{path}: reading it raised RuntimeError: broken$") as raised:
            registry.ingest(beat)
        assert isinstance(raised.value.__cause__, RuntimeError)
    assert registry.hive_count() == 0
    assert registry.stats().heartbeats.refused == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_fault_of_the_object_comes_through(registry: HiveRegistry, error: type[BaseException]) -> None:
    broken = Broken(heartbeat("h"))
    broken.error = error
    for call in (registry.ingest, registry.update_hive, lambda beat: registry.ingest_many([heartbeat("i"), beat])):
        with pytest.raises(error, match="broken"):
            call(broken)
    # What came before it was applied, and stays.
    assert registry.list_all_hives() == ["i"]
    assert registry.stats().heartbeats.refused == 0


def test_a_dict_that_changes_while_it_is_read_does_no_harm(registry: HiveRegistry) -> None:
    class Changing(UserDict[str, Any]):
        def __iter__(self) -> Iterator[str]:
            beat["workers"].clear()
            beat.clear()
            return super().__iter__()

    beat = heartbeat("h") | {"workers": [Changing(worker("a")), *(worker(f"w{at}") for at in range(100))]}
    assert registry.ingest(beat) is HeartbeatOutcome.REGISTERED
    assert [each.worker_id for each in registry.get_workers_on_hive("h")] == ["a"]


def test_what_is_refused_is_told_of_its_hive(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h"))
    refused: list[Any] = [heartbeat("h", worker("a", url=5)), TELEMETRY | {"workers": [5]}, bad_hive(port="x")]
    for at, beat in enumerate(refused, 1):
        with pytest.raises(HeartbeatError) as raised:
            registry.ingest(beat)
        stats = registry.hive_stats("h")
        assert stats is not None
        assert (stats.refusals, stats.last_refusal) == (at, str(raised.value))


@pytest.mark.parametrize("endless", [endless_list, endless_dict])
def test_what_no_field_asks_for_is_not_looked_at(registry: HiveRegistry, endless: Any) -> None:
    unread = [endless, nested(100_000), Odd(), {(1, 2): 3}, float("nan"), Broken()]
    assert registry.ingest(heartbeat("h", worker("a", x=unread), x=unread, type=unread)) is HeartbeatOutcome.REGISTERED


@pytest.mark.parametrize(
    "moment",
    [
        1767225600,
        1767225600.0,
        np.int64(1767225600),
        np.float64(1767225600),
        pd.Timestamp(START),
        pd.Timestamp(START).tz_convert("Asia/Kathmandu"),
        START.astimezone(timezone(timedelta(hours=-8))),
        START.isoformat(),
    ],
    ids=repr,
)
def test_a_moment_is_seconds_or_a_datetime_or_text(registry: HiveRegistry, moment: Any) -> None:
    registry.ingest(heartbeat("h", worker("a", last_heartbeat=moment)) | {"timestamp": moment})
    state = registry.get_hive_state("h")
    assert state is not None
    assert state.last_heartbeat == state.workers[0].last_heartbeat == START


def test_seconds_keep_their_fraction(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", worker("a", last_heartbeat=1767225600.123456)))
    (found,) = registry.get_workers_on_hive("h")
    assert found.last_heartbeat == START + timedelta(microseconds=123456)


# === limits ===


@pytest.mark.parametrize(
    ("limits", "beat", "says"),
    [
        (Limits(hives=1), heartbeat("i"), "hives: 2 refused: at most 1"),
        (Limits(workers=1), heartbeat("h", "a", "b", at=1), "workers: 2 refused: at most 1"),
        (Limits(workers_per_hive=1), heartbeat("h", "a", "b", at=1), "workers_per_hive: 2 refused: at most 1"),
        (Limits(models=1), heartbeat("i", worker("a", model_id="n")), "models: 2 refused: at most 1"),
        (Limits(heartbeat_bytes=400), heartbeat("h", worker("a", url="x" * 400), at=1), "at most 400"),
    ],
    ids=["hives", "workers", "workers_per_hive", "models", "heartbeat_bytes"],
)
def test_what_would_pass_a_limit_is_refused_by_its_name(
    clock: ManualClock, request: pytest.FixtureRequest, limits: Limits, beat: dict[str, Any], says: str
) -> None:
    registry = HiveRegistry(clock=clock, limits=limits)
    registry.ingest(heartbeat("h", "a"))
    before = seen(registry)
    with pytest.raises(HeartbeatError) as raised:
        registry.ingest(beat)
    limit = request.node.callspec.id
    assert str(raised.value).startswith(f"{limit}: ")
    assert says in str(raised.value)
    assert seen(registry) == before


@pytest.mark.parametrize("call", ["ingest", "ingest_json", "update_hive_state", "update_hive", "update_workers"])
def test_every_call_refuses_json_past_heartbeat_bytes(clock: ManualClock, call: str) -> None:
    registry = HiveRegistry(clock=clock, limits=Limits(heartbeat_bytes=1_000))
    space = b" " * 1_000
    telemetry = json.dumps(TELEMETRY).encode() + space
    calls: dict[str, Callable[[], object]] = {
        "ingest": lambda: registry.ingest(JSON.encode() + space),
        "ingest_json": lambda: registry.ingest_json(JSON.encode() + space),
        "update_hive_state": lambda: registry.update_hive_state("h", JSON.encode() + space),
        "update_hive": lambda: registry.update_hive(telemetry),
        "update_workers": lambda: registry.update_workers("h", b"[]" + space),
    }
    with pytest.raises(HeartbeatError, match=r"^heartbeat_bytes: .*at most 1000"):
        calls[call]()
    assert registry.hive_count() == 0


def test_what_reaches_a_limit_is_taken(clock: ManualClock) -> None:
    registry = HiveRegistry(clock=clock, limits=Limits(hives=2, workers=3, workers_per_hive=2, models=1))
    registry.ingest(heartbeat("h", "a", "b"))
    registry.ingest(heartbeat("i", "a"))
    assert (registry.hive_count(), registry.total_worker_count()) == (2, 3)


def test_room_that_a_removal_makes_is_used_again(clock: ManualClock) -> None:
    registry = HiveRegistry(clock=clock, limits=Limits(hives=1, workers=1, models=1))
    registry.ingest(heartbeat("h", "a"))
    registry.remove_hive("h")
    assert registry.ingest(heartbeat("i", worker("a", model_id="n"))) is HeartbeatOutcome.REGISTERED


# === many ===


def test_many_are_counted_by_outcome(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("gone", "a"))
    registry.remove_hive("gone")
    done = registry.ingest_many(
        [
            heartbeat("h", "a"),
            heartbeat("i", "a"),
            heartbeat("h", "a", at=2),
            heartbeat("h", "a", at=1),
            heartbeat("gone", "a"),
            heartbeat(""),
        ]
    )
    assert (done.registered, done.updated, done.superseded, done.removed, len(done.refused)) == (2, 2, 0, 1, 1)
    assert registry.ingest_many([heartbeat("h", "a", at=1)]).superseded == 1


def test_a_refused_one_does_not_keep_those_after_it(registry: HiveRegistry) -> None:
    done = registry.ingest_many(
        [
            b"",
            heartbeat("a", "w"),
            heartbeat("b", worker("w", gpu_percent="all")),
            json.dumps(TELEMETRY),
            Odd(),  # type: ignore[list-item]
            heartbeat("e") | {"timestamp": pd.NaT},
            heartbeat("f", worker("w", last_heartbeat=datetime(2026, 1, 1, tzinfo=BrokenZone()))),
            Broken(),
            "\ud800",
            HiveHeartbeatPayload("c", START),
            heartbeat("d", worker("w", state="")),
        ]
    )
    assert registry.list_all_hives() == ["a", "c", "h"]
    assert done.registered == 3
    assert [at for at, _ in done.refused] == [0, 2, 4, 5, 6, 7, 8, 10]
    assert [type(error) for _, error in done.refused] == [HeartbeatError] * 8
    assert "workers[0].state" in str(done.refused[7][1])
    assert registry.stats().heartbeats.refused == 8


def test_none_is_many_too(registry: HiveRegistry) -> None:
    done = registry.ingest_many([])
    assert (done.registered, done.updated, done.superseded, done.removed, done.refused) == (0, 0, 0, 0, ())


def test_a_generator_is_taken_in_batches(registry: HiveRegistry) -> None:
    counts = set()

    def beats() -> Iterator[bytes]:
        for at in range(10_000):
            counts.add(registry.hive_count())
            yield b'{"hive_id": "h%d", "timestamp": "2026-01-01T00:00:00Z", "workers": []}' % at

    assert registry.ingest_many(beats()).registered == 10_000
    assert counts == {0, 8_192}


Beats = list[tuple[float, tuple[int, int] | None]]


def replay(registry: HiveRegistry, many: bool, beats: Beats) -> tuple[int, int, int]:
    """Of one hive: when each was made, and its epoch and seq; each has a worker of its own, w0, w1 and so on."""
    if many:
        rows = [
            heartbeat("h", f"w{at}", at=made, **({} if pair is None else {"epoch": pair[0], "seq": pair[1]}))
            for at, (made, pair) in enumerate(beats)
        ]
        forms: list[Any] = [json.dumps(row, default=str) if at % 2 else row for at, row in enumerate(rows)]
        done = registry.ingest_many(forms)
    else:
        columns: dict[str, Any] = {
            "hive_id": ["h" for _ in beats],
            "worker_id": [f"w{at}" for at in range(len(beats))],
            "timestamp": [START + timedelta(seconds=made) for made, _ in beats],
            "epoch": [pair and pair[0] for _, pair in beats],
            "seq": [pair and pair[1] for _, pair in beats],
        }
        done = registry.ingest_table(pl.DataFrame(columns))
    assert done.refused == ()
    return done.registered, done.updated, done.superseded


def pairless(*seconds: float) -> Beats:
    return [(second, None) for second in seconds]


@pytest.mark.parametrize("liveness", ["reported", "arrival"])
@pytest.mark.parametrize("many", [True, False], ids=["ingest_many", "ingest_table"])
@pytest.mark.parametrize(
    ("beats", "outcome", "left"),
    [
        pytest.param(pairless(3, 2, 1), (1, 2, 0), "w0", id="descending"),
        pytest.param(pairless(1, 3, 2), (1, 2, 0), "w1", id="mixed"),
        pytest.param([(3, (1, 3)), (2, (1, 2)), (1, (1, 1))], (1, 2, 0), "w0", id="descending pairs"),
        # A reset: in the order of keys the clock would go back; so it is replayed as given.
        pytest.param([(1, (1, 8)), (2, (1, 9)), (3, (1, 1))], (1, 1, 1), "w1", id="a counter that began again"),
        pytest.param([(3, (1, 1)), (2, (1, 2)), (1, (1, 3))], (1, 2, 0), "w2", id="a clock that was set back"),
        pytest.param([(2, (1, 2)), (1, (1, 1)), (3, None)], (1, 0, 2), "w0", id="some without a pair"),
    ],
)
def test_many_are_applied_in_the_order_of_keys(
    registry: HiveRegistry, many: bool, liveness: Any, beats: Beats, outcome: tuple[int, int, int], left: str
) -> None:
    # On a clock that stands still, and on one that goes.
    clock = ManualClock(START)
    for registry in (HiveRegistry(clock=clock, liveness_clock=liveness), HiveRegistry(liveness_clock=liveness)):
        assert replay(registry, many, beats) == outcome
        assert [each.worker_id for each in registry.get_workers_on_hive("h")] == [left]


@pytest.mark.parametrize("many", [True, False], ids=["ingest_many", "ingest_table"])
def test_refused_ones_are_told_by_their_own_place(registry: HiveRegistry, many: bool) -> None:
    beats = [heartbeat("h", "a", at=3), heartbeat("", "a"), heartbeat("i", "a"), heartbeat("h", worker("b", state="")),
             heartbeat("h", worker(""), at=1)]  # fmt: skip
    if many:
        refused = registry.ingest_many(beats).refused
    else:
        rows = [{"hive_id": beat["hive_id"], "timestamp": beat["timestamp"]} | beat["workers"][0] for beat in beats]
        refused = registry.ingest_table(pl.DataFrame(rows)).refused
    assert [at for at, _ in refused] == [1, 3, 4]
    assert registry.list_all_hives() == ["h", "i"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, ValueError])
def test_what_an_iterator_raises_is_raised_and_what_came_before_stays(
    registry: HiveRegistry, error: type[BaseException]
) -> None:
    def beats() -> Iterator[dict[str, Any]]:
        yield heartbeat("a", "w")
        yield heartbeat("b", "w")
        raise error("stop")

    with pytest.raises(error, match="stop"):
        registry.ingest_many(beats())
    assert registry.list_all_hives() == ["a", "b"]


def test_what_is_not_iterable_is_a_type_error(registry: HiveRegistry) -> None:
    with pytest.raises(TypeError):
        registry.ingest_many(5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "one", [heartbeat("h", "a"), HiveHeartbeatPayload("h", START), UserDict(), "{}", b"{}", bytearray(b"{}")]
)
def test_one_heartbeat_is_not_many(registry: HiveRegistry, one: Any) -> None:
    with pytest.raises(TypeError, match=r"^heartbeats: .* refused: many of them$"):
        registry.ingest_many(one)
    assert registry.hive_count() == 0


def test_refused_ones_are_counted_in_the_stats(registry: HiveRegistry) -> None:
    registry.ingest_many([heartbeat("", "a"), heartbeat("h", "a")])
    counts = registry.stats().heartbeats
    assert (counts.registered, counts.refused) == (1, 1)
