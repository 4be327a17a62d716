"""Heartbeats as objects: whatever has fields is read as JSON of the same fields would be."""

import dataclasses
import enum
import json
import os
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple

import attrs
import msgspec
import numpy as np
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet import START, heartbeat, worker
from hive_registry import (
    ConfigError,
    HeartbeatError,
    HeartbeatOutcome,
    HiveHeartbeatPayload,
    HiveInfo,
    HiveRegistry,
    HiveStats,
    ManualClock,
    ProcessStats,
    WorkerState,
)

STAMP = "2026-01-01T00:00:00Z"
WORKER = {"worker_id": "a", "state": "Busy", "last_heartbeat": STAMP, "health_status": "healthy", "vram_bytes": 8}
BEAT = {"hive_id": "h", "timestamp": STAMP, "workers": [WORKER], "epoch": 3, "seq": 4}
INFO = {
    "id": "h",
    "hostname": "gpu-1",
    "port": 9000,
    "version": "1",
    "operational_status": "ready",
    "health_status": {"status": "healthy"},
}
PROCESS = asdict(ProcessStats(77, "llm", "8080", gpu_util_pct=None))
TOLD = {"hive": INFO, "timestamp": STAMP, "workers": [PROCESS]}


# === what has fields ===


class State(str, enum.Enum):
    BUSY = "Busy"


class Health(enum.Enum):
    HEALTHY = "healthy"


class PydanticWorker(pydantic.BaseModel):
    worker_id: str
    state: State
    last_heartbeat: datetime
    health_status: Health
    url: str | None = None
    vram_bytes: int | None = None


class PydanticBeat(pydantic.BaseModel):
    hive_id: str | None = None
    hive: dict[str, Any] | None = None
    timestamp: datetime
    workers: list[PydanticWorker] | list[dict[str, Any]]
    epoch: int | None = None
    seq: int | None = None


@attrs.frozen
class AttrsWorker:
    worker_id: str
    state: str
    last_heartbeat: datetime
    health_status: str
    vram_bytes: int | None = None


@attrs.define
class AttrsBeat:
    timestamp: datetime
    workers: Any
    hive_id: str | None = None
    hive: Any = None
    epoch: int | None = None
    seq: int | None = None


class StructWorker(msgspec.Struct):
    worker_id: str
    state: str
    heard: datetime = msgspec.field(name="last_heartbeat")
    health_status: str = "healthy"
    vram_bytes: int | None = None


class StructBeat(msgspec.Struct, frozen=True):
    timestamp: datetime
    workers: Any
    hive_id: str | None = None
    hive: Any = None
    epoch: int | None = None
    seq: int | None = None


class TupleWorker(NamedTuple):
    worker_id: str
    state: str
    last_heartbeat: datetime
    health_status: str
    vram_bytes: int | None = None


class TupleBeat(NamedTuple):
    timestamp: datetime
    workers: Any
    hive_id: str | None = None
    hive: Any = None
    epoch: int | None = None
    seq: int | None = None


@dataclasses.dataclass
class OtherWorker:
    worker_id: str
    state: State
    last_heartbeat: float
    health_status: Health
    vram_bytes: Any = None
    kind: ClassVar[str] = "no field"


@dataclasses.dataclass(slots=True, frozen=True)
class OtherBeat:
    timestamp: float
    workers: Any
    hive_id: str | None = None
    hive: Any = None
    epoch: int | None = None
    seq: int | None = None


SECONDS = START.timestamp()
PLAIN: dict[str, Any] = {
    "pydantic": PydanticBeat(
        hive_id="h",
        timestamp=START,
        workers=[
            PydanticWorker(
                worker_id="a", state=State.BUSY, last_heartbeat=START, health_status=Health.HEALTHY, vram_bytes=8
            )
        ],
        epoch=3,
        seq=4,
    ),
    "attrs": AttrsBeat(START, (AttrsWorker("a", "Busy", START, "healthy", 8),), "h", epoch=3, seq=4),
    "msgspec": StructBeat(START, [StructWorker("a", "Busy", START, vram_bytes=8)], "h", epoch=3, seq=4),
    "named tuple": TupleBeat(START, [TupleWorker("a", "Busy", START, "healthy", 8)], "h", epoch=3, seq=4),
    "dataclass": OtherBeat(
        SECONDS, [OtherWorker("a", State.BUSY, SECONDS, Health.HEALTHY, np.int64(8))], "h", epoch=3, seq=4
    ),
    "own dataclass": HiveHeartbeatPayload(
        "h", SECONDS, [WorkerState("a", SECONDS, "Busy", vram_bytes=8)], epoch=3, seq=4
    ),
    "OrderedDict": OrderedDict(BEAT),
    "defaultdict": defaultdict(list, BEAT),
    "mixed": BEAT | {"workers": [AttrsWorker("a", "Busy", START, "healthy", 8)]},
}
TELEMETRY: dict[str, Any] = {
    "pydantic": PydanticBeat(hive=INFO, timestamp=START, workers=[PROCESS]),
    "attrs": AttrsBeat(START, [PROCESS], hive=INFO),
    "msgspec": StructBeat(START, [ProcessStats(**PROCESS)], hive=HiveInfo("h", "gpu-1", 9000, "1")),
    "named tuple": TupleBeat(START, [PROCESS], hive=INFO),
    "dataclass": OtherBeat(SECONDS, [PROCESS], hive=INFO),
}


