import importlib
import json
import random
import sys
import threading
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, TypeVar, cast

import pytest

from fleet import START, heartbeat, worker
from hive_registry import (
    Candidate,
    HeartbeatError,
    HiveInfo,
    HiveRegistry,
    ManualClock,
    ProcessStats,
    Reservation,
)

pa: Any = importlib.import_module("pyarrow")  # brings no types of its own
T = TypeVar("T")

THREADS = 8
PATIENCE = 60
"""Seconds after which a thread that still waits is taken for stuck."""


def at_once(call: Callable[[int], T], threads: int = THREADS) -> list[T]:
    """What `call` gives on each of some threads that start it together."""
    barrier = threading.Barrier(threads)

    def run(thread: int) -> T:
        barrier.wait(PATIENCE)
        return call(thread)

    with ThreadPoolExecutor(threads) as pool:
        return [each.result(PATIENCE) for each in [pool.submit(run, thread) for thread in range(threads)]]


def names(reservations: list[Reservation | None]) -> Counter[str]:
    return Counter(each.worker.worker_id for each in reservations if each is not None)


@pytest.fixture
def quick_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


# Reservations.


@pytest.mark.usefixtures("quick_switches")
def test_eight_threads_on_two_idle_workers_reserve_four_each(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "w0", "w1"))
    for _ in range(20):
        assert names(at_once(lambda _: registry.reserve_worker_for_model("m"))) == {"w0": 4, "w1": 4}


@pytest.mark.usefixtures("quick_switches")
@pytest.mark.parametrize("policy", [None, "random", "round_robin", lambda candidate: candidate.load])
def test_threads_together_do_not_pass_max_concurrency(
    registry: HiveRegistry, policy: Callable[[Candidate], float] | None
) -> None:
    registry.ingest(heartbeat("h", worker("w0", max_concurrency=3), worker("w1", max_concurrency=2)))
    for _ in range(20):
        assert names(at_once(lambda _: registry.reserve_with("m", policy))) == {"w0": 3, "w1": 2}


@pytest.mark.usefixtures("quick_switches")
def test_one_reservation_released_by_many_threads_is_released_once(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "w"))
    kept = registry.reserve("m")
    for _ in range(20):
        shared = registry.reserve("m")
        at_once(lambda _, shared=shared: shared.release())  # type: ignore[misc]
        assert registry.stats().reservations_open == 1
    kept.release()


def test_a_reservation_may_be_released_on_another_thread(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "w"))
    reservation = registry.reserve("m")
    thread = threading.Thread(target=reservation.release)
    thread.start()
    thread.join(PATIENCE)
    assert reservation.released
    assert registry.stats().reservations_open == 0


# The interpreter is let go.

HIVES, WORKERS_EACH = 50, 1_000


@pytest.fixture(scope="module")
def large() -> HiveRegistry:
    registry = HiveRegistry(clock=ManualClock(START))
    for hive in range(HIVES):
        sent = heartbeat(f"h{hive}", *(f"w{at}" for at in range(WORKERS_EACH)))
        registry.ingest_json(json.dumps(sent, default=str).replace("+00:00", "Z").replace(" 00:00:00", "T00:00:00"))
    assert registry.total_worker_count() == HIVES * WORKERS_EACH
    return registry


class Counting:
    """A thread that counts whenever it gets the interpreter, which nobody takes away from anybody meanwhile."""

    def __init__(self) -> None:
        self.count = 0
        self.stopped = False
        self.started = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        # Waiting lets go of the interpreter; else the test's own thread would wait for it a minute.
        pause = threading.Event()
        while not self.stopped:
            self.count += 1
            self.started.set()
            pause.wait(1e-5)

    def progressed(self, call: Callable[[], object]) -> bool:
        """Whether it counted while `call` ran."""
        before = self.count
        call()
        return self.count != before


@pytest.fixture
def counting() -> Iterator[Counting]:
    before = sys.getswitchinterval()
    counting = Counting()
    sys.setswitchinterval(PATIENCE)
    counting.thread.start()
    assert counting.started.wait(PATIENCE)
    yield counting
    counting.stopped = True
    sys.setswitchinterval(before)
    counting.thread.join(PATIENCE)


