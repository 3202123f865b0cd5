"""Where a value of a composed config was set: in which file, or on the command line.

Hydra knows when it composes and forgets; here the same files are looked through again, the one
with the last word first. Only done when there is something wrong to tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from medgrpo.config.schema import Problem

PACKAGE = Path(__file__).parent.parent
# A checkout keeps conf/ beside the package; a wheel carries it inside.
CONF = next(path for path in (PACKAGE.parent / "conf", PACKAGE / "conf") if path.is_dir())
TYPED = "command line"


class Provenance:
    """The origins of the values of one composed config (Hydra must be initialized)."""

    def __init__(
        self,
        config_name: str,
        lines: list[str],
        cfg: DictConfig,
        values: Sequence[str],
        groups: Sequence[str],
    ) -> None:
        """`lines` are the overrides that `cfg` was composed with.

        `values` are the dotted keys and `groups` the groups that the user typed.
        """
        self._cfg = cfg
        self._values, self._groups = values, groups
        loader = GlobalHydra.instance().config_loader()
        folders = [
            Path(source.path) for source in loader.get_sources() if source.scheme() == "file"
        ]
        self._files: list[tuple[Path, list[str], Any]] = []  # path, package, content
        for default in reversed(
            loader.compute_defaults_list(config_name, lines, RunMode.RUN).defaults
        ):
            files = [folder / f"{default.config_path}.yaml" for folder in folders]
            file = next(filter(Path.is_file, files), None)
            if file is not None:
                package = [part for part in (default.package or "").split(".") if part]
                self._files.append((file, package, OmegaConf.to_container(OmegaConf.load(file))))

    def of(self, key: str) -> str:
        """The origin of a dotted key, or of the nearest part around it that was set."""
        parts = re.sub(r"\[\d+\]", "", key).split(".")
        while parts:
            name = ".".join(parts)
            if any(f"{name}.".startswith(f"{typed}.") for typed in self._values):
                return TYPED
            for file, package, content in self._files:
                if _holds(content, package, parts):
                    return shown_path(file)
            if any(f"{typed}.".startswith(f"{name}.") for typed in (*self._values, *self._groups)):
                return TYPED
            parts.pop()
        return "nowhere"

    def source(self, key: str) -> str:
        """The key that a value is taken from: another one where it is `${another}`."""
        seen = [key]
        while True:
            parent, _, name = seen[-1].rpartition(".")
            node = _select(self._cfg, parent) if parent else self._cfg
            values: Any = OmegaConf.to_container(node) if OmegaConf.is_dict(node) else {}
            reference = re.fullmatch(r"\$\{([\w.]+)\}", str(values.get(name)))
            if not reference or reference[1] in seen or _select(self._cfg, reference[1]) is None:
                return seen[-1]
            seen.append(reference[1])

    def lines(self, problems: Iterable[Problem]) -> list[str]:
        """A line for each problem, once where a value is used by reference in several places."""
        problems = list(problems)
        keys = {problem.key for problem in problems}
        lines = []
        for problem in problems:
            source = self.source(problem.key)
            if source == problem.key:
                lines.append(problem_line(problem, self.of(source)))
            elif source not in keys:
                lines.append(problem_line(problem, f"{source}, {self.of(source)}"))
        return lines


def problem_line(problem: Problem, origin: str) -> str:
    """One line: the key, where it was set, what is wrong."""
    return f"{problem.key} ({origin}): {problem.message}"


def shown_path(file: Path) -> str:
    """conf/... for a shipped file; another as seen from here, if it is below."""
    if file.is_relative_to(CONF):
        return str("conf" / file.relative_to(CONF))
    return str(file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file)


def _select(cfg: DictConfig, key: str) -> Any:
    return OmegaConf.select(cfg, key, throw_on_resolution_failure=False)


def _holds(content: Any, package: list[str], parts: list[str]) -> bool:
    if parts[: len(package)] != package[: len(parts)]:
        return False
    for part in parts[len(package) :]:
        if not isinstance(content, dict) or part not in content:
            return False
        content = content[part]
    return True
