"""Types for annotations."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, ClassVar, Literal, Protocol, SupportsFloat, TypeAlias

from ._core import Candidate, LeastLoaded, PowerOfChoices, Random, RoundRobin

Seconds: TypeAlias = SupportsFloat | timedelta
"""A span of time: seconds, 0 or more, as a number of Python or numpy, or a `timedelta`."""


class Dataclass(Protocol):
    """An instance of a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


class Attrs(Protocol):
    """An instance of a class of attrs."""

    __attrs_attrs__: ClassVar[Any]


class Struct(Protocol):
    """A struct of msgspec."""

    __struct_fields__: ClassVar[tuple[str, ...]]


class Model(Protocol):
    """A model of pydantic."""

    def model_dump(self) -> dict[str, Any]: ...


class NamedTuple(Protocol):
    """A tuple whose fields have names."""

    def _asdict(self) -> dict[str, Any]: ...


Fields: TypeAlias = Mapping[str, Any] | Dataclass | Attrs | Struct | Model | NamedTuple
"""What has the fields that JSON would have: a dict, a dataclass, a model of pydantic, attrs or msgspec."""

Heartbeat: TypeAlias = str | bytes | bytearray | Fields
"""A heartbeat of any form: JSON, a dict as JSON would have it, a dataclass, a model of pydantic, attrs or msgspec."""

Score: TypeAlias = Callable[[Candidate], SupportsFloat | None]
"""The lowest wins, of equal ones the one reserved least recently; None or NaN passes a candidate over."""

PolicyName: TypeAlias = Literal["least_loaded", "power_of_choices", "round_robin", "random"]
"""A policy by its name."""

Policy: TypeAlias = PolicyName | LeastLoaded | PowerOfChoices | RoundRobin | Random | Score
"""How a worker is chosen: by name, by object, or by a callable that scores a candidate."""


class ArrowStream(Protocol):
    """A table of any library: polars, pyarrow, pandas, duckdb, nanoarrow, or one of this."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...
