"""The same calls on this registry and on one of plain dicts, as many a scheduler has: `make bench-python`.

A fleet of 1,000 hives with 8 workers over 20 models, every field set. Each heartbeat of 2.5 KB, and each table, changes
every worker.
"""

import itertools
import json
import random
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import polars as pl
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from hive_registry import HiveRegistry, Ingested

HIVES = 1_000
MODEL = "vendor/model-0b-instruct"
BEGUN = datetime.now(timezone.utc)


class DictRegistry:
    """A dict of hives, each a dict of workers; a pick looks at all of them."""

    def __init__(self, window: float) -> None:
        self._window = timedelta(seconds=window)
        self._hives: dict[str, tuple[datetime, dict[str, dict[str, Any]]]] = {}

    def ingest(self, heartbeat: dict[str, Any]) -> None:
        workers = {worker["worker_id"]: worker for worker in heartbeat["workers"]}
        self._hives[heartbeat["hive_id"]] = (datetime.now(timezone.utc), workers)

    def ingest_json(self, body: bytes) -> None:
        self.ingest(json.loads(body))

    def find_best_worker_for_model(self, model_id: str) -> tuple[str, dict[str, Any]] | None:
        oldest = datetime.now(timezone.utc) - self._window
        best: tuple[str, dict[str, Any]] | None = None
        for hive_id, (heard, workers) in self._hives.items():
            if heard <= oldest:
                continue
            for worker in workers.values():
                if (
                    worker["model_id"] == model_id
                    and worker["state"] in ("Idle", "Busy")
                    and worker["health_status"] != "unhealthy"
                    and (best is None or worker["gpu_percent"] < best[1]["gpu_percent"])
                ):
                    best = (hive_id, worker)
        return best


def heartbeat(hive: int, busy: int = 0) -> dict[str, Any]:
    now = (BEGUN + timedelta(milliseconds=busy)).isoformat()
    workers = [
        {
            "worker_id": f"worker-{at}",
            "state": "Idle",
            "last_heartbeat": now,
            "health_status": "healthy",
            "url": f"http://10.0.{hive >> 8}.{hive & 255}:930{at}",
            "model_id": f"vendor/model-{(hive * 8 + at) % 20}b-instruct",
            "backend": "cuda",
            "device_id": at,
            "vram_bytes": 8 << 30,
            "vram_total_bytes": 24 << 30,
            "ram_bytes": 4 << 30,
            "cpu_percent": 12.5,
            "gpu_percent": (hive + at + busy) % 90 + 0.5,
            "max_concurrency": 64,
        }
        for at in range(8)
    ]
    return {"hive_id": f"hive-{hive}", "timestamp": now, "workers": workers}


