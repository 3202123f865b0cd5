"""The rooms of docs/architecture.md: which there are, how large, and that imports go down only."""

import ast
from collections.abc import Iterator
from pathlib import Path

from conftest import ROOT

PACKAGE = ROOT / "medgrpo"
# From the top. A room imports from floors below its own; types that only mypy sees count, too.
FLOORS = """
    __main__ audit replay chat serve doctor
    cli
    job
    launch sweep
    run
    trainer evaluation
    model
    rewards report compare
    judge tracking
    metrics
    answers
    dataset
    rundir config errors
"""
FLOOR = {room: -height for height, row in enumerate(FLOORS.splitlines()) for room in row.split()}
ROOT_MODULES = "__init__ __main__ cli job launch run rundir sweep errors"


def sources() -> Iterator[tuple[Path, str]]:
    """Every Python file of the package, and its text."""
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE), path.read_text(encoding="utf-8")


def room_of(path: Path) -> str:
    return path.parts[0].removesuffix(".py")


def imported(text: str) -> Iterator[tuple[int, str]]:
    """Line and room of everything that is imported from the package, wherever in the file."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            if package == "medgrpo" and rest not in ("", "__version__"):
                yield node.lineno, rest.partition(".")[0]


def test_imports_go_down():
    against = [
        f"medgrpo/{path}:{line} imports {room}"
        for path, text in sources()
        for line, room in imported(text)
        if room != room_of(path) and FLOOR[room] >= FLOOR[room_of(path)]
    ]
    assert against == []


def test_the_root_holds_the_command_and_the_run():
    modules = {path.stem for path in PACKAGE.glob("*.py")}
    assert modules <= set(ROOT_MODULES.split())


def test_a_file_fits_in_a_head():
    lengths = {str(path): len(text.splitlines()) for path, text in sources()}
    assert {path: length for path, length in lengths.items() if length > 250} == {}
