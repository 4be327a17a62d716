"""What the documents show runs as it stands."""

import inspect
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import hive_registry
from hive_registry import HiveRegistry

ROOT = Path(__file__).parents[2]


def blocks(document: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", (ROOT / document).read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("document", ["README.md", "bindings/python/README.md"])
def test_the_programs_of_a_document_run(document: str) -> None:
    programs = blocks(document)
    assert programs
    for program in programs:
        exec(compile(program, document, "exec"), {"__name__": "__main__"})


def test_the_program_of_the_package_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert hive_registry.__doc__
    program = "\n".join(line for line in hive_registry.__doc__.splitlines() if line.startswith("    "))
    exec(compile(textwrap.dedent(program), "hive_registry", "exec"), {})
    assert capsys.readouterr().out == "http://10.0.0.1:9300\n"


def test_every_public_class_is_documented() -> None:
    public = (getattr(hive_registry, name) for name in hive_registry.__all__)
    assert [each for each in public if isinstance(each, type) and not each.__doc__] == []


# === docstrings ===

RAISING = ("pick", "reserve", "ingest", "ingest_many", "ingest_table", "update_hive_state", "update_workers", "model")


@pytest.mark.parametrize("name", RAISING)
def test_help_says_what_a_call_raises_and_costs(name: str) -> None:
    said = inspect.getdoc(getattr(HiveRegistry, name)) or ""
    assert "Raises:\n" in said


def test_help_of_a_pick_says_units_errors_and_cost() -> None:
    said = inspect.getdoc(HiveRegistry.pick) or ""
    assert all(word in said for word in ("bytes, percent", "ConfigError: ", "O(1)", "policy: ", "Returns:"))


def test_help_of_a_registry_says_where_none_can_be_made() -> None:
    said = inspect.getdoc(HiveRegistry) or ""
    assert all(word in said for word in ("HiveRegistryError: ", "fork()", "'spawn'", "'forkserver'"))


def test_everything_public_says_what_it_is() -> None:
    classes = [each for each in vars(hive_registry).values() if inspect.isclass(each)]
    silent = [
        f"{cls.__name__}.{name}"
        for cls in classes
        if cls.__module__.startswith("hive_registry")
        for name, member in vars(cls).items()
        if name[0] != "_" and (callable(member) or isinstance(member, property)) and not inspect.getdoc(member)
    ]
    assert silent == []


def test_the_stub_says_what_the_extension_does() -> None:
    checked = subprocess.run(
        [sys.executable, ROOT / "bindings/python/stub_docs.py", "--check"], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")
