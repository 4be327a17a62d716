"""Writes the docstrings of the extension, as it is installed, into its stub: `make stubs`; `--check` only compares.

Their one source are the doc comments in `src`. Signatures are written by hand, and stay as they are.
"""

import ast
import inspect
import sys
from pathlib import Path

from hive_registry import _core  # type: ignore[attr-defined, unused-ignore]

STUB = Path(__file__).parents[2] / "python/hive_registry/_core.pyi"
SECTIONS = ("Args:", "Returns:", "Raises:")


def docstring(text: str, indent: str) -> list[str]:
    """Its lines as ruff wants them: after a section, and only then, an empty one ends it."""
    first, *rest = text.splitlines()
    if not rest:
        return [f'{indent}"""{first}"""']
    end = [""] if any(line in SECTIONS for line in rest) else []
    return [f'{indent}"""{first}', *(f"{indent}{line}".rstrip() for line in rest), *end, f'{indent}"""']


def documented(tree: ast.Module) -> list[tuple[ast.ClassDef | ast.FunctionDef, str]]:
    """Classes, and what is public in them, with what the extension says of each."""
    found: list[tuple[ast.ClassDef | ast.FunctionDef, str]] = []
    for cls in tree.body:
        if isinstance(cls, ast.ClassDef):
            of_class = getattr(_core, cls.name)
            found.append((cls, inspect.getdoc(of_class) or ""))
            public = (each for each in cls.body if isinstance(each, ast.FunctionDef) and each.name[0] != "_")
            found += [(each, inspect.getdoc(getattr(of_class, each.name)) or "") for each in public]
    return found


def rewritten(stub: str) -> str:
    """The stub with the extension's docstrings."""
    lines = stub.splitlines()
    # From the end, so that the numbers of lines before it stay.
    for node, text in reversed(documented(ast.parse(stub))):
        first = node.body[0]
        new = docstring(text, " " * (node.col_offset + 4)) if text else []
        if ast.get_docstring(node) is not None:
            lines[first.lineno - 1 : first.end_lineno] = new or [" " * (node.col_offset + 4) + "..."]
        elif new and isinstance(node, ast.FunctionDef):
            # It ends in `...`, behind the signature.
            assert lines[first.lineno - 1].endswith(": ..."), lines[first.lineno - 1]
            lines[first.lineno - 1 : first.lineno] = [lines[first.lineno - 1].removesuffix(" ..."), *new]
    return "\n".join(lines) + "\n"


def main() -> int:
    """1 if `--check` finds a difference."""
    stub = STUB.read_text()
    new = rewritten(stub)
    if "--check" in sys.argv[1:]:
        if new == stub:
            return 0
        print(f"{STUB}: its docstrings are not those of the extension: make stubs", file=sys.stderr)
        return 1
    STUB.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
