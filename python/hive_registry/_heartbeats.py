"""What hives send: dataclasses for those who build heartbeats in Python, and their JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Literal, cast

from ._errors import HeartbeatError


@dataclass(slots=True)
class WorkerState:
    """One worker in a plain heartbeat."""

    worker_id: str
    """Its name on this hive."""
    last_heartbeat: datetime | str
    """When the hive last heard from it: RFC 3339, or a `datetime` with a time zone. Told on, never judged by."""
    state: str = "Idle"
    """A word: "Idle", "Busy", "Loading", "Draining" or another."""
    health_status: str = "healthy"
    """A word: "healthy", "degraded", "unhealthy" or another."""
    url: str | None = None
    """Where it takes requests."""
    model_id: str | None = None
    """The model it has loaded."""
    backend: str | None = None
    """A word: "cuda", "cpu", "metal" or another."""
    device_id: int | None = None
    """The index of its GPU on the hive."""
    vram_bytes: int | None = None
    """VRAM in use."""
    vram_total_bytes: int | None = None
    """VRAM of its device."""
    ram_bytes: int | None = None
    """RAM in use."""
    cpu_percent: float | None = None
    """CPU in use, percent of one core; may pass 100."""
    gpu_percent: float | None = None
    """GPU in use, percent."""
    max_concurrency: int | None = None
    """Requests it takes at once, at least 1; 0 counts as not reported."""


@dataclass(frozen=True, slots=True)
class HiveHealth:
    """How a hive feels."""

    status: Literal["healthy", "degraded", "unhealthy"] = "healthy"
    reason: str | None = None
    """Why, unless it is healthy."""


@dataclass(frozen=True, slots=True)
class HiveInfo:
    """What a hive says about itself."""

    id: str
    hostname: str
    port: int
    version: str
    """Of its software."""
    operational_status: Literal["starting", "ready", "busy", "stopping", "stopped"] = "ready"
    health_status: HiveHealth = field(default_factory=HiveHealth)


@dataclass(frozen=True, slots=True)
class ProcessStats:
    """One worker process in the telemetry form."""

    pid: int
    group: str
    """With `instance`, its worker id: group-instance."""
    instance: str
    """Where it is a port, the worker's url is made of it."""
    cpu_pct: float = 0.0
    """Percent of one core."""
    rss_mb: int = 0
    """Units of 1,048,576 bytes."""
    io_r_mb_s: float = 0.0
    io_w_mb_s: float = 0.0
    uptime_s: int = 0
    gpu_util_pct: float | None = 0.0
    """Percent; 0 means idle, and so does None: the GPU does not tell."""
    vram_mb: int = 0
    """Units of 1,048,576 bytes."""
    total_vram_mb: int = 0
    """Of its device, units of 1,048,576 bytes."""
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Capability:
    """A device that a hive declares."""

    id: str
    name: str
    device_type: str
    """A word: "cuda", "cpu", "metal" or another."""
    vram_gb: float | None = None
    """GiB; 1,048,576 at most."""
    compute_capability: str | None = None


@dataclass(slots=True)
class HiveHeartbeatPayload:
    """A heartbeat in the plain form: the full state of one hive's workers."""

    hive_id: str
    timestamp: datetime | str
    """When it was made: RFC 3339, or a `datetime` with a time zone."""
    workers: Sequence[WorkerState | Mapping[str, Any]] = ()
    """All its workers: one it does not name is gone."""
    epoch: int | None = None
    """Which boot of the hive this is; with `seq`, orders its heartbeats whatever its clock does."""
    seq: int | None = None
    """A counter within the boot."""
    hive_info: HiveInfo | Mapping[str, Any] | None = None
    """What the hive says about itself; unknown from now on if it does not."""
    capabilities: Sequence[Capability | Mapping[str, Any]] | None = None
    """Its devices; unknown from now on if it does not tell."""


@dataclass(slots=True)
class HiveHeartbeat:
    """A heartbeat in the telemetry form: the hive describes itself and its processes."""

    hive: HiveInfo
    timestamp: datetime | str
    workers: Sequence[ProcessStats | Mapping[str, Any]] | None = ()
    """All its processes; None says nothing of them, and they stay as they were."""
    capabilities: Sequence[Capability | Mapping[str, Any]] | None = None
    epoch: int | None = None
    seq: int | None = None


