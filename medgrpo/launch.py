"""One run in processes of its own: a single one, or one a GPU, started by torchrun.

They do not compose a config (each would make a folder of its own): they take the one that Hydra
recorded in the run's folder. The first process writes there. The others run the same code in a
scratch folder that shares nothing but the checkpoints, untracked, unheard and not exported.

Of several machines (`launch.nodes`) each is given the same command and sees the same folder; its
number is in NODE_RANK, or Slurm says it. The first one's run is the run.
"""

from __future__ import annotations

import logging.config
import os
import signal
import sys
import tempfile
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import Any

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from medgrpo.config import accumulation  # noqa: F401  (a resolver of the recorded config)
from medgrpo.config.child import child
from medgrpo.config.nodes import is_first_node, node_rank
from medgrpo.errors import RunStopped, UserError
from medgrpo.model import sharding
from medgrpo.rundir import RunFolder


def run_apart(cfg: DictConfig) -> dict[str, Any]:
    """Run `cfg` in processes of its own on this machine; returns the summary of the run.

    RunStopped when a process failed, and with it all: what it wrote stands above in the log.
    SIGTERM and Ctrl-C are passed on, and waited for. Of a machine that is not the first there is no
    summary.
    """
    folder = RunFolder(cfg.output_dir)
    alone = cfg.launch.nproc_per_node * cfg.launch.nodes == 1
    command = [sys.executable, "-m", *([] if alone else _torchrun(cfg.launch)), "medgrpo.launch"]
    env = {"ACCELERATE_USE_CPU": "true"} if _device(cfg) == "cpu" else {}
    env |= sharding.ENVIRONMENT if cfg.launch.fsdp else {}
    with child([*command, str(folder.path)], env={**os.environ, **env}) as process:
        code = process.wait()
    if not is_first_node(cfg):
        if code:
            raise RunStopped(f"node {node_rank()}: the run's processes ended with exit code {code}")
        return {}
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


def _torchrun(launch: DictConfig) -> list[str]:
    processes = [f"--nproc-per-node={launch.nproc_per_node}", "-m"]
    if launch.nodes == 1:
        return ["torch.distributed.run", "--standalone", *processes]
    host, _, port = (launch.rendezvous or _of_slurm()).rpartition(":")
    place = [f"--nnodes={launch.nodes}", f"--node-rank={node_rank()}"]
    meeting = [f"--master-addr={host}", f"--master-port={port}"]
    return ["torch.distributed.run", *place, *meeting, *processes]


def _of_slurm() -> str:
    """HOST:PORT of the first machine of this Slurm job."""
    try:
        import submitit

        environment = submitit.JobEnvironment()
        return f"{environment.hostnames[0]}:{20_000 + int(environment.raw_job_id) % 40_000}"
    except (ImportError, RuntimeError):
        raise UserError(
            "launch.rendezvous: this is no Slurm job (or pip install -e '.[slurm]' is missing): "
            "say where the machines meet, HOST:PORT of the first"
        ) from None


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
            cfg.export = {"_target_": "medgrpo.evaluation.export.Export"}  # nothing
            if "reward_rows" in cfg.evaluation:
                cfg.evaluation.reward_rows = 0  # the first process asks the judge about these
            stack.enter_context(redirect_stdout(stack.enter_context(open(os.devnull, "w"))))
        if _device(cfg) == "cuda" and "LOCAL_RANK" in os.environ:
            import torch

            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        elif cfg.launch.fsdp:
            sharding.shard_on_cpu()
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
