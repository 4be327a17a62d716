import importlib
import os
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fleet import START, heartbeat, worker
from hive_registry import (
    ConfigError,
    HeartbeatError,
    HiveRegistry,
    HiveRegistryError,
    Limits,
    ManualClock,
    NoWorkerError,
    Worker,
    _core,
)

pa: Any = importlib.import_module("pyarrow")
panic = getattr(_core, "_panic", None)


@pytest.mark.skipif(
    panic is None and "CI" not in os.environ, reason="built without debug assertions, unlike by `make test`"
)
def test_a_panic_is_an_error_of_the_registry(capfd: pytest.CaptureFixture[str]) -> None:
    assert panic is not None
    with pytest.raises(HiveRegistryError, match=r"^a defect in hive-registry: at 7$"):
        panic()
    assert "panicked" in capfd.readouterr().err


LETTERS = ["x", "é", "\U0001f41d", "\n", '"', "\\", "\ud800"]


def of(letter: str) -> str:
    return letter * 1_000_000


CALLS: dict[str, Callable[[HiveRegistry, str], object]] = {
    "hive_id": lambda registry, text: registry.ingest(heartbeat(text)),
    "worker_id": lambda registry, text: registry.ingest(heartbeat("h", text)),
    "timestamp": lambda registry, text: registry.ingest(heartbeat("h") | {"timestamp": text}),
    "the wrong hive": lambda registry, text: registry.update_hive_state(text, heartbeat("h")),
    "another hive": lambda registry, text: registry.update_hive_state("h", heartbeat(text)),
    "text for a number": lambda registry, text: registry.ingest(heartbeat("h", worker("w", device_id=text))),
    "text for a number of a hive": lambda registry, text: registry.update_hive_state(
        "h", heartbeat("h", worker("w", device_id=text))
    ),
    "text for processes": lambda registry, text: registry.update_workers("h", [{"pid": text}]),
    "processes of a hive": lambda registry, text: registry.update_workers(text, []),
    "text for telemetry": lambda registry, text: registry.update_hive({"hive": text}),
    "text that is no JSON": lambda registry, text: registry.ingest_json(text),
    "key": lambda registry, text: registry.ingest({text: {text: object()}}),
    "value": lambda registry, text: registry.ingest({"hive_id": [text, object()]}),
    "number behind keys": lambda registry, text: registry.ingest({text: float("nan")}),
    "array of numpy": lambda registry, text: registry.ingest({"hive_id": np.array([text, text])}),
    "model": lambda registry, text: registry.model(text),
    "policy": lambda registry, text: registry.pick("m", text),  # type: ignore[arg-type]
    "liveness_clock": lambda _, text: HiveRegistry(liveness_clock=text),  # type: ignore[arg-type]
    "stale_mode": lambda _, text: HiveRegistry(stale_mode=text),  # type: ignore[arg-type]
    "a span": lambda registry, text: registry.evict_stale(text),  # type: ignore[arg-type]
    "a count": lambda registry, text: registry.subscribe(text),  # type: ignore[arg-type]
    "an age": lambda registry, text: registry.list_active_hives(text),  # type: ignore[arg-type]
    "a moment": lambda _, text: ManualClock(text),  # type: ignore[arg-type]
    "memory": lambda _, text: HiveRegistry(assumed_worker_memory=(text, text)),  # type: ignore[arg-type]
    "limits": lambda _, text: HiveRegistry(limits=text),  # type: ignore[arg-type]
    "limit": lambda _, text: HiveRegistry(limits=Limits(hives=text)),  # type: ignore[arg-type]
    "a lease": lambda registry, text: registry.renew_lease(text, 1),  # type: ignore[arg-type]
    "a table of text": lambda registry, text: registry.ingest_table([text]),  # type: ignore[arg-type]
    "policy that is none": lambda registry, text: registry.pick("m", [text]),  # type: ignore[arg-type]
    "one for many": lambda registry, text: registry.ingest_many(text),
    "no worker": lambda registry, text: registry.reserve(text),
}


@pytest.mark.parametrize("letter", LETTERS, ids=ascii)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_no_error_is_longer_than_512_bytes(
    registry: HiveRegistry, call: Callable[[HiveRegistry, str], object], letter: str
) -> None:
    with pytest.raises((HiveRegistryError, TypeError, UnicodeEncodeError)) as caught:
        call(registry, of(letter))
    assert 0 < len(str(caught.value).encode(errors="surrogatepass")) <= 512
    assert registry.hive_count() == 0


def test_what_is_cut_begins_and_ends_as_it_was(registry: HiveRegistry) -> None:
    with pytest.raises(NoWorkerError, match=r"^no worker for 'x+\.\.\.x*.*$") as caught:
        registry.reserve(of("x"))
    assert len(str(caught.value)) == 511
    with pytest.raises(ConfigError, match=r'^policy: "é+\.\.\.é+" refused: "least_loaded" or .* or "random"$'):
        registry.pick("m", of("é"))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^table: \['x+\.\.\.x+'\] refused: a table with __arrow_c_stream__$"):
        registry.ingest_table([of("x")])  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [HiveRegistryError, HeartbeatError, ConfigError, NoWorkerError])
@pytest.mark.parametrize("letter", LETTERS, ids=ascii)
def test_errors_are_cut_between_letters(error: type[HiveRegistryError], letter: str) -> None:
    for length in (1, 126, 127, 128, 170, 255, 256, 257, 511, 512, 513, 1_024, 1_025, 1_536, 100_000):
        for before in ("", "y", "yy", "yyy"):
            given = before + letter * length
            raw = given.encode(errors="replace")
            said = str(error(given))
            assert said == given if len(raw) <= 512 else 500 < len(said.encode()) <= 512
            assert str(error(said)) == said == str(pickle.loads(pickle.dumps(error(given))))
    assert error().args == ()
    assert error(7, "y").args == (7, "y")


def test_errors_of_tables_are_short(registry: HiveRegistry) -> None:
    given = of("x")
    rows: dict[str, Any] = {"hive_id": ["h"], "worker_id": ["w"], "timestamp": [START]}
    for wrong in ({"vram_bytes": [given]}, {"timestamp": [[given]]}, {"hive_id": [{given: 1}]}):
        with pytest.raises(HeartbeatError) as caught:
            registry.ingest_table(pa.table(rows | wrong))
        assert 0 < len(str(caught.value)) <= 512
    refused = registry.ingest_table(pa.table(rows | {"hive_id": [given]})).refused
    assert [at for at, _ in refused] == [0]
    assert 0 < len(str(refused[0][1])) <= 512
    table = registry.snapshot().workers
    with pytest.raises(ValueError, match=r"^requested_schema: ") as other:
        table.__arrow_c_stream__(pa.schema([pa.field(given, pa.string())]).__arrow_c_schema__())
    assert len(str(other.value)) <= 512


def test_what_hives_are_refused_for_is_short_in_their_statistics(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "w"))
    with pytest.raises(HeartbeatError):
        registry.update_hive_state("h", heartbeat(of("x")))
    told = registry.hive_stats("h")
    assert told is not None
    assert told.refusals == 1
    assert told.last_refusal is not None
    assert 0 < len(told.last_refusal) <= 512


def test_a_broken_pickle_is_told_in_short(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "w"))
    found = registry.get_worker_on("h", "w")
    assert isinstance(found, Worker)
    unpickle, _ = found.__reduce__()
    with pytest.raises(ValueError, match="invalid type") as caught:
        unpickle(b'{"hive_id": "h", "worker_id": "w", "vram_bytes": "' + of("x").encode() + b'"}')
    assert len(str(caught.value)) <= 512
