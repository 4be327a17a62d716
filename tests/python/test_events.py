import asyncio
import contextlib
import copy
import gc
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from fleet import START, heartbeat, worker
from hive_registry import (
    Closed,
    ConfigError,
    Event,
    HiveHealth,
    HiveHeartbeat,
    HiveInfo,
    HiveOffline,
    HiveRegistered,
    HiveRegistry,
    HiveRemoved,
    HiveUpdated,
    Lagged,
    ManualClock,
    Subscription,
    WorkerAdded,
    WorkerChanged,
    WorkerEvent,
    WorkerRemoved,
)

LONG = 30
"""Seconds that only a defect waits for."""


def told(event: Event) -> str:
    match event:
        case HiveRegistered(hive_id=hive_id):
            return f"{hive_id} registered"
        case HiveUpdated(hive_id=hive_id):
            return f"{hive_id} updated"
        case HiveOffline(hive_id=hive_id):
            return f"{hive_id} offline"
        case HiveRemoved(hive_id=hive_id):
            return f"{hive_id} removed"
        case WorkerAdded(hive_id=hive_id, worker=about):
            return f"{hive_id}/{about.worker_id} added"
        case WorkerChanged(hive_id=hive_id, worker=about):
            return f"{hive_id}/{about.worker_id} changed"
        case WorkerRemoved(hive_id=hive_id, worker=about):
            return f"{hive_id}/{about.worker_id} removed"
    return repr(event)


def pending(events: Subscription) -> list[Event]:
    return list(iter(lambda: events.next(0), None))


def news(events: Subscription) -> list[str]:
    return [told(event) for event in pending(events)]


def next_of(events: Subscription) -> Event:
    event = events.next(LONG)
    assert event is not None
    return event


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("hive-events")}


@pytest.fixture
def sigint() -> Iterator[None]:
    # What starts the tests may have turned it off.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


# === what is told ===


def test_a_new_hive_is_told_before_its_workers(registry: HiveRegistry) -> None:
    events = registry.subscribe()
    registry.ingest(heartbeat("h", "b", "a"))
    assert news(events) == ["h registered", "h/a added", "h/b added"]


def test_a_change_is_told_before_the_update_of_the_hive(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "a", "b"))
    events = registry.subscribe()
    registry.ingest(heartbeat("h", "a", worker("b", state="Busy")))
    changed, updated = pending(events)
    assert [told(changed), told(updated)] == ["h/b changed", "h updated"]
    assert isinstance(changed, WorkerChanged)
    assert changed.worker.state == "Busy"
    assert changed.worker == registry.get_worker_on("h", "b")


def test_workers_that_come_and_go_are_told(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "a", "b"))
    events = registry.subscribe()
    registry.ingest(heartbeat("h", "b", "c"))
    assert sorted(news(events)[:-1]) == ["h/a removed", "h/c added"]
    registry.ingest(heartbeat("h", "b"))
    assert news(events) == ["h/c removed", "h updated"]


def test_a_removed_worker_is_told_as_it_was_last(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", worker("a", state="Busy")))
    before = registry.get_worker_on("h", "a")
    events = registry.subscribe()
    registry.ingest(heartbeat("h"))
    removed = pending(events)[0]
    assert isinstance(removed, WorkerRemoved)
    assert removed.worker == before


def test_a_removed_hive_is_told_after_its_workers(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "a", "b"))
    events = registry.subscribe()
    registry.remove_hive("h")
    assert news(events) == ["h/a removed", "h/b removed", "h removed"]


def test_an_evicted_hive_is_told_as_offline_and_removed(registry: HiveRegistry, clock: ManualClock) -> None:
    registry.ingest(heartbeat("h", "a"))
    events = registry.subscribe()
    clock.advance(60)
    registry.evict_stale(60)
    assert news(events) == ["h offline", "h/a removed", "h removed"]


