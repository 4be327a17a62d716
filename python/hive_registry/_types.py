"""Types for annotations."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Literal, Protocol, SupportsFloat, TypeAlias

from ._core import Candidate, LeastLoaded, PowerOfChoices, Random, RoundRobin
from ._heartbeats import HiveHeartbeat, HiveHeartbeatPayload

Seconds: TypeAlias = SupportsFloat | timedelta
"""A span of time: seconds, 0 or more, as a number of Python or numpy, or a `timedelta`."""

Heartbeat: TypeAlias = str | bytes | bytearray | Mapping[str, Any] | HiveHeartbeatPayload | HiveHeartbeat
"""A heartbeat of either form: JSON, a dict as JSON would have it, or a dataclass."""

Score: TypeAlias = Callable[[Candidate], SupportsFloat | None]
"""The lowest wins, of equal ones the one reserved least recently; None or NaN passes a candidate over."""

PolicyName: TypeAlias = Literal["least_loaded", "power_of_choices", "round_robin", "random"]
"""A policy by its name."""

Policy: TypeAlias = PolicyName | LeastLoaded | PowerOfChoices | RoundRobin | Random | Score
"""How a worker is chosen: by name, by object, or by a callable that scores a candidate."""


class ArrowStream(Protocol):
    """A table of any library: polars, pyarrow, pandas, duckdb, nanoarrow, or one of this."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...
