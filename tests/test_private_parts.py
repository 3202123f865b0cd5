"""docs/architecture.md lists what we use of libraries that they do not promise to keep."""

import ast
import re
import tomllib
from collections.abc import Iterator
from itertools import chain

import pytest
from conftest import ROOT
from packaging.requirements import Requirement

SECTION = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
SECTION = SECTION.partition("## Private parts of libraries")[2]
BOUNDS = dict(re.findall(r"^\| ([\w-]+) \| `([^`]+)` \|", SECTION, flags=re.MULTILINE))
PRIVATE = {"proto", "legacy", "sdk"}  # parts of a module's name, beside those that begin with _
PUBLIC = {"_replace", "_asdict", "_fields"}  # of named tuples


def requirements() -> dict[str, Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    lines = chain(project["dependencies"], *extras)
    return {required.name: required for required in map(Requirement, lines)}


def private_parts(text: str) -> Iterator[str]:
    """Names of private attributes of other objects, and of what private modules give."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute):
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            if re.match(r"_[a-z]", node.attr) and not own and node.attr not in PUBLIC:
                yield node.attr
        elif isinstance(node, ast.ImportFrom) and node.module and node.module != "__future__":
            parts = node.module.split(".")
            if parts[0] != "medgrpo" and any(p in PRIVATE or p[0] == "_" for p in parts):
                yield from (f"{parts[-1]}.{name.name}" for name in node.names)


@pytest.mark.parametrize("library", BOUNDS)
def test_the_bound_is_that_of_pyproject_and_has_an_upper_end(library):
    wanted = requirements()[library].specifier
    assert wanted == Requirement(library + BOUNDS[library]).specifier
    assert any(one.operator.startswith("<") for one in wanted)


def test_every_private_part_is_listed():
    used = {
        (part, str(path.relative_to(ROOT)))
        for path in sorted((ROOT / "medgrpo").rglob("*.py"))
        for part in private_parts(path.read_text(encoding="utf-8"))
    }
    assert len(used) > 5
    assert {(part, path) for part, path in used if part not in SECTION} == set()
