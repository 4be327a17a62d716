import gc
import operator
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Literal

import pytest

from fleet import START, heartbeat, worker
from hive_registry import (
    Candidate,
    ConfigError,
    HeartbeatError,
    HiveHealth,
    HiveHeartbeat,
    HiveInfo,
    HiveRegistry,
    LeastLoaded,
    ManualClock,
    NoWorkerError,
    PowerOfChoices,
    ProcessStats,
    Random,
    Reservation,
    RoundRobin,
)


def loads(*gpu_percents: float) -> dict[str, Any]:
    """A heartbeat of one hive, of workers "w0", "w1", ... so loaded."""
    return heartbeat("h", *(worker(f"w{at}", gpu_percent=gpu) for at, gpu in enumerate(gpu_percents)))


def picked(registry: HiveRegistry, policy: Any = None, model: str = "m") -> str | None:
    found = registry.pick(model, policy)
    return None if found is None else found[1].worker_id


def is_sound(registry: HiveRegistry) -> None:
    gc.collect()
    assert registry.stats().reservations_open == 0
    assert picked(registry) is not None
    with registry.reserve("m"):
        assert registry.stats().reservations_open == 1
    assert registry.stats().reservations_open == 0


def raising(error: BaseException) -> Callable[[Candidate], float]:
    def score(_: Candidate) -> float:
        raise error

    return score


# Policies.


@pytest.mark.parametrize("policy", [None, "least_loaded", LeastLoaded(), PowerOfChoices(3)])
def test_the_least_loaded_is_picked(registry: HiveRegistry, policy: Any) -> None:
    registry.ingest(loads(50.0, 10.0, 30.0))
    assert {picked(registry, policy) for _ in range(8)} == {"w1"}


@pytest.mark.parametrize("policy", ["power_of_choices", PowerOfChoices(), PowerOfChoices(2)])
def test_two_choices_never_pick_the_worst_of_three(registry: HiveRegistry, policy: Any) -> None:
    registry.ingest(loads(50.0, 10.0, 30.0))
    assert {picked(registry, policy) for _ in range(200)} == {"w1", "w2"}


@pytest.mark.parametrize("policy", [PowerOfChoices(0), PowerOfChoices(1), "random", Random()])
def test_one_choice_picks_any(registry: HiveRegistry, policy: Any) -> None:
    registry.ingest(loads(50.0, 10.0, 30.0))
    assert {picked(registry, policy) for _ in range(200)} == {"w0", "w1", "w2"}


@pytest.mark.parametrize("policy", ["round_robin", RoundRobin()])
def test_round_robin_gives_each_its_turn(registry: HiveRegistry, policy: Any) -> None:
    registry.ingest(loads(50.0, 10.0, 30.0))
    assert Counter(picked(registry, policy) for _ in range(30)) == {"w0": 10, "w1": 10, "w2": 10}


@pytest.mark.parametrize("policy", [None, "least_loaded", "power_of_choices", "round_robin", "random", len, max])
def test_nobody_is_picked_where_there_is_nobody(registry: HiveRegistry, policy: Any) -> None:
    assert registry.pick("m", policy) is None
    assert registry.reserve_with("m", policy) is None


@pytest.mark.parametrize(
    "policy", ["least_loaded", "power_of_choices", "round_robin", "random", LeastLoaded(), RoundRobin(), Random()]
)
def test_every_policy_reserves(registry: HiveRegistry, policy: Any) -> None:
    registry.ingest(loads(10.0))
    reservation = registry.reserve_with("m", policy)
    assert reservation is not None
    assert registry.stats().reservations_open == 1


def test_a_policy_of_no_such_name_is_refused_with_the_names(registry: HiveRegistry) -> None:
    with pytest.raises(ConfigError, match=r'policy: "best" refused: "least_loaded" or .*"round_robin" or "random"'):
        picked(registry, "best")


@pytest.mark.parametrize("policy", [3, b"random", ("random",)])
def test_what_is_no_policy_is_a_type_error(registry: HiveRegistry, policy: Any) -> None:
    for call in (registry.pick, registry.reserve_with, registry.reserve):
        with pytest.raises(TypeError, match="policy"):
            call("m", policy)


# Callables.


def load(candidate: Candidate) -> float:
    return candidate.load


class Scores:
    def method(self, candidate: Candidate) -> float:
        return candidate.load

    def __call__(self, candidate: Candidate) -> float:
        return candidate.load


@pytest.mark.parametrize(
    "policy",
    [load, lambda candidate: candidate.load, Scores().method, Scores(), operator.attrgetter("load")],
    ids=["function", "lambda", "bound method", "object", "builtin"],
)
def test_any_callable_scores(registry: HiveRegistry, policy: Callable[[Candidate], float]) -> None:
    registry.ingest(loads(50.0, 10.0, 30.0))
    assert picked(registry, policy) == "w1"
    assert registry.reserve("m", policy).worker.worker_id == "w1"


