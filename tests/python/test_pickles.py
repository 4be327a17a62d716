import copy
import pickle
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from fleet import START, heartbeat, worker
from hive_registry import (
    Capability,
    HiveHealth,
    HiveHeartbeat,
    HiveInfo,
    HiveRegistry,
    HiveRegistryError,
    HiveState,
    LeastLoaded,
    PowerOfChoices,
    ProcessStats,
    Random,
    RoundRobin,
    Snapshot,
    Table,
)
from hive_registry import _core as core  # type: ignore[attr-defined, unused-ignore]

protocols = pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))


@pytest.fixture
def registry(registry: HiveRegistry) -> HiveRegistry:
    """Three hives: one in the telemetry form, one that says all there is, and one without workers."""
    info = HiveInfo("told", "gpu", 1, "1", health_status=HiveHealth("degraded", "hot"))
    process = ProcessStats(7, "llm", "8080", cpu_pct=12.5, model="m")
    devices = [Capability("GPU-0", "A100", "cuda", 80.0, "8.0")]
    registry.update_hive(HiveHeartbeat(info, START, [process], devices))
    full = worker("b", device_id=1, vram_bytes=2**40, gpu_percent=62.1, cpu_percent=0.1, backend="cuda")
    registry.ingest(heartbeat("h", "a", full, worker("ж", model_id=None, url=None)))
    registry.ingest(heartbeat("empty"))
    return registry


def objects(registry: HiveRegistry) -> dict[str, Any]:
    snapshot = registry.snapshot()
    empty = HiveRegistry().snapshot()
    state = registry.get_hive_state("told")
    return {
        "PowerOfChoices": PowerOfChoices(7),
        "LeastLoaded": LeastLoaded(),
        "RoundRobin": RoundRobin(),
        "Random": Random(),
        "HiveState": state,
        "Snapshot": snapshot,
        "workers": snapshot.workers,
        "hives": snapshot.hives,
        "no workers": empty.workers,
        "no hives": empty.hives,
        "Snapshot of nothing": empty,
    }


KINDS = list(objects(HiveRegistry()))
kinds = pytest.mark.parametrize("kind", KINDS)


@protocols
@kinds
def test_it_comes_back_equal(registry: HiveRegistry, kind: str, protocol: int) -> None:
    before = objects(registry)[kind]
    after = pickle.loads(pickle.dumps(before, protocol))
    assert type(after) is type(before)
    assert after == before
    assert hash(after) == hash(before)
    assert repr(after) == repr(before)


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy])
@kinds
def test_a_copy_is_equal(registry: HiveRegistry, kind: str, way: Callable[[Any], Any]) -> None:
    before = objects(registry)[kind]
    assert way(before) == before
    assert way([before]) == [before]


def test_others_are_not_equal(registry: HiveRegistry) -> None:
    all_of_them = list(objects(registry).values())
    registry.ingest(heartbeat("h", "a", at=1))
    later = [registry.get_hive_state("h"), registry.snapshot(), registry.snapshot().workers, registry.snapshot().hives]
    every: list[Any] = [*all_of_them, *later, PowerOfChoices(8), None, "text"]
    assert [at for at, one in enumerate(every) if every.index(one) != at] == []


def test_what_comes_back_can_be_used(registry: HiveRegistry) -> None:
    snapshot = registry.snapshot()
    after: Snapshot = pickle.loads(pickle.dumps(snapshot))
    assert (after.sequence, after.taken_at) == (snapshot.sequence, snapshot.taken_at)
    for table, again in [(after.workers, snapshot.workers), (after.hives, snapshot.hives)]:
        alone: Table = pickle.loads(pickle.dumps(again))
        for one in (table, alone):
            assert pl.DataFrame(one).equals(pl.DataFrame(again), null_equal=True)
            assert one._repr_html_() == again._repr_html_()
    assert HiveRegistry().ingest_table(pickle.loads(pickle.dumps(snapshot.workers))).refused == ()
    state: HiveState = pickle.loads(pickle.dumps(registry.get_hive_state("told")))
    assert state.hive == registry.get_hive("told")
    found = state.worker("llm-8080")
    assert found is not None
    assert found.process == ProcessStats(7, "llm", "8080", cpu_pct=12.5, model="m")
    assert state.capabilities == [Capability("GPU-0", "A100", "cuda", 80.0, "8.0")]
    assert HiveRegistry().pick("m", pickle.loads(pickle.dumps(PowerOfChoices(np.int64(3))))) is None


# === bytes from anywhere ===


@pytest.mark.parametrize("json", [b"", b"{", b"null", b"[]", b'{"hive_id": 1}', b"\xff"])
@pytest.mark.parametrize("unpickle", ["_unpickle_worker", "_unpickle_hive_state", "_unpickle_snapshot"])
def test_bytes_that_are_no_record_are_refused(unpickle: str, json: bytes) -> None:
    with pytest.raises(ValueError, match=r"at line|invalid"):
        getattr(core, unpickle)(json)


@pytest.mark.parametrize("kind", ["workers", "hives"])
def test_a_table_of_other_columns_is_refused(registry: HiveRegistry, kind: str) -> None:
    unpickle, (columns, batches) = objects(registry)[kind].__reduce__()
    for other in ([], columns[:-1], [*columns, "more"], columns[::-1]):
        with pytest.raises(ValueError, match=r"^columns: .* refused: those of a snapshot$"):
            unpickle(other, batches)


def test_text_that_is_no_utf8_is_refused(registry: HiveRegistry) -> None:
    unpickle, (columns, batches) = registry.snapshot().workers.__reduce__()
    broken = pickle.loads(pickle.dumps(batches).replace(b"healthy", b"\xff\xff\xff\xff\xff\xff\xff"))
    with pytest.raises(ValueError, match=r"(?i)utf"):
        unpickle(columns, broken)


@pytest.mark.parametrize("kind", ["workers", "hives"])
def test_any_broken_buffer_is_refused_or_harmless(registry: HiveRegistry, kind: str) -> None:
    unpickle, (columns, batches) = objects(registry)[kind].__reduce__()
    dice = random.Random(1)

    def broken(value: Any) -> Any:
        """One thing in it is other than it was, on the average."""
        match value:
            case list() | tuple():
                items = [broken(item) for item in value]
                if items and dice.random() < 0.02:
                    items.pop(dice.randrange(len(items)))
                return type(value)(items)
            case bytes() if dice.random() < 0.1:
                cut = value[: dice.randrange(len(value) + 1)]
                return dice.choice([cut, bytes(dice.randrange(256) for _ in value), None, b""])
            case int() if dice.random() < 0.1:
                return dice.choice([0, 1, value + 1, 2**31, 2**63, 2**64 - 1])
        return value

    refused = 0
    for _ in range(2_000):
        try:
            table = unpickle(columns, broken(batches))
        except (ValueError, TypeError):  # noqa: PERF203
            refused += 1
        except HiveRegistryError as error:
            pytest.fail(f"{error}")
        else:
            table._repr_html_()
            pl.DataFrame(table)
    assert 500 < refused < 2_000
