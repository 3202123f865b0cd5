"""Jobs of a sweep in processes of their own, through submitit: on this machine, and by Slurm.

Slurm is two scripts here: one that takes a job array and runs it, one that runs a job's step.
"""

import json
import os
import stat
from pathlib import Path

import pytest
from conftest import run_medgrpo

pytestmark = pytest.mark.slow
pytest.importorskip("submitit")

SHORT = ["trainer.args.max_steps=2", "evaluation.limit=8", "rewards=[formats]"]
SBATCH = """#!/usr/bin/env python3
import os, re, subprocess, sys
script = open(sys.argv[-1]).read()
open(os.environ["ASKED_OF_SLURM"], "w").write(script)
first, last = map(int, re.search(r"--array=(\\d+)-(\\d+)", script).groups())
for task in range(first, last + 1):
    env = {"SLURM_JOB_ID": f"{100 + task}", "SLURM_ARRAY_JOB_ID": "100", "SLURM_NODEID": "0",
           "SLURM_ARRAY_TASK_ID": f"{task}", "SLURM_PROCID": "0", "SLURM_LOCALID": "0",
           "SLURM_NTASKS": "1", "SLURM_JOB_NUM_NODES": "1", "SLURM_JOB_NODELIST": "here"}
    subprocess.Popen(["bash", sys.argv[-1]], env={**os.environ, **env},
                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print("Submitted batch job 100")
"""
SRUN = """#!/usr/bin/env bash
while [[ $1 == -* ]]; do [[ $1 == --output || $1 == --error ]] && shift; shift; done
exec "$@"
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


def test_slurm_gets_an_array_with_what_was_asked(tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in {"sbatch": SBATCH, "srun": SRUN, "sacct": SACCT}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(stat.S_IRWXU)
    asked = tmp_path / "asked.sh"
    done = run_medgrpo(
        tmp_path,
        "-m",
        "hydra/launcher=slurm",
        "hydra.launcher.partition=gpu",
        "lora.r=4,8",
        "output_dir=ranks",
        *SHORT,
        PATH=f"{programs}:{os.environ['PATH']}",
        ASKED_OF_SLURM=str(asked),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    script = asked.read_text()
    for line in ("--partition=gpu", "--gpus-per-node=1", "--mem=64GB", "--time=720"):
        assert f"#SBATCH {line}" in script
    assert "#SBATCH --requeue" in script or "SIGUSR" in script or "USR2@120" in script
    assert statuses(tmp_path / "ranks") == {"r-4": "finished", "r-8": "finished"}
    assert (tmp_path / "ranks" / "comparison.html").exists()
