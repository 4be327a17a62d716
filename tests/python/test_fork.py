import asyncio
import gc
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import traceback
import warnings
import weakref
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from fleet import START, heartbeat
from hive_registry import HiveRegistry, HiveRegistryError, ManualClock, Worker

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork() here"),
    # Python 3.12 and later: that there are threads is what some of these are about.
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]

CALLS: dict[str, Callable[[HiveRegistry], object]] = {
    "hive_count": HiveRegistry.hive_count,
    "list_all_workers": HiveRegistry.list_all_workers,
    "get_hive_state": lambda registry: registry.get_hive_state("h"),
    "find_best_worker_for_model": lambda registry: registry.find_best_worker_for_model("m"),
    "pick": lambda registry: registry.pick("m", "random"),
    "pick by a callable": lambda registry: registry.pick("m", lambda candidate: candidate.load),
    "reserve": lambda registry: registry.reserve("m"),
    "reserve_detached": lambda registry: registry.reserve_detached("m", 60),
    "renew_lease": lambda registry: registry.renew_lease(1, 60),
    "model": lambda registry: registry.model("m"),
    "explain": lambda registry: registry.explain("m"),
    "ingest": lambda registry: registry.ingest(heartbeat("g")),
    "ingest_many": lambda registry: registry.ingest_many([heartbeat("g")]),
    "remove_hive": lambda registry: registry.remove_hive("h"),
    "evict_stale": lambda registry: registry.evict_stale(60),
    "spawn_sweeper": lambda registry: registry.spawn_sweeper(60, 60),
    "subscribe": HiveRegistry.subscribe,
    "stats": HiveRegistry.stats,
    "snapshot": HiveRegistry.snapshot,
    "repr": repr,
}


def in_child(check: Callable[[], object]) -> None:
    """Runs `check` in a child, where it must not raise, nor hang."""
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            # Ends the child for good if it hangs.
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(30)
            check()
            code = 0
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def is_refused(call: Callable[[], object]) -> None:
    with pytest.raises(HiveRegistryError, match=r"fork\(\)") as raised:
        call()
    assert type(raised.value) is HiveRegistryError


@pytest.fixture
def registry(clock: ManualClock) -> HiveRegistry:
    registry = HiveRegistry(clock=clock, seed=1)
    registry.ingest(heartbeat("h", "a", "b"))
    return registry


# === what is refused ===


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_an_inherited_registry_is_refused(registry: HiveRegistry, call: Callable[[HiveRegistry], object]) -> None:
    in_child(lambda: is_refused(lambda: call(registry)))
    assert registry.hive_count() == 1


def test_an_inherited_model_is_refused(registry: HiveRegistry) -> None:
    model = registry.model("m")

    def check() -> None:
        is_refused(model.find_best_worker)
        is_refused(model.reserve_worker)

    in_child(check)
    assert model.find_best_worker() is not None


def test_the_release_of_an_inherited_reservation_is_refused(registry: HiveRegistry) -> None:
    reservation = registry.reserve("m")
    in_child(lambda: is_refused(reservation.release))
    assert not reservation.released
    assert registry.stats().reservations_open == 1


def test_an_inherited_subscription_is_refused(registry: HiveRegistry) -> None:
    events = registry.subscribe(timeout=0)
    registry.ingest(heartbeat("g"))

    async def read() -> None:
        await events.__anext__()

    def check() -> None:
        is_refused(lambda: events.next(0))
        is_refused(lambda: list(events))
        is_refused(lambda: asyncio.run(read()))

    in_child(check)
    assert [event.hive_id for event in events] == ["g"]


@pytest.mark.parametrize("state", ["read", "cancelled", "waiting"])
def test_an_inherited_subscription_that_has_a_thread_is_refused(registry: HiveRegistry, state: str) -> None:
    events = registry.subscribe(timeout=3)

    def check() -> None:
        # Without a loop, for the parent's may be running.
        is_refused(lambda: events.__anext__().send(None))

    async def fork() -> None:
        task = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0.01)
        if state == "waiting":
            in_child(check)
        if state == "cancelled":
            task.cancel()
        else:
            registry.ingest(heartbeat("g"))
        await asyncio.wait([task])
        assert task.cancelled() or task.result().hive_id == "g"
        in_child(check)

    asyncio.run(fork())


def test_a_child_that_leaves_a_reservation_by_an_exception_is_told_of_that_one(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "w"))
    reservation = registry.reserve("m")

    def check() -> None:
        with pytest.raises(ZeroDivisionError), reservation:
            raise ZeroDivisionError

    in_child(check)
    reservation.release()


