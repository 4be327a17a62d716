"""What hives send: dataclasses for those who build heartbeats in Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal


@dataclass(slots=True)
class WorkerState:
    """One worker in a plain heartbeat."""

    worker_id: str
    """Its name on this hive."""
    last_heartbeat: datetime | float | str
    """When the hive last heard from it. Told on, never judged by.

    RFC 3339, a `datetime` with a time zone, or seconds since 1970.
    """
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
    timestamp: datetime | float | str
    """When it was made: RFC 3339, a `datetime` with a time zone, or seconds since 1970."""
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
    timestamp: datetime | float | str
    workers: Sequence[ProcessStats | Mapping[str, Any]] | None = ()
    """All its processes; None says nothing of them, and they stay as they were."""
    capabilities: Sequence[Capability | Mapping[str, Any]] | None = None
    epoch: int | None = None
    seq: int | None = None
