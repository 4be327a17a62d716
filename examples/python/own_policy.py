"""Policies of one's own, a function and a class that remembers, compared with the built-in ones."""

import random
from collections import Counter, deque
from datetime import datetime, timezone

from hive_registry import Candidate, HiveRegistry, ManualClock, Policy, Reservation, Score

MODEL = "llama-3-8b"
GIB = 1 << 30
START = datetime(2026, 1, 1, tzinfo=timezone.utc)
CORDONED = {"gpu-3"}


def fleet(seed: int) -> HiveRegistry:
    """Six hives of two workers each, with unequal VRAM and load."""
    dice = random.Random(seed)
    registry = HiveRegistry(clock=ManualClock(START), seed=seed)
    for hive in range(6):
        total = dice.choice([24, 48, 80]) * GIB
        workers = [
            {
                "worker_id": f"llm-{device}",
                "state": "Busy",
                "last_heartbeat": START,
                "health_status": "healthy",
                "url": f"http://10.0.0.{hive}:{9300 + device}",
                "model_id": MODEL,
                "device_id": device,
                "vram_bytes": int(total * dice.uniform(0.3, 0.9)),
                "vram_total_bytes": total,
                "gpu_percent": round(dice.uniform(0, 30), 1),
                "max_concurrency": 256,
            }
            for device in range(2)
        ]
        registry.ingest({"hive_id": f"gpu-{hive}", "timestamp": START, "workers": workers})
    return registry


def roomy(candidate: Candidate) -> float | None:
    """Prefers free VRAM and few reservations; passes over hives that are cordoned. The lowest score wins."""
    if candidate.hive_id in CORDONED:
        return None
    return (candidate.reservations + 1) / ((candidate.vram_free_bytes or 0) + GIB)


class Sticky:
    """Keeps a conversation on the worker that has its prefix cached, unless that worker is much busier than others."""

    def __init__(self, worth: int = 4) -> None:
        self.worth = worth  # So many reservations more than others have.
        self.homes: dict[str, tuple[str, str]] = {}

    def policy(self, conversation: str) -> Score:
        """A policy sees candidates, not requests. So this makes one for each request."""
        home = self.homes.get(conversation)
        return lambda candidate: (
            candidate.reservations - self.worth * ((candidate.hive_id, candidate.worker_id) == home)
        )

    def served(self, conversation: str, reservation: Reservation) -> bool:
        """Remembers where it was served, and says whether its prefix was there."""
        place = reservation.hive_id, reservation.worker.worker_id
        hit = self.homes.get(conversation) == place
        self.homes[conversation] = place
        return hit


def spread(name: str, policy: Policy, requests: int) -> None:
    """Makes so many reservations, all held at once, and shows where they went."""
    registry = fleet(seed=7)
    held = [registry.reserve(MODEL, policy) for _ in range(requests)]
    each = Counter((reservation.hive_id, reservation.worker.worker_id) for reservation in held)
    counts = [each[hive_id, worker.worker_id] for hive_id, worker in registry.list_all_workers()]
    cordoned = sum(count for (hive_id, _), count in each.items() if hive_id in CORDONED)
    room = sum(reservation.worker.vram_free_bytes or 0 for reservation in held) / requests / GIB
    print(f"{name:<16} {min(counts):>6} {max(counts):>6} {cordoned:>8} {room:>14.1f}")
    for reservation in held:
        reservation.release()


def hits(name: str, policy: Policy | None, turns: int) -> None:
    """Serves turns of 20 conversations, 40 of them at once, and counts those that found their prefix."""
    dice = random.Random(1)
    registry, sticky = fleet(seed=7), Sticky()
    held: deque[Reservation] = deque()
    found = 0
    for _ in range(turns):
        conversation = f"conversation-{dice.randrange(20)}"
        held.append(registry.reserve(MODEL, policy or sticky.policy(conversation)))
        found += sticky.served(conversation, held[-1])
        if len(held) > 40:
            held.popleft().release()
    for reservation in held:
        reservation.release()
    print(f"{name:<16} {found:>6}")


print("1,000 reservations over 12 workers, gpu-3 cordoned")
print(f"{'policy':<16} {'fewest':>6} {'most':>6} {'on gpu-3':>8} {'mean free GiB':>14}")
spread("roomy (own)", roomy, 1_000)
spread("least_loaded", "least_loaded", 1_000)
spread("power_of_choices", "power_of_choices", 1_000)
spread("round_robin", "round_robin", 1_000)

print("\n1,000 turns of 20 conversations")
print(f"{'policy':<16} {'hits':>6}")
hits("sticky (own)", None, 1_000)
hits("least_loaded", "least_loaded", 1_000)
hits("power_of_choices", "power_of_choices", 1_000)
hits("round_robin", "round_robin", 1_000)
