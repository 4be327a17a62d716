from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, SupportsFloat, SupportsIndex, TypeAlias, final

from typing_extensions import disjoint_base

from ._events import Event, Subscription
from ._heartbeats import Capability, HiveInfo, ProcessStats
from ._records import (
    Eviction,
    Explanation,
    HeartbeatOutcome,
    HiveStats,
    Ingested,
    Lease,
    Limits,
    Resources,
    Stats,
)
from ._types import ArrowStream, Fields, Heartbeat, Policy, Seconds

__all__ = [
    "Candidate",
    "Feed",
    "HiveRegistry",
    "HiveState",
    "LeastLoaded",
    "ManualClock",
    "Model",
    "PowerOfChoices",
    "Random",
    "Reservation",
    "RoundRobin",
    "Snapshot",
    "Sweeper",
    "Table",
    "Worker",
    "_after_fork_in_child",
    "_stop_waking",
    "_unpickle_hive_state",
    "_unpickle_snapshot",
    "_unpickle_table",
    "_unpickle_worker",
    "_woken",
]

_Batch: TypeAlias = tuple[int, Sequence[tuple[bytes | None, Sequence[bytes]]]]

def _after_fork_in_child() -> None: ...
def _stop_waking() -> None: ...
def _woken() -> list[int]: ...
def _unpickle_hive_state(json: bytes) -> HiveState: ...
def _unpickle_snapshot(json: bytes) -> Snapshot: ...
def _unpickle_table(columns: Sequence[str], batches: Sequence[_Batch]) -> Table: ...
def _unpickle_worker(json: bytes) -> Worker: ...

@disjoint_base
class Worker:
    """A worker as one heartbeat told it: immutable, shared with the registry, compared by its fields.

    It can be pickled, and does not change when the registry does: ask again for news.
    """

    @property
    def hive_id(self) -> str:
        """The hive it runs on."""
    @property
    def worker_id(self) -> str:
        """Its name on the hive."""
    @property
    def state(self) -> str:
        """A word: "Idle", "Busy", "Loading", "Draining" or another."""
    @property
    def last_heartbeat(self) -> datetime:
        """When its hive last heard from it."""
    @property
    def health_status(self) -> str:
        """A word: "healthy", "degraded", "unhealthy" or another."""
    @property
    def url(self) -> str | None:
        """Where it takes requests."""
    @property
    def model_id(self) -> str | None:
        """The model it has loaded."""
    @property
    def backend(self) -> str | None:
        """A word: "cuda", "cpu", "metal" or another."""
    @property
    def device_id(self) -> int | None:
        """The index of its GPU on the hive."""
    @property
    def vram_bytes(self) -> int | None:
        """VRAM in use, bytes."""
    @property
    def vram_total_bytes(self) -> int | None:
        """VRAM of its device, bytes."""
    @property
    def vram_free_bytes(self) -> int | None:
        """VRAM of its device that it does not use itself; None if it does not tell how much there is."""
    @property
    def ram_bytes(self) -> int | None:
        """RAM in use, bytes."""
    @property
    def cpu_percent(self) -> float | None:
        """CPU in use, percent of one core; may pass 100."""
    @property
    def gpu_percent(self) -> float | None:
        """GPU in use, percent."""
    @property
    def max_concurrency(self) -> int | None:
        """Requests it takes at once; None does not limit it, and it is ranked by what is assumed."""
    @property
    def process(self) -> ProcessStats | None:
        """What was sent, where the telemetry form was."""
    def asdict(self) -> dict[str, Any]:
        """Its fields by their names; not `vram_free_bytes`, which follows from two of them."""
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[Callable[[bytes], Worker], tuple[bytes]]: ...

@final
class Candidate(Worker):
    """A worker that a policy may choose: the worker, and what the registry counts."""

    @property
    def load(self) -> int:
        """Less is better. An order, not a measure: to be compared with that of others, and nothing else."""
    @property
    def reservations(self) -> int:
        """Reservations it holds."""
    @property
    def turn(self) -> int:
        """Its place among those that are alike: the least is the one reserved least recently.

        Before it come those never reserved, in the order of registration. No two are alike.
        """

