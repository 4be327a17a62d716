"""The one thread that wakes tasks which wait for events: of all subscriptions, on all event loops."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import threading

from ._core import _stop_waking, _woken

_waiting: dict[int, tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = {}
"""Who waits, by the key of the feed."""
_lock = threading.Lock()
_thread: threading.Thread | None = None
_ended = False


def expect(key: int) -> asyncio.Future[None]:
    """A future that is done once the feed of this key has news; to be made before the feed is polled."""
    if _thread is None:
        _start()
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    _waiting[key] = loop, future
    return future


def forget(key: int) -> None:
    """Nobody waits for this feed any more."""
    _waiting.pop(key, None)


def finish(futures: list[asyncio.Future[None]]) -> None:
    """Lets those go on who still wait."""
    for future in futures:
        if not future.done():
            future.set_result(None)


def _start() -> None:
    global _thread
    with _lock:
        if _ended:
            raise RuntimeError("the interpreter is ending: no task may wait for events any more")
        if _thread is None:
            thread = threading.Thread(target=_run, name="hive-events", daemon=True)
            thread.start()
            atexit.register(_stop, os.getpid())
            _thread = thread


def _run() -> None:
    while keys := _woken():
        _hand_on(keys)


def _hand_on(keys: list[int]) -> None:
    """Each loop is told once of all that wait on it."""
    by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for key in keys:
        if (waiting := _waiting.pop(key, None)) is not None:
            loop, future = waiting
            by_loop.setdefault(loop, []).append(future)
    for loop, futures in by_loop.items():
        # Closed meanwhile: nobody waits on it.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(finish, futures)


def _stop(pid: int) -> None:
    """Before the interpreter ends: a thread that came back to it afterwards would abort the process."""
    global _ended, _thread
    if pid != os.getpid():
        # A child by fork(), which does not have the thread, and perhaps not the lock it waits with.
        return
    with _lock:
        thread, _thread, _ended = _thread, None, True
    _stop_waking()
    if thread is not None:
        thread.join()
