import importlib
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Any

import duckdb
import polars as pl
import pytest

from fleet import START, heartbeat, worker
from hive_registry import (
    Capability,
    HeartbeatError,
    HiveHealth,
    HiveHeartbeat,
    HiveInfo,
    HiveRegistry,
    ManualClock,
    ProcessStats,
    Table,
)

# They bring no types of their own.
pa: Any = importlib.import_module("pyarrow")
pd: Any = importlib.import_module("pandas")

FULL = worker(
    "full",
    state="Busy",
    health_status="degraded",
    backend="cuda",
    device_id=1,
    vram_bytes=2**40 + 1,
    vram_total_bytes=2**41 + 1,
    ram_bytes=3_000_000_001,
    cpu_percent=150.5,
    gpu_percent=62.5,
    max_concurrency=4,
    last_heartbeat=START - timedelta(seconds=2.5),
)
EMPTY = worker("empty", url=None, model_id=None)
ODD = worker('<b>"odd" & ö</b>', state="Warming", model_id="a long name that fits into no view of twelve bytes")

Rows = list[dict[str, Any]]


@pytest.fixture
def filled(registry: HiveRegistry) -> HiveRegistry:
    registry.ingest_many([heartbeat("b", FULL, EMPTY, ODD, at=1), heartbeat("a", FULL), heartbeat("c")])
    return registry


# === how tables are read ===


def relation(found: Table) -> Any:  # noqa: ARG001 - duckdb finds it by its name
    return duckdb.sql("from found")


def by_duckdb(found: Table) -> Rows:
    rows: Rows = relation(found).pl().to_dicts()
    return rows


def by_pandas(table: Table) -> Rows:
    frame = table.to_pandas().astype(object)
    rows: Rows = frame.where(frame.notna(), None).to_dict("records")
    return rows


def by_polars_from_arrow(table: Table) -> Rows:
    read = pl.from_arrow(table)
    # What is no library's own table is a series of structs to it.
    return read.to_list() if isinstance(read, pl.Series) else read.to_dicts()


READERS: dict[str, Callable[[Table], Rows]] = {
    "polars": lambda table: pl.DataFrame(table).to_dicts(),
    "polars.from_arrow": by_polars_from_arrow,
    "to_polars": lambda table: table.to_polars().to_dicts(),
    "duckdb": by_duckdb,
    "pyarrow": lambda table: pa.table(table).to_pylist(),
    "pyarrow stream": lambda table: pa.RecordBatchReader.from_stream(table).read_all().to_pylist(),
    "to_arrow": lambda table: table.to_arrow().to_pylist(),
    "to_pandas": by_pandas,
}

readers = pytest.mark.parametrize("read", [pytest.param(read, id=name) for name, read in READERS.items()])


def rows_of(registry: HiveRegistry) -> Rows:
    """The columns that are fields of the workers, by way of `Worker`."""
    rows = [each.asdict() for _, each in registry.list_all_workers()]
    return [{name: value for name, value in row.items() if name != "process"} for row in rows]


def picked(rows: Rows, *names: str) -> Rows:
    return [{name: row[name] for name in names} for row in rows]


@readers
def test_every_column_of_workers_is_what_the_worker_says(filled: HiveRegistry, read: Callable[[Table], Rows]) -> None:
    expected = rows_of(filled)
    assert len(expected) == 4
    assert picked(read(filled.snapshot().workers), *expected[0]) == expected


@readers
def test_the_other_columns_of_workers_are_what_the_registry_counts(
    clock: ManualClock, read: Callable[[Table], Rows]
) -> None:
    registry = HiveRegistry(clock=clock, seed=1, liveness_window=10)
    registry.ingest(heartbeat("dead", "w"))
    clock.advance(20)
    busy = worker("w", gpu_percent=10.0, max_concurrency=2, model_id="n")
    registry.ingest(heartbeat("live", busy, at=20))
    with registry.reserve("n"):
        rows = read(registry.snapshot().workers)
    assert picked(rows, "hive_id", "timestamp", "reservations", "load", "online") == [
        {"hive_id": "dead", "timestamp": START, "reservations": 0, "load": 0, "online": False},
        {
            "hive_id": "live",
            "timestamp": START + timedelta(seconds=20),
            "reservations": 1,
            "load": 1_001 * 2**19 + 100,
            "online": True,
        },
    ]


@readers
def test_every_column_of_hives_is_what_the_hive_says(registry: HiveRegistry, read: Callable[[Table], Rows]) -> None:
    info = HiveInfo("t", "gpu-1", 9000, "1.2", "busy", HiveHealth("degraded", "hot"))
    process = ProcessStats(1, "llm", "8080", rss_mb=1000, vram_mb=2000, total_vram_mb=4000, model="t")
    registry.ingest(HiveHeartbeat(info, START, [process], [Capability("0", "GPU", "cuda", 24.0)]))
    registry.ingest(heartbeat("p", "a", "b"))
    registry.ingest(heartbeat("p", "a", "b", at=0.5))
    with registry.reserve("m"):
        rows = read(registry.snapshot().hives)
    states = [registry.get_hive_state("p"), registry.get_hive_state("t")]
    assert states[0] is not None
    assert states[1] is not None
    plain: dict[str, Any] = {"hostname": None, "port": None, "operational_status": None, "health_status": None}
    telemetry = dict(zip(plain, ["gpu-1", 9000, "busy", "degraded"], strict=True))
    assert rows == [
        {
            "hive_id": state.hive_id,
            "online": True,
            "age_ms": 0,
            "timestamp": state.last_heartbeat,
            "worker_count": state.worker_count,
            "reservations": reservations,
            "vram_used_gb": state.vram_used_gb,
            "ram_used_gb": state.ram_used_gb,
            "version": state.version,
            **said,
        }
        for state, reservations, said in [(states[0], 1, plain), (states[1], 0, telemetry)]
    ]


