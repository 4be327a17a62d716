"""A view of the fleet that events keep in step, in asyncio, and what to do when events were lost."""

import asyncio
import contextlib
from datetime import datetime, timedelta, timezone
from typing import Any

from hive_registry import HiveRegistry, Lagged, ManualClock, Subscription, WorkerEvent, WorkerRemoved

START = datetime(2026, 1, 1, tzinfo=timezone.utc)


class View:
    """Which worker has which model."""

    def __init__(self, registry: HiveRegistry, subscription: Subscription) -> None:
        self.registry = registry
        self.subscription = subscription
        self.models: dict[tuple[str, str], str | None] = {}
        self.sequence = -1
        self.moved = asyncio.Event()

    def resync(self) -> None:
        """Starts again from a snapshot. Subscribe first: then no event falls between the two."""
        snapshot = self.registry.snapshot()
        rows = snapshot.workers.to_polars().select("hive_id", "worker_id", "model_id").rows()
        self.models = {(hive_id, worker_id): model_id for hive_id, worker_id, model_id in rows}
        self.sequence = snapshot.sequence
        self.moved.set()

    async def follow(self) -> None:
        """Follows the events until it is cancelled, or the registry is gone."""
        self.resync()
        while True:
            try:
                async for event in self.subscription:
                    if event.sequence <= self.sequence:
                        continue  # The snapshot has it.
                    if isinstance(event, WorkerRemoved):
                        self.models.pop((event.hive_id, event.worker.worker_id), None)
                    elif isinstance(event, WorkerEvent):
                        self.models[event.hive_id, event.worker.worker_id] = event.worker.model_id
                    self.sequence = event.sequence
                    self.moved.set()
            except Lagged as lagged:
                print(f"{lagged.lost} events lost, resync")
                self.resync()
            else:
                return

    async def caught_up(self) -> None:
        """Waits until it is in step with the registry as it is now."""
        sequence = self.registry.snapshot().sequence
        while self.sequence < sequence:
            self.moved.clear()
            await self.moved.wait()

    def show(self, what: str) -> None:
        truth = {(hive_id, worker.worker_id): worker.model_id for hive_id, worker in self.registry.list_all_workers()}
        print(f"{what}: {len(self.models)} workers, in step: {self.models == truth}")


def heartbeat(hive_id: str, workers: int, model_id: str, seconds: float) -> dict[str, Any]:
    now = START + timedelta(seconds=seconds)
    states = [
        {
            "worker_id": f"llm-{index}",
            "state": "Idle",
            "last_heartbeat": now,
            "health_status": "healthy",
            "url": f"http://{hive_id}:{9300 + index}",
            "model_id": model_id,
        }
        for index in range(workers)
    ]
    return {"hive_id": hive_id, "timestamp": now, "workers": states}


async def main() -> None:
    registry = HiveRegistry(clock=ManualClock(START), seed=1)
    registry.ingest(heartbeat("gpu-1", 2, "llama-3-8b", 0))

    # A small capacity, so that this example can fall behind. The default is 1,024 events.
    view = View(registry, registry.subscribe(capacity=16))
    following = asyncio.create_task(view.follow())
    await view.caught_up()
    view.show("at the start")

    registry.ingest(heartbeat("gpu-2", 4, "llama-3-8b", 0))
    await view.caught_up()
    view.show("a hive more")

    registry.ingest(heartbeat("gpu-2", 3, "mixtral-8x7b", 1))
    await view.caught_up()
    view.show("another model, a worker less")

    registry.remove_hive("gpu-2")
    await view.caught_up()
    view.show("a hive less")

    registry.ingest(heartbeat("gpu-3", 40, "llama-3-8b", 1))  # 41 events at once
    await view.caught_up()
    view.show("a burst")

    following.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await following
    print("stopped")


if __name__ == "__main__":
    asyncio.run(main())
