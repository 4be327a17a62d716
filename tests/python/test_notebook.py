from html.parser import HTMLParser
from typing import Any

import polars as pl
import pytest

from fleet import heartbeat, worker
from hive_registry import (
    Candidate,
    HiveHeartbeat,
    HiveInfo,
    HiveRegistry,
    LeastLoaded,
    ManualClock,
    PowerOfChoices,
    Random,
    RoundRobin,
    Table,
    Worker,
)

NASTY = """<script>alert("x")</script> & 'q' &amp; \\ \N{LINE SEPARATOR} \N{RIGHT-TO-LEFT OVERRIDE}"""
"""As nasty as a name may be: control characters are refused."""


# === repr ===


def candidate(registry: HiveRegistry) -> Candidate:
    seen: list[Candidate] = []

    def score(each: Candidate) -> float:
        seen.append(each)
        return 0.0

    registry.pick("m", score)
    return seen[0]


def everything(registry: HiveRegistry, clock: ManualClock, hive_id: str, worker_id: str) -> dict[str, Any]:
    """One object of every class that is no record."""
    found = registry.get_worker_on(hive_id, worker_id)
    assert found is not None
    reservation = registry.reserve("m")
    released = registry.reserve("m")
    released.release()
    sweeper = registry.spawn_sweeper(3600, 3600)
    stopped = registry.spawn_sweeper(3600, 3600)
    stopped.stop()
    snapshot = registry.snapshot()
    return {
        "HiveRegistry": registry,
        "Snapshot": snapshot,
        "Table": snapshot.workers,
        "Table of hives": snapshot.hives,
        "Worker": found,
        "Candidate": candidate(registry),
        "HiveState": registry.get_hive_state(hive_id),
        "Reservation": reservation,
        "released Reservation": released,
        "Model": registry.model("m"),
        "Sweeper": sweeper,
        "stopped Sweeper": stopped,
        "Subscription": registry.subscribe(timeout=1.0),
        "ManualClock": clock,
        "LeastLoaded": LeastLoaded(),
        "PowerOfChoices": PowerOfChoices(3),
        "RoundRobin": RoundRobin(),
        "Random": Random(),
        "Lease": registry.reserve_detached("m", 10),
        "Resources": registry.get_available_resources(hive_id),
        "Explanation": registry.explain("m"),
        "Stats": registry.stats(),
        "HiveStats": registry.hive_stats(hive_id),
    }


RECORDS = {"Lease", "Resources", "Explanation"}
"""Dataclasses that tell every field."""


@pytest.mark.parametrize("name", ["h", NASTY, "улей-🐝"], ids=["plain", "nasty", "unicode"])
def test_every_repr_is_one_line(registry: HiveRegistry, clock: ManualClock, name: str) -> None:
    registry.ingest(heartbeat(name, name))
    shown = {kind: repr(each) for kind, each in everything(registry, clock, name, name).items()}
    assert {kind: text for kind, text in shown.items() if len(text.splitlines()) != 1} == {}


def test_every_repr_is_short_where_names_are(registry: HiveRegistry, clock: ManualClock) -> None:
    registry.ingest(heartbeat("gpu-1", worker("llama-8080", health_status="degraded")))
    shown = {kind: repr(each) for kind, each in everything(registry, clock, "gpu-1", "llama-8080").items()}
    assert {kind: text for kind, text in shown.items() if kind not in RECORDS and len(text) >= 120} == {}


def test_every_repr_says_its_class(registry: HiveRegistry, clock: ManualClock) -> None:
    registry.ingest(heartbeat("h", "a"))
    for each in everything(registry, clock, "h", "a").values():
        # A candidate shows itself as the worker that it is.
        name = "Worker" if isinstance(each, Worker) else type(each).__name__
        assert name in repr(each)


@pytest.mark.parametrize("kind", ["Worker", "HiveState", "Reservation"])
def test_a_repr_quotes_the_name_of_the_hive(registry: HiveRegistry, clock: ManualClock, kind: str) -> None:
    registry.ingest(heartbeat('h"<i>', "a"))
    assert r'"h\"<i>"' in repr(everything(registry, clock, 'h"<i>', "a")[kind])


@pytest.mark.parametrize("kind", ["Worker", "Candidate", "Reservation"])
def test_a_repr_quotes_the_name_of_the_worker(registry: HiveRegistry, clock: ManualClock, kind: str) -> None:
    registry.ingest(heartbeat("h", 'a"<i>'))
    assert r'"a\"<i>"' in repr(everything(registry, clock, "h", 'a"<i>')[kind])


