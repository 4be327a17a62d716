"""Executed by pytest, and checked by mypy and pyright: what has which type."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, get_args

import numpy as np
import pytest
from typing_extensions import assert_type

from fleet import START, heartbeat
from hive_registry import (
    Candidate,
    ConfigError,
    Event,
    Eviction,
    Explanation,
    Heartbeat,
    HeartbeatOutcome,
    HiveRegistry,
    HiveState,
    Ingested,
    Lease,
    ManualClock,
    Model,
    Policy,
    PolicyName,
    PowerOfChoices,
    Reservation,
    Resources,
    Score,
    Seconds,
    Snapshot,
    Stats,
    Subscription,
    Table,
    Worker,
    WorkerAdded,
)


def test_what_comes_back(registry: HiveRegistry) -> None:
    assert_type(registry.ingest(heartbeat("h", "a")), HeartbeatOutcome)
    assert_type(registry.ingest_many([heartbeat("h", "a", at=1)]), Ingested)
    assert_type(registry.get_hive_state("h"), HiveState | None)
    assert_type(registry.list_all_workers(), list[tuple[str, Worker]])
    assert_type(registry.find_best_worker_for_model("m"), tuple[str, Worker] | None)
    assert_type(registry.get_available_resources("h"), Resources | None)
    assert_type(registry.reserve_worker_for_model("m"), Reservation | None)
    assert_type(registry.reserve_detached("m", 1), Lease | None)
    assert_type(registry.model("m"), Model)
    assert_type(registry.explain("m"), Explanation)
    assert_type(registry.evict_stale(timedelta(minutes=1)), Eviction)
    assert_type(registry.stats(), Stats)


def test_a_worker(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "a"))
    worker = registry.get_worker_on("h", "a")
    assert worker is not None
    assert_type(worker, Worker)
    assert_type(worker.url, str | None)
    assert_type(worker.last_heartbeat, datetime)
    assert_type(worker.gpu_percent, float | None)
    assert_type(worker.asdict(), dict[str, Any])


def test_a_reservation_is_a_context(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "a"))
    with registry.reserve("m") as reservation:
        assert_type(reservation, Reservation)
        assert_type(reservation.worker, Worker)


def test_policies(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "a"))

    def score(worker: Candidate) -> float | None:
        assert_type(worker.load, int)
        return None if worker.reservations else worker.load

    scores: Score = score
    policies: list[Policy] = ["random", PowerOfChoices(d=3), scores, lambda worker: worker.load, lambda _: None]
    for policy in policies:
        assert_type(registry.pick("m", policy), tuple[str, Worker] | None)
    with pytest.raises(ConfigError):
        registry.pick("m", "rarest")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_the_name_of_a_policy_has_a_type(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "a"))
    names: tuple[PolicyName, ...] = get_args(PolicyName)
    assert names == ("least_loaded", "power_of_choices", "round_robin", "random")
    for name in names:
        assert_type(registry.pick("m", name), tuple[str, Worker] | None)


def test_numbers_are_taken_as_numpy_has_them(clock: ManualClock) -> None:
    registry = HiveRegistry(
        clock=clock,
        shards=np.int16(4),
        seed=np.uint64(2**64 - 1),
        tie_seed=np.int64(1),
        liveness_window=np.float32(30),
        assumed_concurrency=np.uint8(16),
        assumed_worker_memory=(np.float32(4), np.float16(2)),
    )
    registry.ingest(heartbeat("h", "a", "b"))
    scores: list[Score] = [
        lambda worker: np.float32(-len(worker.worker_id)),
        lambda worker: np.float16(worker.reservations),
        lambda worker: np.int64(worker.turn),
        lambda _: np.float64("nan"),
    ]
    assert [registry.pick("m", score) is not None for score in scores] == [True, True, True, False]
    assert PowerOfChoices(np.int64(3)) == PowerOfChoices(3)
    assert registry.list_active_hives(np.int32(30_000)) == ["h"]
    assert registry.find_workers_with_capacity(np.uint32(1)) == []
    events = registry.subscribe(capacity=np.int64(8), timeout=np.float32(0))
    assert events.next(np.float64(0)) is None
    assert list(events) == []
    lease = registry.reserve_detached("m", np.float32(60))
    assert lease is not None
    assert registry.release_lease(np.uint64(lease.id))
    clock.advance(np.float64(1.5))
    clock.jump_wall(np.int64(-1))
    assert clock.now() == START + timedelta(seconds=0.5)
    assert registry.evict_stale(np.int64(60)).hives == 0


def test_spans_and_heartbeats(registry: HiveRegistry) -> None:
    spans: list[Seconds] = [1, 1.5, timedelta(seconds=1)]
    for span in spans:
        assert_type(registry.evict_stale(span), Eviction)
    beats: list[Heartbeat] = [heartbeat("h"), '{"hive_id": "i", "timestamp": "2026-01-01T00:00:00Z", "workers": []}']
    assert registry.ingest_many(beats).refused == ()


def test_tables(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "a"))
    snapshot = registry.snapshot()
    assert_type(snapshot, Snapshot)
    assert_type(snapshot.workers, Table)
    assert_type(registry.ingest_table(snapshot.workers), Ingested)


def test_events(registry: HiveRegistry) -> None:
    subscription = registry.subscribe(timeout=0)
    assert_type(subscription, Subscription)
    registry.ingest(heartbeat("h", "a"))
    events: Iterator[Event] = iter(subscription)
    for event in events:
        match event:
            case WorkerAdded(worker=worker):
                assert_type(worker, Worker)
            case _:
                assert_type(event.sequence, int)
