"""A sweep as one experiment: jobs named by what is varied, resumed, compared at its end.

Hydra's own sweeps number their jobs, start all of them again, and end with the first error. The
jobs are composed and checked before the first starts (medgrpo.config.check); Hydra launches them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from medgrpo.config.compose import Sweep
from medgrpo.config.foreign import read_yaml
from medgrpo.config.overrides import quoted
from medgrpo.errors import UserError
from medgrpo.tracking.names import folder_name

_FIXED = "hydra.job.config.override_dirname.exclude_keys"  # Hydra's place for what names leave out
_OWN = (_FIXED, "hydra.sweep.dir", "hydra.run.dir", "hydra.mode")  # set anew on resume

OmegaConf.register_new_resolver("job_folder", folder_name, replace=True)


class DropConfigs(Callback):
    """Hydra keeps the return of every job until the sweep ends, and with it two configs."""

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Keep the return value alone."""
        job_return.cfg = job_return.hydra_cfg = None


def hydra_overrides(sweep: Sweep) -> list[str]:
    """What Hydra has to know of a sweep: its folder, and what the names of its jobs leave out.

    Typed, not set by a callback: there Hydra's config is read-only from 1.4 on, and an error is a
    mere warning, after which the folders would have other names.
    """
    fixed = ",".join(f"'{key}'" for key in sweep.fixed)
    return [f"hydra.sweep.dir={quoted(sweep.folder)}", f"{_FIXED}=[{fixed}]"]


def compare_jobs(folder: Path) -> None:
    """Compare what there is of the sweep in `folder`, if a job of it has begun."""
    if not any(folder.glob("*/.hydra")):
        return
    from medgrpo.compare import report

    report([folder], folder)


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
