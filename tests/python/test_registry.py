from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from fleet import START, heartbeat, worker
from hive_registry import (
    Capability,
    Eviction,
    HeartbeatCounts,
    HeartbeatOutcome,
    HiveHealth,
    HiveHeartbeat,
    HiveInfo,
    HiveRegistry,
    HiveRemoved,
    HiveStats,
    ManualClock,
    ProcessStats,
    Resources,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hive_registry import Worker

MIB = 1 << 20
GIB = 1 << 30

NAMES = [
    "gpu 1",
    "gpu/1?x=y#z&%20",
    '"quoted" \\ back',
    "gpü-é-ß",
    "узел-7",
    "节点一",
    "ノード",
    "🖥️🔥",
    "e\u0301",
    "\u202eright to left",
    "\ufeffmark",
    "\U0010ffff",
    "é" * 128,
]
"""Ids of all kinds, the last one of exactly 256 bytes."""


def ids(workers: Iterable[tuple[str, Worker]]) -> list[tuple[str, str]]:
    found = list(workers)
    assert all(hive_id == each.hive_id for hive_id, each in found)
    return [(hive_id, each.worker_id) for hive_id, each in found]


def info(hive_id: str, **fields: Any) -> HiveInfo:
    return HiveInfo(**{"id": hive_id, "hostname": f"{hive_id}.local", "port": 7835, "version": "1", **fields})


def beat(registry: HiveRegistry, clock: ManualClock, *hive_ids: str) -> None:
    for hive_id in hive_ids:
        registry.ingest(heartbeat(hive_id, "w", at=clock.now()))


# === nobody is known ===


def test_an_empty_registry_knows_nobody(registry: HiveRegistry) -> None:
    assert registry.get_hive_state("h") is None
    assert registry.get_available_resources("h") is None
    assert registry.get_worker_count("h") is None
    assert registry.get_hive("h") is None
    assert registry.get_worker("w") is None
    assert registry.get_worker_on("h", "w") is None
    assert registry.get_worker_url("w") is None
    assert registry.get_workers("h") is None
    assert registry.hive_stats("h") is None
    assert registry.remove_hive("h") is False
    assert registry.is_hive_online("h", 30_000) is False


def test_an_empty_registry_lists_nobody(registry: HiveRegistry) -> None:
    lists: list[list[Any]] = [
        registry.list_active_hives(30_000),
        registry.list_all_hives(),
        registry.list_online_hives(),
        registry.list_available_hives(),
        registry.list_all_workers(),
        registry.find_idle_workers(),
        registry.find_workers_by_model("m"),
        registry.find_workers_by_backend("cuda"),
        registry.find_workers_with_capacity(0),
        registry.get_workers_on_hive("h"),
        registry.get_all_workers(),
    ]
    assert lists == [[]] * len(lists)


def test_an_empty_registry_counts_nobody(registry: HiveRegistry) -> None:
    counts = [
        registry.hive_count(),
        registry.total_worker_count(),
        registry.count_online(),
        registry.count_available(),
    ]
    assert counts == [0, 0, 0, 0]


@pytest.mark.parametrize("name", ["", "x" * 10_000, "\0"])
def test_a_name_that_nobody_can_have_is_not_known(registry: HiveRegistry, name: str) -> None:
    registry.ingest(heartbeat("h", "w"))
    assert registry.get_hive_state(name) is None
    assert registry.get_worker(name) is None
    assert registry.find_workers_by_model(name) == []
    assert registry.remove_hive(name) is False


# === hives ===


def test_hives_are_listed_in_order(registry: HiveRegistry, clock: ManualClock) -> None:
    beat(registry, clock, "b", "a10", "a9", "C")
    for hives in (
        registry.list_all_hives(),
        registry.list_online_hives(),
        registry.list_available_hives(),
        registry.list_active_hives(1),
    ):
        assert hives == ["C", "a10", "a9", "b"]


def test_hives_are_counted_live_or_not(registry: HiveRegistry, clock: ManualClock) -> None:
    beat(registry, clock, "a", "b")
    clock.advance(3600)
    assert registry.hive_count() == 2
    assert registry.list_all_hives() == ["a", "b"]
    assert registry.count_online() == 0


@pytest.mark.parametrize(
    ("age", "max_age_ms", "active"), [(0.999, 1000, True), (1.0, 1000, False), (1.001, 1000, False), (0, 0, False)]
)
def test_a_hive_is_active_while_younger_than_the_age(
    registry: HiveRegistry, clock: ManualClock, age: float, max_age_ms: int, active: bool
) -> None:
    beat(registry, clock, "h")
    clock.advance(age)
    assert registry.is_hive_online("h", max_age_ms) is active
    assert registry.list_active_hives(max_age_ms) == (["h"] if active else [])


def test_no_hive_is_younger_than_a_negative_age(registry: HiveRegistry, clock: ManualClock) -> None:
    beat(registry, clock, "h")
    assert registry.list_active_hives(-1) == []
    assert registry.is_hive_online("h", -1) is False


def test_every_hive_is_younger_than_the_greatest_age(registry: HiveRegistry, clock: ManualClock) -> None:
    beat(registry, clock, "h")
    clock.advance(timedelta(days=36_500))
    assert registry.list_active_hives(2**63 - 1) == ["h"]


def test_age_counts_from_the_timestamp(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", at=-10))
    assert registry.list_active_hives(10_000) == []
    assert registry.list_active_hives(10_001) == ["h"]


def test_a_hive_from_the_future_ages_from_its_arrival(registry: HiveRegistry, clock: ManualClock) -> None:
    registry.ingest(heartbeat("h", at=3600))
    clock.advance(30)
    assert registry.list_active_hives(30_000) == []


@pytest.mark.parametrize(("age", "online"), [(29.999, ["h"]), (30.0, [])])
def test_a_hive_is_online_within_the_window(
    registry: HiveRegistry, clock: ManualClock, age: float, online: list[str]
) -> None:
    beat(registry, clock, "h")
    clock.advance(age)
    assert registry.list_online_hives() == online
    assert registry.list_available_hives() == online
    assert registry.count_online() == len(online)
    assert registry.count_available() == len(online)


@pytest.mark.parametrize(
    ("status", "available"),
    [("starting", False), ("ready", True), ("busy", True), ("stopping", False), ("stopped", False)],
)
def test_a_hive_is_available_when_ready_or_busy(registry: HiveRegistry, status: Any, available: bool) -> None:
    registry.update_hive(HiveHeartbeat(info("h", operational_status=status), START))
    assert registry.list_online_hives() == ["h"]
    assert registry.count_online() == 1
    assert registry.list_available_hives() == (["h"] if available else [])
    assert registry.count_available() == int(available)


@pytest.mark.parametrize(
    ("health", "available"),
    [(HiveHealth(), True), (HiveHealth("degraded", "hot"), True), (HiveHealth("unhealthy", "on fire"), False)],
)
def test_a_hive_is_available_unless_unhealthy(registry: HiveRegistry, health: HiveHealth, available: bool) -> None:
    registry.update_hive(HiveHeartbeat(info("h", health_status=health), START))
    assert registry.list_available_hives() == (["h"] if available else [])
    assert registry.list_online_hives() == ["h"]


def test_what_a_hive_says_of_itself_is_told(registry: HiveRegistry) -> None:
    said = info("h", operational_status="busy", health_status=HiveHealth("degraded", "hot"), version="1.2")
    registry.update_hive(HiveHeartbeat(said, START))
    assert registry.get_hive("h") == said


def test_a_hive_of_the_plain_form_says_nothing_of_itself(registry: HiveRegistry) -> None:
    registry.update_hive_state("h", heartbeat("h", "w"))
    assert registry.get_hive("h") is None


def test_the_workers_of_a_hive_are_counted(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "a", "b"))
    registry.ingest(heartbeat("empty"))
    assert registry.get_worker_count("h") == 2
    assert registry.get_worker_count("empty") == 0
    assert registry.total_worker_count() == 2


def test_a_removed_hive_is_gone_with_its_workers(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "a"))
    registry.ingest(heartbeat("g", "b"))
    assert registry.remove_hive("h") is True
    assert registry.get_hive_state("h") is None
    assert registry.get_worker("a") is None
    assert registry.list_all_hives() == ["g"]
    assert ids(registry.list_all_workers()) == [("g", "b")]
    assert registry.remove_hive("h") is False