def test_a_child_that_leaves_a_sweeper_by_an_exception_is_told_of_that_one(registry: HiveRegistry) -> None:
    sweeper = registry.spawn_sweeper(60, 60)

    def check() -> None:
        with pytest.raises(ZeroDivisionError), sweeper:
            raise ZeroDivisionError

    in_child(check)
    sweeper.stop()


def test_a_callable_that_forks_reserves_nothing_in_the_child(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "w"))
    child = None

    def score(_: object) -> float:
        nonlocal child
        child = os.fork()
        return 0.0

    try:
        reservation = registry.reserve("m", score)
    except HiveRegistryError as error:
        os._exit(0 if child == 0 and "fork" in str(error) else 1)
    if child == 0:
        os._exit(2)
    assert child is not None
    assert os.waitpid(child, 0)[1] == 0
    assert reservation.worker.worker_id == "w"


def test_a_grandchild_is_refused_as_a_child_is(registry: HiveRegistry) -> None:
    in_child(lambda: in_child(lambda: is_refused(registry.hive_count)))


@pytest.mark.usefixtures("registry")
def test_a_child_of_a_process_that_had_a_registry_makes_none() -> None:
    def check() -> None:
        is_refused(HiveRegistry)
        with pytest.raises(HiveRegistryError, match=r"start it with 'spawn' or 'forkserver', or fork before the first"):
            HiveRegistry(clock=ManualClock(START))

    in_child(check)
    # Nor do its children.
    in_child(lambda: in_child(check))
    assert HiveRegistry().hive_count() == 0


FRESH = """
import asyncio, gc, os
from hive_registry import HiveRegistry, HiveRegistryError, ManualClock, PowerOfChoices

clock = ManualClock(1_767_225_600)
beat = {"hive_id": "g", "timestamp": "2026-01-01T00:00:00Z", "workers": [{"worker_id": "c", "state": "Idle",
        "last_heartbeat": "2026-01-01T00:00:00Z", "health_status": "healthy", "model_id": "m"}]}

def in_child(check):
    pid = os.fork()
    if pid == 0:
        try:
            check()
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

def refused():
    try:
        HiveRegistry()
    except HiveRegistryError as error:
        assert "fork()" in str(error)
    else:
        raise AssertionError("it was made")

async def first(events):
    return await anext(events)

def child():
    own = HiveRegistry(clock=clock)
    events, tasks = own.subscribe(timeout=30), own.subscribe(timeout=30)
    own.ingest(beat)
    assert next(events).hive_id == asyncio.run(first(tasks)).hive_id == "g"
    with own.reserve("m", PowerOfChoices()) as reservation:
        assert reservation.worker.worker_id == "c"
    with own.spawn_sweeper(60, 60):
        pass
    assert own.list_all_hives() == ["g"]
    # And has become such a process itself.
    in_child(refused)
    assert own.hive_count() == 1
"""