def test_a_builtin_function_scores(registry: HiveRegistry) -> None:
    registry.ingest(loads(50.0, 10.0))
    assert picked(registry, id) in ("w0", "w1")


def test_the_lowest_score_wins(registry: HiveRegistry) -> None:
    registry.ingest(loads(50.0, 10.0, 30.0))
    assert picked(registry, lambda candidate: -candidate.load) == "w0"


@pytest.mark.parametrize("score", [0, 1.5, True, float("inf"), float("-inf")])
def test_of_equal_scores_the_one_registered_first_wins(registry: HiveRegistry, score: float) -> None:
    registry.ingest(loads(50.0, 10.0, 30.0))
    assert picked(registry, lambda _: score) == "w0"


@pytest.mark.parametrize("held", [True, False])
def test_equal_scores_go_round(registry: HiveRegistry, held: bool) -> None:
    registry.ingest(loads(*(12.5 * at for at in range(8))))
    open_ = []
    for at in range(400):
        turns: dict[str, int] = {}

        def score(candidate: Candidate, turns: dict[str, int] = turns) -> float:
            turns[candidate.worker_id] = candidate.turn
            return 0.0

        next_ = picked(registry, score)
        assert next_ == min(turns, key=turns.__getitem__) == f"w{at % 8}"
        assert len(set(turns.values())) == 8
        reservation = registry.reserve("m", score)
        assert reservation.worker.worker_id == next_
        if held:
            open_.append(reservation)
        else:
            reservation.release()


def test_whom_a_callable_passes_over_is_not_chosen_after_lost_races(registry: HiveRegistry) -> None:
    small = [worker(f"w{at}", max_concurrency=1) for at in range(8)]
    registry.ingest(heartbeat("h", *small, worker("other")))
    taken: list[Reservation] = []

    def only(name: str) -> Callable[[Candidate], float | None]:
        return lambda each: 0 if each.worker_id == name else None

    # Whom it is about to choose goes to another, one after the other.
    def score(candidate: Candidate) -> float | None:
        name = candidate.worker_id
        if name == f"w{len(taken)}":
            taken.append(registry.reserve("m", only(name)))
        return None if name == "other" else float(name[1:])

    assert registry.reserve_with("m", score) is None
    assert [each.worker.worker_id for each in taken] == [f"w{at}" for at in range(8)]
    assert registry.stats().reservations_open == 8
    assert registry.reserve("m").worker.worker_id == "other"


@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_a_candidate_without_a_score_is_passed_over(registry: HiveRegistry, nothing: float | None) -> None:
    registry.ingest(loads(50.0, 10.0, 30.0))
    assert picked(registry, lambda candidate: nothing if candidate.worker_id == "w1" else candidate.load) == "w2"


@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_where_none_has_a_score_nobody_is_picked(registry: HiveRegistry, nothing: float | None) -> None:
    registry.ingest(loads(50.0, 10.0))
    assert registry.pick("m", lambda _: nothing) is None
    assert registry.reserve_with("m", lambda _: nothing) is None
    is_sound(registry)


def test_a_callable_is_asked_once_for_each_candidate(registry: HiveRegistry) -> None:
    registry.ingest(loads(50.0, 10.0, 30.0))
    asked: list[str] = []
    picked(registry, lambda candidate: asked.append(candidate.worker_id))
    assert sorted(asked) == ["w0", "w1", "w2"]


@pytest.mark.parametrize("leaves", range(4))
@pytest.mark.parametrize("when", range(4))
def test_a_worker_that_leaves_meanwhile_hides_nobody(registry: HiveRegistry, when: int, leaves: int) -> None:
    registry.ingest_many([heartbeat(f"h{at}", f"w{at}") for at in range(4)])
    asked: list[str] = []

    def score(candidate: Candidate) -> None:
        if len(asked) == when:
            registry.remove_hive(f"h{leaves}")
        asked.append(candidate.worker_id)

    assert registry.pick("m", score) is None
    assert {*asked, f"w{leaves}"} == {"w0", "w1", "w2", "w3"}


