"""One job of a command: skipped, handed to processes of its own, or run here and cleaned up after.

In a sweep many jobs share a process, and with it imports, data and the judge's cache. What a job
changes in the process is put back, so that each gives the results that it would give alone.
"""

from __future__ import annotations

import gc
import logging
import os
import platform
import shutil
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from medgrpo.config.nodes import is_first_node
from medgrpo.config.signature import sign
from medgrpo.errors import RunStopped, UserError
from medgrpo.rundir import RunFolder, score_of

log = logging.getLogger(__name__)


def run_job(cfg: DictConfig) -> float:
    """Run the job; returns its score (NaN for none). In a sweep, a failure is also logged."""
    hydra = HydraConfig.get()
    if not is_first_node(cfg):
        return _run(cfg)
    sign(Path(cfg.output_dir) / ".hydra" / "overrides.yaml")
    if hydra.mode != RunMode.MULTIRUN:
        with refused_without_trace(Path(cfg.output_dir)), owned(Path(cfg.output_dir)):
            return _run(cfg)
    sign(Path(hydra.sweep.dir) / "multirun.yaml")
    summary = RunFolder(cfg.output_dir).read_summary()
    if cfg.resume and summary.get("status") == "finished":
        log.info("finished already: %s", cfg.output_dir)
        return score_of(summary)
    try:
        with owned(Path(cfg.output_dir)):
            return _run(cfg)
    except Exception as error:
        if isinstance(error, UserError | RunStopped):
            log.error("job failed; continuing with the remaining jobs: %s", error)
        else:
            log.exception("job failed; continuing with the remaining jobs")
        _let_go(error)
        raise


@contextmanager
def refused_without_trace(folder: Path) -> Iterator[None]:
    """Of a run that is refused before it has a passport, leave no folder: nothing was done in it.

    What else lies there, and a folder that held a run before, stay as they are.
    """
    known = bool(RunFolder(folder).read_summary())
    try:
        yield
    except UserError:
        if not known and not RunFolder(folder).passport.exists():
            shutil.rmtree(folder / ".hydra", ignore_errors=True)
            for name in (".lock", "medgrpo.log", "summary.json"):
                (folder / name).unlink(missing_ok=True)
            with suppress(OSError):  # it holds more
                folder.rmdir()
        raise


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Be the only process that works in `folder`; the lock ends with the process.

    Raises UserError, naming host and process, where another one does. On a file system without
    locks (some NFS) nothing is held, which is logged.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    lock, owner = FileLock(folder / ".lock", timeout=0), folder / ".owner"
    try:
        lock.acquire()
        owner.write_text(f"process {os.getpid()} on {platform.node()}", encoding="utf-8")
    except Timeout:
        known = owner.read_text("utf-8") if owner.exists() else ""
        raise UserError(f"output_dir: {known or 'another process'} works in {folder}") from None
    except NotImplementedError:
        log.warning("no locks here: take care that no other process works in %s", folder)
    try:
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def _let_go(error: BaseException | None) -> None:
    """Hydra keeps a failed job's error until the sweep ends, and its frames would keep a model."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
    _free_memory()


def _run(cfg: DictConfig) -> float:
    if not sys.stderr.isatty():  # bars are for people; read by the libraries on import
        for library in ("HF_HUB", "HF_DATASETS"):
            os.environ.setdefault(f"{library}_DISABLE_PROGRESS_BARS", "1")
    try:
        launch = cfg.launch
        if launch.nproc_per_node > 1 or launch.nodes > 1 or launch.own_process:
            from medgrpo.launch import run_apart

            return score_of(run_apart(cfg))
        from medgrpo.run import run

        score = run(cfg)
    except (KeyboardInterrupt, SystemExit):
        resume = f"python -m medgrpo resume={cfg.output_dir}"
        print(f"medgrpo: interrupted; to resume: {resume}", file=sys.stderr)
        raise
    finally:
        _free_memory()
    if not gc.get_freeze_count():
        gc.freeze()  # a million objects of libraries: later passes need not look at them (0.5 s)
    return score


def _free_memory() -> None:
    """Let go of what garbage collection and CUDA would keep for later."""
    gc.collect()
    torch = sys.modules.get("torch")  # a job that preflight refuses never imports it
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
