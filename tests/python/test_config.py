import pickle
import re
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any

import pytest

from fleet import START, heartbeat, worker
from hive_registry import (
    Closed,
    ConfigError,
    HeartbeatError,
    HiveRegistry,
    HiveRegistryError,
    Lagged,
    Limits,
    ManualClock,
    NoWorkerError,
    Resources,
)

SPAN = "seconds, 0 or more, or a timedelta"
WHOLE = "a whole number from 0 to 2**64 - 1"
SHARDS = "a power of two from 2 to 65536"
MOMENT = "seconds since 1970 up to the year 9999, or a datetime with a time zone"
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone.utc)
LIMITS = ("hives", "workers", "workers_per_hive", "models", "heartbeat_bytes", "devices_per_hive")
NO_SPANS = [
    -1,
    -0.001,
    float("nan"),
    float("inf"),
    -float("inf"),
    1e300,
    pytest.param(10**400, id="10**400"),
    "1",
    timedelta(microseconds=-1),
]
NO_WHOLE = [-1, 2**64, 1.0, "1", b"1", True, False]


class Summertime(tzinfo):
    """A zone whose offset depends on the date, as those of `zoneinfo` do."""

    def utcoffset(self, moment: datetime | None, /) -> timedelta | None:
        return None if moment is None else timedelta(hours=2 if 3 < moment.month < 10 else 1)

    def dst(self, moment: datetime | None, /) -> timedelta | None:
        return None if moment is None else timedelta(hours=1 if 3 < moment.month < 10 else 0)

    def tzname(self, _moment: datetime | None, /) -> str:
        return "summertime"


def refusal(field: str, value: object, bound: str) -> str:
    return f"^{re.escape(f'{field}: {value!r} refused: {bound}')}$"


def online_after(registry: HiveRegistry, clock: ManualClock, seconds: float) -> bool:
    registry.ingest(heartbeat("h", at=clock.now()))
    clock.advance(seconds)
    return registry.count_online() == 1


def resources(registry: HiveRegistry) -> Resources:
    registry.ingest(heartbeat("h", "a", "b", at=-1))
    found = registry.get_available_resources("h")
    assert found is not None
    return found


# === the constructor ===


def test_settings_are_given_by_name() -> None:
    make: Any = HiveRegistry
    with pytest.raises(TypeError, match="positional"):
        make(128)


def test_an_unknown_setting_is_a_type_error() -> None:
    make: Any = HiveRegistry
    with pytest.raises(TypeError, match="window"):
        make(window=30)


@pytest.mark.parametrize("shards", [2, 4, 128, 65_536])
def test_shards_are_a_power_of_two(shards: int) -> None:
    registry = HiveRegistry(shards=shards)
    registry.ingest(heartbeat("h", "a"))
    assert registry.total_worker_count() == 1


@pytest.mark.parametrize("shards", [0, 1, 3, 127, 131_072, 2**63])
def test_other_numbers_of_shards_are_refused(shards: int) -> None:
    with pytest.raises(ConfigError, match=refusal("shards", shards, SHARDS)):
        HiveRegistry(shards=shards)


@pytest.mark.parametrize("field", ["shards", "seed", "tie_seed"])
@pytest.mark.parametrize("value", NO_WHOLE)
def test_what_is_no_whole_number_is_refused(field: str, value: Any) -> None:
    settings: dict[str, Any] = {field: value}
    with pytest.raises(ConfigError, match=refusal(field, value, WHOLE)):
        HiveRegistry(**settings)


@pytest.mark.parametrize("window", [10, 10.0, timedelta(seconds=10)])
@pytest.mark.parametrize(("age", "online"), [(9.999, True), (10, False)])
def test_the_liveness_window_is_a_span(clock: ManualClock, window: Any, age: float, online: bool) -> None:
    assert online_after(HiveRegistry(clock=clock, liveness_window=window), clock, age) is online


