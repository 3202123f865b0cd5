"""What a command costs before it does anything: `python benchmarks/startup.py [ROUNDS]`.

The rival of `--cfg job` is a Hydra application that does nothing else, with as many groups and
files as this one: they are copied from conf/. The commands take turns, so that a busy machine slows
all alike; medians and the ratio of medians are printed.
"""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
MOST = 1.5  # of a bare application
MEDGRPO = [sys.executable, "-m", "medgrpo"]
BARE = """\
import hydra

@hydra.main(config_path="conf", config_name="config", version_base="1.3")
def app(cfg):
    pass

app()
"""


def bare_app(folder: Path) -> list[str]:
    """The command of a Hydra application with our groups, less what needs our code."""
    shutil.copytree(ROOT / "conf", folder / "conf")
    for part in ("hydra", "sweep"):  # launchers, callbacks, and the presets that use them
        shutil.rmtree(folder / "conf" / part)
    config = folder / "conf" / "config.yaml"
    text = re.sub(r"  - (hydra|sweep): .*\n", "", config.read_text(encoding="utf-8"))
    config.write_text(text.replace("profile: default", "profile: laptop"), encoding="utf-8")
    (folder / "app.py").write_text(BARE, encoding="utf-8")
    return [sys.executable, "app.py"]


def seconds(command: Sequence[str], cwd: Path, code: int = 0) -> float:
    """Wall-clock time of a command that must end with `code`."""
    start = time.perf_counter()
    done = subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, check=False)
    taken = time.perf_counter() - start
    if done.returncode != code:
        raise SystemExit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr.decode()}")
    return taken


def first_step(cwd: Path) -> float:
    """From the command to the line that tells of the first training step."""
    command = [*MEDGRPO, "trainer.args.max_steps=1", "evaluation=none", "tracking=local"]
    start = time.perf_counter()
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as running:
        said = []
        for line in running.stdout or ():
            said.append(line)
            if line.startswith("step 1/1"):
                taken = time.perf_counter() - start
                running.communicate()
                return taken
    raise SystemExit("".join(said))


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def main(rounds: int) -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bare = bare_app(folder)
        measured: dict[str, list[float]] = {}
        for turn in range(rounds + 1):
            times = {
                "bare Hydra application, --cfg job": seconds([*bare, "--cfg", "job"], folder),
                "medgrpo --cfg job": seconds([*MEDGRPO, "--cfg", "job"], folder),
                "medgrpo lora.rr=8, to its message": seconds([*MEDGRPO, "lora.rr=8"], folder, 2),
            }
            for what, taken in times.items() if turn else ():  # the first turn warms the disk
                measured.setdefault(what, []).append(taken)
        measured["medgrpo, to the first training step"] = [first_step(folder) for _ in range(3)]
    rival = statistics.median(next(iter(measured.values())))
    print(f"{'':38}{'median':>8}{'least':>8}{'most':>8}{'ratio':>8}")
    for what, all_of in measured.items():
        row = [statistics.median(all_of), min(all_of), max(all_of)]
        print(f"{what:38}{''.join(f'{value:7.2f}s' for value in row)}{row[0] / rival:7.1f}x")
    ratio = statistics.median(measured["medgrpo --cfg job"]) / rival
    good = "holds" if ratio <= MOST else "FAILS"
    print(f"{good}  --cfg job {ratio:.2f}x of a bare Hydra application, at most {MOST}")
    return int(ratio > MOST)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 7))