def test_a_child_of_a_process_that_never_had_a_registry_makes_its_own() -> None:
    program = (
        FRESH
        + """
in_child(child)
in_child(lambda: in_child(child))
child()
in_child(refused)
"""
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


# === what can be used ===


def test_a_worker_taken_before_can_be_used(registry: HiveRegistry) -> None:
    worker = registry.get_worker_on("h", "a")
    assert worker is not None
    before = worker.asdict()

    def check() -> None:
        assert worker.worker_id == "a"
        assert worker.asdict() == before
        assert pickle.loads(pickle.dumps(worker)) == worker

    in_child(check)


def test_a_state_taken_before_can_be_used(registry: HiveRegistry) -> None:
    state = registry.get_hive_state("h")
    assert state is not None

    def check() -> None:
        assert [worker.worker_id for worker in state.workers] == ["a", "b"]

    in_child(check)


def test_what_a_reservation_tells_can_be_read(registry: HiveRegistry) -> None:
    reservation = registry.reserve("m")

    def check() -> None:
        assert (reservation.hive_id, reservation.worker.hive_id) == ("h", "h")
        assert not reservation.released

    in_child(check)


@pytest.mark.parametrize("made_before", [True, False])
def test_a_snapshot_taken_before_can_be_used(registry: HiveRegistry, clock: ManualClock, made_before: bool) -> None:
    for hive_id in ("big-1", "big-2", "big-3"):
        registry.ingest(heartbeat(hive_id, *(f"{at:04}" for at in range(1_000))))
    snapshot = registry.snapshot()
    if made_before:
        assert (len(snapshot.workers), len(snapshot.hives)) == (3_002, 4)

    def check() -> None:
        assert (len(snapshot.workers), len(snapshot.hives)) == (3_002, 4)
        assert snapshot.taken_at == START
        assert "big-1" in snapshot.hives._repr_html_()
        assert pickle.loads(pickle.dumps(snapshot.workers)) == snapshot.workers

    in_child(check)
    assert len(snapshot.workers) == 3_002
    assert clock.now() == START


def test_an_inherited_clock_can_be_used(registry: HiveRegistry, clock: ManualClock) -> None:
    def check() -> None:
        clock.advance(30)
        assert clock.now() == START + timedelta(seconds=30)

    in_child(check)
    assert registry.list_online_hives() == ["h"]


# === collecting ===


def test_a_child_may_collect_what_it_inherited(clock: ManualClock) -> None:
    def make() -> list[Any]:
        registry = HiveRegistry(clock=clock)
        registry.ingest(heartbeat("h", "a"))
        held = [registry.reserve("m"), registry.model("m"), registry.subscribe(), registry.spawn_sweeper(60, 60)]
        return [registry, registry.snapshot(), *held]

    held = make()
    alive = weakref.ref(held[0])

    def check() -> None:
        held.clear()
        gc.collect()
        assert alive() is None

    in_child(check)
    registry, _, reservation, model, events, sweeper = held
    assert registry.stats().reservations_open == 1
    reservation.release()
    assert registry.stats().reservations_open == 0
    assert model.find_best_worker() is not None
    registry.remove_hive("h")
    assert [type(events.next(0)).__name__ for _ in range(2)] == ["WorkerRemoved", "HiveRemoved"]
    sweeper.stop()


def test_a_child_may_stop_a_sweeper_that_it_inherited(registry: HiveRegistry) -> None:
    with registry.spawn_sweeper(60, 60) as sweeper:

        def check() -> None:
            try:
                sweeper.stop()
            except HiveRegistryError as error:
                assert "fork" in str(error)  # noqa: PT017 - either will do, so long as it does not wait

        in_child(check)
        assert repr(sweeper) == "<Sweeper>"


def test_a_fork_amid_the_work_of_other_threads(clock: ManualClock) -> None:
    held = [HiveRegistry(clock=clock)]
    events = held[0].subscribe(capacity=10)
    done = threading.Event()

    def work(registry: HiveRegistry, hive_id: str) -> None:
        at = 0
        while not done.is_set():
            at += 1
            registry.ingest(heartbeat(hive_id, *(f"{at % 3}-{each}" for each in range(20))))
            registry.reserve("m").release()

    threads = [threading.Thread(target=work, args=(held[0], f"{at}")) for at in range(2)]
    for thread in threads:
        thread.start()

    def check() -> None:
        is_refused(held[0].hive_count)
        is_refused(lambda: events.next(0))
        held.clear()
        gc.collect()
        is_refused(HiveRegistry)

    try:
        for _ in range(20):
            in_child(check)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert held[0].stats().reservations_open == 0
    assert held[0].total_worker_count() == 40


# === multiprocessing ===


def send(queue: Any, worker: Worker) -> None:
    try:
        own = HiveRegistry(clock=ManualClock(START))
    except HiveRegistryError as error:
        queue.put((worker, str(error)))
        return
    own.ingest(heartbeat("child", "c"))
    queue.put((worker, own.get_worker("c")))


def answer(method: str, worker: Worker) -> tuple[Worker, Any]:
    context: Any = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=send, args=(queue, worker))
    child.start()
    back, told = queue.get(timeout=30)
    child.join()
    assert child.exitcode == 0
    queue.close()
    queue.join_thread()
    return back, told


def test_workers_go_through_a_queue_of_multiprocessing(registry: HiveRegistry) -> None:
    worker = registry.get_worker_on("h", "a")
    assert worker is not None
    back, told = answer("fork", worker)
    assert back == worker
    assert "'spawn' or 'forkserver'" in told


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_child_by_another_method_makes_its_own(registry: HiveRegistry, method: str) -> None:
    worker = registry.get_worker_on("h", "a")
    assert worker is not None
    back, (hive_id, of_child) = answer(method, worker)
    assert back == worker
    assert (hive_id, of_child.hive_id, of_child.worker_id) == ("child", "child", "c")
