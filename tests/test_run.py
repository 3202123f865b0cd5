"""A run through the true command: tiny, offline, and read back as a user would read it."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import ROOT, run_medgrpo

SHORT = ["trainer.args.max_steps=3", "evaluation.limit=12", "trainer.args.save_steps=2"]
DATASETS = ["medqa", "pubmedqa", "bioasq", "medqa_cot"]
REAL = ROOT.parent / "shared" / "data"


def rows(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def trained(folder: Path) -> list[dict]:
    """What each training step logged; validation rows are scored in rows of their own."""
    return [row for row in rows(folder / "metrics.jsonl") if "reward" in row]


def finish(cwd: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    done = run_medgrpo(cwd, *overrides)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def default(tmp_path_factory):
    """The default run, cut short: its folder and what it printed."""
    cwd = tmp_path_factory.mktemp("default")
    done = finish(cwd, *SHORT, "output_dir=run")
    return cwd / "run", done.stdout


def test_run_folder_holds_everything(default):
    folder, _ = default
    assert {path.name for path in folder.iterdir()} >= {
        ".hydra",
        "adapter",
        "checkpoints",
        "completions",
        "evaluation.json",
        "metrics.jsonl",
        "passport.json",
        "plots",
        "predictions.parquet",
        "summary.json",
        "telemetry.jsonl",
        "wandb",
    }
    summary = json.loads((folder / "summary.json").read_text())
    figures = json.loads((folder / "evaluation.json").read_text())
    assert (summary["status"], summary["score"]) == ("finished", figures["after"]["accuracy"])
    assert [row["step"] for row in trained(folder)] == [1, 2, 3]
    predictions = pq.read_table(folder / "predictions.parquet").to_pylist()
    assert [row["stage"] for row in predictions] == ["before"] * 12 + ["after"] * 12


def test_all_eight_rewards_are_logged_and_plotted(default):
    folder, _ = default
    names = {
        key.split("/")[1]
        for key in trained(folder)[0]
        if key.startswith("rewards/") and key.endswith("/mean")
    }
    assert names == {
        "deepeval_geval_rag",
        "deepeval_summarization",
        "deepeval_answer_relevancy",
        "evidently_correctness",
        "reasoning_tags",
        "multiline_compliance",
        "structure_validation",
        "response_format",
    }
    for plot in ("reward.png", "rewards.png"):
        assert (folder / "plots" / plot).read_bytes().startswith(b"\x89PNG")


def test_completions_carry_rewards_and_advantages(default):
    folder, _ = default
    files = sorted((folder / "completions").iterdir())
    assert [file.name for file in files] == [f"completions_{n:05d}.parquet" for n in (1, 2, 3)]
    table = pq.read_table(files[0]).to_pylist()
    assert len(table) == 32
    assert {"prompt", "completion", "advantage", "reasoning_tags"} <= table[0].keys()


def test_output_is_readable_at_80_columns(default):
    _, printed = default
    assert printed.startswith("profile: laptop")
    assert "after" in printed
    links = [line for line in printed.splitlines() if "wandb sync" not in line]
    assert max(map(len, links)) <= 80


@pytest.mark.slow
def test_weights_multiply_rewards_in_the_total(tmp_path):
    finish(
        tmp_path,
        *SHORT,
        "output_dir=run",
        "tracking.mode=disabled",
        "rewards=[formats]",
        "rewards.reasoning_tags.weight=3",
        "~rewards.response_format",
    )
    for row in trained(tmp_path / "run"):
        weighted = (
            3 * row["rewards/reasoning_tags/mean"]
            + row["rewards/multiline_compliance/mean"]
            + row["rewards/structure_validation/mean"]
        )
        assert row["reward"] == pytest.approx(weighted, abs=1e-4)
        assert "rewards/response_format/mean" not in row


@pytest.fixture(scope="module")
def rank_16(tmp_path_factory):
    """`lora.r=16` on each of the four datasets, as one sweep."""
    cwd = tmp_path_factory.mktemp("rank_16")
    finish(
        cwd,
        "-m",
        f"dataset={','.join(DATASETS)}",
        "lora.r=16",
        "rewards=[formats,verifiable]",
        "output_dir=sweep",
        *SHORT,
    )
    return [cwd / "sweep" / f"dataset-{dataset}" for dataset in DATASETS]


LOAD = """
import sys, json
from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer
model = AutoPeftModelForCausalLM.from_pretrained(sys.argv[1])
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
ids = tokenizer.apply_chat_template(
    [{"role": "user", "content": "Which?"}], add_generation_prompt=True, return_tensors="pt"
)
model.generate(**ids, max_new_tokens=2)
print(json.dumps(model.peft_config["default"].r))
"""


@pytest.mark.parametrize("job", range(4), ids=DATASETS)
def test_adapter_has_the_rank_and_loads_in_plain_peft(rank_16, job):
    adapter = rank_16[job] / "adapter"
    loaded = subprocess.run(
        [sys.executable, "-c", LOAD, str(adapter)], capture_output=True, text=True, check=True
    )
    assert json.loads(loaded.stdout) == 16
    assert (adapter / "adapter_model.safetensors").exists()
    assert "no medical device" in (adapter / "README.md").read_text()


@pytest.mark.slow
def test_jobs_of_a_sweep_do_not_share_state(rank_16, tmp_path):
    """The second job of the sweep equals the same run alone."""
    finish(
        tmp_path,
        "dataset=pubmedqa",
        "lora.r=16",
        "rewards=[formats,verifiable]",
        "output_dir=run",
        *SHORT,
    )
    alone = tmp_path / "run"
    for name in ("metrics.jsonl", "predictions.parquet", "adapter/adapter_model.safetensors"):
        assert (alone / name).read_bytes() == (rank_16[1] / name).read_bytes()


@pytest.mark.slow
def test_same_command_and_seed_give_the_same_files(default, tmp_path):
    folder, _ = default
    finish(tmp_path, *SHORT, "output_dir=run", "tracking.mode=disabled")
    for name in ("metrics.jsonl", "predictions.parquet", "adapter/adapter_model.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.slow
def test_resume_goes_on_from_the_last_checkpoint(default, tmp_path):
    """A run cut off after step 3, with a checkpoint at 2, ends like one that was not."""
    folder, _ = default
    finish(tmp_path, *SHORT, "output_dir=run", "tracking.mode=disabled")
    interrupted = tmp_path / "run"
    (interrupted / "predictions.parquet").unlink()
    for checkpoint in (interrupted / "checkpoints").glob("checkpoint-3"):
        (checkpoint / "trainer_state.json").unlink()
    done = finish(tmp_path, "resume=run")
    assert "step 3/3" in done.stdout
    assert "step 1/3" not in done.stdout
    for name in ("metrics.jsonl", "predictions.parquet", "adapter/adapter_model.safetensors"):
        assert (interrupted / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.slow
def test_evaluation_only(tmp_path, default):
    """`trainer=none model.adapter=RUN` evaluates what a run made, and finds what it found."""
    folder, _ = default
    finish(tmp_path, "trainer=none", f"model.adapter={folder}", *SHORT[1:2], "output_dir=again")
    again = json.loads((tmp_path / "again" / "evaluation.json").read_text())
    made = json.loads((folder / "evaluation.json").read_text())
    held_out = set(made["after"]) - {"rewards"}  # those are of another set
    assert {key: again["after"][key] for key in held_out} == {
        key: made["after"][key] for key in held_out
    }


def test_gpu_profile_without_a_gpu_says_so(medgrpo, tmp_path):
    """Nothing falls back to the CPU. (Data and judge are given, so that the GPU is missed.)"""
    done = medgrpo("profile=gpu", "dataset.source=sample", "judge=lexical")
    assert done.returncode == 2
    assert "no CUDA GPU is seen" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not REAL.is_dir(), reason="the real benchmark files are not here")
@pytest.mark.parametrize(
    ("dataset", "file", "counts"),
    [
        ("pubmedqa", "pubmedqa/ori_pqal_nontest500.json", (450, 25, 25)),
        ("medqa", "medqa/medqa_us_4options_dev.jsonl", (1146, 63, 63)),
    ],
)
def test_real_files_run_with_all_eight_rewards(tmp_path, dataset, file, counts):
    done = finish(
        tmp_path,
        f"dataset={dataset}",
        "dataset.source=path",
        f"dataset.path={REAL / file}",
        "output_dir=run",
        "trainer.args.per_device_train_batch_size=8",  # abstracts of a thousand tokens
        *SHORT,
    )
    assert "{} train, {} validation, {} test".format(*counts) in done.stdout
    logged = trained(tmp_path / "run")[-1]
    assert sum(key.startswith("rewards/") and key.endswith("/mean") for key in logged) == 8


def test_a_run_without_held_out_answers_is_recorded_whole(medgrpo):
    done = medgrpo("evaluation=none", "tracking=local", "rewards=[formats]",
                   "trainer.args.max_steps=1", "trainer.validation_rows=0")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "not all of the run was recorded" not in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
