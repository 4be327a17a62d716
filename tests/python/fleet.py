from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
"""What the clocks of the tests show first."""


def worker(worker_id: str, **fields: Any) -> dict[str, Any]:
    """An idle, healthy worker of model "m" that takes any number of requests."""
    return {
        "worker_id": worker_id,
        "state": "Idle",
        "last_heartbeat": START,
        "health_status": "healthy",
        "url": f"http://10.0.0.1/{worker_id}",
        "model_id": "m",
        **fields,
    }


def heartbeat(
    hive_id: str, *workers: str | Mapping[str, Any], at: float | datetime = START, **fields: Any
) -> dict[str, Any]:
    """A heartbeat made `at` a moment, or so many seconds after `START`."""
    timestamp = at if isinstance(at, datetime) else START + timedelta(seconds=at)
    workers_ = [worker(each) if isinstance(each, str) else each for each in workers]
    return {"hive_id": hive_id, "timestamp": timestamp, "workers": workers_, **fields}