def test_a_heartbeat_of_before_the_removal_is_dropped(registry: HiveRegistry, clock: ManualClock) -> None:
    beat(registry, clock, "h")
    clock.advance(1)
    registry.remove_hive("h")
    assert registry.ingest(heartbeat("h", at=0.5)) is HeartbeatOutcome.REMOVED
    assert registry.ingest(heartbeat("h", at=1.5)) is HeartbeatOutcome.REGISTERED


def test_the_repr_of_a_registry_counts(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "a", "b"))
    assert repr(registry) == "<HiveRegistry: 1 hives, 2 workers>"


# === workers ===


def test_workers_are_listed_by_hive_then_worker(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("b", "2", "10", "1"))
    registry.ingest(heartbeat("a", "z"))
    expected = [("a", "z"), ("b", "1"), ("b", "10"), ("b", "2")]
    assert ids(registry.list_all_workers()) == expected
    assert ids(registry.find_idle_workers()) == expected
    assert ids(registry.find_workers_by_model("m")) == expected
    assert ids(registry.find_workers_with_model("m")) == expected
    assert [each.worker_id for each in registry.get_workers_on_hive("b")] == ["1", "10", "2"]


@pytest.mark.parametrize(("stale_mode", "found"), [("exclude", []), ("ignore", [("h", "w")])])
def test_lists_tell_of_workers_that_are_not_live_and_finds_do_not(
    clock: ManualClock, stale_mode: Any, found: list[tuple[str, str]]
) -> None:
    registry = HiveRegistry(clock=clock, stale_mode=stale_mode)
    known = worker("w", backend="cuda", vram_bytes=0, vram_total_bytes=2**30)
    registry.ingest(heartbeat("h", known))
    for passed, expected in ((29.999, [("h", "w")]), (0.001, found)):
        clock.advance(passed)
        assert ids(registry.list_all_workers()) == [("h", "w")]
        assert ids(registry.find_idle_workers()) == expected
        assert ids(registry.find_workers_by_model("m")) == expected
        assert ids(registry.find_workers_with_model("m")) == expected
        assert ids(registry.find_workers_by_backend("cuda")) == expected
        assert ids(registry.find_workers_with_capacity(1_024)) == expected
        assert (registry.find_best_worker_for_model("m") is None) == (expected == [])