def table(hives: int, busy: int = 0) -> pl.DataFrame:
    """The same fleet, one row a worker."""
    now = BEGUN + timedelta(milliseconds=busy)
    hive, at = pl.col("hive"), pl.col("at")
    fleet = pl.DataFrame({"hive": range(hives)}).join(pl.DataFrame({"at": range(8)}), how="cross")
    return fleet.select(
        hive_id="hive-" + hive.cast(pl.String),
        timestamp=pl.lit(now),
        worker_id="worker-" + at.cast(pl.String),
        state=pl.lit("Idle"),
        last_heartbeat=pl.lit(now),
        health_status=pl.lit("healthy"),
        url=pl.format("http://10.0.{}.{}:930{}", hive // 256, hive % 256, at),
        model_id=pl.format("vendor/model-{}b-instruct", (hive * 8 + at) % 20),
        backend=pl.lit("cuda"),
        device_id=at,
        vram_bytes=pl.lit(8 << 30),
        vram_total_bytes=pl.lit(24 << 30),
        ram_bytes=pl.lit(4 << 30),
        cpu_percent=pl.lit(12.5),
        gpu_percent=(hive + at + busy) % 90 + 0.5,
        max_concurrency=pl.lit(64),
    )


@pytest.fixture(scope="module")
def registry() -> HiveRegistry:
    registry = HiveRegistry(liveness_window=3_600, seed=1)
    registry.ingest_table(table(HIVES))
    return registry


@pytest.fixture(scope="module")
def dicts() -> DictRegistry:
    registry = DictRegistry(3_600)
    for hive in range(HIVES):
        registry.ingest(heartbeat(hive))
    return registry


def rounds(
    benchmark: BenchmarkFixture,
    call: Callable[[Any], object],
    make: Callable[[dict[str, Any]], Any],
    hives: int = HIVES,
) -> None:
    """100 rounds of 200 heartbeats made beforehand, each newer than the last of its hive."""
    benchmark.name += " (200)"
    busy = next(NEWS)
    made = iter([[make(heartbeat(at * 7_919 % hives, busy + each)) for at in range(200)] for each in range(101)])

    def run(heartbeats: list[Any]) -> None:
        for each in heartbeats:
            call(each)

    benchmark.pedantic(run, setup=lambda: ((next(made),), {}), rounds=100)


def fleets(benchmark: BenchmarkFixture, call: Callable[[Any], Ingested], make: Callable[[int], Any]) -> None:
    """20 rounds of the whole fleet made beforehand, each newer than the last."""
    busy = next(NEWS)
    made = iter([make(busy + each) for each in range(21)])

    def run(fleet: Any) -> None:
        assert call(fleet).updated == HIVES

    benchmark.pedantic(run, setup=lambda: ((next(made),), {}), rounds=20)


NEWS = itertools.count(1, 1_000)


def often(benchmark: BenchmarkFixture, call: Callable[..., object], *args: object) -> None:
    """What takes less time than the clock does."""
    assert benchmark.pedantic(call, args, rounds=200, iterations=2_000, warmup_rounds=5)


def body(heartbeat: dict[str, Any]) -> bytes:
    return json.dumps(heartbeat, separators=(",", ":")).encode()


@pytest.mark.benchmark(group="pick, 8,000 workers")
class TestPick:
    def test_find_best_worker_for_model(self, benchmark: BenchmarkFixture, registry: HiveRegistry) -> None:
        often(benchmark, registry.find_best_worker_for_model, MODEL)

    def test_through_a_model(self, benchmark: BenchmarkFixture, registry: HiveRegistry) -> None:
        often(benchmark, registry.model(MODEL).find_best_worker)

    def test_power_of_choices(self, benchmark: BenchmarkFixture, registry: HiveRegistry) -> None:
        often(benchmark, registry.pick, MODEL, "power_of_choices")

    def test_own_policy_over_400_candidates(self, benchmark: BenchmarkFixture, registry: HiveRegistry) -> None:
        assert benchmark(registry.pick, MODEL, lambda worker: worker.load)

    def test_plain_dicts(self, benchmark: BenchmarkFixture, dicts: DictRegistry) -> None:
        assert benchmark(dicts.find_best_worker_for_model, MODEL)


@pytest.mark.benchmark(group="reserve and release")
def test_reserve(benchmark: BenchmarkFixture, registry: HiveRegistry) -> None:
    def reserve() -> bool:
        with registry.reserve(MODEL):
            return True

    often(benchmark, reserve)


@pytest.mark.benchmark(group="a heartbeat of 8 workers")
class TestHeartbeat:
    def test_ingest_json(self, benchmark: BenchmarkFixture, registry: HiveRegistry) -> None:
        rounds(benchmark, registry.ingest_json, body)

    def test_ingest_json_among_10_000_hives(self, benchmark: BenchmarkFixture) -> None:
        registry = HiveRegistry(liveness_window=3_600, seed=1)
        registry.ingest_table(table(10_000))
        rounds(benchmark, registry.ingest_json, body, 10_000)

    def test_ingest_dict(self, benchmark: BenchmarkFixture, registry: HiveRegistry) -> None:
        rounds(benchmark, registry.ingest, dict)

    def test_plain_dicts_json(self, benchmark: BenchmarkFixture, dicts: DictRegistry) -> None:
        rounds(benchmark, dicts.ingest_json, body)


@pytest.mark.benchmark(group="a table of 1,000 hives")
class TestTable:
    def test_ingest_table(self, benchmark: BenchmarkFixture, registry: HiveRegistry) -> None:
        fleets(benchmark, registry.ingest_table, lambda busy: table(HIVES, busy))

    def test_loop_of_dicts_at_hand(self, benchmark: BenchmarkFixture, registry: HiveRegistry) -> None:
        fleets(benchmark, registry.ingest_many, lambda busy: [heartbeat(hive, busy) for hive in range(HIVES)])

    def test_loop_of_dicts_out_of_the_table(self, benchmark: BenchmarkFixture, registry: HiveRegistry) -> None:
        def loop(workers: pl.DataFrame) -> Ingested:
            return registry.ingest_many(
                {"hive_id": hive_id, "timestamp": timestamp, "workers": rows.drop("hive_id", "timestamp").to_dicts()}
                for (hive_id, timestamp), rows in workers.group_by("hive_id", "timestamp", maintain_order=True)
            )

        fleets(benchmark, loop, lambda busy: table(HIVES, busy))


@pytest.mark.benchmark(group="800,000 workers")
def test_snapshot_to_polars(benchmark: BenchmarkFixture) -> None:
    registry = HiveRegistry(liveness_window=3_600, seed=1)
    workers = table(100_000)
    # As they come: hives that beat one after another do not lie one after another.
    hives = workers["hive_id"].unique().to_list()
    random.Random(1).shuffle(hives)
    order = pl.DataFrame({"hive_id": hives}).join(workers, on="hive_id", how="left", maintain_order="left_right")
    registry.ingest_table(order)
    frame = benchmark.pedantic(lambda: registry.snapshot().workers.to_polars(), rounds=10, warmup_rounds=2)
    assert frame.height == 800_000