def test_the_age_of_a_hive_is_since_it_was_heard(registry: HiveRegistry, clock: ManualClock) -> None:
    registry.ingest(heartbeat("h", "a"))
    clock.advance(31.5)
    rows = registry.snapshot().hives.to_polars().to_dicts()
    assert picked(rows, "age_ms", "online") == [{"age_ms": 31_500, "online": False}]


@readers
def test_a_table_is_read_as_often_as_one_likes(filled: HiveRegistry, read: Callable[[Table], Rows]) -> None:
    table = filled.snapshot().workers
    assert read(table) == read(table)


@readers
@pytest.mark.parametrize("which", ["workers", "hives"])
def test_the_table_of_no_hives_has_no_rows(registry: HiveRegistry, read: Callable[[Table], Rows], which: str) -> None:
    table: Table = getattr(registry.snapshot(), which)
    assert len(table) == 0
    assert read(table) == []


@pytest.mark.parametrize("which", ["workers", "hives"])
def test_the_columns_are_the_same_without_rows(filled: HiveRegistry, which: str) -> None:
    empty: Table = getattr(HiveRegistry().snapshot(), which)
    table: Table = getattr(filled.snapshot(), which)
    assert pa.table(empty).schema == pa.table(table).schema == pa.schema(table)


@pytest.mark.parametrize("which", ["workers", "hives"])
def test_the_length_and_columns_are_those_of_the_rows(filled: HiveRegistry, which: str) -> None:
    table: Table = getattr(filled.snapshot(), which)
    frame = pl.DataFrame(table)
    assert (len(table), table.columns) == (frame.height, frame.columns)


def test_the_columns_of_workers_are_those_of_a_worker_and_four_more(filled: HiveRegistry) -> None:
    fields = set(rows_of(filled)[0])
    assert set(filled.snapshot().workers.columns) == fields | {"timestamp", "reservations", "load", "online"}


def test_the_schema_says_the_type_of_each_column(filled: HiveRegistry) -> None:
    schema = pa.schema(filled.snapshot().workers)
    assert schema.names == filled.snapshot().workers.columns
    assert schema.field("hive_id").type == pa.string()
    assert schema.field("timestamp").type == pa.timestamp("us", "UTC")
    assert schema.field("vram_bytes").type == pa.uint64()
    assert schema.field("gpu_percent").type == pa.float32()
    assert not schema.field("worker_id").nullable
    assert schema.field("url").nullable


@pytest.mark.parametrize("text", [pa.string_view(), pa.large_string()])
def test_a_consumer_may_ask_for_another_kind_of_text(filled: HiveRegistry, text: Any) -> None:
    table = filled.snapshot().workers
    wanted = pa.schema([field.with_type(text) if field.type == pa.string() else field for field in pa.schema(table)])
    given = pa.table(table, schema=wanted)
    assert given.schema == wanted
    assert given.to_pylist() == pa.table(table).to_pylist()


def test_a_consumer_may_ask_for_other_numbers(filled: HiveRegistry) -> None:
    table = filled.snapshot().workers
    wanted = pa.schema(
        [field.with_type(pa.int64()) if field.type == pa.uint32() else field for field in pa.schema(table)]
    )
    assert pa.table(table, schema=wanted).to_pylist() == pa.table(table).to_pylist()


def test_what_the_types_asked_for_cannot_hold_is_refused(filled: HiveRegistry) -> None:
    table = filled.snapshot().hives
    fields = list(pa.schema(table))
    ages = [field.with_type(pa.int8()) if field.name == "age_ms" else field for field in fields]
    filled.ingest(heartbeat("old", at=-100))
    with pytest.raises(ValueError, match=r"^age_ms: "):
        pa.table(filled.snapshot().hives, schema=pa.schema(ages))
    with pytest.raises(ValueError, match=r"^requested_schema: .* refused: the columns"):
        pa.table(table, schema=pa.schema([field.with_name(f"my_{field.name}") for field in fields]))