@pytest.mark.parametrize(("age", "online"), [(29.999, True), (30, False)])
def test_the_liveness_window_is_thirty_seconds_by_default(clock: ManualClock, age: float, online: bool) -> None:
    assert online_after(HiveRegistry(clock=clock), clock, age) is online


def test_the_liveness_window_may_be_a_millisecond(clock: ManualClock) -> None:
    assert online_after(HiveRegistry(clock=clock, liveness_window=0.001), clock, 0)
    assert not online_after(HiveRegistry(clock=clock, liveness_window=0.001), clock, 0.001)


def test_the_liveness_window_may_be_the_longest_span(clock: ManualClock) -> None:
    assert online_after(HiveRegistry(clock=clock, liveness_window=timedelta.max), clock, 1e9)


@pytest.mark.parametrize("window", NO_SPANS)
def test_a_liveness_window_that_is_no_span_is_refused(window: Any) -> None:
    with pytest.raises(ConfigError, match=refusal("liveness_window", window, SPAN)):
        HiveRegistry(liveness_window=window)


@pytest.mark.parametrize("window", [0, 0.0, 0.000_9, timedelta(0), timedelta(microseconds=999)])
def test_a_liveness_window_of_nothing_is_refused(window: Any) -> None:
    with pytest.raises(ConfigError, match=r"^liveness_window: 0 refused: at least 1 ms$"):
        HiveRegistry(liveness_window=window)


@pytest.mark.parametrize("window", [True, False])
def test_a_bool_is_no_span(window: bool) -> None:
    with pytest.raises(ConfigError, match=refusal("liveness_window", window, SPAN)):
        HiveRegistry(liveness_window=window)


@pytest.mark.parametrize(
    ("field", "choices"), [("liveness_clock", '"reported" or "arrival"'), ("stale_mode", '"exclude" or "ignore"')]
)
@pytest.mark.parametrize("value", ["", "Arrival", "Ignore", "exclude ", "monotonic"])
def test_an_unknown_choice_is_refused(field: str, choices: str, value: str) -> None:
    settings: dict[str, Any] = {field: value}
    with pytest.raises(ConfigError, match=f'^{field}: "{value}" refused: {choices}$'):
        HiveRegistry(**settings)


@pytest.mark.parametrize("field", ["liveness_clock", "stale_mode", "clock"])
@pytest.mark.parametrize("value", [1, b"ignore", START])
def test_a_choice_of_another_type_is_a_type_error(field: str, value: Any) -> None:
    settings: dict[str, Any] = {field: value}
    with pytest.raises(TypeError):
        HiveRegistry(**settings)


@pytest.mark.parametrize("value", [0, 1.0, -1, "1", True, 2**64])
@pytest.mark.parametrize("field", LIMITS)
def test_a_limit_is_a_whole_number_from_one(field: str, value: Any) -> None:
    limits: dict[str, Any] = {field: value}
    bound = "at least 1" if value == 0 else WHOLE
    with pytest.raises(ConfigError, match=refusal(field, value, bound)):
        HiveRegistry(limits=Limits(**limits))


@pytest.mark.parametrize("limits", [1, "10", {"hives": 1}])
def test_limits_of_another_type_are_a_type_error(limits: Any) -> None:
    with pytest.raises(TypeError):
        HiveRegistry(limits=limits)


def test_limits_by_default() -> None:
    expected = Limits(
        hives=1_000_000,
        workers=16_000_000,
        workers_per_hive=1_024,
        models=100_000,
        heartbeat_bytes=1_048_576,
        devices_per_hive=256,
    )
    assert Limits() == expected