def registry_after(call: Callable[[HiveRegistry], object]) -> HiveRegistry:
    registry = HiveRegistry(clock=ManualClock(START), seed=1)
    call(registry)
    return registry


def left(registry: HiveRegistry) -> tuple[Any, ...]:
    """All that a heartbeat leaves, complaints and refusals among it, and what is decided by it."""
    stats = registry.stats()
    states = [registry.get_hive_state(hive_id) for hive_id in registry.list_all_hives()]
    models = sorted({found.model_id or "" for _, found in registry.list_all_workers()} | {"m"})
    decisions = [(registry.explain(model), registry.pick(model), registry.pick(model, "random")) for model in models]
    return (states, decisions), stats.heartbeats, [*map(told, stats.hives)]


def told(stats: HiveStats) -> tuple[int, str | None, int, str | None]:
    refusal = stats.last_refusal and stats.last_refusal.partition(" at line ")[0]
    return stats.complaints, stats.last_complaint, stats.refusals, refusal


@pytest.mark.parametrize("beat", PLAIN.values(), ids=PLAIN)
@pytest.mark.parametrize("strict", [False, True])
def test_what_has_fields_is_a_plain_heartbeat(beat: Any, strict: bool) -> None:
    as_json = left(registry_after(lambda registry: registry.ingest_json(json.dumps(BEAT))))
    for call in (
        lambda registry: registry.ingest(beat, strict=strict),
        lambda registry: registry.update_hive_state("h", beat, strict=strict),
        lambda registry: registry.ingest_many([beat], strict=strict),
    ):
        assert left(registry_after(call)) == as_json


@pytest.mark.parametrize("beat", TELEMETRY.values(), ids=TELEMETRY)
def test_what_has_fields_is_a_telemetry_heartbeat(beat: Any) -> None:
    as_json = left(registry_after(lambda registry: registry.ingest_json(json.dumps(TOLD))))
    for call in (
        lambda registry: registry.ingest(beat),
        lambda registry: registry.update_hive(beat),
        lambda registry: registry.ingest_many([beat]),
    ):
        assert left(registry_after(call)) == as_json


@pytest.mark.parametrize("beat", [*PLAIN.values(), *TELEMETRY.values()], ids=[*PLAIN, *TELEMETRY])
def test_what_has_fields_is_one_heartbeat_and_not_many(registry: HiveRegistry, beat: Any) -> None:
    with pytest.raises(TypeError, match=r"^heartbeats: .* refused: many of them$"):
        registry.ingest_many(beat)


def test_processes_may_be_objects_of_any_kind(registry: HiveRegistry) -> None:
    process = dataclasses.make_dataclass("Process", PROCESS)(*PROCESS.values())
    for processes in ([process], (process,), [msgspec.defstruct("Process", [*PROCESS])(*PROCESS.values())]):
        registry.update_workers("h", processes, strict=True)
        assert registry.get_workers("h") == [ProcessStats(**PROCESS)]


@pytest.mark.parametrize(
    "odd",
    [SimpleNamespace(**BEAT), object(), iter([]), {1, 2}, PydanticBeat, AttrsBeat, StructBeat, TupleBeat, OtherBeat],
    ids=repr,
)
def test_what_is_of_no_known_kind_is_told_so(registry: HiveRegistry, odd: Any) -> None:
    says = r'^heartbeat: ".*" refused: a dict, JSON, a dataclass, or a model of pydantic, attrs or msgspec$'
    for call in (registry.ingest, registry.update_hive, lambda beat: registry.update_hive_state("h", beat)):
        with pytest.raises(HeartbeatError, match=says):
            call(odd)
    assert registry.stats().heartbeats.refused == 3