def iso(moment: datetime) -> str:
    return moment.isoformat()


PLAIN = json.dumps(heartbeat("h", *(f"w{at}" for at in range(1_000))), default=iso)[:-1]
PROCESSES = json.dumps([asdict(ProcessStats(at, "g", str(at))) for at in range(1_000)])[:-1]
HIVE = json.dumps(asdict(HiveInfo("h", "host", 80, "1.0")))
TELEMETRY = f'{{"hive": {HIVE}, "timestamp": "2026-01-01T00:00:00Z", "workers": {PROCESSES}]'
"""Long, and broken at the very end: nothing changes, so they may be tried again."""
TABLE = pa.table(
    {
        "hive_id": [f"h{at // 8}" for at in range(8_000)],
        "timestamp": pa.array([START] * 8_000, pa.timestamp("us", "UTC")),
        "worker_id": [f"w{at % 8}" for at in range(8_000)],
    }
)


def refused(call: Callable[..., object], *args: object) -> None:
    with pytest.raises(HeartbeatError, match="EOF"):
        call(*args)


def test_without_a_call_that_lets_go_another_thread_waits(counting: Counting) -> None:
    assert not counting.progressed(lambda: [sum(range(100_000)) for _ in range(50)])


@pytest.mark.parametrize(
    "call",
    [
        HiveRegistry.list_all_workers,
        HiveRegistry.find_idle_workers,
        lambda registry: registry.find_workers_by_model("m"),
        HiveRegistry.snapshot,
        lambda registry: registry.explain("m"),
        HiveRegistry.stats,
        lambda registry: refused(registry.ingest_json, PLAIN),
        lambda registry: refused(registry.ingest, PLAIN),
        lambda registry: registry.ingest_many([PLAIN]),
        lambda registry: refused(registry.update_hive_state, "h", PLAIN),
        lambda registry: refused(registry.update_hive, TELEMETRY),
        lambda registry: refused(registry.update_workers, "h", PROCESSES),
        lambda _: HiveRegistry(clock=ManualClock(START)).ingest_table(TABLE),
        lambda registry: len(registry.snapshot().workers),
    ],
    ids=[
        "list_all_workers",
        "find_idle_workers",
        "by_model",
        "snapshot",
        "explain",
        "stats",
        "ingest_json",
        "ingest",
        "ingest_many",
        "update_hive_state",
        "update_hive",
        "update_workers",
        "ingest_table",
        "workers of a snapshot",
    ],
)
def test_other_threads_run_during_a_long_call(
    large: HiveRegistry, counting: Counting, call: Callable[[HiveRegistry], object]
) -> None:
    # More than once, for the scheduler of the system may wake the other thread too late; were the interpreter kept,
    # it would never count.
    assert any(counting.progressed(lambda: call(large)) for _ in range(200))


# All at once, then at rest.


def indexes_agree(registry: HiveRegistry) -> None:
    hives = registry.list_all_hives()
    assert registry.hive_count() == len(hives) == len(registry.snapshot().hives)
    on_hives = [worker for name in hives for worker in registry.get_workers_on_hive(name)]
    assert [found for _, found in registry.list_all_workers()] == on_hives
    assert registry.total_worker_count() == len(on_hives) == len(registry.snapshot().workers)
    assert sum(registry.get_worker_count(name) or 0 for name in hives) == len(on_hives)
    for model in ("m0", "m1"):
        loaded = [each for each in on_hives if each.model_id == model]
        assert [found for _, found in registry.find_workers_by_model(model)] == loaded
        assert registry.explain(model).workers == len(loaded)
    assert [found for _, found in registry.find_idle_workers()] == [each for each in on_hives if each.state == "Idle"]