@pytest.mark.parametrize(
    ("limits", "second", "message"),
    [
        (Limits(hives=1), heartbeat("g"), "hives: 2 refused: at most 1"),
        (Limits(workers=1), heartbeat("g", "b"), "workers: 2 refused: at most 1"),
        (Limits(workers_per_hive=1), heartbeat("h", "a", "b"), "workers_per_hive: 2 refused: at most 1"),
        (Limits(models=1), heartbeat("g", worker("b", model_id="n")), "models: 2 refused: at most 1"),
        (Limits(heartbeat_bytes=200), " " * 201, "heartbeat_bytes: 201 refused: at most 200"),
    ],
)
def test_a_limit_is_not_passed(clock: ManualClock, limits: Limits, second: Any, message: str) -> None:
    registry = HiveRegistry(clock=clock, limits=limits)
    registry.ingest(heartbeat("h", worker("a", url=None)))
    with pytest.raises(HeartbeatError, match=f"^{message}$"):
        registry.ingest(second)
    assert registry.hive_count() == 1
    assert registry.total_worker_count() == 1


@pytest.mark.parametrize(
    ("assumed", "used"), [((1.5, 0.25), (3.0, 0.5)), ((0, 0), (0.0, 0.0)), ((7, 1), (14.0, 2.0)), (None, (8.0, 4.0))]
)
def test_memory_that_is_not_reported_counts_as_assumed(
    clock: ManualClock, assumed: tuple[float, float] | None, used: tuple[float, float]
) -> None:
    found = resources(HiveRegistry(clock=clock, assumed_worker_memory=assumed))
    assert (found.vram_used_gb, found.ram_used_gb) == used


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), 1e39])
@pytest.mark.parametrize(("place", "field"), [(0, "vram_gb"), (1, "ram_gb")])
def test_assumed_memory_is_finite_and_not_negative(value: float, place: int, field: str) -> None:
    assumed = (value, 1.0) if place == 0 else (1.0, value)
    with pytest.raises(ConfigError, match=f"^{field}: .+ refused: finite and at least 0$"):
        HiveRegistry(assumed_worker_memory=assumed)


@pytest.mark.parametrize("assumed", [(True, 1.0), (1.0, False)])
def test_a_bool_is_no_memory(assumed: tuple[float, float]) -> None:
    with pytest.raises((ConfigError, TypeError)):
        HiveRegistry(assumed_worker_memory=assumed)


@pytest.mark.parametrize("assumed", [1.0, "ab", (1.0,), (1.0, 1.0, 1.0), ("x", 1.0)])
def test_assumed_memory_is_a_pair_of_numbers(assumed: Any) -> None:
    with pytest.raises((ConfigError, TypeError)):
        HiveRegistry(assumed_worker_memory=assumed)


def random_picks(seed: int | None) -> list[str]:
    registry = HiveRegistry(clock=ManualClock(START), seed=seed)
    registry.ingest(heartbeat("h", *(f"{at:02}" for at in range(50))))
    picks = [registry.pick("m", "random") for _ in range(30)]
    return [pick[1].worker_id for pick in picks if pick is not None]


@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1])
def test_a_seed_makes_random_picks_repeat(seed: int) -> None:
    assert len(random_picks(seed)) == 30
    assert random_picks(seed) == random_picks(seed)


def test_seeds_and_no_seed_differ() -> None:
    # Of 50**30 sequences of picks, two are the same only by a defect.
    assert len({tuple(random_picks(seed)) for seed in (1, 2, None, None)}) == 4


def reserved(clock: ManualClock, *workers: Any, **settings: Any) -> list[str]:
    """Who gets eight reservations, all held."""
    registry = HiveRegistry(clock=clock, **settings)
    registry.ingest(heartbeat("h", *workers))
    held = [registry.reserve("m") for _ in range(8)]
    return [each.worker.worker_id for each in held]


@pytest.mark.parametrize(
    ("assumed", "order"),
    [(None, "abbbbabb"), (16, "abbbbabb"), (1, "abaaabbb"), (2, "ababaabb"), (2**32 - 1, "abbbbbbb")],
)
def test_who_does_not_say_is_ranked_by_what_is_assumed(clock: ManualClock, assumed: int | None, order: str) -> None:
    workers = worker("a", max_concurrency=4), worker("b")
    assert "".join(reserved(clock, *workers, assumed_concurrency=assumed)) == order


