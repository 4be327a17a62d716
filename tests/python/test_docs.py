"""What the documents show runs as it stands."""

import re
import textwrap
from pathlib import Path

import pytest

import hive_registry

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
