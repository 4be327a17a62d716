"""What the registry answers with, beside workers and states: immutable records."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from ._core import Worker
    from ._errors import HeartbeatError


class HeartbeatOutcome(enum.Enum):
    """What became of a heartbeat that was not refused."""

    REGISTERED = "registered"
    """The hive was not known before."""
    UPDATED = "updated"
    """The hive was known."""
    SUPERSEDED = "superseded"
    """It was older than what is known: dropped."""
    REMOVED = "removed"
    """It was older than the hive's removal: dropped."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what a registry holds, so that no input exhausts memory. All at least 1."""

    hives: int = 1_000_000
    """Hives known at once."""
    workers: int = 16_000_000
    """Workers of all hives at once."""
    workers_per_hive: int = 1_024
    """Workers in one heartbeat."""
    models: int = 100_000
    """Models loaded somewhere at once."""
    heartbeat_bytes: int = 1 << 20
    """Bytes of one JSON body."""
    devices_per_hive: int = 256
    """Devices that one hive declares."""


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of many heartbeats."""

    registered: int
    updated: int
    superseded: int
    removed: int
    refused: tuple[tuple[int, HeartbeatError], ...]
    """Of each refused one its place, for a table its first row, and why. The others were applied all the same."""


@dataclass(frozen=True, slots=True)
class Resources:
    """Memory of one hive, gigabytes of 10**9 bytes."""

    vram_used_gb: float
    """By its workers, an assumed amount for those that do not say."""
    ram_used_gb: float
    worker_count: int
    vram_total_gb: float | None
    """Of its declared devices, else of those its workers report; None if nobody says."""
    vram_free_gb: float | None
    ram_total_gb: float | None
    workers_estimated: int
    """Workers that did not report all of their memory."""


@dataclass(frozen=True, slots=True)
class Eviction:
    """What an eviction pass did."""

    hives: int
    """Hives removed."""
    held: bool
    """Over half of the fleet was silent: nothing was evicted, for the fault is more likely at this end."""
    remaining: int
    """Hives past the age that are still known."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A reservation known by its id, which ends by itself unless renewed. Dropping this does nothing."""

    id: int
    """To renew or release it by; never used twice."""
    hive_id: str
    worker: Worker
    """As it was when it was chosen."""
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a pick goes where it goes.

    Each worker with the model loaded is counted once, under the first reason that applies, in the order of the fields
    from `stale` on, `stale_by_clock` aside.
    """

    model: str
    workers: int
    """Workers that have it loaded."""
    eligible: int
    """Of these, workers that may be picked."""
    stale: int
    """Their hive was not heard within the liveness window."""
    stale_by_clock: int
    """Of the stale, those whose hive's last heartbeat arrived within the window: its clock alone makes them stale."""
    unhealthy: int
    """They or their hive are unhealthy."""
    loading: int
    draining: int
    """They are draining, or their hive is stopping or stopped."""
    other: int
    """They are in another state that takes no requests."""
    full: int
    """They hold as many reservations as they take."""
    idle_fallbacks: int
    """Eligible idle workers of any model or none, among which a pick falls back when `eligible` is 0."""
    pick: tuple[str, Worker] | None
    """What the pick would be."""
    falls_back: bool = field(init=False)
    """The pick is an idle worker that does not have the model loaded: nobody who has may be picked."""

    def __post_init__(self) -> None:
        falls_back = self.pick is not None and self.pick[1].model_id != self.model
        object.__setattr__(self, "falls_back", falls_back)

    def __str__(self) -> str:
        """In a sentence."""
        reasons = ("stale", "unhealthy", "loading", "draining", "other", "full")
        counts = ", ".join(f"{count} {name}" for name in reasons if (count := getattr(self, name)))
        if self.stale_by_clock:
            counts += f", {self.stale_by_clock} of the stale by the clock of their hive alone"
        loaded = f"{self.workers} with it loaded" + (f" ({counts})" if counts else "")
        if self.pick is None:
            return f"no worker for {self.model!r}: {loaded}, none of them eligible, and no idle worker to fall back to"
        hive_id, worker = self.pick
        if self.falls_back:
            none = "nobody has it loaded" if self.workers == 0 else f"of {loaded} none is eligible"
            other = "without a model" if worker.model_id is None else f"of another model, {worker.model_id!r}"
            idle = f"one of {self.idle_fallbacks} idle"
            return f"{self.model!r} goes to {worker.worker_id!r} on {hive_id!r}, {other}: {none}, and it is {idle}"
        whence = f"{self.eligible} eligible" if self.eligible else f"falling back to {self.idle_fallbacks} idle"
        return f"{self.model!r} goes to {worker.worker_id!r} on {hive_id!r}: {loaded}, {whence}"


@dataclass(frozen=True, slots=True)
class HeartbeatCounts:
    """Heartbeats by what became of them."""

    registered: int
    updated: int
    superseded: int
    removed: int
    refused: int


@dataclass(frozen=True, slots=True)
class HiveStats:
    """How regularly a hive beats; 0 until it has beaten twice."""

    hive_id: str
    heartbeats: int
    """Since it was registered, superseded ones included."""
    mean_interval: timedelta
    jitter: timedelta
    """The smoothed difference between successive intervals (RFC 3550, section 6.4.1)."""
    longest_gap: timedelta
    workers_added: int
    workers_removed: int
    clock_skew: timedelta
    """How far its clock is ahead of the registry's, negative if behind.

    Of its last 9 to 16 heartbeats, superseded ones included, the difference between timestamp and arrival that is
    nearest to 0.
    """
    complaints: int = 0
    """What its heartbeats said that counts as not reported: an empty text, a number that is none."""
    last_complaint: str | None = None
    refusals: int = 0
    """Heartbeats refused since it was registered, as far as it could be read whose they were."""
    last_refusal: str | None = None

    def __repr__(self) -> str:
        """In a line; `dataclasses.asdict` tells every field."""
        mean, longest = self.mean_interval.total_seconds(), self.longest_gap.total_seconds()
        every = f"every {mean:.3g} s, the longest gap {longest:.3g} s"
        return f"<HiveStats {self.hive_id!r}: {self.heartbeats:,} heartbeats, {every}, {self.refusals:,} refused>"


@dataclass(frozen=True, slots=True)
class Stats:
    """What a registry has done since it was made."""

    heartbeats: HeartbeatCounts
    picks: int
    """Picks and reservations that found a worker."""
    misses: int
    """Picks and reservations that found none."""
    reservations_open: int
    """Held now, leases included."""
    events_dropped: int
    """Lost by slow readers."""
    evictions: int
    """Hives evicted."""
    holds: int
    """Eviction passes that held for a mass silence."""
    hives: tuple[HiveStats, ...]
    """By hive id."""

    def __repr__(self) -> str:
        """In a line; `dataclasses.asdict` tells every field."""
        workers = sum(hive.workers_added - hive.workers_removed for hive in self.hives)
        counts = self.heartbeats
        taken = counts.registered + counts.updated + counts.superseded + counts.removed
        return (
            f"<Stats: {len(self.hives):,} hives, {workers:,} workers, {taken:,} heartbeats, "
            f"{counts.refused:,} refused, {self.reservations_open:,} reservations>"
        )