def run(script: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: what is imported, or crashes, there leaves no trace here."""
    head = f"""
import sys
sys.path[:0] = {sys.path!r}
from fleet import START, heartbeat, worker
from hive_registry import HiveRegistry, ManualClock

class Missing:
    # Lets libraries be missing, as if not installed.
    def __init__(self, *names):
        self.names = names
        sys.meta_path.insert(0, self)

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

registry = HiveRegistry(clock=ManualClock(START), seed=1)
registry.ingest_many([heartbeat("h", "a", worker("b", url="http://" + 40 * "x", device_id=1)), heartbeat("i", "a")])
workers = registry.snapshot().workers
"""
    command = [sys.executable, "-c", head + script]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_nanoarrow_reads_a_table() -> None:
    done = run("""
Missing("pyarrow", "polars", "pandas")
import nanoarrow
rows = nanoarrow.Array(workers).to_pylist()
assert [(row["hive_id"], row["worker_id"], row["device_id"]) for row in rows] == [
    ("h", "a", None), ("h", "b", 1), ("i", "a", None)
], rows
assert rows[1]["url"] == "http://" + 40 * "x", rows
""")
    assert done.returncode == 0, done.stderr


# === what a snapshot is ===


def test_a_snapshot_does_not_change_when_the_registry_does(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "a"))
    snapshot = registry.snapshot()
    registry.ingest(heartbeat("h", "b", "c", at=1))
    registry.ingest(heartbeat("i", "a"))
    # Its tables are made only now.
    assert snapshot.workers.to_polars()["worker_id"].to_list() == ["a"]
    assert snapshot.hives.to_polars()["hive_id"].to_list() == ["h"]
    assert len(registry.snapshot().workers) == 3


def test_a_table_outlives_its_registry(registry: HiveRegistry, clock: ManualClock) -> None:
    other = HiveRegistry(clock=clock)
    other.ingest(heartbeat("h", "a"))
    frame = pl.DataFrame(other.snapshot().workers)
    del other
    registry.ingest(heartbeat("h", "b"))
    assert frame["worker_id"].to_list() == ["a"]


def test_the_tables_of_a_snapshot_are_made_once(filled: HiveRegistry) -> None:
    snapshot = filled.snapshot()
    assert snapshot.workers is snapshot.workers
    assert snapshot.hives is snapshot.hives


def test_a_snapshot_says_when_it_was_taken_and_after_which_event(registry: HiveRegistry, clock: ManualClock) -> None:
    feed = registry.subscribe(timeout=0)
    registry.ingest(heartbeat("h", "a"))
    clock.advance(1.5)
    snapshot = registry.snapshot()
    assert snapshot.taken_at == START + timedelta(seconds=1.5)
    assert snapshot.sequence == max(event.sequence for event in feed)


def test_every_hive_of_a_snapshot_is_as_one_heartbeat_left_it(registry: HiveRegistry, clock: ManualClock) -> None:
    # Past all of their timestamps: no hive is heard later than now.
    clock.advance(1_000_000)
    stop = threading.Event()
    failed: list[BaseException] = []

    def beat() -> None:
        second = 0
        try:
            while not stop.is_set():
                second += 1
                for hive_id in ("h", "i"):
                    workers = [worker(f"w{each}", gpu_percent=float(second)) for each in range(second % 20 + 1)]
                    registry.ingest(heartbeat(hive_id, *workers, at=second))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=beat)
    thread.start()
    seen: set[datetime] = set()
    try:
        while len(seen) < 20 and not failed:
            rows = registry.snapshot().workers.to_polars().select("hive_id", "timestamp", "gpu_percent").rows()
            for _, group in groupby(rows, key=lambda row: row[0]):
                of_hive = list(group)
                assert len(set(of_hive)) == 1
                _, timestamp, second = of_hive[0]
                assert timestamp == START + timedelta(seconds=second)
                assert len(of_hive) == second % 20 + 1
                seen.add(timestamp)
    finally:
        stop.set()
        thread.join()
    assert failed == []


def test_many_hives_are_in_order(registry: HiveRegistry) -> None:
    hives = [f"h{at}" for at in range(5_000)]
    done = registry.ingest_many(heartbeat(hive_id, "b", "c", "a") for hive_id in reversed(hives))
    assert done.registered == 5_000
    snapshot = registry.snapshot()
    ordered = sorted(hives)
    assert snapshot.hives.to_polars()["hive_id"].to_list() == ordered
    assert snapshot.workers.to_polars().select("hive_id", "worker_id").rows() == [
        (hive_id, worker_id) for hive_id in ordered for worker_id in "abc"
    ]
    assert len(snapshot.workers) == 15_000
    assert pa.table(snapshot.workers)["hive_id"].to_pylist() == [each for each in ordered for _ in "abc"]


# === libraries that are missing ===


@pytest.mark.parametrize(
    ("method", "library", "packages"),
    [
        ("to_polars", "polars", "polars"),
        ("to_arrow", "pyarrow", "pyarrow"),
        ("to_pandas", "pyarrow", "pandas pyarrow"),
        ("to_pandas", "pandas", "pandas pyarrow"),
    ],
)
def test_a_missing_library_is_named_with_a_command_that_installs_it(method: str, library: str, packages: str) -> None:
    done = run(f"""
Missing({library!r})
try:
    workers.{method}()
except ImportError as error:
    print(error)
""")
    assert done.returncode == 0, done.stderr
    # This package itself may have come from anywhere: none of its extras need be known to pip.
    assert done.stdout == f"{library} is not installed: pip install {packages}\n"


@pytest.mark.parametrize(
    "script",
    [
        "import polars; assert polars.DataFrame(workers).height == 3",
        "assert workers.to_polars().height == 3",
        "import duckdb; assert duckdb.sql('select count(distinct hive_id) from workers').fetchall() == [(2,)]",
        "assert 'h' in registry.snapshot()._repr_html_()",
        "assert HiveRegistry(clock=ManualClock(START)).ingest_table(workers).registered == 2",
        "assert HiveRegistry(clock=ManualClock(START)).ingest_table(workers.to_polars()).registered == 2",
    ],
    ids=["polars", "to_polars", "duckdb", "html", "ingest own", "ingest polars"],
)
def test_only_what_is_pyarrow_needs_pyarrow(script: str) -> None:
    done = run(f"Missing('pyarrow')\n{script}")
    assert done.returncode == 0, done.stderr


def test_importing_the_package_imports_no_data_library() -> None:
    done = run("print(*{'polars', 'pyarrow', 'pandas', 'duckdb', 'numpy'} & set(sys.modules))")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


# === tables of heartbeats ===


NUMBERS = [
    "device_id",
    "vram_bytes",
    "vram_total_bytes",
    "ram_bytes",
    "cpu_percent",
    "gpu_percent",
    "max_concurrency",
]


def columns(**more: Any) -> dict[str, Any]:
    """Of one hive's one worker."""
    return {"hive_id": ["h"], "worker_id": ["a"], "timestamp": [START], **more}


def two(**more: Any) -> dict[str, Any]:
    return {"hive_id": ["h", "i"], "worker_id": ["a", "a"], "timestamp": [START, START], **more}


def only(registry: HiveRegistry) -> dict[str, Any]:
    ((_, found),) = registry.list_all_workers()
    return found.asdict()


@pytest.mark.parametrize(
    "through",
    [
        pytest.param(lambda table: table, id="own"),
        pytest.param(lambda table: table.to_polars(), id="polars"),
        pytest.param(lambda table: table.to_polars().reverse(), id="polars, reversed"),
        pytest.param(lambda table: table.to_arrow(), id="pyarrow"),
        pytest.param(lambda table: table.to_arrow().to_reader(), id="pyarrow stream"),
        pytest.param(lambda table: table.to_arrow().combine_chunks().to_batches()[0], id="pyarrow batch"),
        pytest.param(lambda table: table.to_pandas(), id="pandas"),
        pytest.param(relation, id="duckdb"),
        pytest.param(lambda table: pa.concat_tables([table.to_arrow().slice(at, 1) for at in range(4)]), id="chunks"),
    ],
)
def test_a_table_of_workers_makes_the_same_workers(
    filled: HiveRegistry, clock: ManualClock, through: Callable[[Table], Any]
) -> None:
    other = HiveRegistry(clock=clock)
    done = other.ingest_table(through(filled.snapshot().workers))
    assert (done.registered, done.refused) == (2, ())
    assert other.list_all_workers() == filled.list_all_workers()
    for hive_id in ("a", "b"):
        state, same = filled.get_hive_state(hive_id), other.get_hive_state(hive_id)
        assert state is not None
        assert same is not None
        assert same.last_heartbeat == state.last_heartbeat


def test_a_table_of_many_hives_makes_the_same_workers(registry: HiveRegistry, clock: ManualClock) -> None:
    registry.ingest_many(heartbeat(f"h{at}", worker("a", device_id=at), "b") for at in range(3_000))
    other = HiveRegistry(clock=clock)
    assert other.ingest_table(registry.snapshot().workers).registered == 3_000
    assert other.list_all_workers() == registry.list_all_workers()


def test_what_a_table_does_not_say_is_as_worker_state_has_it(registry: HiveRegistry) -> None:
    registry.ingest_table(pl.DataFrame(columns()))
    said = {"hive_id": "h", "worker_id": "a", "last_heartbeat": START, "state": "Idle", "health_status": "healthy"}
    assert {name: value for name, value in only(registry).items() if value is not None} == said


def test_what_is_null_is_as_worker_state_has_it(registry: HiveRegistry) -> None:
    text = ["state", "health_status", "url", "model_id", "backend"]
    nulls = {name: pl.Series([None], dtype=pl.Utf8) for name in text}
    nulls |= {name: pl.Series([None], dtype=pl.Int64) for name in [*NUMBERS, "epoch", "seq"]}
    nulls["last_heartbeat"] = pl.Series([None], dtype=pl.Datetime("us", "UTC"))
    registry.ingest_table(pl.DataFrame(columns(**nulls)))
    said = {"hive_id": "h", "worker_id": "a", "last_heartbeat": START, "state": "Idle", "health_status": "healthy"}
    assert {name: value for name, value in only(registry).items() if value is not None} == said


@pytest.mark.parametrize("name", ["url", "state", "device_id", "gpu_percent", "last_heartbeat", "epoch", "colour"])
def test_a_polars_column_of_nothing_but_none_is_as_a_missing_one(registry: HiveRegistry, name: str) -> None:
    frame = pl.DataFrame(columns(**{name: [None]}))
    assert frame.schema[name] == pl.Null
    assert registry.ingest_table(frame).registered == 1
    assert only(registry)["url"] is None


@pytest.mark.parametrize("name", ["url", "state", "device_id", "gpu_percent", "last_heartbeat", "epoch", "colour"])
def test_a_pyarrow_column_of_nothing_but_none_is_as_a_missing_one(registry: HiveRegistry, name: str) -> None:
    assert registry.ingest_table(pa.table(columns(**{name: pa.nulls(1)}))).registered == 1
    assert only(registry)["url"] is None


def test_the_hive_heard_from_a_worker_when_the_table_says(registry: HiveRegistry) -> None:
    registry.ingest_table(pl.DataFrame(columns(last_heartbeat=[START - timedelta(seconds=9)])))
    assert only(registry)["last_heartbeat"] == START - timedelta(seconds=9)


def test_other_columns_are_left_alone(registry: HiveRegistry) -> None:
    frame = pl.DataFrame(columns(colour=[["red"]], load=["much"], reservations=[-1]))
    assert registry.ingest_table(frame).registered == 1


@pytest.mark.parametrize(
    "column",
    [
        pytest.param(pl.Series(["busy"], dtype=pl.Utf8), id="polars Utf8"),
        pytest.param(pl.Series(["busy"], dtype=pl.Categorical), id="polars Categorical"),
        pytest.param(pl.Series(["busy"], dtype=pl.Enum(["idle", "busy"])), id="polars Enum"),
    ],
)
def test_text_of_polars_is_text(registry: HiveRegistry, column: pl.Series) -> None:
    registry.ingest_table(pl.DataFrame(columns(state=column)))
    assert only(registry)["state"] == "Busy"


@pytest.mark.parametrize(
    "column",
    [
        pytest.param(pa.array(["busy"], pa.string()), id="string"),
        pytest.param(pa.array(["busy"], pa.large_string()), id="large_string"),
        pytest.param(pa.array(["busy"], pa.string_view()), id="string_view"),
        pytest.param(pa.array(["busy"]).dictionary_encode(), id="dictionary"),
        pytest.param(pa.array(["busy"], pa.dictionary(pa.int8(), pa.large_string())), id="large dictionary"),
    ],
)
def test_text_of_pyarrow_is_text(registry: HiveRegistry, column: Any) -> None:
    registry.ingest_table(pa.table(columns(state=column)))
    assert only(registry)["state"] == "Busy"


@pytest.mark.parametrize("name", ["hive_id", "worker_id"])
def test_ids_may_be_categorical(registry: HiveRegistry, name: str) -> None:
    registry.ingest_table(pl.DataFrame(two()).with_columns(pl.col(name).cast(pl.Categorical)))
    assert [(hive_id, each.worker_id) for hive_id, each in registry.list_all_workers()] == [("h", "a"), ("i", "a")]


def test_a_pandas_frame_is_a_table(registry: HiveRegistry) -> None:
    frame = pd.DataFrame(two(state=pd.Categorical(["Busy", None]), device_id=[1, None], url=["u", None]))
    assert registry.ingest_table(frame).registered == 2
    rows = [each.asdict() for _, each in registry.list_all_workers()]
    assert picked(rows, "state", "device_id", "url") == [
        {"state": "Busy", "device_id": 1, "url": "u"},
        {"state": "Idle", "device_id": None, "url": None},
    ]


@pytest.mark.parametrize(
    "dtype", [pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64, pl.Float64]
)
@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_of_any_width_are_numbers(registry: HiveRegistry, name: str, dtype: Any) -> None:
    registry.ingest_table(pl.DataFrame(columns(**{name: pl.Series([7], dtype=dtype)})))
    assert only(registry)[name] == 7


@pytest.mark.parametrize(
    ("name", "value", "dtype"),
    [
        ("device_id", -1, pl.Int64),
        ("vram_bytes", -1, pl.Int8),
        ("epoch", -1, pl.Int64),
        ("device_id", 2**32, pl.UInt64),
        ("max_concurrency", 2**32, pl.Int64),
        ("device_id", 1.5, pl.Float64),
        ("vram_bytes", float("nan"), pl.Float64),
        ("vram_bytes", 1e30, pl.Float64),
        ("vram_bytes", Decimal("1.5"), pl.Decimal(20, 2)),
        ("device_id", Decimal(-1), pl.Decimal(20, 0)),
    ],
)
def test_a_number_that_does_not_fit_is_refused_and_applies_nothing(
    registry: HiveRegistry, name: str, value: float, dtype: Any
) -> None:
    with pytest.raises(HeartbeatError, match=rf"^{name}"):
        registry.ingest_table(pl.DataFrame(two(**{name: pl.Series([0, value], dtype=dtype, strict=False)})))
    assert registry.hive_count() == 0


@pytest.mark.parametrize("name", ["timestamp", "last_heartbeat"])
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/New_York"])
@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_moments_come_in_any_unit_and_zone(registry: HiveRegistry, name: str, unit: Any, zone: str) -> None:
    moment = START - timedelta(seconds=1.25)
    frame = pl.DataFrame(columns() | {name: [moment]})
    frame = frame.with_columns(pl.col(name).dt.cast_time_unit(unit).dt.convert_time_zone(zone))
    assert registry.ingest_table(frame).registered == 1
    state = registry.get_hive_state("h")
    assert state is not None
    assert state.last_heartbeat == (moment if name == "timestamp" else START)
    assert only(registry)["last_heartbeat"] == moment


def test_moments_come_in_seconds(registry: HiveRegistry) -> None:
    registry.ingest_table(pa.table(columns(last_heartbeat=pa.array([START], pa.timestamp("s", "+05:00")))))
    assert only(registry)["last_heartbeat"] == START


@pytest.mark.parametrize("dtype", [pl.Int32, pl.Int64, pl.UInt64, pl.Float64])
def test_moments_come_as_seconds_since_1970(registry: HiveRegistry, dtype: Any) -> None:
    seconds = {name: pl.Series([1767225600], dtype=dtype) for name in ("timestamp", "last_heartbeat")}
    registry.ingest_table(pl.DataFrame(columns() | seconds))
    state = registry.get_hive_state("h")
    assert state is not None
    assert state.last_heartbeat == state.workers[0].last_heartbeat == START


def test_seconds_keep_their_fraction_and_null_is_none(registry: HiveRegistry) -> None:
    registry.ingest_table(pl.DataFrame(two(last_heartbeat=[1767225600.25, None])))
    heard = [each.last_heartbeat for _, each in registry.list_all_workers()]
    assert heard == [START + timedelta(seconds=0.25), START]


@pytest.mark.parametrize("second", [float("nan"), float("inf"), 1767225600000.0, -1e12])
def test_seconds_past_the_calendar_are_refused_by_their_row(registry: HiveRegistry, second: float) -> None:
    with pytest.raises(HeartbeatError, match=r"^timestamp\[1\]: .* refused: seconds since 1970 up to the year 9999$"):
        registry.ingest_table(pl.DataFrame(two(timestamp=[0.0, second])))
    assert registry.hive_count() == 0


def test_moments_come_as_text(registry: HiveRegistry) -> None:
    registry.ingest_table(pl.DataFrame(columns(timestamp=["2026-01-01T02:00:00+02:00"])))
    assert only(registry)["last_heartbeat"] == START


def test_text_that_is_no_moment_is_refused_by_its_row(registry: HiveRegistry) -> None:
    done = registry.ingest_table(pl.DataFrame(two(timestamp=["2026-01-01T00:00:00Z", "noon"])))
    assert registry.list_all_hives() == ["h"]
    assert [row for row, _ in done.refused] == [1]
    assert 'timestamp: "noon" refused: RFC 3339' in str(done.refused[0][1])


def test_a_moment_past_every_calendar_is_refused(registry: HiveRegistry) -> None:
    frame = pl.DataFrame(two(timestamp=pl.Series([0, 2**63 - 1]).cast(pl.Datetime("us", "UTC"))))
    done = registry.ingest_table(frame)
    assert [row for row, _ in done.refused] == [1]
    assert str(done.refused[0][1]).startswith("timestamp: ")


NAIVE = START.replace(tzinfo=None)


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        ("timestamp", [NAIVE], "time zone"),
        ("last_heartbeat", [NAIVE], "time zone"),
        ("timestamp", [START.date()], "time zone"),
        ("timestamp", [True], "time zone"),
        ("hive_id", [5], "text"),
        ("worker_id", [5], "text"),
        ("worker_id", [b"a"], "text"),
        ("url", [True], "text"),
        ("model_id", [["m"]], "text"),
        ("device_id", ["0"], "numbers"),
        ("gpu_percent", ["0"], "numbers"),
        ("gpu_percent", [True], "numbers"),
        ("ram_bytes", [START], "numbers"),
        ("epoch", ["1"], "numbers"),
    ],
)
def test_a_column_of_the_wrong_type_is_refused_and_applies_nothing(
    registry: HiveRegistry, name: str, values: list[Any], says: str
) -> None:
    with pytest.raises(HeartbeatError, match=rf"^{name}: .* refused: .*{says}"):
        registry.ingest_table(pl.DataFrame(columns() | {name: values}))
    assert registry.hive_count() == 0