def encode(heartbeat: object) -> bytes:
    """JSON of dicts, lists, dataclasses, `datetime`s with a time zone, and numbers as numpy has them.

    JSON has no NaN: a worker's counts as not reported.

    Raises:
        HeartbeatError: something in it is none of these; the message says where.

    """
    try:
        return _ENCODER.encode(heartbeat).encode()
    except (TypeError, ValueError, RecursionError) as error:
        known = _known(heartbeat)
        fault = _fault(known, "")
        if fault is None:
            try:
                return _ENCODER.encode(known).encode()
            except (TypeError, ValueError, RecursionError):
                pass
        raise HeartbeatError(fault or f".: {error}") from None


def _known(heartbeat: object) -> object:
    """The same, but that what its workers say with NaN or infinity is None."""
    if dataclasses.is_dataclass(heartbeat) and not isinstance(heartbeat, type):
        heartbeat = _plain(heartbeat)
    if isinstance(heartbeat, Mapping):
        beat = cast("Mapping[object, object]", heartbeat)
        return {**beat, "workers": _known(beat["workers"])} if "workers" in beat else beat
    if isinstance(heartbeat, list | tuple):
        return [_known_worker(worker) for worker in cast("Sequence[object]", heartbeat)]
    return heartbeat


def _known_worker(worker: object) -> object:
    if dataclasses.is_dataclass(worker) and not isinstance(worker, type):
        worker = _plain(worker)
    if not isinstance(worker, Mapping):
        return worker
    fields = cast("Mapping[object, object]", worker)
    return {name: None if _is_no_number(value) else value for name, value in fields.items()}


def _is_no_number(value: Any) -> bool:
    try:
        return not math.isfinite(value)
    except (TypeError, ValueError, OverflowError):
        return False


def _plain(value: object) -> object:
    """A value that JSON does not know, as one that it does."""
    if isinstance(value, datetime):
        offset = value.utcoffset()
        if offset is None:
            raise TypeError("a datetime without a time zone")
        # RFC 3339 has no offsets of seconds, as there were before there were time zones.
        if offset % timedelta(minutes=1):
            value = value.astimezone(timezone.utc)
        return value.isoformat()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        # What is None is left out, as it is on the wire; but a process says that it has no model.
        fields = ((each.name, getattr(value, each.name)) for each in dataclasses.fields(value))
        keep = isinstance(value, ProcessStats)
        return {name: item for name, item in fields if keep or item is not None}
    if isinstance(value, Mapping):
        return dict(cast("Mapping[object, object]", value))
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return list(cast("Sequence[object]", value))
    other: Any = value
    # A number as numpy has it.
    if callable(item := getattr(other, "item", None)):
        try:
            return item()
        except ValueError as error:
            raise TypeError(str(error)) from None
    raise TypeError(f"{type(other).__name__} is not JSON")


_ENCODER = json.JSONEncoder(default=_plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _fault(value: object, path: str, depth: int = 0) -> str | None:
    """Where the first value is that is not JSON, and what would have been."""
    if depth > _DEPTH:
        return f"{path}: refused: nested too deeply"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{path or '.'}: {value} refused: a finite number"
    if isinstance(value, str):
        return None if _is_utf8(value) else f"{path or '.'}: {value!r:.64} refused: text without lone surrogates"
    if value is None or isinstance(value, int | float):
        return None
    items: Iterable[tuple[str, object]]
    if isinstance(value, dict):
        fields = cast("dict[object, object]", value)
        for key in fields:
            if not isinstance(key, str) or not _is_utf8(key):
                return f"{path or '.'}: key {key!r:.64} refused: text without lone surrogates"
        items = ((f"{path}.{key}" if path else str(key), item) for key, item in fields.items())
    elif isinstance(value, list | tuple):
        items = ((f"{path}[{at}]", item) for at, item in enumerate(cast("Sequence[object]", value)))
    else:
        try:
            return _fault(_plain(value), path, depth + 1)
        except TypeError as error:
            return f"{path or '.'}: {value!r:.64} refused: {error}"
    return next(filter(None, (_fault(item, where, depth + 1) for where, item in items)), None)


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


_DEPTH = 16
"""Deeper than any heartbeat: past it a fault is not looked for."""