@pytest.mark.parametrize("value", [*NO_WHOLE, 2**32])
def test_an_assumed_concurrency_that_is_no_such_number_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match=refusal("assumed_concurrency", value, "from 1 to 2**32 - 1")):
        HiveRegistry(assumed_concurrency=value)


def test_an_assumed_concurrency_of_none_is_refused() -> None:
    with pytest.raises(ConfigError, match=refusal("assumed_concurrency", 0, "at least 1")):
        HiveRegistry(assumed_concurrency=0)


def test_a_tie_seed_shuffles_who_are_alike(clock: ManualClock) -> None:
    names = list("abcdefgh")
    assert reserved(clock, *names) == names
    shuffled = {seed: reserved(clock, *names, tie_seed=seed) for seed in (0, 1, 2**64 - 1)}
    assert len({tuple(order) for order in (names, *shuffled.values())}) == 4
    for seed, order in shuffled.items():
        assert sorted(order) == names
        assert reserved(clock, *names, tie_seed=seed) == order


def test_the_reported_clock_trusts_the_timestamp(clock: ManualClock) -> None:
    registry = HiveRegistry(clock=clock, liveness_clock="reported")
    registry.ingest(heartbeat("late", at=-3600))
    assert registry.list_online_hives() == []


def test_the_arrival_clock_does_not_look_at_the_timestamp(clock: ManualClock) -> None:
    registry = HiveRegistry(clock=clock, liveness_clock="arrival")
    registry.ingest(heartbeat("late", at=-3600))
    assert registry.list_online_hives() == ["late"]
    clock.advance(30)
    assert registry.list_online_hives() == []


@pytest.mark.parametrize(("liveness_clock", "online"), [("reported", 0), ("arrival", 1)])
def test_a_jump_of_the_wall_clock_ages_what_is_reported(clock: ManualClock, liveness_clock: Any, online: int) -> None:
    registry = HiveRegistry(clock=clock, liveness_clock=liveness_clock)
    registry.ingest(heartbeat("h"))
    clock.jump_wall(3600)
    assert registry.count_online() == online


@pytest.mark.parametrize(("liveness_clock", "online"), [("reported", 0), ("arrival", 1)])
def test_a_superseded_heartbeat_counts_as_heard_by_arrival(
    clock: ManualClock, liveness_clock: Any, online: int
) -> None:
    registry = HiveRegistry(clock=clock, liveness_clock=liveness_clock)
    registry.ingest(heartbeat("h"))
    clock.advance(30)
    registry.ingest(heartbeat("h", at=-1))
    assert registry.count_online() == online


@pytest.mark.parametrize(("stale_mode", "found"), [("exclude", False), ("ignore", True)])
def test_stale_workers_are_picked_where_age_is_ignored(clock: ManualClock, stale_mode: Any, found: bool) -> None:
    registry = HiveRegistry(clock=clock, stale_mode=stale_mode)
    registry.ingest(heartbeat("h", "w"))
    clock.advance(3600)
    assert (registry.find_best_worker_for_model("m") is not None) is found
    assert registry.list_online_hives() == []


def test_registries_may_share_a_clock(clock: ManualClock) -> None:
    one, other = HiveRegistry(clock=clock), HiveRegistry(clock=clock)
    one.ingest(heartbeat("h"))
    other.ingest(heartbeat("h"))
    clock.advance(30)
    assert (one.count_online(), other.count_online()) == (0, 0)


def test_a_registry_goes_by_the_system_clock_by_default() -> None:
    registry = HiveRegistry()
    registry.ingest(heartbeat("now", at=datetime.now(timezone.utc)))
    registry.ingest(heartbeat("long ago"))
    assert registry.list_online_hives() == ["now"]


# === the manual clock ===