def dictionary(text: pa.Array) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array([0], pa.int8()), text)


NO_UTF8 = pa.array([b"\xed\xa0\x80"])


@pytest.mark.parametrize("name", ["hive_id", "worker_id", "model_id", "url"])
@pytest.mark.parametrize(
    "text",
    [
        NO_UTF8.view(pa.string()),
        NO_UTF8.cast(pa.large_binary()).view(pa.large_string()),
        dictionary(NO_UTF8.view(pa.string())),
    ],
    ids=["string", "large", "dictionary"],
)
def test_text_that_is_not_utf8_is_refused_and_applies_nothing(registry: HiveRegistry, name: str, text: Any) -> None:
    with pytest.raises(HeartbeatError, match=rf"^{name}: .*[Uu][Tt][Ff]"):
        registry.ingest_table(pa.table(columns() | {name: text}))
    assert registry.hive_count() == 0


def test_what_is_null_in_a_dictionary_is_null(registry: HiveRegistry) -> None:
    null = dictionary(pa.array([None], pa.string()))
    assert registry.ingest_table(pa.table(columns(state=null))).registered == 1
    assert only(registry)["state"] == "Idle"
    with pytest.raises(HeartbeatError, match=r"^hive_id\[0\]: null refused"):
        registry.ingest_table(pa.table(columns() | {"hive_id": null}))


