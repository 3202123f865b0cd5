"""One run in processes of its own: a single one, or one a GPU, started by torchrun.

They do not compose a config (each would make a folder of its own): they take the one that Hydra
recorded in the run's folder. The first process writes there. The others run the same code in a
scratch folder that shares nothing but the checkpoints, untracked and unheard.
"""

from __future__ import annotations

import logging.config
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import Any

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from medgrpo.config import accumulation  # noqa: F401  (a resolver of the recorded config)
from medgrpo.errors import RunStopped, UserError
from medgrpo.rundir import RunFolder


def run_apart(cfg: DictConfig) -> dict[str, Any]:
    """Run `cfg` in `cfg.launch.nproc_per_node` processes; returns the summary of the run.

    RunStopped when a process failed, and with it all: what it wrote stands above in the log.
    SIGTERM and Ctrl-C are passed on, and waited for.
    """
    folder = RunFolder(cfg.output_dir)
    processes = cfg.launch.nproc_per_node
    torchrun = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
    command = [sys.executable, "-m", *(torchrun if processes > 1 else []), "medgrpo.launch"]
    env = {"ACCELERATE_USE_CPU": "true"} if _device(cfg) == "cpu" else {}
    with subprocess.Popen([*command, str(folder.path)], env={**os.environ, **env}) as process:
        try:
            code = process.wait()
        except BaseException:
            process.send_signal(signal.SIGTERM)
            process.wait()
            raise
    folder.summary = folder.read_summary()
    if code:
        if folder.summary.get("status") in (None, "running"):  # killed, or never came so far
            folder.update_summary(status="failed", error=f"its process ended with exit code {code}")
        message = str(folder.summary.get("error"))
        for kind in (UserError, RunStopped):
            if message.startswith(f"{kind.__name__}: "):
                raise kind(message.removeprefix(f"{kind.__name__}: "))
        raise RunStopped(
            f"the run's process ended with exit code {code}: {message}; to resume: "
            f"python -m medgrpo resume={folder.path}"
        )
    return folder.summary


def main(folder: Path) -> None:
    """Be the run's process, or one of torchrun's: run what the folder's `.hydra` says."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cfg = OmegaConf.load(folder / ".hydra" / "config.yaml")
    hydra = OmegaConf.load(folder / ".hydra" / "hydra.yaml")
    assert isinstance(cfg, DictConfig)
    typed = OmegaConf.create({"hydra": OmegaConf.structured(HydraConf, flags={"struct": False})})
    HydraConfig.instance().set_config(OmegaConf.merge(typed, hydra))  # a plain one is refused
    with ExitStack() as stack, open_dict(cfg):
        cfg.output_dir = str(folder)
        if os.environ.get("RANK", "0") == "0":
            log_config: Any = OmegaConf.to_container(hydra.hydra.job_logging, resolve=True)
            logging.config.dictConfig(log_config)
        else:
            cfg.output_dir = stack.enter_context(_scratch(folder))
            cfg.tracking = {"_target_": "medgrpo.tracking.base.NullTracker"}
            stack.enter_context(redirect_stdout(stack.enter_context(open(os.devnull, "w"))))
        if _device(cfg) == "cuda" and "LOCAL_RANK" in os.environ:
            import torch

            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        from medgrpo.run import run

        run(cfg)


def _device(cfg: DictConfig) -> str:
    """Where the model goes: a model of one's own may leave that to the profile."""
    return cfg.model.get("device", cfg.profile.device)


def _scratch(folder: Path) -> tempfile.TemporaryDirectory[str]:
    """A folder for what only the first process keeps, with the run's config and checkpoints."""
    scratch = tempfile.TemporaryDirectory(prefix="medgrpo-")
    checkpoints = RunFolder(folder).checkpoints
    checkpoints.mkdir(exist_ok=True)
    for shared in (checkpoints, folder / ".hydra"):
        (Path(scratch.name) / shared.name).symlink_to(shared)
    return scratch


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except (UserError, RunStopped) as error:
        if rank := int(os.environ.get("RANK", "0")):  # the first one's is told by who started it
            print(f"medgrpo: process {rank}: {error}", file=sys.stderr)
        sys.exit(1)
