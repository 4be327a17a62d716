"""What happens to hives and workers, as a feed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._errors import Closed
from ._waking import expect, finish, forget

if TYPE_CHECKING:
    from ._core import Feed, Worker
    from ._types import Seconds

_TURN = 128
"""Events that `async for` gives without a pause, before other tasks have a turn."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a scheduler would want to know of."""

    sequence: int
    """Grows by one with each event of the registry; compare with `Snapshot.sequence`."""
    version: int
    """The version of the hive's state that the change made."""
    hive_id: str


class HiveRegistered(Event):
    """A hive not known before; an event for each of its workers follows."""

    __slots__ = ()


class HiveUpdated(Event):
    """Something about the hive or a worker of it changed, or it is online again; comes after the worker's event."""

    __slots__ = ()


class HiveOffline(Event):
    """An eviction pass found it silent; told once per silence, of a hive that was online."""

    __slots__ = ()


class HiveRemoved(Event):
    """Removed or evicted, after its workers."""

    __slots__ = ()


@dataclass(frozen=True)
class WorkerEvent(Event):
    """Something happened to a worker."""

    __slots__ = ("worker",)

    worker: Worker


class WorkerAdded(WorkerEvent):
    """A worker not known before on this hive."""

    __slots__ = ()


class WorkerChanged(WorkerEvent):
    """As it is now. What a scheduler would not look at does not count: `last_heartbeat`, `cpu_percent`, `ram_bytes`."""

    __slots__ = ()


class WorkerRemoved(WorkerEvent):
    """As it was last."""

    __slots__ = ()


class Subscription:
    """A bounded feed of events, from `HiveRegistry.subscribe`; it ends when it is collected.

    `for event in subscription` and `async for event in subscription` wait for events, and end when the registry is
    gone, or when none came within the subscription's `timeout`. A reader that falls behind by more than the capacity
    loses the oldest and is told by `Lagged`; it may go on. Each event is given once; while a task waits for one, nobody
    else may: `RuntimeError`.
    """

    __slots__ = ("__weakref__", "_feed", "_given", "_reading", "_timeout")

    def __init__(self, feed: Feed, timeout: float | None = None) -> None:
        self._feed = feed
        self._timeout = timeout
        self._reading = False
        self._given = 0

    def next(self, timeout: Seconds | None = None) -> Event | None:
        """The next event, waiting at most `timeout` seconds, or for ever; None if none came.

        Other threads run meanwhile, and Ctrl-C interrupts it.

        Raises:
            Lagged: events were lost.
            Closed: the registry is gone, and every event was read.
            ConfigError: `timeout` is negative or not a number.
            RuntimeError: a task waits for the next event.

        """
        if self._reading:
            self._refuse()
        return self._feed.next(timeout)

    def _refuse(self) -> None:
        # In a child by fork() the feed says so.
        _ = self._feed.key
        raise RuntimeError("another task waits for the next event of this subscription")

    def __iter__(self) -> Subscription:
        return self

    def __next__(self) -> Event:
        try:
            event = self.next(self._timeout)
        except Closed:
            raise StopIteration from None
        if event is None:
            raise StopIteration
        return event

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Event:
        if self._reading:
            self._refuse()
        try:
            event = self._feed.take() if self._given < _TURN else None
            if event is None:
                self._reading = True
                try:
                    event = await self._wait()
                finally:
                    self._reading = False
            self._given += 1
            return event
        except Closed:
            raise StopAsyncIteration from None

    async def _wait(self) -> Event:
        """Lets other tasks run until there is an event, or once if enough were given.

        Between taking an event and giving it nothing is awaited, so a task that is cancelled loses none.
        """
        feed = self._feed
        loop = asyncio.get_running_loop()
        until = None if self._timeout is None else loop.time() + self._timeout
        if self._given >= _TURN:
            await asyncio.sleep(0)
            self._given = 0
        while True:
            timer = None
            woken = expect(feed.key)
            try:
                event = feed.poll()
                if event is not None:
                    return event
                if until is not None:
                    if loop.time() >= until:
                        raise StopAsyncIteration
                    timer = loop.call_at(until, finish, [woken])
                await woken
                self._given = 0
            finally:
                forget(feed.key)
                if timer is not None:
                    timer.cancel()

    def __repr__(self) -> str:
        return f"<Subscription timeout={self._timeout}>"