@pytest.mark.parametrize(
    "table",
    [
        pl.DataFrame({"colour": []}, schema={"colour": pl.String}),
        pa.table({"colour": pa.array([], pa.string())}),
        pa.RecordBatchReader.from_batches(pa.schema({"colour": pa.string()}), []),
    ],
    ids=["polars", "pyarrow", "no batches"],
)
def test_a_table_without_rows_needs_its_columns_too(registry: HiveRegistry, table: Any) -> None:
    with pytest.raises(HeartbeatError, match=r"^hive_id: no such column"):
        registry.ingest_table(table)


def test_other_columns_of_polars_may_be_of_any_type(registry: HiveRegistry) -> None:
    odd = {
        "lists": pl.Series([[]], dtype=pl.List(pl.Null)),
        "big": pl.Series([1], dtype=pl.Int128),
        "object": pl.Series([object()], dtype=pl.Object),
    }
    assert registry.ingest_table(pl.DataFrame(columns() | odd)).registered == 1


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59-05:00", "0000-01-01T00:00:00+05:00"])
def test_moments_past_the_calendar_can_be_read_from_a_table(registry: HiveRegistry, moment: str) -> None:
    registry.ingest(heartbeat("h", worker("a", last_heartbeat=moment)))
    workers = registry.snapshot().workers
    (_, found) = registry.list_all_workers()[0]
    assert workers.to_polars()["last_heartbeat"].to_list() == [found.last_heartbeat]
    assert HiveRegistry().ingest_table(workers).registered == 1