def test_an_object_that_answers_to_every_name_is_of_no_known_kind(registry: HiveRegistry) -> None:
    class Answers:
        def __getattr__(self, name: str) -> Any:
            return lambda: self

    with pytest.raises(HeartbeatError, match=r"^heartbeat: .* refused: a dict"):
        registry.ingest(Answers())
    with pytest.raises(HeartbeatError, match=r"^workers\[0\].url: .* refused: a string$"):
        registry.ingest(heartbeat("h", worker("a", url=Answers())))


class Itself:
    def item(self) -> Any:
        return self


class Shy:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_what_stands_for_itself_is_no_value(registry: HiveRegistry) -> None:
    with pytest.raises(HeartbeatError, match=r"^workers\[0\].device_id: .*Itself.* refused: u32"):
        registry.ingest(heartbeat("h", worker("a", device_id=Itself())))


def test_what_cannot_show_itself_is_shown_by_its_class(registry: HiveRegistry) -> None:
    with pytest.raises(HeartbeatError, match=r"^heartbeat: .*Shy.* refused: a dict"):
        registry.ingest(Shy())  # type: ignore[arg-type]


# === strict ===


@pytest.mark.parametrize(
    ("beat", "says"),
    [
        (BEAT | {"colour": 1}, r"^colour: unknown field `colour`, expected one of `hive_id`, .*`workers`$"),
        (BEAT | {3: 1}, r"^3: unknown field `3`, expected one of `hive_id`"),
        (
            BEAT | {"workers": [WORKER, WORKER | {"worker_id": "b", "vram": 5}]},
            r"^workers\[1\]\.vram: unknown field `vram`, expected one of `worker_id`, .*`vram_bytes`",
        ),
        (TOLD | {"hive": INFO | {"prot": 1}}, r"^hive\.prot: unknown field `prot`, expected one of .*`port`"),
        (TOLD | {"workers": [PROCESS | {"x": 1}]}, r"^workers\[0\]\.x: unknown field `x`, expected one of .*`pid`"),
        (
            TOLD | {"capabilities": [{"id": "a", "name": "b", "device_type": "cuda", "vram": 1}]},
            r"^capabilities\[0\]\.vram: ",
        ),
        (BEAT | {"x" * 100_000: 1}, r"^x+\.\.\.x+: unknown field `x+"),
    ],
    ids=["beat", "no text", "worker", "hive", "process", "device", "long"],
)
def test_an_unknown_field_is_refused_where_it_is_asked_for(registry: HiveRegistry, beat: Any, says: str) -> None:
    with pytest.raises(HeartbeatError, match=says) as raised:
        registry.ingest(beat, strict=True)
    assert len(str(raised.value).encode()) <= 512
    (refused,) = registry.ingest_many([beat], strict=True).refused
    assert str(refused[1]) == str(raised.value)
    assert registry.hive_count() == 0
    assert registry.ingest(beat) is HeartbeatOutcome.REGISTERED


def test_unknown_fields_of_processes_are_refused_where_it_is_asked_for(registry: HiveRegistry) -> None:
    with pytest.raises(HeartbeatError, match=r"^\[1\]\.x: unknown field `x`"):
        registry.update_workers("h", [PROCESS, PROCESS | {"x": 1}], strict=True)
    with pytest.raises(HeartbeatError, match=r"^hive\.x: unknown field `x`"):
        registry.update_hive(TOLD | {"hive": INFO | {"x": 1}}, strict=True)
    with pytest.raises(HeartbeatError, match=r"^x: unknown field `x`"):
        registry.update_hive_state("h", BEAT | {"x": 1}, strict=True)


@pytest.mark.parametrize("body", [json.dumps(BEAT), json.dumps(BEAT).encode()])
def test_json_is_read_as_the_wire_says(registry: HiveRegistry, body: Any) -> None:
    calls: list[Callable[[], object]] = [
        lambda: registry.ingest(body, strict=True),
        lambda: registry.ingest_many([body], strict=True),
        lambda: registry.update_hive_state("h", body, strict=True),
        lambda: registry.update_hive(body, strict=True),
        lambda: registry.update_workers("h", body, strict=True),
    ]
    for call in calls:
        with pytest.raises(ConfigError, match=r"^strict: true refused: a heartbeat that is no JSON"):
            call()
    assert registry.hive_count() == 0


