import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

import hive_registry

EXAMPLES = Path(__file__).parents[2] / "examples" / "python"
# The package that is tested, wherever it is: absolute, since a kernel may start in another folder.
PACKAGE = str(Path(hive_registry.__file__).parents[1])

QUICKSTART = """\
gpu-1: registered
gpu-2: registered
best for llama-3-8b: llm-0 on gpu-2, http://10.0.0.2:9300
reserved on gpu-2 and gpu-1
reservations open: 0
no worker for 'mixtral-8x7b': 1 with it loaded (1 loading), none of them eligible, and no idle worker to fall back to
gpu-2: WorkerRemoved, llm-0
gpu-2: WorkerRemoved, llm-1
gpu-2: HiveRemoved, itself
"""

OWN_POLICY = """\
1,000 reservations over 12 workers, gpu-3 cordoned
policy           fewest   most on gpu-3  mean free GiB
roomy (own)           0    222        0           26.3
least_loaded         83     84      166           23.0
power_of_choices     81     85      165           22.9
round_robin          83     84      166           22.9

1,000 turns of 20 conversations
policy             hits
sticky (own)        831
least_loaded         54
power_of_choices     57
round_robin          64
"""

TABLES = """\
Ingested(registered=25, updated=0, superseded=0, removed=0, refused=())

workers by model, polars:
| model_id     | workers | gpu_percent | vram_free_gib |
|--------------|---------|-------------|---------------|
| llama-3-8b   | 30      | 59.0        | 195.6         |
| mixtral-8x7b | 36      | 50.3        | 751.2         |
| qwen2.5-32b  | 34      | 51.7        | 481.4         |

busiest hives, duckdb:
gpu-02  4 workers  81.5 %
gpu-00  4 workers  69.8 %
gpu-16  4 workers  69.3 %

the copy has the same workers: True
"""

ASYNC_EVENTS = """\
at the start: 2 workers, in step: True
a hive more: 6 workers, in step: True
another model, a worker less: 5 workers, in step: True
a hive less: 2 workers, in step: True
25 events lost, resync
a burst: 42 workers, in step: True
stopped
"""


def run(name: str) -> str:
    environment = {**os.environ, "PYTHONPATH": PACKAGE, "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-W", "error", str(EXAMPLES / name)]
    # One that hangs fails, instead of holding up the others.
    done = subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_the_quickstart_prints_what_it_promises() -> None:
    assert run("quickstart.py") == QUICKSTART


def test_own_policies_are_compared_with_the_built_in_ones() -> None:
    assert run("own_policy.py") == OWN_POLICY


def test_tables_go_in_and_out_and_into_another_registry() -> None:
    assert run("tables.py") == TABLES


def test_a_view_stays_in_step_with_events_and_after_a_loss() -> None:
    assert run("async_events.py") == ASYNC_EVENTS


def test_the_notebook_runs_and_shows_what_is_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", PACKAGE)
    copy = shutil.copy(EXAMPLES / "fleet.ipynb", tmp_path)
    notebook = nbformat.read(copy, as_version=4)  # type: ignore[no-untyped-call]
    committed = {cell["id"]: shown(cell) for cell in notebook.cells if cell.cell_type == "code"}
    client = nbclient.NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        allow_errors=False,
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()
    assert {cell["id"]: shown(cell) for cell in notebook.cells if cell.cell_type == "code"} == committed


def shown(cell: Any) -> list[str]:
    """What no version of another library changes: what is printed, our own HTML, and of others only the kinds."""
    outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return [
        output.text if output.output_type == "stream" else our_html(output.data) or " ".join(sorted(output.data))
        for output in outputs
    ]


def our_html(data: Any) -> str | None:
    html: str | None = data.get("text/html")
    return html if html is not None and "</b> hives" in html else None