def test_a_column_alone_is_no_table(registry: HiveRegistry) -> None:
    with pytest.raises(HeartbeatError, match=r"^table: "):
        registry.ingest_table(pl.Series([1, 2]))


def test_what_a_table_raises_comes_through(registry: HiveRegistry) -> None:
    class Table:
        def __arrow_c_stream__(self, _schema: object = None) -> object:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        registry.ingest_table(Table())


@pytest.mark.parametrize("name", ["hive_id", "worker_id", "timestamp"])
def test_a_needed_column_must_be_there(registry: HiveRegistry, name: str) -> None:
    with pytest.raises(HeartbeatError, match=rf"^{name}: no such column"):
        registry.ingest_table(pl.DataFrame(columns()).drop(name))
    assert registry.hive_count() == 0


@pytest.mark.parametrize("name", ["hive_id", "worker_id", "timestamp"])
def test_a_null_where_a_value_is_needed_is_named_by_column_and_row(registry: HiveRegistry, name: str) -> None:
    first, second = pl.DataFrame(two()), pl.DataFrame(two(**{name: [two()[name][0], None]}))
    # In several pieces, so that the row must be counted through.
    with pytest.raises(HeartbeatError, match=rf"^{name}\[3\]: null refused"):
        registry.ingest_table(pl.concat([first, second], rechunk=False))
    assert registry.hive_count() == 0