def test_a_worker_is_found_by_its_id(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "a", "b"))
    assert registry.get_worker("b") == ("h", registry.get_worker_on("h", "b"))
    assert registry.get_worker_url("b") == "http://10.0.0.1/b"


def test_a_worker_without_a_url(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", worker("a", url=None)))
    assert registry.get_worker_url("a") is None


def test_of_several_hives_the_one_heard_last_has_the_worker(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("a", worker("w", url="http://a"), at=-2))
    registry.ingest(heartbeat("b", worker("w", url="http://b"), at=-1))
    registry.ingest(heartbeat("c", worker("w", url="http://c"), at=-3))
    assert registry.get_worker("w") == ("b", registry.get_worker_on("b", "w"))
    assert registry.get_worker_url("w") == "http://b"


def test_of_hives_heard_at_once_the_first_by_id_has_the_worker(registry: HiveRegistry) -> None:
    for hive_id in ("b", "a", "c"):
        registry.ingest(heartbeat(hive_id, "w"))
    assert registry.get_worker("w") == ("a", registry.get_worker_on("a", "w"))


def test_a_worker_is_known_on_its_hive_only(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "a"))
    registry.ingest(heartbeat("g", "b"))
    assert registry.get_worker_on("g", "a") is None
    assert registry.get_workers_on_hive("g") == [registry.get_worker_on("g", "b")]


