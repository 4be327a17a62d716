"""A fleet as a table: in from polars, out to polars and duckdb, and into another registry."""

import random
from datetime import datetime, timezone

import duckdb
import polars as pl

from hive_registry import HiveRegistry, ManualClock

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
GIB = 1 << 30


def fleet(hives: int, seed: int) -> pl.DataFrame:
    """One row a worker. Rows of one hive and timestamp are one heartbeat."""
    dice = random.Random(seed)
    models = {"llama-3-8b": 24, "mixtral-8x7b": 80, "qwen2.5-32b": 48}
    rows = []
    for hive in range(hives):
        for device in range(4):
            model = dice.choice(sorted(models))
            row = {
                "hive_id": f"gpu-{hive:02}",
                "timestamp": START,
                "worker_id": f"llm-{device}",
                "model_id": model,
                "device_id": device,
                "gpu_percent": float(dice.randrange(100)),
                "vram_bytes": models[model] * GIB * dice.randrange(50, 95) // 100,
                "vram_total_bytes": models[model] * GIB,
                "max_concurrency": 8,
            }
            rows.append(row)
    return pl.DataFrame(rows)


clock = ManualClock(START)
registry = HiveRegistry(clock=clock, seed=1)
print(registry.ingest_table(fleet(hives=25, seed=3)))

# Out again. A snapshot is one moment: its tables agree with each other.
snapshot = registry.snapshot()
free = (pl.col("vram_total_bytes") - pl.col("vram_bytes")).sum() / GIB
per_model = (
    pl.DataFrame(snapshot.workers)
    .group_by("model_id")
    .agg(
        pl.len().alias("workers"),
        pl.col("gpu_percent").cast(pl.Float64).mean().round(1),
        free.round(1).alias("vram_free_gib"),
    )
    .sort("model_id")
)
with pl.Config(tbl_formatting="ASCII_MARKDOWN", tbl_hide_column_data_types=True, tbl_hide_dataframe_shape=True):
    print("\nworkers by model, polars:")
    print(per_model)

# duckdb reads a table by the name of its variable.
workers = snapshot.workers
busiest = duckdb.execute("""
    select hive_id, count(*) as workers, round(avg(gpu_percent), 1) as gpu_percent
    from workers where online group by hive_id order by gpu_percent desc, hive_id limit 3
""")
print("\nbusiest hives, duckdb:")
for hive_id, count, percent in busiest.fetchall():
    print(f"{hive_id}  {count} workers  {percent} %")

# The table is the same thing in and out: another registry takes it as it is.
copy = HiveRegistry(clock=clock, seed=1)
copy.ingest_table(snapshot.workers)
print("\nthe copy has the same workers:", copy.list_all_workers() == registry.list_all_workers())
