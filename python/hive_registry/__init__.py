"""A live registry of GPU machines (hives) and their inference workers, for people who schedule LLM work.

    from datetime import datetime, timezone
    from hive_registry import HiveRegistry

    registry = HiveRegistry()
    now = datetime.now(timezone.utc)
    worker = {"worker_id": "a", "state": "Idle", "last_heartbeat": now, "health_status": "healthy",
              "url": "http://10.0.0.1:9300", "model_id": "llama-3-8b"}
    registry.ingest({"hive_id": "gpu-1", "timestamp": now, "workers": [worker]})
    with registry.reserve("llama-3-8b") as reservation:
        print(reservation.worker.url)

Spans of time are seconds as a number, or a `timedelta`; moments are seconds since 1970, or a `datetime` with a time
zone.
A registry may be used by any threads at once. It cannot be used in a child process made by `fork()`: its methods raise
`HiveRegistryError` there.
"""

import os

from ._core import (
    Candidate,
    HiveRegistry,
    HiveState,
    LeastLoaded,
    ManualClock,
    Model,
    PowerOfChoices,
    Random,
    Reservation,
    RoundRobin,
    Snapshot,
    Sweeper,
    Table,
    Worker,
    _after_fork_in_child,
)
from ._errors import Closed, ConfigError, HeartbeatError, HiveRegistryError, Lagged, NoWorkerError
from ._events import (
    Event,
    HiveOffline,
    HiveRegistered,
    HiveRemoved,
    HiveUpdated,
    Subscription,
    WorkerAdded,
    WorkerChanged,
    WorkerEvent,
    WorkerRemoved,
)
from ._heartbeats import (
    Capability,
    HiveHealth,
    HiveHeartbeat,
    HiveHeartbeatPayload,
    HiveInfo,
    ProcessStats,
    WorkerState,
)
from ._records import (
    Eviction,
    Explanation,
    HeartbeatCounts,
    HeartbeatOutcome,
    HiveStats,
    Ingested,
    Lease,
    Limits,
    Resources,
    Stats,
)
from ._types import ArrowStream, Heartbeat, Policy, PolicyName, Score, Seconds

__all__ = [
    "ArrowStream",
    "Candidate",
    "Capability",
    "Closed",
    "ConfigError",
    "Event",
    "Eviction",
    "Explanation",
    "Heartbeat",
    "HeartbeatCounts",
    "HeartbeatError",
    "HeartbeatOutcome",
    "HiveHealth",
    "HiveHeartbeat",
    "HiveHeartbeatPayload",
    "HiveInfo",
    "HiveOffline",
    "HiveRegistered",
    "HiveRegistry",
    "HiveRegistryError",
    "HiveRemoved",
    "HiveState",
    "HiveStats",
    "HiveUpdated",
    "Ingested",
    "Lagged",
    "Lease",
    "LeastLoaded",
    "Limits",
    "ManualClock",
    "Model",
    "NoWorkerError",
    "Policy",
    "PolicyName",
    "PowerOfChoices",
    "ProcessStats",
    "Random",
    "Reservation",
    "Resources",
    "RoundRobin",
    "Score",
    "Seconds",
    "Snapshot",
    "Stats",
    "Subscription",
    "Sweeper",
    "Table",
    "Worker",
    "WorkerAdded",
    "WorkerChanged",
    "WorkerEvent",
    "WorkerRemoved",
    "WorkerState",
]

# Other processes than CPython's own, on platforms without fork, lack it.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
