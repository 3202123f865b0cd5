"""Runs compared by their folders alone: ranked, tested and shown, whatever became of them."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import wandb
from conftest import ROOT
from synthetic_runs import make_run, make_sweep

from medgrpo.compare import load
from medgrpo.compare.__main__ import main
from medgrpo.compare.comparison import compare
from medgrpo.compare.statistics import paired_tests
from medgrpo.errors import UserError


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    return make_sweep(tmp_path_factory.mktemp("multirun") / "ranks")


def printed(capsys, *folders: Path) -> str:
    assert main([str(folder) for folder in folders]) == 0
    return capsys.readouterr().out


def test_runs_are_ranked_within_their_test_set(sweep):
    comparison = compare([sweep])
    names = [job.name for job in comparison.jobs]
    assert names[:2] == ["16_2.0_1", "16_2.0_2"]  # seeds of a setting in the order typed
    assert names[-2:] == ["pub_16", "pub_8"]
    assert comparison.ranks == [1, 1, 2, 2, 3, 3, 4, 4, 1, 2]


def test_only_what_differs_is_a_column_and_not_what_follows_from_it(sweep):
    assert compare([sweep]).keys == ["dataset", "lora.r", "rewards.tags.weight", "seed"]


def test_runs_that_were_typed_alike_are_told_apart_by_their_config(tmp_path):
    for name, words in (("a", "yes or no"), ("b", "one letter")):
        folder = make_run(tmp_path / name)
        config = folder.path / ".hydra" / "config.yaml"
        config.write_text(config.read_text().replace("medqa words", words))
    assert compare([tmp_path]).keys == ["dataset.answer_with", "prompt.answer_with"]


def test_a_group_that_a_run_did_not_know_yet_is_no_difference(tmp_path):
    make_run(tmp_path / "old")
    for name in ("new", "newer"):
        config = make_run(tmp_path / name).path / ".hydra" / "config.yaml"
        config.write_text(f"{config.read_text()}metrics: {{accuracy: {{_target_: {name}}}}}\n")
    assert compare([tmp_path / "old", tmp_path / "new"]).keys == []
    assert compare([tmp_path]).keys == ["metrics.accuracy._target_"]


def test_table_fits_80_columns_and_shows_what_counts(sweep, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(sweep)
    out = printed(capsys, Path())
    assert max(map(len, out.splitlines())) <= 80
    best = next(line for line in out.splitlines() if line.strip().startswith("1 "))
    assert best.split() == [
        "1",
        "16",
        "2.0",
        "1",
        "finished",
        "0.750",
        "(0.60-0.86)",
        "5%",
        "1.950",
        "1:15",
    ]


def test_many_settings_fold_and_none_is_lost(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for number in range(2):
        folder = make_run(tmp_path / str(number))
        typed = [f"- trainer.args.a_rather_long_name_{key}={number}" for key in range(6)]
        (folder.path / ".hydra" / "overrides.yaml").write_text("\n".join(typed))
    monkeypatch.chdir(tmp_path)
    out = printed(capsys, Path())
    assert max(map(len, out.splitlines())) <= 80
    joined = "".join(out.split())
    assert all(f"a_rather_long_name_{key}" in joined for key in range(6))


@pytest.mark.parametrize("status", ["failed", "interrupted", "running"])
def test_runs_that_did_not_finish_stand_beside_the_others(tmp_path, capsys, status):
    make_run(tmp_path / "good", accuracy=0.5)
    broken = make_run(tmp_path / "bad", status=status, score=None, error="OSError: disk full")
    for file in (broken.evaluation, broken.predictions, broken.metrics):
        file.unlink()
    out = printed(capsys, tmp_path)
    assert status in out
    assert f"bad: {status}: OSError: disk full" in out
    assert compare([tmp_path]).ranks == [1, None]


def test_a_run_that_says_running_without_a_process_was_killed(tmp_path):
    ended = subprocess.Popen(["true"])
    ended.wait()
    host = os.uname().nodename
    for name, process in {"dead": f"{host}:{ended.pid}", "alive": f"{host}:{os.getpid()}"}.items():
        make_run(tmp_path / name, status="running", process=process)
    make_run(tmp_path / "elsewhere", status="running", process=f"other-{host}:{ended.pid}")
    statuses = {job.name: job.status for job in compare([tmp_path]).jobs}
    assert statuses == {"dead": "killed", "alive": "running", "elsewhere": "running"}


def test_a_run_without_held_out_rows_stands_beside_the_others(tmp_path):
    """What evaluation=none leaves behind."""
    make_run(tmp_path / "good", accuracy=0.5)
    folder = make_run(tmp_path / "none", score=None)
    folder.write_parquet(folder.predictions, [])
    assert compare([tmp_path]).ranks == [1, None]


def test_a_torn_log_is_read_as_far_as_it_goes(tmp_path):
    folder = make_run(tmp_path / "run", steps=5)
    with folder.metrics.open("a") as file:
        file.write('{"step": 6, "rew')
    (job,) = compare([tmp_path]).jobs
    assert job.steps == [1, 2, 3, 4, 5]


def test_long_curves_are_averaged_and_keep_their_end(tmp_path):
    make_run(tmp_path / "run", steps=1001)
    (job,) = compare([tmp_path]).jobs
    assert len(job.steps) == len(job.curves["reward"]) <= 200
    assert job.steps[-1] == 1001
    assert job.curves["reward"][0] == pytest.approx(sum(range(1, 7)) / 60)


def test_what_is_logged_of_one_step_is_one_point(tmp_path):
    folder = make_run(tmp_path / "run", steps=2)
    with folder.metrics.open("a") as file:
        file.write('{"step": 2, "eval_score": 0.5}\n')
    (job,) = compare([tmp_path]).jobs
    assert job.steps == [1, 2]
    assert job.curves["eval_score"] == [None, 0.5]
    assert job.curves["reward"] == [0.1, 0.2]


def test_csv_has_a_row_a_run(sweep, tmp_path, capsys):
    assert main([str(sweep), "--output", str(tmp_path)]) == 0
    rows = list(csv.DictReader((tmp_path / "comparison.csv").open()))
    assert len(rows) == 10
    assert rows[0]["lora.r"] == "16"
    assert float(rows[0]["score"]) == pytest.approx(0.75)
    assert float(rows[0]["score_low"]) < 0.75 < float(rows[0]["score_high"])
    assert Path(rows[0]["folder"]) == sweep / "16_2.0_1"


def test_pairs_are_tested_on_rows_that_both_answered(sweep):
    comparison = compare([sweep])
    sets = {
        comparison.jobs[test.first].test_set == comparison.jobs[test.second].test_set
        for test in comparison.pairs
    }
    assert sets == {True}
    assert len(comparison.pairs) == 8 * 7 // 2 + 1
    first = comparison.pairs[0]  # 30 and 32 of 40 rows right, the former among the latter
    assert (first.rows, first.first_better, first.second_better) == (40, 0, 2)
    assert first.p == pytest.approx(0.5)


def test_holm_corrects_over_all_pairs():
    import numpy as np

    scores = np.array([[1.0] * 10, [0.0] * 10, [1.0] * 9 + [0.0]])
    tests = paired_tests(scores, ["a"] * 3, [True] * 3)
    raw = [test.p for test in tests]
    assert raw == pytest.approx([2 / 1024, 1.0, 2 / 512])
    assert [test.p_holm for test in tests] == pytest.approx([3 * 2 / 1024, 1.0, 2 * 2 / 512])


def test_scores_that_are_shares_get_wilcoxons_test():
    import numpy as np

    scores = np.array([[0.5] * 8, [0.1, 0.2, 0.3, 0.4, 0.45, 0.49, 0.05, np.nan]])
    (test,) = paired_tests(scores, ["a", "a"], [False, False])
    assert test.rows == 7
    assert test.p == pytest.approx(2 / 2**7)


def test_several_sweeps_are_compared_as_one(sweep, tmp_path):
    make_run(tmp_path / "alone", accuracy=0.95, rank=64)
    comparison = compare([sweep, tmp_path / "alone", sweep])
    assert len(comparison.jobs) == 11
    assert comparison.jobs[0].path == tmp_path / "alone"


@pytest.mark.parametrize("folder", ["missing", "."])
def test_a_folder_without_runs_is_the_users_to_mend(tmp_path, capsys, folder):
    assert main([str(tmp_path / folder)]) == 2
    assert "compare:" in capsys.readouterr().err
    with pytest.raises(UserError):
        compare([tmp_path])


def test_an_offline_wandb_run_is_compared_too(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    make_run(tmp_path / "runs" / "local", accuracy=0.5)
    settings = wandb.Settings(silent=True)
    with wandb.init(
        mode="offline", dir=tmp_path / "runs", config={"lora": {"r": 4}}, settings=settings
    ) as run:
        for step in (1, 2):
            run.log({"train/global_step": step, "train/reward": step / 2})
        run.summary.update(
            {"score": 0.75, "metric": "accuracy", "score_low": 0.6, "score_high": 0.8}
        )
    wandb.teardown()
    jobs = {job.status + str(job.score): job for job in compare([tmp_path / "runs"]).jobs}
    job = jobs["finished0.75"]
    assert job.config["lora.r"] == 4
    assert (job.steps, job.curves["reward"]) == ([1, 2], [0.5, 1.0])
    assert job.interval == (0.6, 0.8)


def test_a_notebook_gets_a_table(sweep):
    runs = load(sweep)
    assert runs.groupby("lora.r")["score"].mean()["16"] > 0.5
    assert runs.loc[0, "curves"]["reward"].loc[20] == 2.0


def test_nothing_that_trains_is_imported(sweep, tmp_path):
    code = f"""
