"""What happens to hives and workers, as a feed."""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._errors import Closed

if TYPE_CHECKING:
    from datetime import timedelta

    from ._core import Feed, Worker

_SLICE = 0.1
"""Seconds that a thread waits for an event on behalf of `async for`, before it looks whether it still should."""


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

    __slots__ = ("__weakref__", "_feed", "_pid", "_reading", "_thread", "_timeout", "_waiting")

    def __init__(self, feed: Feed, timeout: float | None = None) -> None:
        self._feed = feed
        self._timeout = timeout
        self._thread: ThreadPoolExecutor | None = None
        self._waiting: Future[Event | None] | None = None
        self._reading = False
        self._pid = os.getpid()

    def next(self, timeout: float | timedelta | None = None) -> Event | None:
        """The next event, waiting at most `timeout` seconds, or for ever; None if none came.

        Other threads run meanwhile, and Ctrl-C interrupts it.

        Raises:
            Lagged: events were lost.
            Closed: the registry is gone, and every event was read.
            ConfigError: `timeout` is negative or not a number.
            RuntimeError: a task waits for the next event.

        """
        waiting = self._begin()
        if waiting is not None:
            # Of a task that was cancelled: done within a tenth of a second.
            event = waiting.result()
            if event is not None:
                return event
        return self._feed.next(timeout)

    def _begin(self) -> Future[Event | None] | None:
        """What a cancelled task was waiting for, if anything."""
        if self._pid != os.getpid():
            # The thread that waits did not come along through fork(): the feed is asked here, and raises.
            self._feed.next(0)
        if self._reading:
            raise RuntimeError("another task waits for the next event of this subscription")
        waiting, self._waiting = self._waiting, None
        return None if waiting is None or waiting.cancelled() else waiting

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
        self._waiting = self._begin()
        self._reading = True
        try:
            return await self._next()
        finally:
            self._reading = False

    async def _next(self) -> Event:
        until = None if self._timeout is None else time.monotonic() + self._timeout
        while True:
            left = _SLICE if until is None else min(_SLICE, max(0.0, until - time.monotonic()))
            try:
                event = await self._wait(left)
            except Closed:
                raise StopAsyncIteration from None
            if event is not None:
                return event
            if until is not None and time.monotonic() >= until:
                raise StopAsyncIteration

    async def _wait(self, seconds: float) -> Event | None:
        """Waits on a thread of its own.

        A wait that is cancelled goes on there, for a tenth of a second at most; what it finds is kept for the next one.
        """
        if self._waiting is None:
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, thread_name_prefix="hive-events")
            self._waiting = self._thread.submit(self._feed.next, seconds)
        try:
            event = await asyncio.wrap_future(self._waiting)
        except asyncio.CancelledError:
            raise
        except BaseException:
            self._waiting = None
            raise
        self._waiting = None
        return event

    def __repr__(self) -> str:
        return f"<Subscription timeout={self._timeout}>"
