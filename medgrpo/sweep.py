"""A sweep as one experiment: jobs named by what is varied, resumed, compared at its end.

Hydra's own sweeps number their jobs, start all of them again, and end with the first error. The
jobs are composed and checked before the first starts (medgrpo.config.compose); Hydra launches them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from medgrpo.config.foreign import read_yaml
from medgrpo.errors import UserError
from medgrpo.tracking.names import folder_name

_FIXED = "hydra.job.config.override_dirname.exclude_keys"  # Hydra's place for what names leave out
_OWN = (_FIXED, "hydra.sweep.dir", "hydra.run.dir", "hydra.mode")  # set anew on resume

OmegaConf.register_new_resolver("job_folder", folder_name, replace=True)


class Sweep(Callback):
    """Hydra's hook (conf/hydra/medgrpo.yaml) at the start of a sweep."""

    folder: ClassVar[Path | None] = None  # of the sweep that this process has started

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Remember the sweep's folder, and tell its jobs which of their settings are the same."""
        Sweep.folder = Path(config.hydra.sweep.dir)
        params = config.hydra.sweeper.get("params") or {}
        lines = [*(f"{key}={value}" for key, value in params.items()), *config.hydra.overrides.task]
        overrides = OverridesParser.create().parse_overrides(lines)
        fixed = sorted({o.key_or_group for o in overrides if not o.is_sweep_override()})
        quoted = ",".join(f"'{key}'" for key in fixed)
        config.hydra.overrides.hydra.append(f"{_FIXED}=[{quoted}]")

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Hydra keeps the return of every job until the sweep ends, and with it two configs."""
        job_return.cfg = job_return.hydra_cfg = None


def compare_jobs() -> None:
    """Compare what there is of the sweep that this process has started, if it has."""
    if Sweep.folder is None or not any(Sweep.folder.glob("*/.hydra")):
        return
    from medgrpo.compare import report

    report([Sweep.folder], Sweep.folder)


def recorded_overrides(folder: str) -> list[str] | None:
    """What a sweep's folder was made with, to be typed again; None for any other folder."""
    file = Path(folder) / "multirun.yaml"
    if not file.is_file():
        return None
    try:
        overrides = read_yaml(file)["hydra"]["overrides"]
        lines = [str(line) for line in (*overrides["task"], *overrides["hydra"])]
    except (LookupError, TypeError) as error:
        raise UserError(f"resume: {file} is not what a sweep leaves ({error!r})") from None
    return [line for line in lines if line.partition("=")[0].lstrip("+~") not in _OWN]
