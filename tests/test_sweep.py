"""Sweeps through the true command: named, isolated, taken up again, compared at the end."""

import csv
import json
import os
import signal
import weakref
from pathlib import Path

import pytest
from conftest import RESULTS, ROOT, run_medgrpo, same_results, start, wait_for
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from medgrpo.compare.wandb_file import read_wandb
from medgrpo.tracking.names import LONGEST, folder_name

SHORT = ["trainer.args.max_steps=2", "evaluation.limit=8", "rewards=[formats]"]


def summary(job: Path) -> dict:
    return json.loads((job / "summary.json").read_text())


def jobs(sweep: Path) -> dict[str, Path]:
    return {path.parent.name: path.parent for path in sweep.glob("*/.hydra")}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Two jobs, the first of which fails: the sweep's folder, and how the command ended."""
    cwd = tmp_path_factory.mktemp("sweep")
    (cwd / "empty").mkdir()
    models = "model.name_or_path=./empty,medgrpo/tiny"
    done = run_medgrpo(cwd, "-m", models, "lora.r=4", "output_dir=models", *SHORT)
    return cwd / "models", done


def test_jobs_are_named_by_what_varies(sweep):
    folder, _ = sweep
    names = [name.rpartition("-")[0] for name in sorted(jobs(folder))]  # without their digests
    assert names == ["name_or_path-._empty", "name_or_path-medgrpo_tiny"]


def test_a_failing_job_stops_no_other_and_fails_the_sweep(sweep):
    folder, done = sweep
    assert done.returncode != 0
    broken, good = (jobs(folder)[name] for name in sorted(jobs(folder)))
    assert (summary(broken)["status"], summary(good)["status"]) == ("failed", "finished")
    assert summary(broken)["error"]
    assert "job failed; continuing" in (broken / "medgrpo.log").read_text()


def test_a_job_is_ranked_by_validation_rows_and_not_by_test_rows(sweep):
    good = jobs(sweep[0])[sorted(jobs(sweep[0]))[1]]
    evaluation = json.loads((good / "evaluation.json").read_text())
    selection = evaluation["selection"]
    assert selection["split"] == "validation"
    assert (selection["n"], evaluation["after"]["n"]) == (8, 8)  # as many as are tested on
    assert selection["n_choosing"] == 0  # GRPO's last checkpoint remains
    assert summary(good)["selection"] == selection["primary"]
    with (sweep[0] / "comparison.csv").open() as file:
        scores = {row["status"]: row["validation_score"] for row in csv.DictReader(file)}
    assert float(scores["finished"]) == selection["primary"]
    assert not scores["failed"]


def test_a_failed_job_leaves_no_model_in_memory(tmp_path, monkeypatch):
    """Hydra holds on to its error until the sweep ends."""
    import medgrpo.run
    from medgrpo.job import run_job

    class Model: ...

    models = []

    def fail(cfg):
        model = Model()
        models.append(weakref.ref(model))
        try:
            raise MemoryError
        except MemoryError as error:
            raise RuntimeError("out of memory") from error

    sweep = {"mode": RunMode.MULTIRUN, "sweep": {"dir": str(tmp_path)}}
    hydra = OmegaConf.create({"hydra": sweep})
    monkeypatch.setattr(HydraConfig.instance(), "cfg", hydra)
    monkeypatch.setattr(medgrpo.run, "run", fail)
    launch = {"nproc_per_node": 1, "nodes": 1, "own_process": False}
    cfg = OmegaConf.create({"output_dir": str(tmp_path), "resume": None, "launch": launch})
    with pytest.raises(RuntimeError) as kept:
        run_job(cfg)
    assert [model() for model in models] == [None], kept


def test_every_sweep_ends_in_a_comparison(sweep):
    folder, done = sweep
    assert "1 finished, 1 failed" in (folder / "comparison.html").read_text()
    assert done.stdout.rstrip().endswith("comparison.html")
    assert len((folder / "comparison.csv").read_text().splitlines()) == 1 + 2


def test_wandb_groups_the_jobs_of_a_sweep(sweep):
    folder, _ = sweep
    (file,) = folder.glob("name_or_path-medgrpo*/wandb/*run-*/run-*.wandb")
    run = read_wandb(file)
    assert (run.group, run.job_type) == ("models", "grpo")
    assert run.name == "name_or_path=medgrpo/tiny"
    assert run.tags == ["medqa", "tiny", "laptop"]
    assert run.config["lora"]["r"] == 4
    assert run.exit_code == 0


