"""Jobs of a sweep in processes of their own, through submitit: on this machine, and by Slurm.

Slurm is four scripts here: one takes a job array and runs it, one runs a job's step, one runs a job
again, one knows of no job.
"""

import json
import os
import signal
import stat
from pathlib import Path

import pytest
from conftest import run_medgrpo, same_results, start, wait_for

pytestmark = pytest.mark.slow
pytest.importorskip("submitit")

SHORT = ["trainer.args.max_steps=2", "evaluation.limit=8", "rewards=[formats]"]
SBATCH = """#!/usr/bin/env python3
import json, os, re, subprocess, sys
script = open(sys.argv[-1]).read()
open(os.environ["ASKED_OF_SLURM"], "w").write(script)
first, last = map(int, re.search(r"--array=(\\d+)-(\\d+)", script).groups())
for task in range(first, last + 1):
    env = {"SLURM_JOB_ID": f"{100 + task}", "SLURM_ARRAY_JOB_ID": "100", "SLURM_NODEID": "0",
           "SLURM_ARRAY_TASK_ID": f"{task}", "SLURM_PROCID": "0", "SLURM_LOCALID": "0",
           "SLURM_NTASKS": "1", "SLURM_JOB_NUM_NODES": "1", "SLURM_JOB_NODELIST": "here"}
    env = {**os.environ, **env}
    json.dump(env, open(os.environ["ASKED_OF_SLURM"] + f".{task}", "w"))
    subprocess.Popen(["bash", sys.argv[-1]], env=env,
                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print("Submitted batch job 100")
"""
SRUN = """#!/usr/bin/env bash
while [[ $1 == -* ]]; do [[ $1 == --output || $1 == --error ]] && shift; shift; done
exec "$@"
"""
TWO_NODES = """#!/usr/bin/env bash
while [[ $1 == -* ]]; do [[ $1 == --output || $1 == --error ]] && shift; shift; done
export SLURM_NTASKS=2 SLURM_JOB_NUM_NODES=2 SLURM_JOB_NODELIST=localhost,localhost
SLURM_NODEID=1 SLURM_PROCID=1 "$@" & SLURM_NODEID=0 SLURM_PROCID=0 "$@" && wait $!
"""
SCONTROL = """#!/usr/bin/env python3
import json, os, subprocess, sys
asked = os.environ["ASKED_OF_SLURM"]
open(asked + ".again", "a").write(" ".join(sys.argv[1:]))
task = json.load(open(asked + "." + os.environ["SLURM_ARRAY_TASK_ID"]))
subprocess.Popen(["bash", asked], env={**task, "SLURM_RESTART_COUNT": "1"},
                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
"""
SACCT = "#!/usr/bin/env bash\necho 'JobID|State|NodeList'\n"


def statuses(sweep: Path) -> dict[str, str]:
    files = sweep.glob("*/summary.json")
    return {file.parent.name: json.loads(file.read_text())["status"] for file in files}


def test_one_process_a_job_on_this_machine(tmp_path):
    launcher = "hydra/launcher=local_processes"
    done = run_medgrpo(tmp_path, "-m", launcher, "lora.r=4,8", "output_dir=ranks", *SHORT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert statuses(tmp_path / "ranks") == {"r-4": "finished", "r-8": "finished"}
    assert (tmp_path / "ranks" / "comparison.html").exists()


@pytest.fixture
def slurm(tmp_path) -> dict[str, str]:
    """The environment of a machine with Slurm; ASKED_OF_SLURM holds the last batch script."""
    programs = tmp_path / "bin"
    programs.mkdir()
    stubs = {"sbatch": SBATCH, "srun": SRUN, "sacct": SACCT, "scontrol": SCONTROL}
    for name, text in stubs.items():
        (programs / name).write_text(text)
        (programs / name).chmod(stat.S_IRWXU)
    path = f"{programs}:{os.environ['PATH']}"
    return {"PATH": path, "ASKED_OF_SLURM": str(tmp_path / "asked.sh")}


SLURM = ["-m", "hydra/launcher=slurm", "hydra.launcher.partition=gpu"]


def test_slurm_gets_an_array_with_what_was_asked(tmp_path, slurm):
    done = run_medgrpo(tmp_path, *SLURM, "lora.r=4,8", "output_dir=ranks", *SHORT, **slurm)
    assert done.returncode == 0, done.stdout + done.stderr
    script = Path(slurm["ASKED_OF_SLURM"]).read_text()
    for line in (
        "--partition=gpu", "--gpus-per-node=1", "--mem=64GB", "--time=720", "--array=0-1%2",
        "--signal=USR2@120",
    ):  # fmt: skip
        assert f"#SBATCH {line}" in script
    assert statuses(tmp_path / "ranks") == {"r-4": "finished", "r-8": "finished"}
    assert (tmp_path / "ranks" / "comparison.html").exists()


def test_slurm_gives_a_run_two_machines(tmp_path, slurm):
    """srun is one process a machine; they meet at the name of the first."""
    srun = Path(slurm["PATH"].partition(":")[0]) / "srun"
    srun.write_text(TWO_NODES)
    two = ["launch.nodes=2", "launch.nproc_per_node=1", "trainer.args.save_steps=1"]
    done = run_medgrpo(tmp_path, *SLURM, "lora.r=4,8", "output_dir=ranks", *SHORT, *two, **slurm)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "#SBATCH --nodes=2" in Path(slurm["ASKED_OF_SLURM"]).read_text()
    assert statuses(tmp_path / "ranks") == {"r-4": "finished", "r-8": "finished"}
    checkpoint = tmp_path / "ranks" / "r-4" / "checkpoints" / "checkpoint-2"
    assert len(list(checkpoint.glob("rng_state_*.pth"))) == 2


def test_a_preempted_job_is_queued_again_and_goes_on(tmp_path, slurm):
    """Slurm warns by USR2 before it takes the node away; scontrol puts the job back."""
    steps = [*SHORT[1:], "trainer.args.max_steps=8", "trainer.args.save_steps=2"]
    process = start(tmp_path, *SLURM, "lora.r=4,8", "output_dir=ranks", *steps, **slurm)
    job = tmp_path / "ranks" / "r-4"
    wait_for((job / "checkpoints" / "checkpoint-2" / "trainer_state.json").exists, process)
    first = json.loads((job / "summary.json").read_text())
    os.kill(int(first["process"].rpartition(":")[2]), signal.SIGUSR2)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    assert Path(slurm["ASKED_OF_SLURM"] + ".again").read_text() == "requeue 100_0"
    assert statuses(tmp_path / "ranks") == {"r-4": "finished", "r-8": "finished"}
    last = json.loads((job / "summary.json").read_text())
    assert last["process"] != first["process"]
    assert last["wandb_id"] == first["wandb_id"]
    done = run_medgrpo(tmp_path, "lora.r=4", "output_dir=whole", *steps)
    assert done.returncode == 0, done.stdout + done.stderr
    assert same_results(tmp_path / "whole", job)
