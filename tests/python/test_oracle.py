import os
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, TypeAlias

import polars as pl
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fleet import START, heartbeat, worker
from hive_registry import Candidate, HeartbeatOutcome, HiveRegistry, ManualClock, Reservation, Worker

WINDOW = 30
TOMBSTONE = 600
HOLD = 300
NEVER = -1

PLAIN = ("h0", "h1", "h2")
PAIRED = ("p0", "p1")
CROWD = ("c0", "c1", "c2", "c3", "c4", "c5", "c6")
WORKERS = ("w0", "w1", "w2")
MODELS = ("m0", "m1")

Pair: TypeAlias = tuple[int, int]
# I3: (1, epoch, seq), or (0, timestamp, 0), which is less than any pair.
Key: TypeAlias = tuple[int, int, int]
Fields: TypeAlias = dict[str, Any]
# (hive id, worker id) and what tells one heartbeat's worker from the next one's.
Seen: TypeAlias = tuple[str, str, str, str, str | None, float | None, int | None]


@dataclass
class Known:
    """One registration of a worker."""

    hive_id: str
    fields: Fields
    registration: int
    turn: int = NEVER
    held: set[int] = field(default_factory=set)

    @property
    def seen(self) -> Seen:
        told = self.fields
        state, health = told["state"], told["health_status"]
        return self.hive_id, told["worker_id"], state, health, told["model_id"], told["gpu_percent"], self.bound

    @property
    def bound(self) -> int | None:
        bound: int | None = self.fields["max_concurrency"]
        return bound

    @property
    def is_full(self) -> bool:
        return self.bound is not None and len(self.held) >= self.bound

    @property
    def load(self) -> int:
        """S3."""
        assumed = 0.0 if self.fields["state"] == "Idle" else 100.0
        gpu = assumed if self.fields["gpu_percent"] is None else self.fields["gpu_percent"]
        return 1_001 * (2**20 * len(self.held) // (self.bound or 16)) + int(10 * gpu)

    @property
    def rank(self) -> tuple[bool, int]:
        return self.fields["health_status"] != "healthy", self.load

    @property
    def tie(self) -> tuple[int, int]:
        return self.turn, self.registration

    def order(self, model: str) -> tuple[bool, int, bool, bool, int, int]:
        """S4: that of a fallback, which would unload its own model, too."""
        unloads = self.fields["model_id"] not in (model, None)
        return *self.rank, self.fields["state"] == "Busy", unloads, *self.tie


@dataclass
class Hive:
    key: Key
    timestamp: int
    heard: int
    applied: int
    arrivals: list[int]
    superseded: list[tuple[Key, int]]
    workers: dict[str, Known]

    @property
    def arrived(self) -> int:
        return self.arrivals[-1]

    def takes(self, key: Key, now: int) -> bool:
        """I3."""
        if key >= self.key:
            return key > self.key or key[0] == 0
        span, intervals = self.arrivals[-1] - self.arrivals[0], max(1, len(self.arrivals) - 1)
        window_ms = min(max(3_000 * span // intervals, 10_000), 60_000)
        is_old = 1_000 * (now - self.applied) >= window_ms
        return is_old and any(less < key and now - at >= 1 for less, at in self.superseded)


@dataclass
class Tombstone:
    at: int
    key: Key


def key_of(at: int, pair: Pair | None) -> Key:
    return (0, at, 0) if pair is None else (1, *pair)


class Model:
    """What the registry should answer: dicts, and a scan for each question. Time is seconds since `START`."""

    def __init__(self) -> None:
        self.now = 0
        self.hives: dict[str, Hive] = {}
        self.tombstones: dict[str, Tombstone] = {}
        self.registrations = 0
        self.turns = 0
        # By age: since when most are silent, and when that was last seen.
        self.silences: dict[int, tuple[int, int]] = {}

    # Intake: I1, I3, I4, L1, L5.

    def heartbeat(self, hive_id: str, at: int, pair: Pair | None, workers: list[Fields]) -> HeartbeatOutcome:
        if self.is_barred(hive_id, at, pair):
            return HeartbeatOutcome.REMOVED
        hive = self.hives.get(hive_id)
        key, heard = key_of(at, pair), min(at, self.now)
        if hive is not None:
            heard = max(heard, hive.heard)
            if not hive.takes(key, self.now):
                hive.superseded.append((key, self.now))
                hive.arrivals.append(self.now)
                hive.heard = heard
                return HeartbeatOutcome.SUPERSEDED
        before = {} if hive is None else hive.workers
        after = {}
        for told in sorted(workers, key=lambda told: str(told["worker_id"])):
            name = told["worker_id"]
            if name in before:
                after[name] = before[name]
                after[name].fields = told
            else:
                self.registrations += 1
                after[name] = Known(hive_id, told, self.registrations)
        arrivals = [*([] if hive is None else hive.arrivals), self.now]
        self.hives[hive_id] = Hive(key, at, heard, self.now, arrivals, [], after)
        return HeartbeatOutcome.REGISTERED if hive is None else HeartbeatOutcome.UPDATED

    def is_barred(self, hive_id: str, at: int, pair: Pair | None) -> bool:
        tombstone = self.tombstones.get(hive_id)
        if tombstone is None or self.now - tombstone.at >= TOMBSTONE:
            return False
        key = key_of(at, pair)
        new_boot = key[0] == tombstone.key[0] == 1 and key[1] > tombstone.key[1]
        return key <= tombstone.key or not (new_boot or at > tombstone.at)

    def remove(self, hive_id: str) -> bool:
        hive = self.hives.pop(hive_id, None)
        if hive is None:
            return False
        key, earlier = hive.key, self.tombstones.get(hive_id)
        if earlier is not None and self.now - earlier.at < TOMBSTONE:
            key = max(key, earlier.key)
        self.tombstones[hive_id] = Tombstone(self.now, key)
        return True

    def evict(self, max_age: int) -> tuple[int, bool, int]:
        """L3."""
        silent = [(hive.arrived, name) for name, hive in self.hives.items() if self.now - hive.arrived >= max_age]
        fleet, most = len(self.hives), len(self.hives)
        if fleet >= 8:
            most = max(1, fleet * 15 // 100)
        if fleet >= 8 and 2 * len(silent) > fleet:
            since, seen = self.silences.get(max_age, (self.now, self.now))
            # Nobody looked for long: the same silence only if most were not heard since.
            if self.now - seen > HOLD and 2 * sum(arrived <= seen for arrived, _ in silent) <= fleet:
                since = self.now
            self.silences[max_age] = since, self.now
            if self.now - since < HOLD:
                return 0, True, len(silent)
        else:
            self.silences.pop(max_age, None)
        for _, name in sorted(silent)[:most]:
            del self.hives[name]
        return min(len(silent), most), False, max(0, len(silent) - most)

    # Questions: L1, L2, S1, S2, S4, S9, C4.

    def is_live(self, hive_id: str, max_age: int = WINDOW) -> bool:
        return hive_id in self.hives and self.now - self.hives[hive_id].heard < max_age

    def workers(self) -> list[Known]:
        return [known for _, hive in sorted(self.hives.items()) for _, known in sorted(hive.workers.items())]

    def of_model(self, model: str) -> list[Known]:
        return [known for known in self.workers() if known.fields["model_id"] == model]

    def reason(self, known: Known) -> str:
        state = known.fields["state"]
        if not self.is_live(known.hive_id):
            return "stale"
        if known.fields["health_status"] == "unhealthy":
            return "unhealthy"
        if state in ("Loading", "Draining"):
            return str(state).lower()
        if state not in ("Idle", "Busy"):
            return "other"
        return "full" if known.is_full else "eligible"

    def idle(self) -> list[Known]:
        return [each for each in self.workers() if each.fields["state"] == "Idle" and self.reason(each) == "eligible"]

    def candidates(self, model: str) -> list[Known]:
        return [known for known in self.of_model(model) if self.reason(known) == "eligible"] or self.idle()

    def best(self, model: str) -> Known | None:
        return min(self.candidates(model), key=lambda known: known.order(model), default=None)

    def namesake(self, worker_id: str) -> Seen | None:
        """I5."""
        heard = [
            (not self.is_live(name), -hive.heard, name)
            for name, hive in self.hives.items()
            if worker_id in hive.workers
        ]
        return self.hives[min(heard)[2]].workers[worker_id].seen if heard else None

    def hold(self, known: Known, hold: int) -> None:
        self.turns += 1
        known.turn = self.turns
        known.held.add(hold)

    def release(self, hold: int) -> None:
        for known in self.workers():
            known.held.discard(hold)


def seen(worker: Worker) -> Seen:
    kind = worker.state, worker.health_status, worker.model_id
    return worker.hive_id, worker.worker_id, *kind, worker.gpu_percent, worker.max_concurrency


def seen_of(found: tuple[str, Worker] | None) -> Seen | None:
    if found is None:
        return None
    assert found[0] == found[1].hive_id
    return seen(found[1])


def all_seen(found: list[tuple[str, Worker]]) -> list[Seen]:
    return [seen(worker) for _, worker in found]


def look(worker_id: str) -> st.SearchStrategy[Fields]:
    return st.builds(
        worker,
        st.just(worker_id),
        state=st.sampled_from(("Idle", "Idle", "Idle", "Busy", "Busy", "Loading", "Draining", "Parked")),
        health_status=st.sampled_from(("healthy", "healthy", "healthy", "degraded", "unhealthy")),
        model_id=st.sampled_from((*MODELS, None)),
        # Halves and quarters, which 32-bit floats hold exactly.
        gpu_percent=st.sampled_from((None, 0.0, 12.5, 50.0)),
        max_concurrency=st.sampled_from((None, 1, 2, 4)),
    )


LOOKS = {worker_id: look(worker_id) for worker_id in WORKERS}
SENT = st.lists(st.sampled_from(WORKERS), unique=True, min_size=0, max_size=3).flatmap(
    lambda names: st.tuples(*(LOOKS[name] for name in names)).map(list)
)
MODEL = st.sampled_from((*MODELS, "no-such-model"))
NAMES = st.sampled_from(("least_loaded", "power_of_choices", "round_robin", "random"))
PAIRS = st.tuples(st.integers(1, 3), st.integers(0, 4))


class Oracle(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock(START)
        self.registry = HiveRegistry(clock=self.clock, liveness_window=WINDOW, seed=1)
        self.model = Model()
        self.open: dict[int, Reservation] = {}
        self.leases: dict[int, tuple[int, int]] = {}
        self.holds = 0

    def send(self, hive_id: str, at: int, pair: Pair | None, workers: list[Fields], *, as_table: bool = False) -> None:
        fields = {} if pair is None else {"epoch": pair[0], "seq": pair[1]}
        sent = heartbeat(hive_id, *workers, at=at, **fields)
        expected = self.model.heartbeat(hive_id, at, pair, workers)
        if as_table:
            whole = {name: value for name, value in sent.items() if name != "workers"}
            done = self.registry.ingest_table(pl.DataFrame([whole | each for each in workers]))
            assert done.refused == ()
            assert [outcome for outcome in HeartbeatOutcome if getattr(done, outcome.value)] == [expected]
        else:
            assert self.registry.ingest(sent) is expected

    # Half of the runs are about a fleet large enough for the guard of evictions.
    @initialize(crowded=st.booleans(), workers=SENT)
    def start(self, crowded: bool, workers: list[Fields]) -> None:
        for hive_id in CROWD if crowded else ():
            self.send(hive_id, 0, None, workers)

    @rule(hive_id=st.sampled_from(PLAIN + CROWD[:1]), skew=st.sampled_from((0, 0, 0, -1, -10, -29, 5)), workers=SENT)
    def beats(self, hive_id: str, skew: int, workers: list[Fields]) -> None:
        self.send(hive_id, self.model.now + skew, None, workers)

    @precondition(lambda self: self.model.hives)
    @rule(data=st.data(), skew=st.sampled_from((0, 0, -1, 1, -60, -61, -1000)), workers=SENT)
    def beats_beside_its_last(self, data: st.DataObject, skew: int, workers: list[Fields]) -> None:
        hive_id = data.draw(st.sampled_from(sorted(self.model.hives)))
        self.send(hive_id, self.model.hives[hive_id].timestamp + skew, None, workers)

    @rule(
        hive_id=st.sampled_from(PAIRED), pair=PAIRS | st.none(), skew=st.sampled_from((0, 0, -20, -100)), workers=SENT
    )
    def beats_in_order(self, hive_id: str, pair: Pair | None, skew: int, workers: list[Fields]) -> None:
        self.send(hive_id, self.model.now + skew, pair, workers)

    @rule(
        hive_id=st.sampled_from(PLAIN + PAIRED),
        pair=PAIRS | st.none(),
        skew=st.sampled_from((0, 0, -20, -100)),
        workers=SENT.filter(bool),
    )
    def beats_by_table(self, hive_id: str, pair: Pair | None, skew: int, workers: list[Fields]) -> None:
        self.send(hive_id, self.model.now + skew, pair, workers, as_table=True)

    # Some of a large fleet beat and some are silent, or are superseded, which is being heard as well.
    @precondition(lambda self: len(self.model.hives) >= len(CROWD))
    @rule(count=st.integers(1, len(CROWD)), skew=st.sampled_from((0, 0, -29)))
    def a_crowd_beats(self, count: int, skew: int) -> None:
        for hive_id in CROWD[:count]:
            self.send(hive_id, self.model.now + skew, None, [])

    @precondition(lambda self: any(hive_id in self.model.hives for hive_id in PAIRED))
    @rule(pair=PAIRS, skew=st.sampled_from((0, -1, 1)))
    def removes_and_hears_again(self, pair: Pair, skew: int) -> None:
        hive_id = next(hive_id for hive_id in PAIRED if hive_id in self.model.hives)
        self.removes(hive_id)
        self.send(hive_id, self.model.now + skew, pair, [])

    @rule(hive_id=st.sampled_from(PLAIN + PAIRED + CROWD[:1]))
    def removes(self, hive_id: str) -> None:
        assert self.registry.remove_hive(hive_id) is self.model.remove(hive_id)

    @rule(seconds=st.sampled_from((1, 1, 2, 5, 10, 29, 30, 61, 300, 600)))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)
        self.model.now += seconds
        for lease, (hold, expires) in [*self.leases.items()]:
            if expires <= self.model.now:
                self.model.release(hold)
                del self.leases[lease]

    @rule(max_age=st.sampled_from((5, 30, 60)), after=st.sampled_from((0, 1, 5, 30)))
    def evicts(self, max_age: int, after: int) -> None:
        self.time_passes(after)
        done = self.registry.evict_stale(max_age)
        assert (done.hives, done.held, done.remaining) == self.model.evict(max_age)

    @rule(model=MODEL)
    def finds_the_best(self, model: str) -> None:
        best = self.model.best(model)
        expected = None if best is None else best.seen
        assert seen_of(self.registry.find_best_worker_for_model(model)) == expected
        assert seen_of(self.registry.model(model).find_best_worker()) == expected
        assert seen_of(self.registry.pick(model)) == expected

    @rule(model=MODEL, policy=NAMES)
    def picks_by_name(
        self, model: str, policy: Literal["least_loaded", "power_of_choices", "round_robin", "random"]
    ) -> None:
        picked = seen_of(self.registry.pick(model, policy))
        candidates = self.model.candidates(model)
        chosen = [known for known in candidates if known.seen == picked]
        assert chosen if candidates else picked is None
        if policy == "least_loaded":
            assert chosen == candidates == [] or chosen[0].rank == min(known.rank for known in candidates)

    @rule(model=MODEL, sign=st.sampled_from((1, -1)))
    def picks_with_a_callable(self, model: str, sign: int) -> None:
        asked: list[tuple[Seen, int, int]] = []

        def score(candidate: Candidate) -> float:
            asked.append((seen(candidate), candidate.reservations, candidate.load))
            return sign * candidate.load

        picked = seen_of(self.registry.pick(model, score))
        candidates = self.model.candidates(model)
        assert sorted(asked, key=repr) == sorted(
            ((known.seen, len(known.held), known.load) for known in candidates), key=repr
        )
        best = min(candidates, key=lambda known: (sign * known.load, known.tie), default=None)
        assert picked == (None if best is None else best.seen)

    def takes(self, reservation: Reservation | None, known: Known | None) -> None:
        if reservation is None or known is None:
            assert reservation is None
            assert known is None
            return
        assert seen(reservation.worker) == known.seen
        assert not known.is_full
        self.holds += 1
        self.open[self.holds] = reservation
        self.model.hold(known, self.holds)

    @rule(model=MODEL)
    def reserves(self, model: str) -> None:
        self.takes(self.registry.reserve_worker_for_model(model), self.model.best(model))

    @rule(model=MODEL)
    def reserves_with_a_callable(self, model: str) -> None:
        reservation = self.registry.reserve_with(model, lambda candidate: -candidate.load)
        candidates = self.model.candidates(model)
        self.takes(reservation, min(candidates, key=lambda known: (-known.load, known.tie), default=None))

    @rule(model=MODEL, seconds=st.sampled_from((1, 10, 60)))
    def leases_a_place(self, model: str, seconds: int) -> None:
        best = self.model.best(model)
        lease = self.registry.reserve_detached(model, seconds)
        if lease is None or best is None:
            assert lease is None
            assert best is None
            return
        assert seen(lease.worker) == best.seen
        assert lease.expires_at == START + timedelta(seconds=self.model.now + seconds)
        self.holds += 1
        self.model.hold(best, self.holds)
        self.leases[lease.id] = self.holds, self.model.now + seconds

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), seconds=st.sampled_from((None, 0, 5, 100)))
    def renews_or_ends_a_lease(self, data: st.DataObject, seconds: int | None) -> None:
        lease = data.draw(st.sampled_from(sorted(self.leases)))
        hold, _ = self.leases.pop(lease)
        # That of a worker which has gone went with it.
        lives = any(hold in known.held for known in self.model.workers())
        if seconds is None:
            assert self.registry.release_lease(lease) is lives
            assert not self.registry.release_lease(lease)
        else:
            assert (self.registry.renew_lease(lease, seconds) is not None) is lives
        if seconds:
            self.leases[lease] = hold, self.model.now + seconds
        else:
            self.model.release(hold)

    @rule(model=MODEL, policy=NAMES)
    def reserves_by_name(
        self, model: str, policy: Literal["least_loaded", "power_of_choices", "round_robin", "random"]
    ) -> None:
        reservation = self.registry.reserve_with(model, policy)
        candidates = self.model.candidates(model)
        chosen = reservation and seen(reservation.worker)
        known = next((known for known in candidates if known.seen == chosen), None)
        assert (known is None) == (candidates == [])
        self.takes(reservation, known)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), collected=st.booleans())
    def releases(self, data: st.DataObject, collected: bool) -> None:
        hold = data.draw(st.sampled_from(sorted(self.open)))
        reservation = self.open.pop(hold)
        if not collected:
            reservation.release()
            assert reservation.released
        del reservation
        self.model.release(hold)

    @rule(model=MODEL)
    def explains(self, model: str) -> None:
        told = self.registry.explain(model)
        loaded = self.model.of_model(model)
        assert (told.workers, told.idle_fallbacks) == (len(loaded), len(self.model.idle()))
        reasons = [self.model.reason(known) for known in loaded]
        for reason in ("eligible", "stale", "unhealthy", "loading", "draining", "other", "full"):
            assert getattr(told, reason) == reasons.count(reason), reason
        best = self.model.best(model)
        assert seen_of(told.pick) == (None if best is None else best.seen)

    # After every step.

    @invariant()
    def hives_agree(self) -> None:
        registry, model = self.registry, self.model
        hives = sorted(model.hives)
        assert registry.list_all_hives() == hives
        assert registry.hive_count() == len(hives)
        online = [name for name in hives if model.is_live(name)]
        assert registry.list_online_hives() == registry.list_available_hives() == online
        assert registry.count_online() == registry.count_available() == len(online)
        for seconds in (1, 10, 60):
            active = [name for name in hives if model.is_live(name, seconds)]
            assert registry.list_active_hives(1_000 * seconds) == active
        for name in PLAIN + PAIRED:
            hive = model.hives.get(name)
            assert registry.get_worker_count(name) == (None if hive is None else len(hive.workers))
            assert registry.is_hive_online(name, 1_000 * WINDOW) == model.is_live(name)

    @invariant()
    def workers_agree(self) -> None:
        registry, model = self.registry, self.model
        workers = model.workers()
        assert all_seen(registry.list_all_workers()) == [known.seen for known in workers]
        assert registry.total_worker_count() == len(workers)
        live = [known for known in workers if model.is_live(known.hive_id)]
        idle = [known.seen for known in live if known.fields["state"] == "Idle"]
        assert all_seen(registry.find_idle_workers()) == idle
        for name in MODELS:
            of_it = [known.seen for known in live if known.fields["model_id"] == name]
            assert all_seen(registry.find_workers_by_model(name)) == of_it
            assert all_seen(registry.find_workers_with_model(name)) == of_it
        for worker_id in WORKERS:
            assert seen_of(registry.get_worker(worker_id)) == model.namesake(worker_id)
        for hive_id in PLAIN:
            on_hive = [known.seen for known in workers if known.hive_id == hive_id]
            assert [seen(each) for each in registry.get_workers_on_hive(hive_id)] == on_hive

    @invariant()
    def reservations_agree(self) -> None:
        assert self.registry.stats().reservations_open == sum(len(known.held) for known in self.model.workers())

    def teardown(self) -> None:
        self.open.clear()
        self.clock.advance(1_000)
        assert self.registry.stats().reservations_open == 0


TestOracle = Oracle.TestCase
TestOracle.settings = settings(
    max_examples=int(os.environ.get("HIVE_EXAMPLES", "300")),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