@pytest.mark.parametrize(
    ("start", "shows"),
    [
        (0, EPOCH),
        (1, EPOCH + timedelta(seconds=1)),
        (1.5, EPOCH + timedelta(seconds=1.5)),
        (-1.5, EPOCH - timedelta(seconds=1.5)),
        (1_767_225_600, START),
        (START, START),
        (datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), START),
        (datetime(2026, 1, 1, 1, tzinfo=Summertime()), START),
        (datetime(2026, 7, 1, 2, tzinfo=Summertime()), datetime(2026, 7, 1, tzinfo=timezone.utc)),
        (253_402_300_799, LAST),
        (LAST, LAST),
    ],
)
def test_a_clock_shows_its_start(start: Any, shows: datetime) -> None:
    clock = ManualClock(start)
    assert clock.now() == shows
    assert clock.now().tzinfo is timezone.utc


def test_a_clock_starts_in_1970_by_default() -> None:
    assert ManualClock().now() == EPOCH


def test_a_clock_shows_microseconds(clock: ManualClock) -> None:
    moment = START + timedelta(microseconds=1_999)
    assert ManualClock(moment).now() == moment
    clock.set(moment)
    assert clock.now() == moment


@pytest.mark.parametrize("seconds", [1_767_225_600.1, 1_767_225_600.123457, -0.000001, -1.5, 253_402_300_798.999])
def test_a_moment_in_seconds_is_that_of_datetime(seconds: float) -> None:
    assert ManualClock(seconds).now() == datetime.fromtimestamp(seconds, timezone.utc)


@pytest.mark.parametrize("step", [0.0004, timedelta(microseconds=400)])
def test_small_steps_of_a_clock_add_up(clock: ManualClock, step: Any) -> None:
    registry = HiveRegistry(clock=clock, liveness_clock="arrival", liveness_window=4)
    registry.ingest(heartbeat("h"))
    for _ in range(9_999):
        clock.advance(step)
    assert registry.count_online() == 1
    clock.advance(step)
    assert registry.count_online() == 0
    assert clock.now() == START + timedelta(seconds=4)
    for _ in range(10_000):
        clock.jump_wall(-step)
    assert clock.now() == START


def test_a_clock_counts_nanoseconds(clock: ManualClock) -> None:
    for _ in range(1_000):
        clock.advance(1e-9)
        clock.jump_wall(1e-9)
    assert clock.now() == START + timedelta(microseconds=2)


NO_MOMENTS = [
    datetime(2026, 1, 1),
    float("nan"),
    float("inf"),
    -float("inf"),
    253_402_300_800,
    1e300,
    pytest.param(10**400, id="10**400"),
    "2026-01-01T00:00:00Z",
    timedelta(1),
    b"",
    datetime(9999, 12, 31, 23, 30, tzinfo=timezone(timedelta(hours=-1))),
    True,
]


@pytest.mark.parametrize("start", NO_MOMENTS)
def test_a_start_that_is_no_moment_is_refused(start: Any) -> None:
    with pytest.raises(ConfigError, match=refusal("start", start, MOMENT)):
        ManualClock(start)


@pytest.mark.parametrize("moment", [None, *NO_MOMENTS])
def test_a_clock_is_not_set_to_what_is_no_moment(clock: ManualClock, moment: Any) -> None:
    with pytest.raises(ConfigError, match=refusal("moment", moment, MOMENT)):
        clock.set(moment)
    assert clock.now() == START


@pytest.mark.parametrize("span", [90, 90.0, timedelta(minutes=1.5)])
def test_a_clock_advances(clock: ManualClock, span: Any) -> None:
    clock.advance(span)
    clock.advance(span)
    assert clock.now() == START + timedelta(minutes=3)


@pytest.mark.parametrize("span", [0, -0.0, timedelta(0)])
def test_a_clock_may_advance_by_nothing(clock: ManualClock, span: Any) -> None:
    clock.advance(span)
    assert clock.now() == START


@pytest.mark.parametrize("span", [None, True, *NO_SPANS])
def test_a_clock_does_not_advance_by_what_is_no_span(clock: ManualClock, span: Any) -> None:
    with pytest.raises(ConfigError, match=refusal("seconds", span, SPAN)):
        clock.advance(span)
    assert clock.now() == START


def test_a_clock_past_the_year_9999_shows_its_last_second(clock: ManualClock) -> None:
    clock.advance(timedelta.max)
    clock.advance(timedelta.max)
    assert clock.now().year == 9999