def test_a_callable_sees_what_the_registry_counts(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", worker("w", gpu_percent=12.5, max_concurrency=4)))
    with registry.reserve("m"):
        seen: list[Candidate] = []
        registry.pick("m", seen.append)
    assert [(each.hive_id, each.reservations, each.load) for each in seen] == [("h", 1, 1_001 * 2**18 + 125)]


def test_a_callable_is_not_asked_about_who_may_not_be_picked(registry: HiveRegistry) -> None:
    sick = worker("sick", health_status="unhealthy")
    registry.ingest(heartbeat("h", worker("loading", state="Loading"), sick, worker("busy", state="Busy")))
    asked: list[str] = []
    picked(registry, lambda candidate: asked.append(candidate.worker_id))
    assert asked == ["busy"]


def test_a_callable_falls_back_to_idle_workers_of_any_model(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", worker("busy", state="Busy"), worker("idle", model_id=None)))
    assert picked(registry, load, model="other") == "idle"


def test_a_callable_is_asked_about_the_live_among_silent_hives(registry: HiveRegistry, clock: ManualClock) -> None:
    registry.ingest(heartbeat("a", worker("silent", gpu_percent=50.0)))
    clock.advance(20)
    registry.ingest(heartbeat("b", worker("live", gpu_percent=10.0), at=20))
    clock.advance(15)
    assert picked(registry, load) == "live"


def test_a_callable_is_asked_about_every_live_one_among_silent_hives(
    registry: HiveRegistry, clock: ManualClock
) -> None:
    for hive in range(4):
        registry.ingest(heartbeat(f"a{hive}", worker("silent", gpu_percent=50.0)))
    clock.advance(20)
    for hive in range(4):
        registry.ingest(heartbeat(f"b{hive}", worker("live", gpu_percent=10.0), at=20))
    clock.advance(15)
    asked: list[str] = []
    picked(registry, lambda candidate: asked.append(candidate.hive_id))
    assert sorted(asked) == ["b0", "b1", "b2", "b3"]


def test_a_callable_is_asked_about_the_free_among_the_full(registry: HiveRegistry) -> None:
    full, free = worker("a-full", gpu_percent=50.0, max_concurrency=1), worker("b-free", gpu_percent=10.0)
    registry.ingest(heartbeat("h", full, free))
    reservation = registry.reserve("m", lambda candidate: -candidate.load)
    assert reservation.worker.worker_id == "a-full"
    assert picked(registry, load, model="other") == "b-free"


# What a callable raises.

CALLS: list[Callable[[HiveRegistry, Any], object]] = [
    lambda registry, policy: registry.pick("m", policy),
    lambda registry, policy: registry.reserve_with("m", policy),
    lambda registry, policy: registry.reserve("m", policy),
]
each_call = pytest.mark.parametrize("call", CALLS, ids=["pick", "reserve_with", "reserve"])


@each_call
@pytest.mark.parametrize("kind", [ZeroDivisionError, KeyboardInterrupt, SystemExit, NoWorkerError, StopIteration])
def test_what_a_callable_raises_reaches_the_caller(
    registry: HiveRegistry, call: Callable[[HiveRegistry, Any], object], kind: type[BaseException]
) -> None:
    registry.ingest(loads(50.0, 10.0))
    error = kind("mine")
    with pytest.raises(kind) as caught:
        call(registry, raising(error))
    assert caught.value is error
    is_sound(registry)


@each_call
def test_what_a_callable_raises_has_its_traceback(
    registry: HiveRegistry, call: Callable[[HiveRegistry, Any], object]
) -> None:
    registry.ingest(loads(50.0))
    with pytest.raises(ValueError, match="mine") as caught:
        call(registry, raising(ValueError("mine")))
    assert caught.traceback[-1].name == "score"


@each_call
def test_a_callable_that_raised_is_not_asked_again(
    registry: HiveRegistry, call: Callable[[HiveRegistry, Any], object]
) -> None:
    registry.ingest(loads(50.0, 10.0))
    asked: list[str] = []

    def score(candidate: Candidate) -> float:
        asked.append(candidate.worker_id)
        # With nobody left a registry would ask again.
        registry.remove_hive("h")
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        call(registry, score)
    assert len(asked) == 1
    assert registry.stats().reservations_open == 0


@each_call
def test_what_was_raised_outweighs_a_worker_that_came_meanwhile(
    registry: HiveRegistry, call: Callable[[HiveRegistry, Any], object]
) -> None:
    registry.ingest(loads(50.0))

    def score(_: Candidate) -> float:
        registry.remove_hive("h")
        registry.ingest(heartbeat("other", "w"))
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        call(registry, score)
    is_sound(registry)


@each_call
@pytest.mark.parametrize("answer", ["1", b"1", [1], object(), 1j])
def test_a_score_that_is_no_number_is_a_type_error(
    registry: HiveRegistry, call: Callable[[HiveRegistry, Any], object], answer: object
) -> None:
    registry.ingest(loads(50.0, 10.0))
    with pytest.raises(TypeError):
        call(registry, lambda _: answer)
    is_sound(registry)


@each_call
def test_a_callable_of_no_argument_is_a_type_error(
    registry: HiveRegistry, call: Callable[[HiveRegistry, Any], object]
) -> None:
    registry.ingest(loads(50.0))
    with pytest.raises(TypeError, match="positional argument"):
        call(registry, lambda: 0.0)
    is_sound(registry)


# A callable that uses the registry.


def test_a_callable_may_remove_the_hive_it_looks_at(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("a", worker("w", gpu_percent=10.0)))
    registry.ingest(heartbeat("b", worker("w", gpu_percent=50.0)))

    def score(candidate: Candidate) -> float:
        if candidate.hive_id == "a":
            registry.remove_hive("a")
        return candidate.load

    for _ in range(2):
        found = registry.pick("m", score)
        assert found is not None
        assert found[0] == "b"


def test_a_callable_may_remove_every_hive_it_looks_at(registry: HiveRegistry) -> None:
    for hive in range(8):
        registry.ingest(heartbeat(f"h{hive}", "w"))

    def score(candidate: Candidate) -> float:
        registry.remove_hive(candidate.hive_id)
        return 0.0

    assert registry.pick("m", score) is None
    assert registry.list_all_hives() == []
    assert registry.stats().reservations_open == 0


def test_a_callable_may_reserve(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", worker("w0", max_concurrency=2), worker("w1", max_concurrency=2)))
    held: list[Reservation | None] = []

    def score(candidate: Candidate) -> float:
        held.append(registry.reserve_worker_for_model("m"))
        return candidate.load

    # Whom it chose has room, whatever else changed meanwhile: it is not asked again.
    mine = registry.reserve_with("m", score)
    assert mine is not None
    taken = [each.worker.worker_id for each in [*held, mine] if each is not None]
    assert registry.stats().reservations_open == len(taken) == 3
    assert Counter(taken) in ({"w0": 1, "w1": 2}, {"w0": 2, "w1": 1})


def test_a_callable_may_ingest(registry: HiveRegistry) -> None:
    registry.ingest(loads(50.0))

    def score(candidate: Candidate) -> float:
        registry.ingest(heartbeat("other", worker("w9", gpu_percent=0.0), at=1))
        return candidate.load

    assert picked(registry, score) in ("w0", "w9")
    assert picked(registry, load) == "w9"


def test_a_callable_may_pick_with_a_callable(registry: HiveRegistry) -> None:
    registry.ingest(loads(50.0, 10.0))
    assert picked(registry, lambda each: 0 if picked(registry, load) == each.worker_id else 1) == "w1"


# Reservations.


def test_a_reservation_tells_whom_it_holds(registry: HiveRegistry) -> None:
    registry.ingest(loads(50.0, 10.0))
    reservation = registry.reserve("m")
    assert (reservation.hive_id, reservation.worker) == ("h", registry.get_worker_on("h", "w1"))


def test_no_worker_is_an_error_that_explains(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", worker("w", state="Loading"), worker("v", health_status="unhealthy")))
    with pytest.raises(NoWorkerError) as caught:
        registry.reserve("m")
    assert str(caught.value) == str(registry.explain("m"))
    assert "1 unhealthy, 1 loading" in str(caught.value)


@pytest.mark.parametrize("policy", ["random", load, lambda _: None])
def test_no_worker_by_a_policy_is_an_error_that_explains(registry: HiveRegistry, policy: Any) -> None:
    registry.ingest(heartbeat("h", worker("w", state="Draining")))
    with pytest.raises(NoWorkerError) as caught:
        registry.reserve("m", policy)
    assert str(caught.value) == str(registry.explain("m"))


def test_no_worker_is_none_as_in_rust(registry: HiveRegistry) -> None:
    assert registry.reserve_worker_for_model("m") is None
    assert registry.reserve_with("m") is None


def test_a_with_block_releases(registry: HiveRegistry) -> None:
    registry.ingest(loads(50.0))
    with registry.reserve("m") as reservation:
        assert not reservation.released
        assert registry.stats().reservations_open == 1
    assert reservation.released
    assert registry.stats().reservations_open == 0


def test_a_with_block_that_raises_releases_and_lets_it_pass(registry: HiveRegistry) -> None:
    registry.ingest(loads(50.0))
    reservation = registry.reserve("m")
    with pytest.raises(ValueError, match="mine"), reservation:
        raise ValueError("mine")
    assert reservation.released
    assert registry.stats().reservations_open == 0


def test_a_with_block_gives_the_reservation_itself(registry: HiveRegistry) -> None:
    registry.ingest(loads(50.0))
    reservation = registry.reserve("m")
    with reservation as entered:
        assert entered is reservation


def test_a_released_reservation_is_released_once(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", worker("w", max_concurrency=2)))
    one, _other = registry.reserve("m"), registry.reserve("m")
    one.release()
    one.release()
    del one
    gc.collect()
    assert registry.stats().reservations_open == 1


def test_a_collected_reservation_gives_its_place_back(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", worker("w", max_concurrency=1)))
    reservation = registry.reserve("m")
    assert registry.reserve_worker_for_model("m") is None
    del reservation
    gc.collect()
    assert registry.stats().reservations_open == 0
    assert registry.reserve_worker_for_model("m") is not None


def test_a_reservation_in_a_cycle_gives_its_place_back(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", worker("w", max_concurrency=1)))
    cycle: list[object] = [registry.reserve("m")]
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert registry.stats().reservations_open == 0


def test_a_released_reservation_cannot_be_entered(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "w"))
    released = registry.reserve("m")
    with released:
        # Once more while it is held.
        with released:
            pass
        assert released.released
    message = r'^a released reservation cannot be entered: <Reservation of "w" on "h" released>$'
    with pytest.raises(RuntimeError, match=message), released:
        pass


def test_a_reservation_that_is_dropped_unreleased_warns(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat('h"', "w"))
    with pytest.warns(ResourceWarning) as caught:
        registry.reserve("m")
    texts = [str(warning.message) for warning in caught]
    assert texts == [r'a reservation of "w" on "h\"" was dropped without release']
    assert registry.stats().reservations_open == 0


def test_a_reservation_that_was_released_does_not_warn(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "w"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        registry.reserve("m").release()
        with registry.reserve("m"):
            pass
        gc.collect()


def test_a_warning_that_is_an_error_reaches_the_hook_and_nobody_else(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "w"))
    raised: list[object] = []
    hook, sys.unraisablehook = sys.unraisablehook, lambda unraisable: raised.append(unraisable.exc_type)

    def interrupted() -> None:
        _held = registry.reserve("m")
        raise ZeroDivisionError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            # While something else is raised, too.
            with pytest.raises(ZeroDivisionError):
                interrupted()
            gc.collect()
    finally:
        sys.unraisablehook = hook
    assert raised == [ResourceWarning]
    assert registry.stats().reservations_open == 0


@pytest.mark.parametrize("options", [[], ["-X", "dev"], ["-W", "error"]], ids=" ".join)
def test_a_reservation_held_to_the_end_of_the_interpreter_is_no_crash(options: list[str]) -> None:
    program = """
import sys, threading
from hive_registry import HiveRegistry, ProcessStats

registry = HiveRegistry()
registry.update_workers("h", [ProcessStats(1, "g", "1", model="m")])
held = registry.reserve("m")
in_a_cycle = [registry.reserve("m")]
in_a_cycle.append(in_a_cycle)
sys.modules["kept for ever"] = registry.reserve("m")
threading.current_thread().kept = registry.reserve("m")
"""
    ended = subprocess.run([sys.executable, *options, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "Fatal" not in ended.stderr
    # Some of them are told.
    assert ("was dropped without release" in ended.stderr) == bool(options)


def test_a_reservation_outlives_the_registry(clock: ManualClock) -> None:
    mine = HiveRegistry(clock=clock)
    mine.ingest(loads(50.0))
    reservation = mine.reserve("m")
    del mine
    gc.collect()
    reservation.release()
    assert reservation.worker.worker_id == "w0"


def test_a_reservation_ends_with_its_worker(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", worker("w", max_concurrency=1)))
    reservation = registry.reserve("m")
    registry.remove_hive("h")
    assert registry.stats().reservations_open == 0
    assert not reservation.released


def test_a_worker_that_comes_back_starts_without_reservations(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", worker("w", max_concurrency=1)))
    old = registry.reserve("m")
    registry.ingest(heartbeat("h", at=1))
    registry.ingest(heartbeat("h", worker("w", max_concurrency=1), at=2))
    new = registry.reserve("m")
    old.release()
    assert registry.stats().reservations_open == 1
    assert registry.reserve_worker_for_model("m") is None
    assert not new.released


def test_a_heartbeat_clears_no_reservation(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", worker("w", max_concurrency=1)))
    reservation = registry.reserve("m")
    registry.ingest(heartbeat("h", worker("w", max_concurrency=1), at=1))
    assert registry.stats().reservations_open == 1
    assert registry.pick("m") is None
    reservation.release()
    assert picked(registry) == "w"


@pytest.mark.parametrize("policy", [None, "least_loaded", "power_of_choices", "round_robin", "random", load, id])
def test_no_policy_passes_max_concurrency(registry: HiveRegistry, policy: Any) -> None:
    registry.ingest(heartbeat("h", worker("w0", max_concurrency=3), worker("w1", max_concurrency=1)))
    held = [registry.reserve_with("m", policy) for _ in range(12)]
    assert Counter(each.worker.worker_id for each in held if each is not None) == {"w0": 3, "w1": 1}


def test_a_lowered_max_concurrency_ends_no_reservation(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", worker("w", max_concurrency=3)))
    held = [registry.reserve("m") for _ in range(3)]
    registry.ingest(heartbeat("h", worker("w", max_concurrency=2), at=1))
    assert registry.stats().reservations_open == 3
    held.pop()
    assert registry.reserve_worker_for_model("m") is None
    held.pop()
    assert registry.reserve_worker_for_model("m") is not None


@pytest.mark.parametrize("policy", [None, "least_loaded", "round_robin", load])
def test_a_burst_spreads(registry: HiveRegistry, policy: Any) -> None:
    registry.ingest(heartbeat("a", "w0", "w1"))
    registry.ingest(heartbeat("b", "w2", "w3"))
    held = [registry.reserve("m", policy) for _ in range(256)]
    assert Counter(each.worker.worker_id for each in held) == {f"w{at}": 64 for at in range(4)}


def test_equal_workers_take_turns(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "w0", "w1", "w2"))
    taken = []
    for _ in range(6):
        with registry.reserve("m") as reservation:
            taken.append(reservation.worker.worker_id)
    assert taken == ["w0", "w1", "w2"] * 2


def test_a_plain_pick_moves_no_turn(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "w0", "w1"))
    assert [picked(registry) for _ in range(3)] == ["w0"] * 3


# Leases.


@pytest.fixture
def leasing(registry: HiveRegistry) -> HiveRegistry:
    registry.ingest(heartbeat("h", worker("w", max_concurrency=1)))
    return registry


def hears(registry: HiveRegistry, clock: ManualClock) -> None:
    registry.ingest(heartbeat("h", worker("w", max_concurrency=1), at=clock.now()))


@pytest.mark.parametrize("span", [10, 10.0, timedelta(seconds=10)])
def test_a_lease_tells_whom_it_holds_and_until_when(leasing: HiveRegistry, span: float | timedelta) -> None:
    lease = leasing.reserve_detached("m", span)
    assert lease is not None
    assert (lease.hive_id, lease.worker) == ("h", leasing.get_worker_on("h", "w"))
    assert lease.expires_at == START + timedelta(seconds=10)
    assert leasing.stats().reservations_open == 1
    assert leasing.reserve_detached("m", span) is None


def test_a_lease_dropped_goes_on(leasing: HiveRegistry) -> None:
    lease = leasing.reserve_detached("m", 10)
    assert lease is not None
    del lease
    gc.collect()
    assert leasing.stats().reservations_open == 1


def test_a_lease_runs_out_at_its_time(leasing: HiveRegistry, clock: ManualClock) -> None:
    lease = leasing.reserve_detached("m", 10)
    assert lease is not None
    clock.advance(9.999)
    assert leasing.reserve_worker_for_model("m") is None
    clock.advance(0.001)
    assert leasing.stats().reservations_open == 0
    assert picked(leasing) == "w"
    assert not leasing.renew_lease(lease.id, 10)
    assert not leasing.release_lease(lease.id)


@pytest.mark.parametrize("span", [10, 10.0, timedelta(seconds=10)])
def test_a_renewed_lease_runs_from_the_renewal(
    leasing: HiveRegistry, clock: ManualClock, span: float | timedelta
) -> None:
    lease = leasing.reserve_detached("m", 10)
    assert lease is not None
    clock.advance(6)
    assert leasing.renew_lease(lease.id, span) == lease.expires_at + timedelta(seconds=6)
    clock.advance(9.999)
    assert leasing.stats().reservations_open == 1
    clock.advance(0.001)
    assert leasing.stats().reservations_open == 0


def test_a_lease_may_be_renewed_to_end_sooner(leasing: HiveRegistry, clock: ManualClock) -> None:
    lease = leasing.reserve_detached("m", 10)
    assert lease is not None
    assert leasing.renew_lease(lease.id, 1)
    clock.advance(1)
    assert leasing.stats().reservations_open == 0


def test_a_lease_is_released_once(leasing: HiveRegistry) -> None:
    lease = leasing.reserve_detached("m", 10)
    assert lease is not None
    assert leasing.release_lease(lease.id)
    assert not leasing.release_lease(lease.id)
    assert not leasing.renew_lease(lease.id, 10)
    assert leasing.stats().reservations_open == 0


def test_a_lease_id_is_never_used_twice(leasing: HiveRegistry) -> None:
    ids = []
    for _ in range(3):
        lease = leasing.reserve_detached("m", 10)
        assert lease is not None
        ids.append(lease.id)
        leasing.release_lease(lease.id)
    assert len(set(ids)) == 3


@pytest.mark.parametrize("wrong", [0, 12345, 2**64 - 1])
def test_a_wrong_lease_id_is_no_lease(leasing: HiveRegistry, wrong: int) -> None:
    assert leasing.reserve_detached("m", 10) is not None
    assert not leasing.renew_lease(wrong, 10)
    assert not leasing.release_lease(wrong)
    assert leasing.stats().reservations_open == 1


def test_a_lease_ends_with_its_worker(leasing: HiveRegistry, clock: ManualClock) -> None:
    lease = leasing.reserve_detached("m", 10)
    assert lease is not None
    leasing.remove_hive("h")
    clock.advance(1)
    hears(leasing, clock)
    assert not leasing.renew_lease(lease.id, 10)
    assert not leasing.release_lease(lease.id)
    assert leasing.stats().reservations_open == 0


def test_no_jump_of_the_wall_clock_ends_a_lease(clock: ManualClock) -> None:
    registry = HiveRegistry(clock=clock, stale_mode="ignore")
    registry.ingest(heartbeat("h", worker("w", max_concurrency=1)))
    lease = registry.reserve_detached("m", 10)
    assert lease is not None
    clock.jump_wall(3600)
    assert registry.stats().reservations_open == 1
    assert registry.renew_lease(lease.id, 10)


def test_a_guard_never_runs_out(leasing: HiveRegistry, clock: ManualClock) -> None:
    reservation = leasing.reserve("m")
    clock.advance(timedelta(days=365))
    hears(leasing, clock)
    assert leasing.stats().reservations_open == 1
    assert picked(leasing) is None
    reservation.release()
    assert picked(leasing) == "w"


@pytest.mark.parametrize("span", [-1, float("nan"), timedelta(seconds=-1), "soon"])
def test_a_lease_of_no_span_is_refused(leasing: HiveRegistry, span: Any) -> None:
    with pytest.raises(ConfigError, match=r"lease: .* refused"):
        leasing.reserve_detached("m", span)
    with pytest.raises(ConfigError, match=r"lease: .* refused"):
        leasing.renew_lease(1, span)
    assert leasing.stats().reservations_open == 0


@pytest.mark.parametrize("span", [2.6e11, 1e18, timedelta.max])
def test_a_lease_may_outlast_the_calendar(leasing: HiveRegistry, span: float | timedelta) -> None:
    lease = leasing.reserve_detached("m", span)
    assert lease is not None
    assert lease.expires_at.year == 9999
    renewed = leasing.renew_lease(lease.id, span)
    assert renewed is not None
    assert renewed.year == 9999
    assert leasing.release_lease(lease.id)
    assert leasing.stats().reservations_open == 0


@pytest.mark.parametrize("lease_id", [-1, 2**64, 1.5, True, "one"])
def test_an_id_that_no_lease_has_is_refused(leasing: HiveRegistry, lease_id: Any) -> None:
    with pytest.raises(ConfigError, match=r"lease_id: .* refused: a whole number from 0 to 2\*\*64 - 1"):
        leasing.renew_lease(lease_id, 1)
    with pytest.raises(ConfigError, match=r"lease_id: .* refused"):
        leasing.release_lease(lease_id)


# Models looked up once.


def test_a_model_finds_what_the_registry_finds(registry: HiveRegistry) -> None:
    model = registry.model("m")
    assert model.id == "m"
    assert model.find_best_worker() is None
    assert model.reserve_worker() is None
    registry.ingest(loads(50.0, 10.0))
    assert model.find_best_worker() == registry.find_best_worker_for_model("m") is not None


def test_a_model_reserves_as_the_registry_does(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", *(worker(f"w{at}", max_concurrency=2) for at in range(2))))
    model = registry.model("m")
    held = [model.reserve_worker(), registry.reserve_worker_for_model("m"), model.reserve_worker()]
    taken = [each.worker.worker_id for each in held if each is not None]
    assert taken == ["w0", "w1", "w0"]
    assert registry.stats().reservations_open == 3


def test_a_model_falls_back_to_idle_workers(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", worker("w", model_id=None)))
    found = registry.model("m").find_best_worker()
    assert found is not None
    assert found[1].worker_id == "w"


def test_a_model_outlives_its_workers(registry: HiveRegistry) -> None:
    registry.ingest(loads(50.0))
    model = registry.model("m")
    registry.remove_hive("h")
    assert model.find_best_worker() is None
    registry.ingest(heartbeat("h", "back", at=1))
    assert model.find_best_worker() == ("h", registry.get_worker_on("h", "back"))


@pytest.mark.parametrize("name", ["", "x" * 257, "a\nb"])
def test_a_model_that_no_worker_may_have_is_refused(registry: HiveRegistry, name: str) -> None:
    with pytest.raises(HeartbeatError, match="model_id"):
        registry.model(name)


# Explanations.

Reason = Literal["eligible", "stale", "unhealthy", "loading", "draining", "other", "full"]
REASONS: tuple[Reason, ...] = ("eligible", "stale", "unhealthy", "loading", "draining", "other", "full")


def counts(registry: HiveRegistry) -> dict[str, int]:
    told = registry.explain("m")
    assert told.workers == sum(getattr(told, reason) for reason in REASONS)
    return {reason: count for reason in REASONS if (count := getattr(told, reason))}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "eligible"),
        ({"state": "busy"}, "eligible"),
        ({"state": "READY"}, "eligible"),
        ({"health_status": "degraded"}, "eligible"),
        ({"health_status": "tired"}, "eligible"),
        ({"health_status": "unhealthy"}, "unhealthy"),
        ({"state": "Loading"}, "loading"),
        ({"state": "starting"}, "loading"),
        ({"state": "Draining"}, "draining"),
        ({"state": "stopped"}, "draining"),
        ({"state": "paused"}, "other"),
        ({"state": "Loading", "health_status": "unhealthy"}, "unhealthy"),
    ],
)
def test_a_worker_is_counted_under_its_first_reason(
    registry: HiveRegistry, fields: dict[str, str], reason: Reason
) -> None:
    registry.ingest(heartbeat("h", worker("w", **fields)))
    assert counts(registry) == {reason: 1}
    assert (registry.pick("m") is not None) == (reason == "eligible")


def test_workers_of_a_silent_hive_are_stale_before_all_else(registry: HiveRegistry, clock: ManualClock) -> None:
    registry.ingest(heartbeat("h", "w", worker("v", health_status="unhealthy"), worker("u", state="Loading")))
    clock.advance(29.999)
    assert counts(registry) == {"eligible": 1, "unhealthy": 1, "loading": 1}
    clock.advance(0.001)
    assert counts(registry) == {"stale": 3}


def test_a_worker_with_all_places_taken_is_full(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", worker("w", max_concurrency=1)))
    with registry.reserve("m"):
        assert counts(registry) == {"full": 1}
    assert counts(registry) == {"eligible": 1}


@pytest.mark.parametrize(
    ("status", "reason"),
    [("ready", "eligible"), ("busy", "eligible"), ("stopping", "draining"), ("stopped", "draining")],
)
def test_workers_of_a_hive_that_stops_are_draining(
    registry: HiveRegistry, status: Literal["ready", "busy", "stopping", "stopped"], reason: Reason
) -> None:
    process = ProcessStats(pid=1, group="llm", instance="8080", model="m")
    hive = HiveInfo("h", "host", 9200, operational_status=status, version="1")
    registry.ingest(HiveHeartbeat(hive, START, [process]))
    assert counts(registry) == {reason: 1}
    assert (registry.pick("m") is not None) == (reason == "eligible")


def test_workers_of_an_unhealthy_hive_are_unhealthy(registry: HiveRegistry) -> None:
    process = ProcessStats(pid=1, group="llm", instance="8080", model="m")
    hive = HiveInfo("h", "host", 9200, health_status=HiveHealth("unhealthy", "hot"), version="1")
    registry.ingest(HiveHeartbeat(hive, START, [process]))
    assert counts(registry) == {"unhealthy": 1}
    assert registry.pick("m") is None


def test_idle_fallbacks_are_the_eligible_idle_of_any_model(registry: HiveRegistry) -> None:
    busy, sick = worker("b", state="Busy"), worker("s", model_id=None, health_status="unhealthy")
    registry.ingest(heartbeat("h", "m", busy, sick, worker("n", model_id=None), worker("o", model_id="o")))
    told = registry.explain("m")
    assert (told.workers, told.eligible, told.idle_fallbacks) == (2, 2, 3)
    assert told.pick == registry.find_best_worker_for_model("m")


def test_an_explanation_counts_no_pick(registry: HiveRegistry) -> None:
    registry.ingest(loads(50.0))
    registry.explain("m")
    registry.explain("none")
    stats = registry.stats()
    assert (stats.picks, stats.misses) == (0, 0)


def test_an_explanation_tells_where_a_pick_goes(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "a", worker("b", state="Loading"), worker("c", state="Busy")))
    expected = "'m' goes to 'a' on 'h': 3 with it loaded (1 loading), 2 eligible"
    assert str(registry.explain("m")) == expected


def test_an_explanation_tells_of_a_fallback(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", "a", "b", worker("c", state="Busy")))
    told = registry.explain("other")
    assert told.falls_back
    assert "falls_back=True" in repr(told)
    expected = "'other' goes to 'a' on 'h', of another model, 'm': nobody has it loaded, and it is one of 2 idle"
    assert str(told) == expected
    assert not registry.explain("m").falls_back


def test_an_explanation_tells_of_a_fallback_from_workers_that_are_not_eligible(registry: HiveRegistry) -> None:
    registry.ingest(heartbeat("h", worker("a", state="Loading"), worker("b", model_id=None)))
    told = registry.explain("m")
    assert told.falls_back
    expected = (
        "'m' goes to 'b' on 'h', without a model: "
        "of 1 with it loaded (1 loading) none is eligible, and it is one of 1 idle"
    )
    assert str(told) == expected
    registry.remove_hive("h")
    assert not registry.explain("m").falls_back


def test_an_explanation_tells_why_nobody_is_picked(registry: HiveRegistry) -> None:
    sick = worker("s", health_status="unhealthy")
    states = [worker(state, state=state) for state in ("Loading", "Draining", "paused")]
    registry.ingest(heartbeat("h", sick, *states, worker("full", state="Busy", max_concurrency=1)))
    reservation = registry.reserve("m")
    expected = (
        "no worker for 'm': 5 with it loaded (1 unhealthy, 1 loading, 1 draining, 1 other, 1 full),"
        " none of them eligible, and no idle worker to fall back to"
    )
    assert str(registry.explain("m")) == expected
    reservation.release()


def test_an_explanation_tells_of_silence(registry: HiveRegistry, clock: ManualClock) -> None:
    registry.ingest(heartbeat("h", "a", "b"))
    clock.advance(30)
    assert "2 with it loaded (2 stale), none of them eligible" in str(registry.explain("m"))
    registry.ingest(heartbeat("behind", "a", at=0))
    told = registry.explain("m")
    assert (told.stale, told.stale_by_clock) == (3, 1)
    assert "3 with it loaded (3 stale, 1 of the stale by the clock of their hive alone), none" in str(told)