def test_a_repr_quotes_the_name_of_the_model(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", worker("a", model_id='m"<i>')))
    found = registry.get_worker_on("h", "a")
    assert r'"m\"<i>"' in repr(found)
    assert repr(registry.model('m"<i>')) == r'<Model "m\"<i>">'


def test_a_newline_in_a_name_breaks_no_repr(registry: HiveRegistry) -> None:
    # No heartbeat brings one, but a pickle may.
    registry.ingest(heartbeat("HIVE", worker("WORKER", model_id="MODEL")))
    found = registry.get_worker_on("HIVE", "WORKER")
    assert found is not None
    make, (json,) = found.__reduce__()
    for name in (b"HIVE", b"WORKER", b"MODEL"):
        json = json.replace(name, rb"a\nb")
    broken = make(json)
    assert broken.worker_id == "a\nb"
    assert repr(broken) == r'<Worker "a\nb" on "a\nb": Idle "a\nb">'


@pytest.mark.parametrize("field", ["state", "health_status"])
def test_an_odd_word_for_a_state_breaks_no_repr(registry: HiveRegistry, field: str) -> None:
    registry.ingest(heartbeat("h", worker("a", **{field: "one\N{LINE SEPARATOR}two"})))
    assert len(repr(registry.get_worker_on("h", "a")).splitlines()) == 1


def test_the_repr_of_a_registry_counts(registry: HiveRegistry) -> None:
    registry.ingest_many([heartbeat("h", "a", "b"), heartbeat("i", "a")])
    assert repr(registry) == "<HiveRegistry: 2 hives, 3 workers>"


def test_the_repr_of_statistics_is_a_line(registry: HiveRegistry, clock: ManualClock) -> None:
    registry.ingest_many(heartbeat(f"h{at}", "a", "b") for at in range(1_200))
    for at in (1, 2):
        clock.advance(at)
        registry.ingest(heartbeat("h0", "a", at=at))
    with pytest.raises(ValueError, match="at line"):
        registry.ingest("{")
    reservation = registry.reserve("m")
    stats = registry.stats()
    assert repr(stats) == "<Stats: 1,200 hives, 2,399 workers, 1,202 heartbeats, 1 refused, 1 reservations>"
    assert repr(stats.hives[0]) == "<HiveStats 'h0': 3 heartbeats, every 1.5 s, the longest gap 2 s, 0 refused>"
    reservation.release()


def test_the_repr_of_a_snapshot_counts_who_is_online(registry: HiveRegistry, clock: ManualClock) -> None:
    registry.ingest(heartbeat("h", "a", "b"))
    clock.advance(60)
    registry.ingest(heartbeat("i", "a", at=60))
    assert repr(registry.snapshot()) == (
        "<Snapshot: 2 hives, 1 of them online, 3 workers, at 2026-01-01T00:01:00+00:00>"
    )


def test_the_repr_of_a_worker_tells_bad_health_only(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "a", worker("b", health_status="degraded", model_id=None)))
    shown = [repr(each) for each in registry.get_workers_on_hive("h")]
    assert shown == ['<Worker "a" on "h": Idle "m">', '<Worker "b" on "h": Idle degraded>']


def test_the_repr_of_a_reservation_tells_whether_it_is_released(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "a"))
    reservation = registry.reserve("m")
    assert repr(reservation) == '<Reservation of "a" on "h">'
    reservation.release()
    assert repr(reservation) == '<Reservation of "a" on "h" released>'


# === HTML ===