import sys
from medgrpo.compare.__main__ import main
main([{str(sweep)!r}, "--output", {str(tmp_path)!r}])
print([name for name in ("torch", "transformers", "trl", "datasets") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("[]\n")


def test_a_hundred_long_runs_stay_a_page_to_send(tmp_path, capsys):
    for number in range(100):
        make_run(tmp_path / str(number), seed=number, steps=200, rows=200)
    printed(capsys, tmp_path)
    assert (tmp_path / "comparison.html").stat().st_size < 15e6


def test_figures_are_json_in_the_page(sweep, tmp_path, capsys):
    main([str(sweep), "--output", str(tmp_path)])
    page = (tmp_path / "comparison.html").read_text()
    start = page.index('type="application/json">') + len('type="application/json">')
    data = json.loads(page[start : page.index("</script>", start)])
    assert [job["rank"] for job in data["jobs"]] == [1, 1, 2, 2, 3, 3, 4, 4, 1, 2]


def test_what_each_reward_moved_stands_beside_its_weight(tmp_path):
    from medgrpo.compare.page import _data

    folder = make_run(tmp_path / "a", weight=2.0, steps=20)
    lines = folder.metrics.read_text().splitlines()
    moved = [
        json.loads(line) | {"rewards/tags/effective_weight": i / 20} for i, line in enumerate(lines)
    ]
    folder.metrics.write_text("".join(json.dumps(row) + "\n" for row in moved))
    comparison = compare([tmp_path])
    assert comparison.rows()[0]["effective_weight.tags"] == pytest.approx(18.5 / 20)
    (job,) = _data(comparison)["jobs"]
    assert job["effective"] == {"tags": pytest.approx(18.5 / 20)}
    assert job["asked"] == {"tags": 2.0}
    assert "rewards/tags/effective_weight" in job["curves"]