def test_a_clock_set_forward_lets_time_pass(clock: ManualClock) -> None:
    registry = HiveRegistry(clock=clock, liveness_clock="arrival")
    registry.ingest(heartbeat("h"))
    clock.set(START + timedelta(seconds=29.999))
    assert registry.count_online() == 1
    clock.set(START + timedelta(seconds=30))
    assert clock.now() == START + timedelta(seconds=30)
    assert registry.count_online() == 0


def test_a_clock_set_back_lets_no_time_pass(clock: ManualClock) -> None:
    registry = HiveRegistry(clock=clock, liveness_clock="arrival")
    registry.ingest(heartbeat("h"))
    clock.advance(29)
    clock.set(START - timedelta(days=1))
    assert clock.now() == START - timedelta(days=1)
    assert registry.count_online() == 1
    clock.advance(1)
    assert registry.count_online() == 0


def test_a_clock_is_set_by_seconds_or_datetime(clock: ManualClock) -> None:
    clock.set(1.25)
    assert clock.now() == EPOCH + timedelta(seconds=1.25)
    clock.set(datetime(2026, 7, 1, 2, tzinfo=Summertime()))
    assert clock.now() == datetime(2026, 7, 1, tzinfo=timezone.utc)


@pytest.mark.parametrize("span", [3600, 3600.0, -3600, timedelta(hours=1), timedelta(hours=-1)])
def test_a_jump_moves_the_wall_clock_alone(clock: ManualClock, span: Any) -> None:
    registry = HiveRegistry(clock=clock, liveness_clock="arrival")
    registry.ingest(heartbeat("h"))
    clock.jump_wall(span)
    assert clock.now() == START + (span if isinstance(span, timedelta) else timedelta(seconds=span))
    assert registry.count_online() == 1


@pytest.mark.parametrize(
    "span",
    [None, True, float("nan"), float("inf"), -float("inf"), 1e300, pytest.param(10**400, id="10**400"), "1", START],
)
def test_a_clock_does_not_jump_by_what_is_no_span(clock: ManualClock, span: Any) -> None:
    with pytest.raises(ConfigError, match=refusal("seconds", span, "seconds, or a timedelta")):
        clock.jump_wall(span)
    assert clock.now() == START


def test_the_repr_of_a_clock_is_what_it_shows(clock: ManualClock) -> None:
    assert repr(clock) == 'ManualClock("2026-01-01T00:00:00+00:00")'


# === exceptions ===


@pytest.mark.parametrize(
    ("error", "parent"),
    [
        (HiveRegistryError, Exception),
        (HeartbeatError, HiveRegistryError),
        (HeartbeatError, ValueError),
        (ConfigError, HiveRegistryError),
        (ConfigError, ValueError),
        (NoWorkerError, HiveRegistryError),
        (NoWorkerError, LookupError),
        (Lagged, HiveRegistryError),
        (Closed, HiveRegistryError),
    ],
)
def test_an_exception_is_caught_as_its_parent(error: type[Exception], parent: type[Exception]) -> None:
    assert issubclass(error, parent)


@pytest.mark.parametrize("error", [HeartbeatError, ConfigError, NoWorkerError])
def test_one_kind_is_not_another(error: type[Exception]) -> None:
    others = {HeartbeatError, ConfigError, NoWorkerError, Lagged, Closed} - {error}
    assert not any(issubclass(error, other) for other in others)


def test_what_the_registry_raises_is_of_these_classes(registry: HiveRegistry) -> None:
    with pytest.raises(HeartbeatError):
        registry.ingest("{")
    with pytest.raises(ConfigError):
        registry.evict_stale(-1)
    with pytest.raises(NoWorkerError, match=f"^{registry.explain('m')}$"):
        registry.reserve("m")