# === as JSON ===

NUMBERS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**65), 2**65),
    st.integers(0, 200),
    st.sampled_from([2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1]),
    # Others JSON reads to within a unit of the last place only.
    st.floats(allow_nan=False, allow_infinity=False, width=16),
)
TEXTS = st.one_of(st.none(), st.text(max_size=6), st.sampled_from(["Idle", "healthy", "x" * 257, "http://h", STAMP]))
ANY = st.recursive(
    NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def record(odd: st.SearchStrategy[Any], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Mostly as it should be; now and then without a field, with one that is odd, or one that is unknown."""
    return st.builds(
        lambda good, gone, wrong, extra: {key: value for key, value in (good | wrong | extra).items() if key != gone},
        st.fixed_dictionaries(fields),
        st.none() | st.none() | st.sampled_from([*fields]),
        st.just({}) | st.just({}) | st.dictionaries(st.sampled_from([*fields]), odd, max_size=1),
        st.just({}) | st.dictionaries(st.text(max_size=4), ANY, max_size=1),
    )


MOMENTS = st.datetimes(timezones=st.sampled_from([timezone.utc, timezone(timedelta(hours=5, minutes=30))])).map(
    datetime.isoformat
)
WORKERS = record(
    ANY,
    worker_id=st.text("ab", min_size=1, max_size=3),
    state=st.sampled_from(["Idle", "Busy"]),
    last_heartbeat=MOMENTS,
    health_status=st.just("healthy"),
    url=TEXTS,
    model_id=TEXTS,
    vram_bytes=NUMBERS,
    gpu_percent=NUMBERS,
    max_concurrency=st.integers(-1, 5),
    device_id=NUMBERS,
)
PROCESSES = record(
    ANY,
    pid=NUMBERS,
    group=st.sampled_from(["g", "llm", ""]),
    instance=st.sampled_from(["8080", "a", "b"]),
    **{
        name: st.integers(-1, 100)
        for name in (
            "cpu_pct",
            "rss_mb",
            "io_r_mb_s",
            "io_w_mb_s",
            "uptime_s",
            "gpu_util_pct",
            "vram_mb",
            "total_vram_mb",
        )
    },
)
HIVES = record(
    ANY,
    id=st.sampled_from(["h", "h", "g"]),
    hostname=st.text(max_size=4),
    port=st.integers(-1, 70_000),
    version=st.just("1"),
    operational_status=st.sampled_from(["ready", "busy", "asleep"]),
    health_status=record(st.text(max_size=3), status=st.sampled_from(["healthy", "degraded"]), reason=TEXTS),
)
SHARED: dict[str, st.SearchStrategy[Any]] = {
    "timestamp": MOMENTS,
    "epoch": st.none() | NUMBERS,
    "seq": st.none() | NUMBERS,
}
BEATS = st.one_of(
    record(ANY, hive_id=st.just("h"), workers=st.lists(WORKERS, max_size=3), **SHARED),
    record(ANY, hive_id=st.just("h"), workers=st.lists(WORKERS, max_size=3), hive_info=HIVES, **SHARED),
    record(ANY, hive=HIVES, workers=st.lists(PROCESSES, max_size=3), **SHARED),
    record(ANY, type=st.just("telemetry"), hive_id=st.just("h"), workers=st.lists(PROCESSES, max_size=3), **SHARED),
)


def outcome(call: Callable[[], HeartbeatOutcome]) -> HeartbeatOutcome | None:
    """None if it was refused: of several faults it is a matter of order which one is told."""
    try:
        return call()
    except HeartbeatError:
        return None


# Of the strategies, which hypothesis would show if drawing from them failed.
@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@settings(max_examples=int(os.environ.get("HIVE_EXAMPLES", "500")), deadline=None)
@given(beats=st.lists(BEATS, min_size=1, max_size=3))
def test_a_dict_is_read_as_its_json_is(beats: list[dict[str, Any]]) -> None:
    walked, parsed = (HiveRegistry(clock=ManualClock(START), seed=1) for _ in range(2))
    for beat in beats:
        body = json.dumps(beat)
        assert outcome(lambda: walked.ingest(beat)) == outcome(lambda: parsed.ingest_json(body))  # noqa: B023
    one, other = left(walked), left(parsed)
    assert one[:2] == other[:2]
    for (complaints, complaint, refusals, _), theirs in zip(one[2], other[2], strict=True):
        assert (complaints, complaint, refusals) == theirs[:3]