def test_a_worker_that_a_heartbeat_does_not_name_is_gone(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "a", "b"))
    registry.ingest(heartbeat("h", "b"))
    assert registry.get_worker("a") is None
    assert ids(registry.list_all_workers()) == [("h", "b")]


def test_idle_workers_are_those_in_state_idle(registry: HiveRegistry) -> None:
    states = ["Busy", "Idle", "Loading", "Draining", "ready", "Other"]
    registry.ingest(heartbeat("h", *(worker(state, state=state) for state in states)))
    assert ids(registry.find_idle_workers()) == [("h", "Idle"), ("h", "ready")]


def test_workers_are_found_by_model(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", worker("a", model_id="x"), worker("b", model_id=None), worker("c", model_id="X")))
    assert ids(registry.find_workers_by_model("x")) == [("h", "a")]


def test_workers_are_found_by_backend_in_whatever_case(registry: HiveRegistry) -> None:
    backends = ["cuda", "CUDA", "cpu", "ROCm", None]
    registry.ingest(heartbeat("h", *(worker(str(at), backend=backend) for at, backend in enumerate(backends))))
    assert ids(registry.find_workers_by_backend("Cuda")) == [("h", "0"), ("h", "1")]
    assert ids(registry.find_workers_by_backend("rocm")) == [("h", "3")]
    assert registry.find_workers_by_backend("metal") == []


def test_processes_are_told_as_they_were_sent(registry: HiveRegistry) -> None:
    of_b = [ProcessStats(1, "vllm", "8081", model="x"), ProcessStats(2, "vllm", "8080", cpu_pct=1.5)]
    of_a = [ProcessStats(3, "llama", "0")]
    registry.update_hive(HiveHeartbeat(info("b"), START, of_b))
    registry.update_hive(HiveHeartbeat(info("a"), START, of_a))
    registry.ingest(heartbeat("plain", "w"))
    # By worker id: "vllm-8080" before "vllm-8081".
    assert registry.get_workers("b") == of_b[::-1]
    assert registry.get_workers("plain") == []
    assert registry.get_all_workers() == [("a", of_a[0]), ("b", of_b[1]), ("b", of_b[0])]


def test_update_workers_registers_a_hive_by_its_processes(registry: HiveRegistry) -> None:
    process = ProcessStats(1, "vllm", "8080", gpu_util_pct=5.0)
    assert registry.update_workers("h", [process]) is HeartbeatOutcome.REGISTERED
    assert registry.get_workers("h") == [process]
    assert registry.get_hive("h") is None
    assert ids(registry.list_all_workers()) == [("h", "vllm-8080")]
    assert registry.find_idle_workers() == []


def test_update_workers_counts_as_heard_now(registry: HiveRegistry, clock: ManualClock) -> None:
    beat(registry, clock, "h")
    clock.advance(60)
    assert registry.update_workers("h", [ProcessStats(1, "g", "i")]) is HeartbeatOutcome.UPDATED
    assert registry.list_active_hives(1) == ["h"]
    assert ids(registry.list_all_workers()) == [("h", "g-i")]


@pytest.mark.parametrize("name", NAMES)
def test_ids_are_any_text(registry: HiveRegistry, name: str) -> None:
    registry.ingest(heartbeat(name, worker(name, model_id=name, url=None)))
    found = registry.get_worker(name)
    assert found is not None
    hive_id, there = found
    assert (hive_id, there.hive_id, there.worker_id, there.model_id) == (name, name, name, name)
    assert registry.get_worker_on(name, name) == there
    assert registry.list_all_hives() == [name]
    assert ids(registry.find_workers_by_model(name)) == [(name, name)]
    assert registry.find_best_worker_for_model(name) == found
    assert registry.is_hive_online(name, 1)
    assert registry.remove_hive(name)


def test_ids_are_ordered_by_code_points(registry: HiveRegistry, clock: ManualClock) -> None:
    beat(registry, clock, *NAMES)
    assert registry.list_all_hives() == sorted(NAMES)


def test_equal_looking_ids_are_two(registry: HiveRegistry, clock: ManualClock) -> None:
    beat(registry, clock, "e\u0301", "\u00e9")
    assert registry.hive_count() == 2


# === resources ===


def resources(registry: HiveRegistry, hive_id: str = "h") -> Resources:
    found = registry.get_available_resources(hive_id)
    assert found is not None
    return found


def test_memory_that_is_not_reported_is_assumed(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", worker("a", vram_bytes=500_000_000), worker("b", ram_bytes=250_000_000), "c"))
    assert resources(registry) == Resources(
        vram_used_gb=8.5,
        ram_used_gb=4.25,
        worker_count=3,
        vram_total_gb=None,
        vram_free_gb=None,
        ram_total_gb=None,
        workers_estimated=3,
    )


def test_memory_of_workers_that_share_a_device(registry: HiveRegistry) -> None:
    device: dict[str, Any] = {"ram_bytes": 1_000_000_000, "vram_total_bytes": 24_000_000_000}
    registry.ingest(
        heartbeat(
            "h",
            worker("a", device_id=0, vram_bytes=6_000_000_000, **device),
            worker("b", device_id=0, vram_bytes=2_000_000_000, **device),
            worker("c", device_id=1, vram_bytes=1_500_000_000, **device),
        )
    )
    # Device 0: 24 - 8 = 16; device 1: 24 - 1.5 = 22.5.
    assert resources(registry) == Resources(
        vram_used_gb=9.5,
        ram_used_gb=3.0,
        worker_count=3,
        vram_total_gb=48.0,
        vram_free_gb=38.5,
        ram_total_gb=None,
        workers_estimated=0,
    )


def test_memory_of_workers_that_do_not_name_their_device(registry: HiveRegistry) -> None:
    workers = (worker(each, vram_total_bytes=10_000_000_000, vram_bytes=4_000_000_000, ram_bytes=0) for each in "ab")
    registry.ingest(heartbeat("h", *workers))
    found = resources(registry)
    assert (found.vram_used_gb, found.vram_total_gb, found.vram_free_gb) == (8.0, 20.0, 12.0)


def test_memory_of_declared_devices_is_in_gib(registry: HiveRegistry) -> None:
    devices = [
        Capability("0", "H100", "cuda", 80.0),
        Capability("1", "H100", "cuda", 80.0),
        Capability("c", "Xeon", "cpu", 500.0),
    ]
    registry.update_hive(HiveHeartbeat(info("h"), START, [], devices))
    found = resources(registry)
    assert found.vram_total_gb == pytest.approx(160 * GIB / 1e9, rel=1e-6)
    assert found.vram_free_gb == found.vram_total_gb
    assert found.ram_total_gb == pytest.approx(500 * GIB / 1e9, rel=1e-6)


def test_memory_of_processes(registry: HiveRegistry) -> None:
    process = ProcessStats(1, "g", "i", rss_mb=1000, vram_mb=2000, total_vram_mb=8000)
    registry.update_hive(HiveHeartbeat(info("h"), START, [process]))
    found = resources(registry)
    assert found.vram_used_gb == pytest.approx(2000 * MIB / 1e9, rel=1e-6)
    assert found.ram_used_gb == pytest.approx(1000 * MIB / 1e9, rel=1e-6)
    assert found.vram_total_gb == pytest.approx(8000 * MIB / 1e9, rel=1e-6)
    assert found.vram_free_gb == pytest.approx(6000 * MIB / 1e9, rel=1e-6)
    assert found.workers_estimated == 0


def test_capacity_is_what_is_free_on_the_device(registry: HiveRegistry) -> None:
    registry.ingest(
        heartbeat(
            "h",
            worker("shared-1", device_id=0, vram_total_bytes=1000 * MIB, vram_bytes=300 * MIB),
            worker("shared-2", device_id=0, vram_total_bytes=1000 * MIB, vram_bytes=300 * MIB),
            worker("alone", vram_total_bytes=1000 * MIB, vram_bytes=300 * MIB),
            worker("unknown"),
        )
    )
    shared = [("h", "shared-1"), ("h", "shared-2")]
    assert ids(registry.find_workers_with_capacity(0)) == [("h", "alone"), *shared]
    assert ids(registry.find_workers_with_capacity(400)) == [("h", "alone"), *shared]
    assert ids(registry.find_workers_with_capacity(401)) == [("h", "alone")]
    assert ids(registry.find_workers_with_capacity(700)) == [("h", "alone")]
    assert registry.find_workers_with_capacity(701) == []


def test_a_byte_less_than_wanted_is_too_little(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", worker("a", vram_total_bytes=10 * MIB - 1), worker("b", vram_total_bytes=10 * MIB)))
    assert ids(registry.find_workers_with_capacity(10)) == [("h", "b")]


def test_nobody_has_the_greatest_capacity(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", worker("a", vram_total_bytes=2**64 - 1)))
    assert registry.find_workers_with_capacity(2**64 - 1) == []


@pytest.mark.parametrize("status", ["starting", "stopping", "stopped"])
def test_capacity_is_of_all_hives_whatever_they_do(registry: HiveRegistry, status: Any) -> None:
    process = ProcessStats(1, "g", "i", total_vram_mb=10)
    registry.update_hive(HiveHeartbeat(info("up"), START, [process]))
    registry.update_hive(HiveHeartbeat(info("down", operational_status=status), START, [process]))
    assert ids(registry.find_workers_with_capacity(10)) == [("down", "g-i"), ("up", "g-i")]


def test_capacity_is_of_live_hives(registry: HiveRegistry, clock: ManualClock) -> None:
    registry.ingest(heartbeat("h", worker("a", vram_total_bytes=10 * MIB)))
    assert ids(registry.find_workers_with_capacity(10)) == [("h", "a")]
    clock.advance(30)
    assert registry.find_workers_with_capacity(10) == []


# === eviction ===


def test_a_silent_hive_is_evicted(registry: HiveRegistry, clock: ManualClock) -> None:
    beat(registry, clock, "silent")
    clock.advance(50)
    beat(registry, clock, "fresh")
    clock.advance(10)
    assert registry.evict_stale(60) == Eviction(hives=1, held=False, remaining=0)
    assert registry.list_all_hives() == ["fresh"]
    assert registry.evict_stale(60) == Eviction(hives=0, held=False, remaining=0)


def test_a_hive_younger_than_the_age_is_not_evicted(registry: HiveRegistry, clock: ManualClock) -> None:
    beat(registry, clock, "h")
    clock.advance(59.999)
    assert registry.evict_stale(timedelta(minutes=1)).hives == 0
    clock.advance(0.001)
    assert registry.evict_stale(timedelta(minutes=1)).hives == 1


def test_eviction_goes_by_arrival(registry: HiveRegistry, clock: ManualClock) -> None:
    registry.ingest(heartbeat("late", at=-3600))
    clock.advance(1)
    assert registry.evict_stale(60).hives == 0


def test_an_evicted_hive_leaves_no_tombstone(registry: HiveRegistry, clock: ManualClock) -> None:
    beat(registry, clock, "h")
    clock.advance(60)
    registry.evict_stale(60)
    assert registry.ingest(heartbeat("h")) is HeartbeatOutcome.REGISTERED


def test_a_mass_silence_is_held(registry: HiveRegistry, clock: ManualClock) -> None:
    beat(registry, clock, *(f"silent-{at}" for at in range(5)))
    clock.advance(60)
    beat(registry, clock, *(f"fresh-{at}" for at in range(3)))
    assert registry.evict_stale(60) == Eviction(hives=0, held=True, remaining=5)
    assert registry.hive_count() == 8
    assert registry.stats().holds == 1
    assert registry.stats().evictions == 0


def test_a_mass_silence_is_held_for_five_minutes(registry: HiveRegistry, clock: ManualClock) -> None:
    beat(registry, clock, *(f"{at}" for at in range(8)))
    clock.advance(60)
    assert registry.evict_stale(60).held
    clock.advance(299)
    assert registry.evict_stale(60).held
    clock.advance(1)
    # 15 % of 8 is 1.2.
    assert registry.evict_stale(60) == Eviction(hives=1, held=False, remaining=7)


def test_half_of_a_fleet_is_no_mass_silence(registry: HiveRegistry, clock: ManualClock) -> None:
    beat(registry, clock, *(f"silent-{at}" for at in range(4)))
    clock.advance(60)
    beat(registry, clock, *(f"fresh-{at}" for at in range(4)))
    assert registry.evict_stale(60) == Eviction(hives=1, held=False, remaining=3)


def test_a_small_fleet_is_evicted_whole(registry: HiveRegistry, clock: ManualClock) -> None:
    beat(registry, clock, *(f"{at}" for at in range(7)))
    clock.advance(60)
    assert registry.evict_stale(60) == Eviction(hives=7, held=False, remaining=0)


def test_a_pass_takes_the_longest_silent_and_fifteen_percent(registry: HiveRegistry, clock: ManualClock) -> None:
    for at in range(8):
        beat(registry, clock, f"silent-{at}")
        clock.advance(1)
    clock.advance(60)
    beat(registry, clock, *(f"fresh-{at:02}" for at in range(12)))
    # 15 % of 20 is 3.
    assert registry.evict_stale(60) == Eviction(hives=3, held=False, remaining=5)
    assert registry.list_all_hives()[-5:] == [f"silent-{at}" for at in range(3, 8)]


@pytest.mark.parametrize("age", [-1, float("nan"), "x", timedelta(seconds=-1)])
def test_an_age_that_is_no_span_is_refused(registry: HiveRegistry, age: Any) -> None:
    with pytest.raises(ValueError, match=r"^max_age: .* refused: seconds, 0 or more, or a timedelta$"):
        registry.evict_stale(age)


def test_a_sweeper_evicts(registry: HiveRegistry, clock: ManualClock) -> None:
    beat(registry, clock, "h")
    events = registry.subscribe(timeout=30)
    with registry.spawn_sweeper(0.001, 60) as sweeper:
        assert repr(sweeper) == "<Sweeper>"
        clock.advance(60)
        assert any(isinstance(event, HiveRemoved) and event.hive_id == "h" for event in events)
    assert registry.hive_count() == 0
    assert registry.stats().evictions == 1
    assert repr(sweeper) == "<Sweeper stopped>"


def test_a_sweeper_is_stopped_twice(registry: HiveRegistry) -> None:
    sweeper = registry.spawn_sweeper(timedelta(hours=1), timedelta(hours=1))
    sweeper.stop()
    sweeper.stop()
    assert repr(sweeper) == "<Sweeper stopped>"


def test_a_sweeper_lets_go_of_what_is_raised_in_its_block(registry: HiveRegistry) -> None:
    with pytest.raises(KeyError), registry.spawn_sweeper(3600, 3600) as sweeper:
        raise KeyError
    assert repr(sweeper) == "<Sweeper stopped>"


@pytest.mark.parametrize(("every", "age", "field"), [(-1, 1, "every"), (1, -1, "max_age")])
def test_a_sweeper_of_a_negative_span_is_refused(registry: HiveRegistry, every: int, age: int, field: str) -> None:
    with pytest.raises(ValueError, match=rf"^{field}: -1 refused"):
        registry.spawn_sweeper(every, age)


# === statistics ===


def test_heartbeats_are_counted_by_outcome(registry: HiveRegistry) -> None:
    for at in (0, 0, 1, -1):
        registry.ingest(heartbeat("h", at=at))
    registry.ingest(heartbeat("g"))
    registry.remove_hive("g")
    registry.ingest(heartbeat("g"))
    for body in ("", "{", "[]", "1"):
        with pytest.raises(ValueError, match="at line"):
            registry.ingest_json(body)
    counts = registry.stats().heartbeats
    assert counts == HeartbeatCounts(registered=2, updated=2, superseded=1, removed=1, refused=4)


def test_picks_and_misses_are_counted(registry: HiveRegistry, clock: ManualClock) -> None:
    beat(registry, clock, "h")
    registry.find_best_worker_for_model("m")
    registry.pick("m")
    clock.advance(30)
    registry.find_best_worker_for_model("m")
    assert (registry.stats().picks, registry.stats().misses) == (2, 1)


def test_open_reservations_are_counted(registry: HiveRegistry, clock: ManualClock) -> None:
    beat(registry, clock, "h")
    held = registry.reserve("m")
    lease = registry.reserve_detached("m", 60)
    assert lease is not None
    assert registry.stats().reservations_open == 2
    held.release()
    registry.release_lease(lease.id)
    assert registry.stats().reservations_open == 0
    assert registry.stats().picks == 2


def test_events_lost_by_slow_readers_are_counted(registry: HiveRegistry) -> None:
    slow = registry.subscribe(capacity=1)
    registry.ingest(heartbeat("h", "a", "b"))
    assert registry.stats().events_dropped == 2
    del slow


def test_the_statistics_of_a_hive(registry: HiveRegistry, clock: ManualClock) -> None:
    registry.ingest(heartbeat("h", "a", "b"))
    clock.advance(2)
    registry.ingest(heartbeat("h", "b", "c", "d", at=2))
    clock.advance(4)
    registry.ingest(heartbeat("h", "b", "c", "d", at=6))
    assert registry.hive_stats("h") == HiveStats(
        hive_id="h",
        heartbeats=3,
        mean_interval=timedelta(seconds=3),
        # (|4 - 2| - 0) / 16
        jitter=timedelta(seconds=0.125),
        longest_gap=timedelta(seconds=4),
        workers_added=4,
        workers_removed=1,
        clock_skew=timedelta(0),
    )


def test_the_clock_of_a_hive_that_is_off_is_told(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("behind", at=-40))
    registry.ingest(heartbeat("ahead", at=2.5))
    ahead, behind = registry.stats().hives
    assert (ahead.clock_skew, behind.clock_skew) == (timedelta(seconds=2.5), timedelta(seconds=-40))


def test_a_superseded_heartbeat_is_a_beat(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h"))
    registry.ingest(heartbeat("h", at=-1))
    found = registry.hive_stats("h")
    assert found is not None
    assert found.heartbeats == 2


def test_statistics_are_zero_until_a_hive_has_beaten_twice(registry: HiveRegistry, clock: ManualClock) -> None:
    beat(registry, clock, "h")
    clock.advance(10)
    zero = timedelta(0)
    assert registry.hive_stats("h") == HiveStats("h", 1, zero, zero, zero, 1, 0, zero)


def test_statistics_list_the_hives_in_order(registry: HiveRegistry, clock: ManualClock) -> None:
    beat(registry, clock, "b", "c", "a")
    hives = registry.stats().hives
    assert isinstance(hives, tuple)
    assert [each.hive_id for each in hives] == ["a", "b", "c"]
    assert hives[0] == registry.hive_stats("a")