@pytest.mark.usefixtures("quick_switches")
@pytest.mark.parametrize("seed", range(3))
def test_counts_are_exact_at_rest(registry: HiveRegistry, seed: int) -> None:
    steps = 300
    hives = [f"h{at}" for at in range(6)]

    def ingests(thread: int, step: int, dice: random.Random) -> None:
        looks = [
            worker(
                f"w{at}",
                state=dice.choice(("Idle", "Busy", "Loading")),
                model_id=dice.choice(("m0", "m1")),
                max_concurrency=dice.choice((1, 2, None)),
            )
            for at in range(dice.randrange(5))
        ]
        moment = START + timedelta(milliseconds=1 + step * THREADS + thread)
        registry.ingest(heartbeat(dice.choice(hives), *looks, at=moment))

    def run(thread: int) -> None:
        dice = random.Random(f"{seed} {thread}")
        held: list[Reservation | None] = []
        for step in range(steps):
            model = dice.choice(("m0", "m1"))
            match dice.randrange(8):
                case 0 | 1 | 2:
                    ingests(thread, step, dice)
                case 3:
                    registry.remove_hive(dice.choice(hives))
                case 4:
                    registry.pick(model, dice.choice((None, "random", "round_robin", "power_of_choices")))
                case 5:
                    registry.pick(model, lambda candidate: -candidate.load)
                case 6:
                    held.append(registry.reserve_with(model, dice.choice((None, lambda candidate: candidate.load))))
                case _:
                    lease = registry.reserve_detached(model, 10)
                    if lease is not None:
                        registry.release_lease(lease.id)
            if len(held) > 5:
                held.clear()

    at_once(run)
    indexes_agree(registry)
    assert registry.stats().reservations_open == 0
    # Nothing is left full, nor ranked that has gone.
    for at, name in enumerate(hives):
        registry.ingest(heartbeat(name, worker("only", model_id="m0", max_concurrency=1), at=60 + at))
    assert names([registry.reserve_worker_for_model("m0") for _ in range(7)]) == {"only": 6}


@pytest.mark.usefixtures("quick_switches")
def test_a_worker_removed_before_a_pick_began_is_not_picked(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("stays", worker("stays", state="Busy")))

    def run(thread: int) -> None:
        mine = f"h{thread}"
        for step in range(1, 100):
            registry.ingest(heartbeat(mine, f"w{thread}", at=START + timedelta(milliseconds=step)))
            registry.remove_hive(mine)
            found = registry.find_best_worker_for_model("m")
            assert found is not None
            assert found[0] != mine

    at_once(run)
    assert registry.list_all_hives() == ["stays"]
    indexes_agree(registry)


# Long lists.


LISTS: dict[str, Callable[[HiveRegistry], object]] = {
    "list_all_workers": HiveRegistry.list_all_workers,
    "find_idle_workers": HiveRegistry.find_idle_workers,
    "find_workers_by_model": lambda registry: registry.find_workers_by_model("m"),
    "find_workers_by_backend": lambda registry: registry.find_workers_by_backend("cuda"),
    "list_all_hives": HiveRegistry.list_all_hives,
    "list_active_hives": HiveRegistry.list_active_hives,
}


@pytest.mark.usefixtures("quick_switches")
@pytest.mark.parametrize("name", LISTS)
def test_other_threads_run_while_a_long_list_is_made(registry: HiveRegistry, name: str) -> None:
    """Another thread sees the interpreter's memory grow in steps."""
    many = 10_000
    if "workers" in name:
        for hive in range(10):
            registry.ingest(heartbeat(f"{hive}", *(worker(f"{at}", backend="cuda") for at in range(many // 10))))
    else:
        registry.ingest_many(heartbeat(f"{hive}") for hive in range(many))
    # Takes no memory of its own for each of its numbers.
    blocks = array("q")
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            blocks.append(sys.getallocatedblocks())

    def is_seen() -> bool:
        """Whether a list was seen that is neither nearly empty nor nearly whole."""
        del blocks[:]
        before = sys.getallocatedblocks()
        found = cast("list[object]", LISTS[name](registry))
        after = sys.getallocatedblocks()
        assert len(found) == many
        assert after - before > many * 9 // 10
        return any(0.2 < (seen - before) / (after - before) < 0.8 for seen in blocks[:])

    beside = threading.Thread(target=look)
    beside.start()
    try:
        # More than once, for the scheduler of the system may wake the other thread too late.
        assert any(is_seen() for _ in range(200))
    finally:
        done.set()
        beside.join()