def test_scattered_rows_of_a_heartbeat_are_one(registry: HiveRegistry) -> None:
    frame = pl.DataFrame(
        {"hive_id": list("hihih"), "worker_id": list("aabbc"), "timestamp": [START] * 5, "device_id": range(5)}
    )
    assert registry.ingest_table(frame).registered == 2
    assert [(hive_id, each.worker_id, each.device_id) for hive_id, each in registry.list_all_workers()] == [
        ("h", "a", 0),
        ("h", "b", 2),
        ("h", "c", 4),
        ("i", "a", 1),
        ("i", "b", 3),
    ]


def test_heartbeats_of_one_hive_are_applied_in_the_order_of_their_moments(registry: HiveRegistry) -> None:
    later = START + timedelta(seconds=1)
    frame = pl.DataFrame({"hive_id": ["h"] * 3, "worker_id": list("abc"), "timestamp": [START, later, START]})
    done = registry.ingest_table(frame)
    assert (done.registered, done.updated, done.superseded) == (1, 1, 0)
    assert [each.worker_id for each in registry.get_workers_on_hive("h")] == ["b"]


def test_a_heartbeat_that_is_older_than_the_last_table_is_superseded(registry: HiveRegistry) -> None:
    rows = [{"hive_id": "h", "worker_id": name, "timestamp": START + timedelta(seconds=at)} for name, at in NAMED]
    assert registry.ingest_table(pl.DataFrame(rows[:2])).updated == 1
    assert registry.ingest_table(pl.DataFrame(rows[2:])).superseded == 1
    assert [each.worker_id for each in registry.get_workers_on_hive("h")] == ["a"]


NAMED = [("a", 3), ("b", 1), ("c", 2)]


def test_a_removed_hive_stays_so(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "a"))
    registry.remove_hive("h")
    assert registry.ingest_table(pl.DataFrame(columns())).removed == 1
    assert registry.hive_count() == 0


def test_epoch_and_seq_of_a_table_order_heartbeats(registry: HiveRegistry) -> None:
    assert registry.ingest_table(pl.DataFrame(columns(epoch=[1], seq=[2]))).registered == 1
    assert registry.ingest_table(pl.DataFrame(columns(epoch=[1], seq=[1]))).superseded == 1
    assert registry.ingest_table(pl.DataFrame(columns(epoch=[2], seq=[0]))).updated == 1
    assert registry.ingest_table(pl.DataFrame(columns())).superseded == 1


