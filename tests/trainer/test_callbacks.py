"""What a trainer shows and records, with a real transformers Trainer on a model of one number."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

from medgrpo.rundir import RunFolder
from medgrpo.tracking.base import Tracker
from medgrpo.tracking.metrics_log import read_log

TRAINING = """
import sys, torch
from transformers import PrinterCallback, Trainer, TrainingArguments
from medgrpo.rundir import RunFolder
from medgrpo.tracking.base import NullTracker
from medgrpo.tracking.metrics_log import MetricsLog
from medgrpo.trainer.callbacks import LogCallback, ProgressCallback

class Line(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.slope = torch.nn.Parameter(torch.zeros(()))

    def forward(self, x, y):
        return {"loss": ((self.slope * x - y) ** 2).mean()}

class Rewarded(Trainer):  # logs a reward beside the loss, as TRL's trainer does
    def log(self, logs, start_time=None):
        if "loss" in logs:
            logs |= {"reward": self.state.global_step / 10, "step_time": 0.5}
        super().log(logs, start_time)

torch.set_num_threads(1)
folder, steps = RunFolder(sys.argv[1]), int(sys.argv[2])
arguments = TrainingArguments(
    output_dir=folder.checkpoints, max_steps=steps, logging_steps=1, save_strategy="no",
    report_to="none", disable_tqdm=True, use_cpu=True,
)
rows = [{"x": torch.tensor(float(i)), "y": torch.tensor(2.0 * i)} for i in range(4)]
progress = ProgressCallback()
callbacks = [LogCallback(MetricsLog(folder), NullTracker()), progress]
trainer = Rewarded(Line(), arguments, train_dataset=rows, callbacks=callbacks)
trainer.remove_callback(PrinterCallback)
trainer.train()
"""


def lines_of(output: str) -> list[str]:
    """What was printed, without what a library says when it is imported."""
    return [line for line in output.splitlines() if "kernels" not in line]


@pytest.fixture(scope="module")
def plain_run(tmp_path_factory) -> tuple[RunFolder, list[str]]:
    """A training of 25 steps whose output goes to a file, on a machine that asks for colours."""
    folder = tmp_path_factory.mktemp("run")
    environment = os.environ | {"FORCE_COLOR": "1", "COLUMNS": "200"}
    command = [sys.executable, "-c", TRAINING, str(folder), "25"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return RunFolder(folder), lines_of(done.stdout)


def test_a_log_gets_about_ten_plain_lines(plain_run):
    _, lines = plain_run
    steps = [re.fullmatch(r"step +(\d+)/25  reward (\d\.\d{3})  \d+ s", line) for line in lines]
    assert [(int(m[1]), float(m[2])) for m in steps] == [
        (step, step / 10) for step in (3, 6, 9, 12, 15, 18, 21, 24, 25)
    ]
    assert max(map(len, lines)) <= 80


def test_the_run_folder_gets_every_step_once(plain_run):
    folder, _ = plain_run
    rows = read_log(folder.metrics)
    assert [row["step"] for row in rows] == list(range(1, 26))
    assert set(rows[0]) == {"step", "epoch", "loss", "grad_norm", "learning_rate", "reward"}
    times = read_log(folder.telemetry)
    assert [row.get("step_time") for row in times] == [0.5] * 25 + [None]
    assert "train_runtime" in times[-1]


def test_a_terminal_gets_a_bar_of_at_most_80_columns(tmp_path):
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "200"}
    command = [sys.executable, "-c", TRAINING, str(tmp_path), "25"]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, env=environment):
        os.close(theirs)
        output = b"".join(iter(lambda: _read(ours), b""))
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output.decode()).replace("\r", "\n")
    frames = [line for line in lines_of(text) if line]
    assert re.fullmatch(r"step 25/25 ━+ reward 2\.500 ETA 0:00:00", frames[-1])
    assert max(map(len, frames)) == 80
    assert output.rstrip().endswith(b"\x1b[?25h")  # the cursor is shown again


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux says that the other side has closed
        return b""


class Points(Tracker):
    """A tracker that keeps what it gets."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict]] = []

    def log(self, step: int, values: dict) -> None:
        self.rows.append((step, values))


def test_a_tracker_gets_stable_names_and_the_step(tmp_path):
    from medgrpo.tracking.metrics_log import MetricsLog
    from medgrpo.trainer.callbacks import LogCallback

    tracker = Points()
    callback = LogCallback(MetricsLog(RunFolder(tmp_path)), tracker)
    state = SimpleNamespace(global_step=7, is_world_process_zero=True)
    logs = {"loss": 0.1, "rewards/tags/mean": 0.9, "eval_loss": 0.2, "step_time": 3.0, "kl": None}
    callback.on_log(None, state, None, logs=logs)
    named = {
        "train/loss": 0.1,
        "train/rewards/tags/mean": 0.9,
        "eval/loss": 0.2,
        "telemetry/step_time": 3.0,
    }
    assert tracker.rows == [(7, named)]


def test_only_the_first_process_records(tmp_path):
    from medgrpo.tracking.metrics_log import MetricsLog
    from medgrpo.trainer.callbacks import LogCallback

    folder, tracker = RunFolder(tmp_path), Points()
    state = SimpleNamespace(global_step=7, is_world_process_zero=False)
    LogCallback(MetricsLog(folder), tracker).on_log(None, state, None, logs={"loss": 0.1})
    assert tracker.rows == read_log(folder.metrics) == []


def test_a_loss_is_shown_where_there_are_no_rewards_and_a_resume_starts_at_its_step(capsys):
    from medgrpo.trainer.callbacks import ProgressCallback

    progress = ProgressCallback()
    state = SimpleNamespace(
        global_step=10, max_steps=20, is_world_process_zero=True,
        log_history=[{"step": 0, "eval_score": 0.1}, {"step": 10, "eval_score": 0.6}, {"step": 10}],
    )  # fmt: skip
    progress.on_train_begin(None, state, None)
    for _ in range(10):
        progress.on_step_begin(None, state, None)
        state.global_step += 1
        progress.on_step_end(None, state, None)
        progress.on_log(None, state, None, logs={"loss": 0.25, "reward": None})
    progress.on_train_end(None, state, None)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["12/20", "14/20", "16/20", "18/20", "20/20"]
    assert all("loss 0.250  eval_score 0.600" in line for line in lines)


def test_a_tracker_gets_no_step_twice(tmp_path):
    """Of a run that resumes on a server, which may have more than the last checkpoint."""
    from medgrpo.tracking.metrics_log import MetricsLog
    from medgrpo.trainer.callbacks import LogCallback

    class Server(Tracker):
        def __init__(self):
            self.points = []

        def logged(self, label):
            return {"": 3, "sft/": -1}[label]

        def log(self, step, values):
            self.points.append((step, *sorted(values)))

    server = Server()
    for label, folder in {"": tmp_path, "sft/": tmp_path / "sft"}.items():
        logs = LogCallback(MetricsLog(RunFolder(folder)), server, label)
        for step in (1, 2):
            logs.metrics_log.log(step, {"reward": 0.5})
        logs.replay()
        for step in (3, 4):
            logs.record(step, {"reward": 0.5})
    main = [point for point in server.points if "train/reward" in point]
    assert [step for step, *_ in main] == [4]
    stage = [point for point in server.points if point not in main]
    names = ("sft/train/global_step", "sft/train/reward")
    assert stage == [(step, *names) for step in (1, 2, 3, 4)]