@pytest.mark.slow
def test_resuming_runs_what_failed_and_nothing_else(sweep):
    folder, _ = sweep
    good = [job for job in jobs(folder).values() if summary(job)["status"] == "finished"]
    times = {file: file.stat().st_mtime_ns for job in good for file in map(job.joinpath, RESULTS)}
    wandb_runs = set(folder.glob("*/wandb/*run-*"))
    target = folder.parent / "empty"
    target.rmdir()
    target.symlink_to(ROOT / "medgrpo" / "model" / "tiny" / "weights")
    done = run_medgrpo(folder.parent, f"resume={folder.name}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("finished already") == 1
    assert {summary(job)["status"] for job in jobs(folder).values()} == {"finished"}
    assert len(jobs(folder)) == 2
    assert times == {file: file.stat().st_mtime_ns for file in times}
    new = set(folder.glob("*/wandb/*run-*")) - wandb_runs
    assert {path.parent.parent for path in new} == set(jobs(folder).values()) - set(good)
    assert "2 finished" in (folder / "comparison.html").read_text()


def test_the_notebook_draws_a_sweep(sweep):
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    folder, _ = sweep
    notebook = nbformat.read(ROOT / "notebooks" / "compare_runs.ipynb", as_version=4)
    for cell in notebook.cells:  # those that are kept are not what it shows of this run
        cell.update({"outputs": []} if "outputs" in cell else {})
    env = {**os.environ, "PYTHONPATH": str(ROOT), "MEDGRPO_SWEEP": str(folder)}
    done = client.NotebookClient(notebook, timeout=120, kernel_name="python3")
    done.execute(env=env)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 3


def test_presets_sweep_without_a_flag_and_what_is_typed_wins(medgrpo, tmp_path):
    done = medgrpo("sweep=lora_rank", "lora.r=2,-4", *SHORT)
    assert done.returncode == 2
    assert "1 problem" in done.stderr
    assert "-4" in done.stderr
    assert not (tmp_path / "multirun").exists()


def test_all_jobs_of_a_preset_are_checked_before_the_first(medgrpo, tmp_path):
    (tmp_path / "conf" / "sweep").mkdir(parents=True)
    preset = "# @package _global_\nhydra: {mode: MULTIRUN, sweeper: {params: {lora.r: '8,-1'}}}\n"
    (tmp_path / "conf" / "sweep" / "mine.yaml").write_text(preset)
    done = medgrpo("--config-dir", "conf", "sweep=mine", *SHORT)
    assert done.returncode == 2
    assert "lora.r" in done.stderr
    assert not (tmp_path / "multirun").exists()


@pytest.mark.parametrize("value", ["/models/a b", "../up", "x" * 300, "ü", "a,b", "'q'"])
def test_folder_names_are_safe_whatever_is_swept(value):
    name = folder_name([f"model.name_or_path={value}", "seed=1"], [])
    assert len(name) <= LONGEST
    assert not set(name) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-")
    assert name == folder_name([f"model.name_or_path={value}", "seed=1"], [])
    assert name != folder_name([f"model.name_or_path={value}!", "seed=1"], [])


def test_folder_names_leave_out_what_is_the_same():
    assert (
        folder_name(["dataset=medqa", "++trainer.args.max_steps=2"], ["trainer.args.max_steps"])
        == "dataset-medqa"
    )


@pytest.mark.slow
def test_killed_and_resumed_equals_uninterrupted(tmp_path):
    command = ["-m", "seed=1,2", "trainer.args.max_steps=8", "trainer.args.save_steps=2"]
    command += [*SHORT[1:], "output_dir=cut"]
    process = start(tmp_path, *command)
    first, second = tmp_path / "cut" / "seed-1", tmp_path / "cut" / "seed-2"
    saved = second / "checkpoints" / "checkpoint-2" / "manifest.json"  # it is whole
    wait_for(saved.exists, process)
    process.kill()
    process.wait()
    assert summary(second)["status"] == "running"
    times = {name: (first / name).stat().st_mtime_ns for name in RESULTS}
    ids = [summary(job)["wandb_id"] for job in (first, second)]
    done = run_medgrpo(tmp_path, "resume=cut")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "step 1/8" not in done.stdout
    assert times == {name: (first / name).stat().st_mtime_ns for name in RESULTS}
    assert ids == [summary(job)["wandb_id"] for job in (first, second)]
    whole = run_medgrpo(tmp_path, *command[:-1], "output_dir=whole", "tracking.mode=disabled")
    assert whole.returncode == 0
    for name in ("seed-1", "seed-2"):
        assert same_results(tmp_path / "whole" / name, tmp_path / "cut" / name)


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_sweep_compares_what_finished(tmp_path, sent, code):
    process = start(
        tmp_path, "-m", "seed=1,2", *SHORT[1:], "trainer.args.max_steps=6", "output_dir=cut"
    )
    metrics = tmp_path / "cut" / "seed-2" / "metrics.jsonl"
    wait_for(lambda: metrics.exists() and metrics.read_text(), process)
    process.send_signal(sent)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == code, out
    page = (tmp_path / "cut" / "comparison.html").read_text()
    assert "1 finished, 1 interrupted" in page


@pytest.mark.slow
def test_a_job_in_its_own_process_gives_the_same_results(tmp_path):
    for place, own in (("together", "false"), ("apart", "true")):
        done = run_medgrpo(
            tmp_path, "-m", "seed=1,2", *SHORT, f"launch.own_process={own}", f"output_dir={place}"
        )
        assert done.returncode == 0, done.stdout + done.stderr
    for name in ("seed-1", "seed-2"):
        assert same_results(tmp_path / "together" / name, tmp_path / "apart" / name)


@pytest.mark.slow
def test_two_processes_share_one_run_folder(tmp_path):
    done = run_medgrpo(
        tmp_path, *SHORT, "launch.nproc_per_node=2", "output_dir=run", "trainer.args.save_steps=1"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    run = tmp_path / "run"
    assert summary(run)["status"] == "finished"
    assert (run / "metrics.jsonl").read_text().count('"reward"') == 2
    assert len(list((run / "checkpoints" / "checkpoint-2").glob("rng_state_*.pth"))) == 2
    assert len(list(run.glob("wandb/*run-*"))) == 1
    assert done.stdout.count("step 2/2") == 1


@pytest.mark.slow
def test_an_error_in_one_of_several_processes_is_the_runs(tmp_path):
    (tmp_path / "empty").mkdir()
    done = run_medgrpo(
        tmp_path, *SHORT, "launch.nproc_per_node=2", "output_dir=run", "model.name_or_path=./empty"
    )
    assert done.returncode == 2
    assert "\nmedgrpo: model.name_or_path: " in done.stderr
    assert not (tmp_path / "run" / "summary.json").exists()  # refused, so nothing was done