def test_lagged_tells_how_many_events_were_lost() -> None:
    error = Lagged(7)
    assert error.lost == 7
    assert str(error) == "7 events were lost; resync from a snapshot"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_exceptions_are_pickled(registry: HiveRegistry, protocol: int) -> None:
    for cls in (HiveRegistryError, HeartbeatError, ConfigError, NoWorkerError, Closed):
        copied = pickle.loads(pickle.dumps(cls("why"), protocol))
        assert (type(copied), copied.args) == (cls, ("why",))
    lagged = pickle.loads(pickle.dumps(Lagged(7), protocol))
    assert (type(lagged), lagged.lost, str(lagged)) == (Lagged, 7, str(Lagged(7)))
    with pytest.raises(NoWorkerError) as raised:
        registry.reserve("m")
    copied = pickle.loads(pickle.dumps(raised.value, protocol))
    assert (type(copied), str(copied)) == (NoWorkerError, str(raised.value))


@pytest.mark.parametrize("vram_mb", NO_WHOLE)
def test_a_capacity_is_a_whole_number(vram_mb: Any) -> None:
    with pytest.raises(ConfigError, match=refusal("vram_mb", vram_mb, WHOLE)):
        HiveRegistry().find_workers_with_capacity(vram_mb)


@pytest.mark.parametrize("max_age_ms", [2**63, -(2**63) - 1, 1.5, "1", True])
def test_an_age_is_whole_milliseconds(max_age_ms: Any) -> None:
    refused = re.escape(f"max_age_ms: {max_age_ms!r} refused: whole milliseconds from -2**63 to 2**63 - 1")
    with pytest.raises(ConfigError, match=refused):
        HiveRegistry().list_active_hives(max_age_ms)
    with pytest.raises(ConfigError, match=refused):
        HiveRegistry().is_hive_online("h", max_age_ms=max_age_ms)


def test_a_gap_longer_than_a_timedelta_is_told_as_the_longest(clock: ManualClock) -> None:
    registry = HiveRegistry(clock=clock)
    registry.ingest(heartbeat("h"))
    for _ in range(3):
        clock.advance(timedelta.max)
    registry.ingest(heartbeat("h", at=LAST))
    (told,) = registry.stats().hives
    assert timedelta.max - told.longest_gap < timedelta(seconds=1)
    assert registry.hive_stats("h") == told


class Interrupted:
    def __float__(self) -> float:
        raise KeyboardInterrupt

    def __index__(self) -> int:
        raise KeyboardInterrupt


class Nowhere(Summertime):
    """A zone that does not say where it is."""

    def utcoffset(self, _moment: datetime | None, /) -> timedelta | None:
        return None


def test_an_interrupt_in_a_conversion_comes_through() -> None:
    for setting in ("liveness_window", "shards", "seed", "assumed_concurrency", "tie_seed"):
        with pytest.raises(KeyboardInterrupt):
            HiveRegistry(**{setting: Interrupted()})  # type: ignore[arg-type]


def test_a_number_too_long_to_show_is_refused_all_the_same() -> None:
    with pytest.raises(ConfigError, match=r"^seed: <class 'int'> refused: a whole number"):
        HiveRegistry(seed=10**5_000)


def test_a_zone_without_an_offset_is_none() -> None:
    moment = datetime(2026, 1, 1, tzinfo=Nowhere())
    with pytest.raises(ConfigError, match=r"^start: .* refused: .* with a time zone"):
        ManualClock(moment)
    with pytest.raises(HeartbeatError, match=r"^timestamp: .* refused: .* a datetime with a time zone"):
        HiveRegistry().ingest({"hive_id": "h", "timestamp": moment, "workers": []})


def test_a_zone_may_be_off_by_seconds(clock: ManualClock) -> None:
    registry = HiveRegistry(clock=clock)
    paris = timezone(timedelta(minutes=9, seconds=21))
    registry.ingest(heartbeat("h", worker("w", last_heartbeat=datetime(1880, 1, 1, tzinfo=paris))))
    (found,) = registry.get_workers_on_hive("h")
    assert found.last_heartbeat == datetime(1880, 1, 1, tzinfo=paris)