@final
class HiveState:
    """The state of one hive as one heartbeat left it: immutable, compared by its fields."""

    @property
    def hive_id(self) -> str:
        """The hive."""
    @property
    def workers(self) -> list[Worker]:
        """By worker id. O(workers)."""
    @property
    def last_heartbeat(self) -> datetime:
        """When it was heard, as the registry counts it: see `liveness_clock`."""
    @property
    def vram_used_gb(self) -> float:
        """By its workers, units of 10**9 bytes; an assumed amount for those that do not say."""
    @property
    def ram_used_gb(self) -> float:
        """By its workers, units of 10**9 bytes; an assumed amount for those that do not say."""
    @property
    def worker_count(self) -> int:
        """How many workers it has."""
    @property
    def version(self) -> int:
        """Grows with each heartbeat that is applied."""
    @property
    def hive(self) -> HiveInfo | None:
        """What the hive says about itself, if it sends the telemetry form."""
    @property
    def capabilities(self) -> list[Capability] | None:
        """The devices that it declares, if it does."""
    def worker(self, worker_id: str) -> Worker | None:
        """One of its workers. O(log workers)."""
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[Callable[[bytes], HiveState], tuple[bytes]]: ...

@final
class ManualClock:
    """A clock that stands still until it is told to move: for tests, replays and simulations.

    Args:
        start: what it shows first, seconds since 1970 or a `datetime` with a time zone.

    Raises:
        ConfigError: a span is negative, or a moment past the year 9999.

    """

    def __new__(cls, start: SupportsFloat | datetime | None = None) -> ManualClock: ...
    def advance(self, seconds: Seconds) -> None:
        """Lets so much time pass."""
    def set(self, moment: SupportsFloat | datetime) -> None:
        """Shows `moment` from now on. Going forward, that much time passes; going back, only the wall clock moves."""
    def jump_wall(self, seconds: Seconds) -> None:
        """Steps the wall clock, either way, while no time passes."""
    def now(self) -> datetime:
        """What it shows."""

@final
class LeastLoaded:
    """The rule of `find_best_worker_for_model`. O(1).

    Healthy before degraded, the lowest load, then the one reserved least recently.
    """

    def __new__(cls) -> LeastLoaded: ...
    def __reduce__(self) -> tuple[type[LeastLoaded], tuple[()]]: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class PowerOfChoices:
    """The best of `d` candidates drawn at random; 0 counts as 1. O(d)."""

    def __new__(cls, d: SupportsIndex | None = None) -> PowerOfChoices: ...
    @property
    def d(self) -> int:
        """How many are drawn."""
    def __reduce__(self) -> tuple[type[PowerOfChoices], tuple[int]]: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class RoundRobin:
    """Each candidate in turn, per model. O(1)."""

    def __new__(cls) -> RoundRobin: ...
    def __reduce__(self) -> tuple[type[RoundRobin], tuple[()]]: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Random:
    """Any candidate, with equal chances. O(1)."""

    def __new__(cls) -> Random: ...
    def __reduce__(self) -> tuple[type[Random], tuple[()]]: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Reservation:
    """One place on one worker, given back by `release()`, at the end of a `with` block, or when it is collected.

    It ends by itself if its worker goes; a worker that comes back under the name starts without it.
    """

    @property
    def hive_id(self) -> str:
        """The worker's hive."""
    @property
    def worker(self) -> Worker:
        """As it was when it was chosen."""
    @property
    def released(self) -> bool:
        """Whether `release()` was called; not whether the worker has gone."""
    def release(self) -> None:
        """Gives the place back. A second time does nothing. O(log n) in the workers of the model."""
    def __enter__(self) -> Reservation: ...
    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
        /,
    ) -> None: ...

@final
class Model:
    """A model looked up once, for those who pick from it again and again.

    While it exists the model is known, and counts towards `Limits.models`.
    """

    @property
    def id(self) -> str:
        """Its name."""
    def find_best_worker(self) -> tuple[str, Worker] | None:
        """As `HiveRegistry.find_best_worker_for_model`."""
    def reserve_worker(self) -> Reservation | None:
        """As `HiveRegistry.reserve_worker_for_model`."""

@final
class Sweeper:
    """A thread that evicts silent hives from time to time.

    Until it is stopped, its `with` block ends, or it is collected.
    """

    def stop(self) -> None:
        """Stops the thread and waits for it. A second time does nothing."""
    def __enter__(self) -> Sweeper: ...
    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
        /,
    ) -> None: ...