def test_rows_of_another_epoch_or_seq_are_another_heartbeat(registry: HiveRegistry) -> None:
    rows = pl.concat(
        [pl.DataFrame(columns(epoch=[epoch], seq=[seq])) for epoch, seq in [(1, 1), (1, 2), (2, 0), (1, 3)]]
    )
    done = registry.ingest_table(rows)
    assert (done.registered, done.updated, done.superseded, done.refused) == (1, 3, 0, ())


def test_a_heartbeat_out_of_bounds_is_refused_by_its_first_row_and_the_others_applied(registry: HiveRegistry) -> None:
    frame = pl.DataFrame(
        {
            "hive_id": ["a", "bad", "b", "bad", "", "c"],
            "worker_id": ["w", "w", "w", "x", "w", "x" * 257],
            "timestamp": [START] * 6,
            "state": ["Idle", "Idle", "Idle", "\a", "Idle", "Idle"],
        }
    )
    done = registry.ingest_table(frame)
    assert registry.list_all_hives() == ["a", "b"]
    assert done.registered == 2
    assert [row for row, _ in done.refused] == [1, 4, 5]
    assert [type(error) for _, error in done.refused] == [HeartbeatError] * 3
    says = [
        r'workers[1].state: "\u{7}" refused: no control characters',
        'hive_id: "" refused',
        "workers[0].worker_id: ",
    ]
    assert [part for part, (_, error) in zip(says, done.refused, strict=True) if part not in str(error)] == []


def test_the_first_row_is_counted_through_all_batches(registry: HiveRegistry) -> None:
    tables = [two(), columns(hive_id=[""]), two(hive_id=["j", "k"]), columns(hive_id=["\n"])]
    done = registry.ingest_table(pa.concat_tables([pa.table(each) for each in tables]))
    assert done.registered == 4
    assert [row for row, _ in done.refused] == [2, 5]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 1e39])
def test_a_percentage_that_is_no_number_counts_as_not_reported(registry: HiveRegistry, value: float) -> None:
    done = registry.ingest_table(pl.DataFrame(two(gpu_percent=[1.0, value])))
    assert (done.registered, done.refused) == (2, ())
    assert [worker.gpu_percent for _, worker in registry.list_all_workers()] == [1.0, None]
    stats = registry.hive_stats("i")
    assert stats is not None
    assert (stats.complaints, stats.refusals) == (1, 0)
    assert (stats.last_complaint or "").startswith("workers[0].gpu_percent: ")


@pytest.mark.parametrize(
    "table",
    [
        pytest.param(pl.DataFrame(columns()).clear(), id="polars"),
        pytest.param(pa.table(columns()).slice(0, 0), id="pyarrow"),
        pytest.param(HiveRegistry().snapshot().workers, id="own"),
    ],
)
def test_a_table_without_rows_is_no_heartbeat(registry: HiveRegistry, table: Any) -> None:
    done = registry.ingest_table(table)
    assert (done.registered, done.updated, done.superseded, done.removed, done.refused) == (0, 0, 0, 0, ())
    assert registry.hive_count() == 0


@pytest.mark.parametrize("table", [5, None, "table", columns(), [columns()], b""])
def test_what_is_no_table_is_a_type_error(registry: HiveRegistry, table: Any) -> None:
    with pytest.raises(TypeError, match="__arrow_c_stream__"):
        registry.ingest_table(table)


def test_a_plan_is_told_what_makes_a_table_of_it(registry: HiveRegistry) -> None:
    class Planned:
        def compute(self) -> object: ...

    for plan, method in ((pl.DataFrame(columns()).lazy(), "collect"), (Planned(), "compute")):
        with pytest.raises(TypeError, match=rf"__arrow_c_stream__; \.{method}\(\) makes one of it$") as raised:
            registry.ingest_table(plan)  # type: ignore[arg-type]
        assert len(str(raised.value)) <= 512
    assert registry.ingest_table(pl.DataFrame(columns()).lazy().collect()).registered == 1


def test_what_a_stream_raises_is_raised_and_applies_nothing(registry: HiveRegistry) -> None:
    class Broken:
        def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
            raise RuntimeError(f"broken, {requested_schema}")

    with pytest.raises(RuntimeError, match="broken"):
        registry.ingest_table(Broken())
    assert registry.hive_count() == 0


def test_a_stream_that_fails_halfway_applies_nothing(registry: HiveRegistry) -> None:
    def batches() -> Any:
        yield pa.record_batch(columns())
        raise OSError("the disk is gone")

    reader = pa.RecordBatchReader.from_batches(pa.record_batch(columns()).schema, batches())
    with pytest.raises(HeartbeatError, match="the disk is gone"):
        registry.ingest_table(reader)
    assert registry.hive_count() == 0


def test_a_table_is_not_changed_by_being_read(filled: HiveRegistry, clock: ManualClock) -> None:
    table = filled.snapshot().workers
    HiveRegistry(clock=clock).ingest_table(table)
    again = HiveRegistry(clock=clock)
    again.ingest_table(table)
    assert again.list_all_workers() == filled.list_all_workers()