class Read(HTMLParser):
    """Reads HTML of tables, and finds what is not well-formed."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.headers: list[str] = []
        self.rows: list[list[str]] = []
        self.outside = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert [name for name, _ in attrs if name not in ("class", "style")] == []
        self.open.append(tag)
        self.tags.add(tag)
        if tag == "tr" and "tbody" in self.open:
            self.rows.append([])
        elif tag == "th":
            self.headers.append("")
        elif tag == "td":
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "th" in self.open:
            self.headers[-1] += data
        elif "td" in self.open:
            self.rows[-1][-1] += data
        else:
            assert "table" not in self.open
            self.outside += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(decl)

    def handle_pi(self, data: str) -> None:
        raise AssertionError(data)


def shown(registry: HiveRegistry) -> dict[str, tuple[str, Table]]:
    """What a notebook shows, and the table it shows some of."""
    snapshot = registry.snapshot()
    return {
        "registry": (registry._repr_html_(), snapshot.hives),
        "snapshot": (snapshot._repr_html_(), snapshot.workers),
        "workers": (snapshot.workers._repr_html_(), snapshot.workers),
        "hives": (snapshot.hives._repr_html_(), snapshot.hives),
    }


which = pytest.mark.parametrize("which", ["registry", "snapshot", "workers", "hives"])


@which
@pytest.mark.parametrize("hives", [0, 1, 20, 21, 3_000])
def test_a_notebook_shows_at_most_20_rows(registry: HiveRegistry, which: str, hives: int) -> None:
    registry.ingest_many(heartbeat(f"h{at:04}", "a") for at in range(hives))
    html, table = shown(registry)[which]
    read = Read(html)
    assert len(table) == hives
    assert [row[0] for row in read.rows] == [f"h{at:04}" for at in range(min(hives, 20))]
    assert (f"20 of {hives} rows" in read.outside) == (hives > 20)


FULL = {
    "device_id": 1,
    "vram_bytes": 2**40,
    "vram_total_bytes": 2**41,
    "ram_bytes": 2**30,
    "cpu_percent": 150.0,
    "gpu_percent": 62.5,
    "max_concurrency": 4,
    "backend": "cuda",
}
"""What a worker may say beside what all of these tests have it say."""


@which
def test_the_headers_are_the_columns(registry: HiveRegistry, which: str) -> None:
    registry.ingest(heartbeat("h", worker("a", **FULL), hive_info=HiveInfo("h", "gpu", 1, version="1")))
    html, table = shown(registry)[which]
    read = Read(html)
    assert sorted(read.headers) == sorted(table.columns)
    assert [len(row) for row in read.rows] == [len(table.columns)]
    assert read.tags <= {"div", "table", "thead", "tbody", "tr", "th", "td", "p", "b"}
    assert "left out" not in read.outside


def test_what_people_look_for_stands_first(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", worker("a", **FULL), hive_info=HiveInfo("h", "gpu", 1, version="1")))
    snapshot = registry.snapshot()
    workers, hives = Read(snapshot.workers._repr_html_()).headers, Read(snapshot.hives._repr_html_()).headers
    assert workers[:9] == [
        "hive_id",
        "worker_id",
        "model_id",
        "state",
        "health_status",
        "device_id",
        "gpu_percent",
        "reservations",
        "online",
    ]
    assert workers[-4:] == ["timestamp", "last_heartbeat", "url", "load"]
    assert hives[:3] == ["hive_id", "operational_status", "health_status"]
    assert hives[-1] == "timestamp"


@pytest.mark.parametrize(("fields", "left_out"), [({}, 8), ({"device_id": 0, "gpu_percent": 1.0}, 6), (FULL, 0)])
def test_columns_that_are_empty_in_every_row_are_left_out(
    registry: HiveRegistry, fields: dict[str, Any], left_out: int
) -> None:
    # One worker of thirty says it, in a row that is not shown.
    registry.ingest(heartbeat("h", *(f"{at:02}" for at in range(29)), worker("99", **fields)))
    table = registry.snapshot().workers
    read = Read(table._repr_html_())
    assert set(FULL) & set(read.headers) == set(fields)
    assert len(read.headers) == len(table.columns) - left_out
    said = f"{left_out} columns that are empty in every row left out"
    assert read.outside == "20 of 30 rows" + (said if left_out else "")


def test_colours_are_left_to_the_page(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "a"))
    for html, _ in shown(registry).values():
        assert "color" not in html
        assert "background" not in html


@pytest.mark.parametrize("which", ["registry", "snapshot"])
def test_a_line_says_how_many_there_are(registry: HiveRegistry, clock: ManualClock, which: str) -> None:
    registry.ingest(heartbeat("h", "a", "b"))
    clock.advance(60)
    registry.ingest_many([heartbeat("i", "a", at=60), heartbeat("j", at=60)])
    assert Read(shown(registry)[which][0]).outside.startswith("3 hives, 2 of them online, 3 workers")


@which
def test_all_text_is_escaped(registry: HiveRegistry, which: str) -> None:
    nasty = worker(NASTY, url=NASTY, model_id=NASTY, state=NASTY, health_status=NASTY, backend=NASTY)
    registry.ingest(heartbeat(NASTY, nasty))
    registry.ingest(HiveHeartbeat(HiveInfo(NASTY + "2", NASTY, 1, version="1"), "2026-01-01T00:00:00Z"))
    html, table = shown(registry)[which]
    read = Read(html)
    assert "script" not in read.tags
    row = dict(zip(read.headers, read.rows[-1], strict=True))
    of_hive = {"hive_id": NASTY + "2", "hostname": NASTY}
    of_worker = dict.fromkeys(["hive_id", "worker_id", "url", "model_id", "state", "health_status"], NASTY)
    expected = of_hive if "hostname" in table.columns else of_worker
    # What would turn the line round is seen instead.
    expected = {name: text.replace("\N{RIGHT-TO-LEFT OVERRIDE}", r"\u{202e}") for name, text in expected.items()}
    assert {name: row[name] for name in expected} == expected


def test_the_cells_are_the_values(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", worker("a", **FULL)))
    table = registry.snapshot().workers
    read = Read(table._repr_html_())
    cells = dict(zip(read.headers, read.rows[0], strict=True))
    row = pl.DataFrame(table).row(0, named=True)
    words = {name: str(value) for name, value in row.items()}
    words |= {"online": "true", "timestamp": "2026-01-01 00:00:00", "last_heartbeat": "2026-01-01 00:00:00"}
    assert cells == words


def test_a_worker_has_no_html_of_its_own(registry: HiveRegistry) -> None:
    # A notebook shows its repr, which it escapes.
    registry.ingest(heartbeat("h", "a"))
    assert not hasattr(Worker, "_repr_html_")