def test_a_silence_is_told_once(registry: HiveRegistry, clock: ManualClock) -> None:
    registry.ingest(heartbeat("h", "a"))
    events = registry.subscribe()
    clock.advance(30)
    registry.evict_stale(60)
    registry.evict_stale(60)
    assert news(events) == ["h offline"]
    registry.ingest(heartbeat("h", "a", at=30))
    assert news(events) == ["h updated"]
    clock.advance(30)
    registry.evict_stale(60)
    assert news(events) == ["h offline"]


def test_what_a_hive_says_of_itself_is_an_update(registry: HiveRegistry) -> None:
    def say(health: HiveHealth) -> None:
        info = HiveInfo(id="h", hostname="gpu", port=1, health_status=health, version="1")
        registry.update_hive(HiveHeartbeat(info, START))

    say(HiveHealth())
    events = registry.subscribe()
    say(HiveHealth("degraded", "hot"))
    assert news(events) == ["h updated"]


@pytest.mark.parametrize(
    "change", [{}, {"last_heartbeat": START - timedelta(1)}, {"cpu_percent": 5.0}, {"ram_bytes": 5}]
)
def test_what_no_scheduler_looks_at_is_not_told(registry: HiveRegistry, change: dict[str, Any]) -> None:
    registry.ingest(heartbeat("h", "a"))
    events = registry.subscribe()
    registry.ingest(heartbeat("h", worker("a", **change)))
    assert news(events) == []


@pytest.mark.parametrize(
    "change",
    [
        {"state": "Loading"},
        {"health_status": "degraded"},
        {"url": None},
        {"model_id": "n"},
        {"backend": "cuda"},
        {"device_id": 0},
        {"vram_bytes": 0},
        {"vram_total_bytes": 1},
        {"gpu_percent": 0.0},
        {"max_concurrency": 1},
    ],
)
def test_what_a_scheduler_looks_at_is_told(registry: HiveRegistry, change: dict[str, Any]) -> None:
    registry.ingest(heartbeat("h", "a"))
    events = registry.subscribe()
    registry.ingest(heartbeat("h", worker("a", **change)))
    assert news(events) == ["h/a changed", "h updated"]


def test_a_dropped_heartbeat_is_not_told(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "a"))
    events = registry.subscribe()
    registry.ingest(heartbeat("h", at=-1))
    with pytest.raises(ValueError, match="at line"):
        registry.ingest("{")
    assert news(events) == []


def test_only_what_comes_after_subscribing_is_told(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("g"))
    events = registry.subscribe()
    registry.ingest(heartbeat("h"))
    assert news(events) == ["h registered"]


def test_sequences_grow_by_one_and_versions_are_of_the_state(registry: HiveRegistry) -> None:
    events = registry.subscribe()
    registry.ingest(heartbeat("h", "a"))
    registry.ingest(heartbeat("g"))
    found = pending(events)
    first = found[0].sequence
    assert [event.sequence for event in found] == [first, first + 1, first + 2]
    states = [registry.get_hive_state(hive_id) for hive_id in ("h", "h", "g")]
    assert [event.version for event in found] == [state.version for state in states if state is not None]
    assert registry.snapshot().sequence == first + 2


def test_the_classes_of_events_form_a_tree() -> None:
    hives: list[type[Event]] = [HiveRegistered, HiveUpdated, HiveOffline, HiveRemoved]
    workers: list[type[Event]] = [WorkerAdded, WorkerChanged, WorkerRemoved]
    assert all(issubclass(each, Event) and not issubclass(each, WorkerEvent) for each in hives)
    assert all(issubclass(each, WorkerEvent) for each in workers)


def test_events_are_matched_by_position(registry: HiveRegistry) -> None:
    events = registry.subscribe()
    registry.ingest(heartbeat("h", "a"))
    match pending(events):
        case [HiveRegistered(first, version, "h"), WorkerAdded(second, same, "h", about)]:
            assert (second, same, about.worker_id) == (first + 1, version, "a")
        case other:
            pytest.fail(f"{other}")