@final
class Feed:
    """The events of a `Subscription`."""

    @property
    def key(self) -> int:
        """What `_woken` calls it."""
    def next(self, timeout: Seconds | None = None) -> Event | None:
        """The next event; `None` if none came within `timeout` seconds; `None` as timeout waits for ever."""
    def take(self) -> Event | None:
        """The next event if it is there."""
    def poll(self) -> Event | None:
        """The same; if there is none, `_woken` tells of it once there is."""

@final
class Table:
    """An immutable table that any library reads through the Arrow C stream interface, as often as it likes.

    `polars.DataFrame(table)`, `pyarrow.table(table)`, `duckdb.sql("from t")`, `nanoarrow.Array(table)`.
    Text is `Utf8`, moments are microseconds in UTC. Copies nothing where the library takes it as it is.
    """

    @property
    def columns(self) -> list[str]:
        """The names of its columns."""
    def to_polars(self) -> Any:
        """A `polars.DataFrame`. ImportError if polars is missing."""
    def to_pandas(self) -> Any:
        """A `pandas.DataFrame`, by way of pyarrow. ImportError if one of them is missing."""
    def to_arrow(self) -> Any:
        """A `pyarrow.Table`. ImportError if pyarrow is missing."""
    def __len__(self) -> int: ...
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The rows as an Arrow C stream; with the types of `requested_schema`, if it names the same columns.

        Raises:
            ValueError: it names others, or a value does not fit its type.

        """
    def __arrow_c_schema__(self) -> object: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> Table: ...
    def __deepcopy__(self, _memo: dict[int, Any]) -> Table: ...
    def __reduce__(
        self,
    ) -> tuple[Callable[[Sequence[str], Sequence[_Batch]], Table], tuple[list[str], list[_Batch]]]: ...
    def _repr_html_(self) -> str: ...

@final
class Snapshot:
    """A copy of everything at about one moment: each hive is as one heartbeat left it, never a mixture.

    It does not change, and may be used in other processes' memory after `fork()`.
    """

    @property
    def sequence(self) -> int:
        """Events up to this one are in it."""
    @property
    def taken_at(self) -> datetime:
        """By the registry's clock."""
    @property
    def workers(self) -> Table:
        """One row a worker, by hive id, then worker id; made when first asked for, by a thread for each core.

        The fields of `Worker` but `process`, and: `timestamp`, when its hive was heard; `reservations`; `load`, an
        order and not a measure: less is better; `online`, whether its hive was heard within the liveness window.
        `HiveRegistry.ingest_table` takes it as it is.
        """
    @property
    def hives(self) -> Table:
        """One row a hive, by hive id.

        `online`, `age_ms` since it was heard, `timestamp` when that was, `worker_count`, `reservations`, memory in
        use, `version`, and what it says about itself if it sends the telemetry form.
        """
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> Snapshot: ...
    def __deepcopy__(self, _memo: dict[int, Any]) -> Snapshot: ...
    def __reduce__(self) -> tuple[Callable[[bytes], Snapshot], tuple[bytes]]: ...
    def _repr_html_(self) -> str: ...

