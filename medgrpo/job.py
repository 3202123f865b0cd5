"""One job of a command: skipped, handed to processes of its own, or run here and cleaned up after.

In a sweep many jobs share a process, and with it imports, data and the judge's cache. What a job
changes in the process is put back, so that each gives the results that it would give alone.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import math
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from medgrpo.errors import UserError
from medgrpo.rundir import RunFolder

# mallopt(3) in a sweep: tensors leave no holes in the heap, so that its jobs peak alike
MALLOC = {
    -8: 1,  # M_ARENA_MAX: one heap for all threads
    -3: 1536 * 1024,  # M_MMAP_THRESHOLD: bytes from which memory goes straight back to the system
    -1: 32 * 1024**2,  # M_TRIM_THRESHOLD: free bytes that the heap's end may keep
}

log = logging.getLogger(__name__)


def run_job(cfg: DictConfig) -> float:
    """Run the job; returns its score (NaN for none). In a sweep, a failure is also logged."""
    if HydraConfig.get().mode != RunMode.MULTIRUN:
        return _run(cfg)
    for setting in MALLOC.items():
        _glibc("mallopt", *setting)
    summary = RunFolder(cfg.output_dir).read_summary()
    if cfg.resume and summary.get("status") == "finished":
        log.info("finished already: %s", cfg.output_dir)
        return _score(summary.get("score"))
    try:
        return _run(cfg)
    except Exception as error:
        if isinstance(error, UserError):
            log.error("job failed; continuing with the remaining jobs: %s", error)
        else:
            log.exception("job failed; continuing with the remaining jobs")
        _let_go(error)
        raise


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
    if cfg.launch.nproc_per_node > 1 or cfg.launch.own_process:
        from medgrpo.launch import run_apart

        return _score(run_apart(cfg).get("score"))
    from medgrpo.run import run

    with _process_as_it_was():
        return run(cfg)


def _score(score: float | None) -> float:
    return math.nan if score is None else score


@contextmanager
def _process_as_it_was() -> Iterator[None]:
    """Afterwards the memory of the job's model is free."""
    try:
        yield
    finally:
        _free_memory()
    if not gc.get_freeze_count():
        gc.freeze()  # a million objects of libraries: later passes need not look at them (0.5 s)


def _free_memory() -> None:
    """Give the system back what garbage collection, CUDA and glibc would keep for later."""
    gc.collect()
    torch = sys.modules.get("torch")  # a job that preflight refuses never imports it
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
    _glibc("malloc_trim", 0)


def _glibc(function: str, *arguments: int) -> None:
    """Call a function of GNU's C library; on systems with another there is nothing to do."""
    if sys.platform == "linux":
        getattr(ctypes.CDLL(None), function, lambda *_: None)(*arguments)