def test_events_are_equal_by_class_and_fields(registry: HiveRegistry) -> None:
    one, other = registry.subscribe(), registry.subscribe()
    registry.ingest(heartbeat("h", "a"))
    left, right = pending(one), pending(other)
    assert left == right
    assert set(left) == set(right)
    registered: Event = left[0]
    fields = (registered.sequence, registered.version, registered.hive_id)
    same: Event = HiveRegistered(*fields)
    of_another_class: Event = HiveUpdated(*fields)
    later: Event = HiveRegistered(registered.sequence + 1, registered.version, "h")
    assert registered == same
    assert registered not in (of_another_class, later)


def test_an_event_takes_no_attribute(registry: HiveRegistry) -> None:
    events = registry.subscribe()
    registry.ingest(heartbeat("h", "a"))
    for event in pending(events):
        for name in ("hive_id", "extra"):
            with pytest.raises((AttributeError, TypeError)):
                setattr(event, name, "x")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_events_are_pickled(registry: HiveRegistry, protocol: int) -> None:
    events = registry.subscribe()
    registry.ingest(heartbeat("h", "a"))
    registry.remove_hive("h")
    found = pending(events)
    copied = pickle.loads(pickle.dumps(found, protocol))
    assert copied == found
    assert [type(event) for event in copied] == [HiveRegistered, WorkerAdded, WorkerRemoved, HiveRemoved]
    assert copy.deepcopy(found) == found


# === waiting ===


@pytest.mark.parametrize("timeout", [0, 0.01, timedelta(milliseconds=10)])
def test_iterating_ends_when_nothing_came_in_time(registry: HiveRegistry, timeout: Any) -> None:
    events = registry.subscribe(timeout=timeout)
    registry.ingest(heartbeat("h", "a"))
    assert [told(event) for event in events] == ["h registered", "h/a added"]
    registry.remove_hive("h")
    assert [told(event) for event in events] == ["h/a removed", "h removed"]


@pytest.mark.parametrize("timeout", [0, 0.01, timedelta(milliseconds=10)])
def test_next_is_none_when_nothing_came_in_time(registry: HiveRegistry, timeout: Any) -> None:
    assert registry.subscribe().next(timeout) is None


@pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf"), "1", timedelta(-1), True])
def test_a_timeout_that_is_no_span_is_refused(registry: HiveRegistry, timeout: Any) -> None:
    with pytest.raises(ConfigError, match=r"^timeout: .+ refused: seconds, 0 or more, or a timedelta$"):
        registry.subscribe().next(timeout)


@pytest.mark.parametrize("timeout", [-1, float("nan"), "1", timedelta(-1)])
def test_a_subscription_with_such_a_timeout_is_refused(registry: HiveRegistry, timeout: Any) -> None:
    with pytest.raises(ConfigError, match=r"^timeout: .+ refused: seconds, 0 or more, or a timedelta$"):
        next(registry.subscribe(timeout=timeout))

    async def read() -> None:
        await asyncio.wait_for(registry.subscribe(timeout=timeout).__anext__(), 5)

    with pytest.raises(ConfigError, match=r"^timeout: .+ refused: seconds, 0 or more, or a timedelta$"):
        asyncio.run(read())


@pytest.mark.parametrize("capacity", [-1, 1.0, "1", True, 2**64])
def test_a_capacity_that_is_no_whole_number_is_refused(registry: HiveRegistry, capacity: Any) -> None:
    with pytest.raises(ConfigError, match=r"^capacity: .+ refused: a whole number from 0 to 2\*\*64 - 1$"):
        registry.subscribe(capacity=capacity)


def test_the_repr_of_a_subscription_tells_its_timeout(registry: HiveRegistry) -> None:
    assert repr(registry.subscribe(timeout=1.5)) == "<Subscription timeout=1.5>"


def test_threads_wake_each_other_by_events(registry: HiveRegistry) -> None:
    events = registry.subscribe()
    seen: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for _ in range(50):
            seen.put(next_of(events).hive_id)

    reader = threading.Thread(target=read)
    reader.start()
    for at in range(50):
        registry.ingest(heartbeat(f"{at}"))
        assert seen.get(timeout=LONG) == f"{at}"
    reader.join()