@final
class HiveRegistry:
    """A live registry of hives and their workers.

    Any threads may use it at once. Long calls let other threads of Python run; picks and reservations take less time
    than that would. Nothing is persistent.

    Args:
        shards: lock-striped shards of each map, a power of two from 2 to 65,536; 128 by default.
        liveness_window: how long after its last heartbeat a hive counts as live, above 0; 30 s by default.
        liveness_clock: what counts as the last heartbeat: "reported", its own timestamp, never later than its arrival;
            or "arrival", which no wrong clock changes.
        stale_mode: whether workers of hives past the window are picked: "exclude" or "ignore".
        limits: bounds on what is held.
        assumed_worker_memory: gigabytes of VRAM and of RAM that a worker counts for when it does not say; (4.0, 2.0) by
            default.
        clock: a `ManualClock` to go by, instead of the system's clocks.
        seed: fixes every random choice.
        assumed_concurrency: requests at once that a worker is ranked by when it reports no `max_concurrency`, which
            then does not limit it: at least 1; 16 by default.
        tie_seed: shuffles the order of workers that are alike in all else, which is that of registration by default:
            for several registries of one fleet, each with another seed.

    Raises:
        ConfigError: a setting is out of bounds.
        HiveRegistryError: this process comes by fork() from one that had a registry: start it with 'spawn' or
            'forkserver', or fork before the first registry is made.

    """

    def __new__(
        cls,
        *,
        shards: SupportsIndex | None = None,
        liveness_window: Seconds | None = None,
        liveness_clock: Literal["reported", "arrival"] = "reported",
        stale_mode: Literal["exclude", "ignore"] = "exclude",
        limits: Limits | None = None,
        assumed_worker_memory: tuple[SupportsFloat, SupportsFloat] | None = None,
        clock: ManualClock | None = None,
        seed: SupportsIndex | None = None,
        assumed_concurrency: SupportsIndex | None = None,
        tie_seed: SupportsIndex | None = None,
    ) -> HiveRegistry: ...

    # === heartbeats ===

    def update_hive_state(self, hive_id: str, payload: Heartbeat, *, strict: bool = False) -> HeartbeatOutcome:
        """Applies a heartbeat in the plain form, of this hive alone: replaces all its workers, or changes nothing.

        Takes what `ingest` takes. O(workers), and O(log n) for each worker whose rank changed.

        Args:
            hive_id: whose it must be.
            payload: the heartbeat.
            strict: refuses fields that are not known, at any depth; not for JSON.

        Raises:
            HeartbeatError: says field, value and bound; then nothing changed.
            ConfigError: `strict` with JSON.

        """
    def update_hive(self, heartbeat: Heartbeat, *, strict: bool = False) -> HeartbeatOutcome:
        """Applies a heartbeat in the telemetry form, or the event of a stream; otherwise as `update_hive_state`.

        Raises:
            HeartbeatError: says field, value and bound; then nothing changed.
            ConfigError: `strict` with JSON.

        """
    def update_workers(
        self, hive_id: str, processes: Sequence[Fields] | str | bytes | bytearray, *, strict: bool = False
    ) -> HeartbeatOutcome:
        """Replaces a hive's workers by processes and counts it as heard now; an unknown hive is registered. O(workers).

        Args:
            hive_id: the hive.
            processes: a sequence of `ProcessStats`, or of what else has their fields; or JSON.
            strict: refuses fields that are not known; not for JSON.

        Raises:
            HeartbeatError: says field, value and bound; then nothing changed.
            ConfigError: `strict` with JSON.

        """
    def ingest_json(self, body: str | bytes | bytearray) -> HeartbeatOutcome:
        """Applies a heartbeat from JSON, of any form: `hive_id` marks the plain one, `hive` the telemetry one.

        `hive_id` with the `type` "telemetry" or "hive_telemetry" is the event of a stream. The fastest way for one
        heartbeat: nothing of it becomes a Python object. O(bytes).

        Raises:
            HeartbeatError: says field, value and bound, line and column; then nothing changed.

        """
    def ingest(self, heartbeat: Heartbeat, *, strict: bool = False) -> HeartbeatOutcome:
        """Applies a heartbeat of any form, however it comes. O(fields); JSON is faster: see `ingest_json`.

        It may be JSON, or what has the fields that JSON would have: a dict or another mapping, a dataclass, a model of
        pydantic, attrs or msgspec, a named tuple; lists may be any sequences, numbers those of numpy, words members of
        an enum. `timestamp` and `last_heartbeat` are RFC 3339, a `datetime` with a time zone, or seconds since 1970.
        Only the fields that are known are looked at; what is not told is left out or None.

        Args:
            heartbeat: the heartbeat.
            strict: refuses fields that are not known, at any depth; not for JSON.

        Raises:
            HeartbeatError: says field, value and bound; then nothing changed. What an object raises while it is read is
                its cause.
            ConfigError: `strict` with JSON.

        """
    def ingest_many(self, heartbeats: Iterable[Heartbeat], *, strict: bool = False) -> Ingested:
        """Applies many. A refused one does not keep the others: look at `refused` of what is returned.

        They are read 8,192 at a time, which takes about 3 KB for each of 8 workers beside what was given, and then
        applied hive by hive, in the order of (epoch, seq) where sent, else of `timestamp`. A hive whose counter began
        again, whose clock was set back, or that sends the pair only at times is left in the order given. O(n log n).

        Args:
            heartbeats: what `ingest` takes, any number of times.
            strict: refuses fields that are not known, at any depth; not for JSON.

        Raises:
            TypeError: `heartbeats` is one heartbeat, or no iterable.
            ConfigError: `strict` with JSON.
            BaseException: what iterating raises, an interrupt among it. What came before was applied, and stays:
                `stats` counts it.

        """
    def ingest_table(self, table: ArrowStream) -> Ingested:
        """Applies the heartbeats of a table with one row a worker.

        Columns are those of `WorkerState`, and `hive_id`, `timestamp`, `epoch`, `seq`; of these `hive_id`, `worker_id`
        and `timestamp` must be there. Rows that agree in `hive_id`, `timestamp`, `epoch` and `seq` are one heartbeat.
        Moments are timestamps with a time zone, seconds since 1970, or text as RFC 3339. What is null or missing is as
        `WorkerState` has it, `last_heartbeat` as `timestamp`; other columns are left alone. A hive without workers has
        no
        row: a table cannot tell of it. The fastest way for many; of a refused heartbeat `refused` tells the first row.

        The whole table is read, then applied in the order of `ingest_many`. O(rows log rows).

        Raises:
            HeartbeatError: a column is missing or of the wrong type, or a value in it cannot be; then nothing was
                applied.
            TypeError: it is no table; a plan is told what makes one of it.

        """

    # === hives ===

    def get_hive_state(self, hive_id: str) -> HiveState | None:
        """The newest state of a hive. O(1)."""
    def list_active_hives(self, max_age_ms: SupportsIndex = 30_000) -> list[str]:
        """Hives heard less than `max_age_ms` milliseconds ago, ordered. O(hives)."""
    def get_available_resources(self, hive_id: str) -> Resources | None:
        """Memory of a hive, in use and free. O(workers of the hive)."""
    def remove_hive(self, hive_id: str) -> bool:
        """Takes a hive and its workers out, and ends their reservations; whether it was there. O(its workers)."""
    def list_all_hives(self) -> list[str]:
        """All hives, live or not, ordered. O(hives)."""
    def get_worker_count(self, hive_id: str) -> int | None:
        """How many workers a hive has. O(1)."""
    def is_hive_online(self, hive_id: str, max_age_ms: SupportsIndex = 30_000) -> bool:
        """Whether a hive was heard less than `max_age_ms` milliseconds ago. O(1)."""
    def hive_count(self) -> int:
        """How many hives are known. O(1)."""
    def get_hive(self, hive_id: str) -> HiveInfo | None:
        """What a hive said about itself, if it sends the telemetry form. O(1)."""
    def list_online_hives(self) -> list[str]:
        """Hives heard within the liveness window, ordered. O(hives)."""
    def list_available_hives(self) -> list[str]:
        """Online hives that take new work, ordered. O(hives)."""
    def count_online(self) -> int:
        """How many hives are online. O(hives)."""
    def count_available(self) -> int:
        """How many hives are available. O(hives)."""

    # === workers ===
    #
    # `list_` and `get_` tell what is registered, live or not; `find_` names who could be given work, so unless
    # `stale_mode` is "ignore" workers of live hives only.

    def get_worker(self, worker_id: str) -> tuple[str, Worker] | None:
        """A worker by its id; of several hives that have one, the hive heard last. O(hives that have one)."""
    def get_worker_on(self, hive_id: str, worker_id: str) -> Worker | None:
        """A worker of one hive. O(log workers)."""
    def get_worker_url(self, worker_id: str) -> str | None:
        """Where the worker that `get_worker` finds takes requests."""
    def list_all_workers(self) -> list[tuple[str, Worker]]:
        """All workers, by hive id, then worker id. O(workers); a table is faster: see `snapshot`."""
    def find_idle_workers(self) -> list[tuple[str, Worker]]:
        """Idle workers of live hives. O(k log k) in the idle ones."""
    def find_workers_by_model(self, model_id: str) -> list[tuple[str, Worker]]:
        """Workers of live hives that have a model loaded. O(k log k) in those that have it."""
    def find_workers_with_model(self, model_id: str) -> list[tuple[str, Worker]]:
        """As `find_workers_by_model`, by its other name."""
    def find_workers_by_backend(self, backend: str) -> list[tuple[str, Worker]]:
        """Workers of live hives on a kind of device, "cuda" say, in whatever case. O(workers)."""
    def find_workers_with_capacity(self, vram_mb: SupportsIndex) -> list[tuple[str, Worker]]:
        """Workers of live hives on whose device so much VRAM is free, units of 1,048,576 bytes. O(workers)."""
    def total_worker_count(self) -> int:
        """How many workers there are. O(1)."""
    def get_workers_on_hive(self, hive_id: str) -> list[Worker]:
        """The workers of a hive, by worker id; none if it is not known."""
    def get_workers(self, hive_id: str) -> list[ProcessStats] | None:
        """The processes of a hive as they were sent in the telemetry form."""
    def get_all_workers(self) -> list[tuple[str, ProcessStats]]:
        """The processes of all hives as they were sent, by hive id. O(workers)."""

    # === scheduling ===

    def find_best_worker_for_model(self, model_id: str) -> tuple[str, Worker] | None:
        """The best worker: healthy before degraded, the lowest load, then the one reserved least recently. O(1).

        An idle worker of any model if none that has it loaded may be picked. Counts nothing: see `reserve`.
        """
    def pick(self, model_id: str, policy: Policy | None = None) -> tuple[str, Worker] | None:
        """Chooses a worker by a policy, and counts nothing: see `reserve_with`. None if nobody may be chosen.

        Candidates are the workers that have the model loaded and may be picked; if there are none, idle workers of any
        model. Of equal scores of a callable the one reserved least recently wins. Whom a policy passes over is not
        chosen, whatever others do meanwhile; if the one it chose has gone it is asked again, 64 times at most.

        O(1) for the policies that have names, O(d) for `PowerOfChoices(d)`. A callable is called once for each
        candidate, in any order, outside every lock: it may use the registry. What it raises is raised here, and the
        registry is as before. While others make workers leave, one may be asked about twice; nobody who stays is
        passed over.

        Args:
            model_id: the model's name.
            policy: a name, an object, or a callable that scores a candidate: the lowest wins, None or NaN passes it
                over. None is the rule of `find_best_worker_for_model`.

        Returns:
            The hive's id and the worker, as its last heartbeat told it: bytes, percent and counts, not seconds or
            shares.

        Raises:
            ConfigError: there is no policy of that name.
            TypeError: the policy is none of these, or a score is no number.

        """
    def reserve_worker_for_model(self, model_id: str) -> Reservation | None:
        """Chooses and counts in one step, so that a burst spreads; None if no place is free.

        The worker's `max_concurrency` is never passed. O(log n) in the workers of the model.
        """
    def reserve_with(self, model_id: str, policy: Policy | None = None) -> Reservation | None:
        """Chooses by a policy and counts: whom it chose, if a place is free there.

        If none is the policy is asked again, 64 times at most; then nobody is chosen.
        """
    def reserve(self, model_id: str, policy: Policy | None = None) -> Reservation:
        """A reservation, for `with registry.reserve(model) as reservation:`.

        Raises:
            NoWorkerError: no place is free, or the policy chose nobody; the message is what `explain` says.

        """
    def reserve_detached(self, model_id: str, lease: Seconds) -> Lease | None:
        """Reserves for a holder elsewhere, until `lease` has passed. None if no place is free."""
    def renew_lease(self, lease_id: SupportsIndex, lease: Seconds) -> datetime | None:
        """Lets a lease run for `lease` from now, and says until when.

        None if it ended: ran out, was released, or its worker has gone.
        """
    def release_lease(self, lease_id: SupportsIndex) -> bool:
        """Ends a lease. False if it had ended."""
    def model(self, model_id: str) -> Model:
        """A model looked up once.

        Raises:
            HeartbeatError: no worker may have such a name, or it would be one model too many.

        """
    def explain(self, model_id: str) -> Explanation:
        """Why a pick goes where it goes. O(workers of the model + idle workers)."""

    # === upkeep ===

    def evict_stale(self, max_age: Seconds) -> Eviction:
        """Removes hives not heard for `max_age`. O(hives).

        At most 15 % of a fleet of 8 or more at once, and none while over half of it is silent (for at most 5 minutes):
        then the fault is more likely at this end.
        """
    def spawn_sweeper(self, every: Seconds, max_age: Seconds) -> Sweeper:
        """Evicts from time to time on a thread of its own, while the registry and the sweeper exist."""
    def subscribe(self, capacity: SupportsIndex | None = None, timeout: Seconds | None = None) -> Subscription:
        """The events from now on.

        Args:
            capacity: how many events a reader may be behind; 1,024 by default.
            timeout: iterating ends when none came for so long; by default it waits for ever.

        """
    def stats(self) -> Stats:
        """What the registry has done. O(hives)."""
    def hive_stats(self, hive_id: str) -> HiveStats | None:
        """How regularly one hive beats."""
    def snapshot(self) -> Snapshot:
        """A copy of everything, as tables. O(workers)."""
    def _repr_html_(self) -> str: ...
