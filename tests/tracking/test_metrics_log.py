"""The two logs: what is told apart, and what a kill or a resume leaves."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys

from medgrpo.rundir import RunFolder
from medgrpo.tracking.metrics_log import MetricsLog, is_telemetry, read_log


def test_what_a_clock_decides_is_kept_apart(tmp_path):
    folder = RunFolder(tmp_path)
    log = MetricsLog(folder)
    log.log(1, {"loss": 0.5, "rewards/reasoning_tags/mean": 1.0, "step_time": 2.5, "epoch": 0.1})
    log.log(1, {"train_runtime": 9.0, "train_steps_per_second": 3, "train_loss": 0.4, "epoch": 1})
    metrics = [{"step": 1, "epoch": 0.1, "loss": 0.5, "rewards/reasoning_tags/mean": 1.0}]
    assert read_log(folder.metrics) == metrics
    assert read_log(folder.telemetry) == [
        {"step": 1, "step_time": 2.5},
        {"step": 1, "train_loss": 0.4, "train_runtime": 9.0, "train_steps_per_second": 3},
    ]


def test_everything_else_that_trl_logs_is_metrics():
    names = ["reward", "reward_std", "frac_reward_zero_std", "kl", "entropy", "clip_ratio"]
    names += ["completions/mean_length", "clip_ratio/low_mean", "grad_norm", "learning_rate"]
    names += ["eval_loss", "rewards/evidently_correctness_llm/std", "policy_loss"]
    assert not any(map(is_telemetry, names))
    clocks = ["step_time", "eval_runtime", "eval_samples_per_second", "total_flos", "num_tokens"]
    assert all(map(is_telemetry, [*clocks, "judge/cache_hits", "train_mem_gpu_peaked_delta"]))


def test_lines_do_not_depend_on_the_order_of_logging(tmp_path):
    folders = RunFolder(tmp_path / "a"), RunFolder(tmp_path / "b")
    for folder, names in zip(folders, ("xy", "yx"), strict=True):
        MetricsLog(folder).log(3, dict.fromkeys(names, 1.5))
    assert folders[0].metrics.read_bytes() == folders[1].metrics.read_bytes()
    assert folders[0].metrics.read_text() == '{"step": 3, "x": 1.5, "y": 1.5}\n'


def test_a_value_that_is_not_known_is_null(tmp_path):
    folder = RunFolder(tmp_path)
    MetricsLog(folder).log(1, {"reward": math.nan, "kl": math.inf, "loss": None})
    assert read_log(folder.metrics) == [{"step": 1, "kl": None, "loss": None, "reward": None}]


def test_a_resumed_run_has_every_step_once(tmp_path):
    folder = RunFolder(tmp_path)
    log = MetricsLog(folder)
    for step in range(1, 8):  # killed after step 7, last checkpoint at 5
        log.log(step, {"loss": step, "step_time": 1})
    resumed = MetricsLog(folder)
    resumed.truncate(5)
    for step in range(6, 9):
        resumed.log(step, {"loss": step, "step_time": 2})
    assert [row["step"] for row in read_log(folder.metrics)] == list(range(1, 9))
    assert [row["step_time"] for row in read_log(folder.telemetry)] == [1] * 5 + [2] * 3


def test_a_fresh_run_in_a_used_folder_starts_anew(tmp_path):
    folder = RunFolder(tmp_path)
    MetricsLog(folder).log(0, {"loss": 1.0})
    log = MetricsLog(folder)
    log.truncate(-1)
    log.log(1, {"loss": 2.0})
    assert read_log(folder.metrics) == [{"step": 1, "loss": 2.0}]


def test_a_torn_last_line_is_cut_off_when_the_log_is_opened(tmp_path):
    folder = RunFolder(tmp_path)
    MetricsLog(folder).log(1, {"loss": 1.0})
    with folder.metrics.open("a") as file:
        file.write('{"step": 2, "lo')
    assert [row["step"] for row in read_log(folder.metrics)] == [1]
    MetricsLog(folder).log(2, {"loss": 2.0})
    assert [row["step"] for row in read_log(folder.metrics)] == [1, 2]


def test_a_kill_in_the_middle_of_logging_leaves_every_logged_line(tmp_path):
    code = """
import itertools, sys
from medgrpo.rundir import RunFolder
from medgrpo.tracking.metrics_log import MetricsLog
log = MetricsLog(RunFolder(sys.argv[1]))
for step in itertools.count():
    log.log(step, {f"rewards/{i}/mean": 1 / 3 for i in range(500)} | {"step_time": 1.0})
    print(step, flush=True)
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        told = [int(process.stdout.readline()) for _ in range(30)]
        process.send_signal(signal.SIGKILL)
        told += [int(line) for line in process.stdout]
    for name in ("metrics.jsonl", "telemetry.jsonl"):
        steps = [json.loads(line)["step"] for line in (tmp_path / name).open()]
        assert steps[: len(told)] == told
        assert len(steps) <= len(told) + 1