def test_a_wait_lets_other_threads_ingest(registry: HiveRegistry) -> None:
    events = registry.subscribe()
    waits = threading.Event()

    def ingest() -> None:
        waits.wait(LONG)
        for at in range(100):
            registry.ingest(heartbeat(f"{at}"))

    writer = threading.Thread(target=ingest)
    writer.start()
    waits.set()
    assert [next_of(events).hive_id for _ in range(100)] == [f"{at}" for at in range(100)]
    writer.join()


@pytest.mark.usefixtures("sigint")
@pytest.mark.parametrize("way", [lambda events: events.next(LONG), list])
def test_ctrl_c_interrupts_a_wait(registry: HiveRegistry, way: Any) -> None:
    events = registry.subscribe(timeout=LONG)
    timer = threading.Timer(0.1, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        way(events)
    timer.join()
    registry.ingest(heartbeat("h"))
    assert news(events) == ["h registered"]


@pytest.mark.usefixtures("sigint")
def test_a_handler_of_signals_may_use_the_registry_in_a_wait(registry: HiveRegistry) -> None:
    events = registry.subscribe()
    signal.signal(signal.SIGINT, lambda *_: registry.ingest(heartbeat("h")) and None)
    timer = threading.Timer(0.1, signal.raise_signal, [signal.SIGINT])
    timer.start()
    assert told(next_of(events)) == "h registered"
    timer.join()


# === slow readers, and the end ===


def test_a_slow_reader_is_told_and_goes_on(registry: HiveRegistry) -> None:
    events = registry.subscribe(capacity=2)
    registry.ingest(heartbeat("h", "a", "b", "c", "d"))
    with pytest.raises(Lagged) as raised:
        events.next(0)
    assert raised.value.lost == 3
    assert news(events) == ["h/c added", "h/d added"]
    registry.ingest(heartbeat("g"))
    assert news(events) == ["g registered"]


def test_iterating_raises_what_was_lost_and_goes_on(registry: HiveRegistry) -> None:
    events = registry.subscribe(capacity=1, timeout=0)
    registry.ingest(heartbeat("h", "a"))
    with pytest.raises(Lagged, match=r"^1 events were lost; resync from a snapshot$"):
        next(events)
    assert [told(event) for event in events] == ["h/a added"]


def test_a_reader_may_be_1024_events_behind_by_default(registry: HiveRegistry) -> None:
    events = registry.subscribe()
    registry.ingest(heartbeat("h", *(f"{at}" for at in range(1_023))))
    assert len(pending(events)) == 1_024
    registry.ingest(heartbeat("g", *(f"{at}" for at in range(1_024))))
    with pytest.raises(Lagged, match=r"^1 events"):
        events.next(0)


def test_a_capacity_of_nothing_is_one(registry: HiveRegistry) -> None:
    events = registry.subscribe(capacity=0)
    registry.ingest(heartbeat("h"))
    assert news(events) == ["h registered"]


def test_each_subscription_has_every_event(registry: HiveRegistry) -> None:
    small, large = registry.subscribe(capacity=1), registry.subscribe()
    registry.ingest(heartbeat("h", "a"))
    later = registry.subscribe()
    registry.remove_hive("h")
    assert news(large) == ["h registered", "h/a added", "h/a removed", "h removed"]
    assert news(later) == ["h/a removed", "h removed"]
    with pytest.raises(Lagged, match=r"^3 events"):
        small.next(0)


def test_a_subscription_ends_after_its_registry(clock: ManualClock) -> None:
    registry = HiveRegistry(clock=clock)
    events = registry.subscribe()
    registry.ingest(heartbeat("h", "a"))
    del registry
    gc.collect()
    assert [told(event) for event in events] == ["h registered", "h/a added"]
    with pytest.raises(StopIteration):
        next(events)
    with pytest.raises(Closed):
        events.next()


def test_the_end_of_a_registry_wakes_who_waits(clock: ManualClock) -> None:
    registry = HiveRegistry(clock=clock)
    events = registry.subscribe()
    ended: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for event in events:
            ended.put(told(event))
        ended.put("ended")

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    registry.ingest(heartbeat("h"))
    assert ended.get(timeout=LONG) == "h registered"
    del registry
    gc.collect()
    assert ended.get(timeout=LONG) == "ended"
    reader.join()


def test_a_collected_subscription_loses_nothing_more(registry: HiveRegistry) -> None:
    events = registry.subscribe(capacity=1)
    del events
    gc.collect()
    registry.ingest(heartbeat("h", "a"))
    assert registry.stats().events_dropped == 0


# === asyncio ===


async def first(events: Subscription) -> Event:
    return await anext(events)


def test_async_for_has_the_events(registry: HiveRegistry) -> None:
    async def read() -> list[str]:
        events = registry.subscribe(timeout=0.2)
        registry.ingest(heartbeat("h", "a"))
        return [told(event) async for event in events]

    assert asyncio.run(read()) == ["h registered", "h/a added"]


@pytest.mark.parametrize("timeout", [0, 0.01, timedelta(milliseconds=10)])
def test_async_for_ends_when_nothing_came_in_time(registry: HiveRegistry, timeout: Any) -> None:
    async def read() -> list[Event]:
        return [event async for event in registry.subscribe(timeout=timeout)]

    assert asyncio.run(read()) == []


def test_async_for_with_a_timeout_of_nothing_has_what_is_there(registry: HiveRegistry) -> None:
    async def read() -> list[str]:
        events = registry.subscribe(timeout=0)
        registry.ingest(heartbeat("h", "a"))
        return [told(event) async for event in events]

    assert asyncio.run(read()) == ["h registered", "h/a added"]


def test_the_loop_goes_on_while_a_task_waits_for_an_event(registry: HiveRegistry) -> None:
    async def run() -> str:
        events = registry.subscribe(timeout=LONG)
        waiting = asyncio.create_task(events.__anext__())
        for _ in range(1_000):
            await asyncio.sleep(0)
        assert not waiting.done()
        # Made by the loop that a wait on it would have stopped.
        registry.ingest(heartbeat("h"))
        return told(await waiting)

    assert asyncio.run(run()) == "h registered"


def test_a_cancelled_wait_loses_no_event(registry: HiveRegistry) -> None:
    async def run() -> list[str]:
        events = registry.subscribe(timeout=0.3)
        seen: list[Event] = []
        for at in range(60):
            waiting = asyncio.create_task(events.__anext__())
            for _ in range(at % 4):
                await asyncio.sleep(0)
            registry.ingest(heartbeat(f"{at}"))
            if at % 3 == 0:
                await asyncio.sleep(0.001)
            waiting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                seen.append(await waiting)
        return [event.hive_id for event in seen] + [event.hive_id async for event in events]

    assert asyncio.run(run()) == [f"{at}" for at in range(60)]


def test_what_a_cancelled_wait_finds_is_given_to_the_next(registry: HiveRegistry) -> None:
    async def run() -> str:
        events = registry.subscribe(timeout=LONG)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(events.__anext__(), 0.01)
        registry.ingest(heartbeat("h"))
        return told(await events.__anext__())

    assert asyncio.run(run()) == "h registered"


def test_a_thousand_subscriptions_wait_on_one_thread(registry: HiveRegistry) -> None:
    async def run() -> list[Event]:
        readers = [asyncio.create_task(first(registry.subscribe(timeout=LONG))) for _ in range(1_000)]
        await asyncio.sleep(0)
        assert len(threads()) == 1
        registry.ingest(heartbeat("h"))
        return await asyncio.gather(*readers)

    assert [told(event) for event in asyncio.run(run())] == ["h registered"] * 1_000
    assert len(threads()) == 1


def test_loops_of_several_threads_share_the_one_that_waits(registry: HiveRegistry) -> None:
    subscriptions = [registry.subscribe(timeout=LONG) for _ in range(4)]
    begun = threading.Barrier(5)
    seen: queue.Queue[str] = queue.Queue()

    async def read(events: Subscription) -> None:
        waiting = asyncio.create_task(first(events))
        await asyncio.sleep(0)
        begun.wait(LONG)
        seen.put(told(await waiting))

    readers = [threading.Thread(target=asyncio.run, args=(read(events),)) for events in subscriptions]
    for reader in readers:
        reader.start()
    begun.wait(LONG)
    assert len(threads()) == 1
    registry.ingest(heartbeat("h"))
    assert [seen.get(timeout=LONG) for _ in readers] == ["h registered"] * 4
    for reader in readers:
        reader.join()


def test_a_loop_that_was_closed_meanwhile_keeps_nobody_from_waking(registry: HiveRegistry) -> None:
    loop = asyncio.new_event_loop()
    lost = loop.create_task(first(registry.subscribe()))
    loop.run_until_complete(asyncio.sleep(0))
    # Without ending its task.
    loop.close()

    async def run() -> str:
        waiting = asyncio.create_task(first(registry.subscribe(timeout=LONG)))
        await asyncio.sleep(0)
        registry.ingest(heartbeat("h"))
        return told(await waiting)

    assert asyncio.run(run()) == "h registered"
    # What its loop would say of it otherwise.
    lost._log_destroy_pending = False  # type: ignore[attr-defined]


def test_a_feed_that_never_ends_leaves_other_tasks_their_turns(registry: HiveRegistry) -> None:
    events = registry.subscribe(capacity=10_000)
    registry.ingest(heartbeat("h", *(f"{at}" for at in range(1_000))))
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def run() -> None:
        beside = asyncio.create_task(other())
        for _ in range(1_001):
            await anext(events)
        beside.cancel()

    asyncio.run(run())
    assert 1_001 // 128 <= turns < 100


PROGRAM = """
import asyncio, atexit, threading
from hive_registry import HiveRegistry

registry = HiveRegistry()
events = registry.subscribe(timeout=30)
worker = {{"worker_id": "a", "state": "Idle", "last_heartbeat": "2026-01-01T00:00:00Z", "health_status": "healthy"}}
beat = lambda name: registry.ingest({{"hive_id": name, "timestamp": "2026-01-01T00:00:00Z", "workers": [worker]}})

async def read(many=1):
    return [await anext(events) for _ in range(many)]

async def cancelled():
    task = asyncio.create_task(read())
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])

{end}
"""


def run(end: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-W", "error", "-c", PROGRAM.format(end=end)]
    return subprocess.run(program, capture_output=True, text=True, timeout=LONG, check=False)


ENDS = {
    "nothing was waited for": 'beat("g"); asyncio.run(read())',
    "a task waited": "asyncio.run(cancelled())",
    "events come to the end": """
sweeper = registry.spawn_sweeper(0.001, 0.002)
asyncio.run(cancelled())
beat("g")
""",
    "an event after the thread has stopped": 'atexit.register(beat, "last"); asyncio.run(cancelled())',
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_the_interpreter_ends_in_peace(end: str) -> None:
    ended = run(end)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_events_that_are_there_need_no_thread() -> None:
    ended = run('beat("g"); asyncio.run(read(2)); print(threading.active_count())')
    assert (ended.stdout, ended.stderr) == ("1\n", "")


def test_a_task_that_would_wait_while_the_interpreter_ends_is_told_so() -> None:
    # The handler that was registered first is called last.
    ended = run("atexit.register(lambda: asyncio.run(read())); asyncio.run(cancelled())")
    assert "RuntimeError: the interpreter is ending: no task may wait for events any more" in ended.stderr


def test_a_subscription_read_without_asyncio_has_no_thread(registry: HiveRegistry) -> None:
    before = threads()
    events = registry.subscribe(timeout=0)
    registry.ingest(heartbeat("h"))
    assert len(list(events)) == 1
    assert threads() <= before


def test_a_slow_task_is_told_and_goes_on(registry: HiveRegistry) -> None:
    async def run() -> list[str]:
        events = registry.subscribe(capacity=2, timeout=0.2)
        registry.ingest(heartbeat("h", "a", "b", "c", "d"))
        with pytest.raises(Lagged) as raised:
            await events.__anext__()
        assert raised.value.lost == 3
        return [told(event) async for event in events]

    assert asyncio.run(run()) == ["h/c added", "h/d added"]


def test_async_for_ends_after_the_registry(clock: ManualClock) -> None:
    async def run() -> list[str]:
        registry = HiveRegistry(clock=clock)
        events = registry.subscribe()
        registry.ingest(heartbeat("h", "a"))
        del registry
        gc.collect()
        found = [told(event) async for event in events]
        with pytest.raises(StopAsyncIteration):
            await events.__anext__()
        return found

    assert asyncio.run(asyncio.wait_for(run(), LONG)) == ["h registered", "h/a added"]


def test_the_end_of_a_registry_wakes_a_task(clock: ManualClock) -> None:
    async def read(events: Subscription) -> list[str]:
        return [told(event) async for event in events]

    async def run() -> list[str]:
        registry = HiveRegistry(clock=clock)
        reader = asyncio.create_task(read(registry.subscribe()))
        await asyncio.sleep(0)
        del registry
        gc.collect()
        return await asyncio.wait_for(reader, LONG)

    assert asyncio.run(run()) == []


def test_a_subscription_outlives_a_loop(registry: HiveRegistry) -> None:
    events = registry.subscribe(timeout=LONG)

    async def cancelled() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(events.__anext__(), 0.01)

    async def one() -> str:
        return told(await events.__anext__())

    registry.ingest(heartbeat("a"))
    assert asyncio.run(one()) == "a registered"
    asyncio.run(cancelled())
    registry.ingest(heartbeat("b"))
    assert asyncio.run(one()) == "b registered"
    registry.ingest(heartbeat("c"))
    assert told(next_of(events)) == "c registered"


def test_twenty_subscriptions_wait_at_once(registry: HiveRegistry) -> None:
    async def read(events: Subscription) -> list[str]:
        return [told(await events.__anext__()) for _ in range(2)]

    async def run() -> list[list[str]]:
        readers = [asyncio.create_task(read(registry.subscribe(timeout=LONG))) for _ in range(20)]
        await asyncio.sleep(0)
        registry.ingest(heartbeat("h", "a"))
        return await asyncio.gather(*readers)

    assert asyncio.run(run()) == [["h registered", "h/a added"]] * 20


def test_one_task_at_a_time_waits_for_events(registry: HiveRegistry) -> None:
    events = registry.subscribe(timeout=5)

    async def read() -> None:
        first = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0.01)
        with pytest.raises(RuntimeError, match="another task"):
            await anext(events)
        registry.ingest(heartbeat("h"))
        assert (await first).hive_id == "h"
        registry.ingest(heartbeat("g"))
        assert (await anext(events)).hive_id == "g"

    asyncio.run(read())


@pytest.mark.parametrize("read", [lambda events: events.next(0), next, lambda events: asyncio.run(first(events))])
def test_what_a_cancelled_task_would_have_read_is_read_next(
    registry: HiveRegistry, read: Callable[[Subscription], Event]
) -> None:
    events = registry.subscribe(timeout=0.2)

    async def cancelled() -> None:
        task = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        registry.ingest(heartbeat("a"))

    asyncio.run(cancelled())
    registry.ingest(heartbeat("b"))
    assert read(events).hive_id == "a"
    assert [event.hive_id for event in events] == ["b"]


def test_a_task_that_waits_keeps_others_from_reading(registry: HiveRegistry) -> None:
    events = registry.subscribe(timeout=5)

    async def read() -> None:
        task = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0.01)
        with pytest.raises(RuntimeError, match="another task"):
            events.next(0)
        task.cancel()

    asyncio.run(read())
