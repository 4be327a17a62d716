"""The registry in a minute: heartbeats in, a pick, reservations, a refusal that explains itself, and events."""

from datetime import datetime, timezone

from hive_registry import HiveHeartbeatPayload, HiveRegistry, NoWorkerError, WorkerEvent, WorkerState

MODEL = "llama-3-8b"

registry = HiveRegistry(seed=1)
now = datetime.now(timezone.utc)

# A heartbeat names all workers of one hive. It may be a dict, JSON, or a dataclass.
worker = {"worker_id": "llm-0", "state": "Busy", "last_heartbeat": now, "health_status": "healthy"}
worker |= {"url": "http://10.0.0.1:9300", "model_id": MODEL, "gpu_percent": 30.0, "max_concurrency": 2}
print("gpu-1:", registry.ingest({"hive_id": "gpu-1", "timestamp": now, "workers": [worker]}).value)

workers = [
    WorkerState("llm-0", now, "Busy", url="http://10.0.0.2:9300", model_id=MODEL, gpu_percent=10.0, max_concurrency=2),
    WorkerState("llm-1", now, "Loading", url="http://10.0.0.2:9301", model_id="mixtral-8x7b"),
]
print("gpu-2:", registry.ingest(HiveHeartbeatPayload("gpu-2", now, workers)).value)

# A pick looks, and counts nothing.
if (found := registry.pick(MODEL)) is not None:
    hive_id, best = found
    print(f"best for {MODEL}: {best.worker_id} on {hive_id}, {best.url}")

# A reservation counts: the second goes elsewhere, because the first made its worker the busier one.
with registry.reserve(MODEL) as first, registry.reserve(MODEL) as second:
    print("reserved on", first.hive_id, "and", second.hive_id)
print("reservations open:", registry.stats().reservations_open)

# If nobody can serve a model, the error says why.
try:
    registry.reserve("mixtral-8x7b")
except NoWorkerError as error:
    print(error)

# A subscription tells what happens from now on. This one ends as soon as there is nothing to read.
subscription = registry.subscribe(timeout=0)
registry.remove_hive("gpu-2")
for event in subscription:
    subject = event.worker.worker_id if isinstance(event, WorkerEvent) else "itself"
    print(f"{event.hive_id}: {type(event).__name__}, {subject}")
