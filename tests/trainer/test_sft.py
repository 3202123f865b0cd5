"""Supervised fine-tuning: what it teaches, what its curves say, which checkpoint remains."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import run_medgrpo, same_results, start, wait_for
from datasets import Dataset

from medgrpo.answers.parse import complies, predict
from medgrpo.dataset.example import Example
from medgrpo.dataset.prompt import Prompt
from medgrpo.errors import UserError
from medgrpo.model.base import Policy
from medgrpo.tracking.metrics_log import read_log
from medgrpo.trainer.sft import SFT, as_completions, completion, refuse_other_opening

Command = Callable[..., subprocess.CompletedProcess[str]]

CHOICE = Example(
    id="1", question="Which?", context=[], options=["Ethanol", "Glycol"], answer="Glycol",
    label="B", explanation="Crystals point to it. Therefore, the answer is (B) Glycol.",
)  # fmt: skip
VERDICT = Example(
    {**CHOICE, "options": [], "answer": "yes", "label": "yes", "explanation": "It does."}
)
LIST = Example({**VERDICT, "answer": "BRCA1; BRCA2", "label": None})
DOUBTFUL = Example({**VERDICT, "explanation": "So far, the answer is unclear."})
BARE = Example({**CHOICE, "explanation": ""})


@pytest.mark.parametrize(
    "row",
    [CHOICE, VERDICT, LIST, BARE, DOUBTFUL],
    ids=["choice", "yes", "list", "bare", "doubtful"],
)
@pytest.mark.parametrize("style", ["choice_cot", "reasoning"])
def test_what_is_taught_is_a_compliant_right_answer(row: Example, style: str) -> None:
    taught = completion(row, style)
    if taught is None:
        assert (row["explanation"], style) == ("", "reasoning")
        return
    assert complies(taught, row, style)
    assert row["explanation"] in taught
    if row["label"]:
        assert predict(taught, row, style) == row["label"]
    else:
        assert row["answer"] in (predict(taught, row, style) or "")


def test_an_explanation_that_ends_in_the_answer_is_taught_as_it_is() -> None:
    assert completion(CHOICE, "choice_cot") == CHOICE["explanation"]
    assert completion(BARE, "choice_cot") == "Therefore, the answer is (B) Glycol."


def test_rows_without_an_explanation_teach_no_reasoning(caplog: pytest.LogCaptureFixture) -> None:
    prompt = Prompt(system="", user="{{ question }}", answer_with="", style="reasoning")
    rows = [{**row, "prompt": prompt.messages(row)} for row in (CHOICE, BARE)]
    with caplog.at_level("WARNING"):
        pairs = as_completions(Dataset.from_list(rows), prompt)
    assert "1 of 2 rows left out" in caplog.text
    assert pairs["completion"][0][0]["role"] == "assistant"
    assert pairs.column_names == ["prompt", "completion"]
    with pytest.raises(UserError, match="prompt=choice_cot"):
        as_completions(Dataset.from_list(rows[1:]), prompt)


class Opening:
    """A tokenizer whose chat template ends in `opened`."""

    def __init__(self, opened: str) -> None:
        self.opened = opened

    def apply_chat_template(
        self, messages: list[dict[str, str]], add_generation_prompt: bool = False, **_: object
    ) -> str:
        text = "".join(f"<{m['role']}>{m['content']}" for m in messages)
        return text + f"<assistant>{self.opened}" * add_generation_prompt


@pytest.mark.parametrize(
    ("style", "opened", "refused"),
    [
        ("reasoning", "", False),
        ("reasoning", "<reasoning>\n", False),
        ("reasoning", "<think>\n", True),
        ("choice_cot", "", False),
        ("choice_cot", "<reasoning>\n", True),
        ("choice_cot", "<think>\n", True),
    ],
)
def test_a_template_that_opens_otherwise_is_not_trained_on(
    style: str, opened: str, refused: bool
) -> None:
    prompt, tokenizer = Prompt("", "{{ question }}", "x", style), Opening(opened)
    if not refused:
        refuse_other_opening(prompt, tokenizer)
        return
    with pytest.raises(UserError, match=f"do not begin with '{opened.strip()}'"):
        refuse_other_opening(prompt, tokenizer)


def test_template_arguments_reach_each_row() -> None:
    prompt = Prompt(
        system="", user="{{ question }}", answer_with="", style="choice_cot",
        chat_template_kwargs={"enable_thinking": False},
    )  # fmt: skip
    rows = Dataset.from_list([{**CHOICE, "prompt": prompt.messages(CHOICE)}])
    assert as_completions(rows, prompt)["chat_template_kwargs"][0] == {"enable_thinking": False}


def losses(run: Path) -> dict[float, float]:
    rows = read_log(run / "metrics.jsonl")
    return {row["epoch"]: row["eval_loss"] for row in rows if "eval_loss" in row}


def test_it_over_fits_and_the_minimum_remains(sft_run: Path) -> None:
    validation = losses(sft_run)
    assert list(validation) == list(range(9))
    best = json.loads((sft_run / "best.json").read_text())
    assert best["value"] == min(validation.values())
    assert validation[best["epoch"]] == best["value"]
    assert 0 < best["epoch"] < 8
    assert validation[8] > best["value"]
    assert "best checkpoint: step" in (sft_run / "stdout.txt").read_text()


CHOSEN_LOSS = """
import json, sys, torch
from datasets import Dataset
from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer
torch.set_num_threads(1)
model = AutoPeftModelForCausalLM.from_pretrained(sys.argv[1]).eval()
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
total = count = 0
for line in open(sys.argv[2]):
    turns = json.loads(line)
    start = tokenizer.apply_chat_template(turns[:-1], tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template(turns, tokenize=False)
    assert whole.startswith(start)
    n = len(tokenizer(start, add_special_tokens=False)["input_ids"])
    ids = torch.tensor([tokenizer(whole, add_special_tokens=False)["input_ids"]])
    with torch.no_grad():
        logprobs = model(ids).logits[0, n - 1 : -1].log_softmax(-1)
    total -= logprobs.gather(1, ids[0, n:, None]).sum().item()
    count += ids.shape[1] - n
print(total / count)
"""


@pytest.mark.slow
def test_the_adapter_on_disk_has_the_chosen_loss(sft_run: Path, tmp_path: Path) -> None:
    """In a process of its own, with plain peft, from the completions' tokens alone."""
    import yaml

    config = yaml.safe_load((sft_run / ".hydra" / "config.yaml").read_text())
    from medgrpo.dataset.medqa_cot import MedQACoT

    data = MedQACoT(
        source="sample", answer_with="", primary_metric="accuracy", max_prompt_tokens=1024
    ).load()["validation"]
    fields = {key: config["prompt"][key] for key in ("system", "user", "style")}
    prompt = Prompt(**fields, answer_with=config["dataset"]["answer_with"])
    lines = [
        json.dumps([*prompt.messages(row), {"role": "assistant", "content": row["explanation"]}])
        for row in data
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    command = [sys.executable, "-c", CHOSEN_LOSS, str(sft_run / "adapter"), tmp_path / "rows.jsonl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    best = json.loads((sft_run / "best.json").read_text())
    # the trainer averages over batches of rows, here over tokens
    assert float(done.stdout) == pytest.approx(best["value"], rel=0.02)


@pytest.mark.slow
def test_evaluation_only_finds_the_same_again(
    sft_run: Path, medgrpo: Command, tmp_path: Path
) -> None:
    """`trainer=none model.adapter=RUN`: the base before, the adapter after."""
    done = medgrpo(
        "trainer=none", f"model.adapter={sft_run}", "dataset=medqa_cot",
        "prompt=choice_cot", "evaluation.limit=30", "tracking.mode=disabled", "output_dir=again",
        OMP_NUM_THREADS="1",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    first, again = (
        json.loads((run / "evaluation.json").read_text()) for run in (sft_run, tmp_path / "again")
    )
    for stage in ("before", "after"):
        assert again[stage]["accuracy"] == first[stage]["accuracy"]
        assert again[stage]["mean_tokens"] == first[stage]["mean_tokens"]
    assert again["paired"] == first["paired"]


@pytest.mark.slow
def test_evaluation_of_a_model_without_adapter_is_done_once(
    medgrpo: Command, tmp_path: Path
) -> None:
    done = medgrpo("trainer=none", "evaluation.limit=4", "tracking.mode=disabled", "output_dir=run")
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert "before" not in figures
    assert figures["paired"] == []
    table = done.stdout[done.stdout.index("Held-out rows: 4") :]
    assert "difference" not in table
    assert "p =" not in table
    report = (tmp_path / "run" / "report.html").read_text()
    assert "→" not in report[: report.index("What was run")]
    assert not (tmp_path / "run" / "adapter").exists()


def test_the_experiment_is_the_reference(medgrpo: Command, tmp_path: Path) -> None:
    import yaml

    done = medgrpo("--cfg", "job", "--resolve", "experiment=medqa_cot_sft", "output_dir=x")
    cfg = yaml.safe_load(done.stdout)
    args, lora = cfg["trainer"]["args"], cfg["lora"]
    assert cfg["model"]["name_or_path"] == "google/gemma-3-4b-it"
    assert (cfg["model"]["load_in_4bit"], cfg["seed"], cfg["prompt"]["style"]) == (
        True,
        42,
        "choice_cot",
    )
    assert (lora["r"], lora["alpha"], lora["dropout"]) == (32, 16, 0.1)
    assert lora["target_modules"] == "all-linear"
    assert (args["learning_rate"], args["lr_scheduler_type"], args["warmup_steps"]) == (
        2e-4,
        "cosine",
        0.1,
    )
    assert args["per_device_train_batch_size"] * args["gradient_accumulation_steps"] == 64
    assert (args["num_train_epochs"], args["max_length"]) == (10, 8192)
    assert (args["eval_strategy"], args["save_strategy"]) == ("epoch", "epoch")
    assert args["load_best_model_at_end"] is True
    assert cfg["evaluation"]["max_new_tokens"] == 8192


@pytest.mark.slow
def test_sft_then_grpo_in_one_command(medgrpo: Command, tmp_path: Path) -> None:
    done = medgrpo("experiment=sft_then_grpo", "output_dir=run", "tracking.mode=disabled")
    assert done.returncode == 0, done.stdout + done.stderr
    run = tmp_path / "run"
    figures = json.loads((run / "evaluation.json").read_text())
    assert figures["after_sft"]["accuracy"] > figures["before"]["accuracy"] + 0.2
    pairs = {(pair["from"], pair["to"]): pair for pair in figures["paired"]}
    assert set(pairs) == {("before", "after_sft"), ("before", "after"), ("after_sft", "after")}
    assert pairs["before", "after_sft"]["mcnemar_p"] < 1e-6
    assert "eval_loss" in (run / "sft" / "metrics.jsonl").read_text()
    assert "rewards/reasoning_tags/mean" in (run / "metrics.jsonl").read_text()
    assert (run / "sft" / "plots" / "bias_variance.png").exists()
    assert (run / "plots" / "bias_variance.png").exists()


@pytest.mark.slow
def test_the_default_over_fits_on_purpose(medgrpo: Command, tmp_path: Path) -> None:
    done = medgrpo("trainer=sft", "dataset=medqa_cot", "output_dir=run", "tracking.mode=disabled")
    assert done.returncode == 0, done.stdout + done.stderr
    validation = losses(tmp_path / "run")
    best = json.loads((tmp_path / "run" / "best.json").read_text())
    assert best["value"] == min(validation.values())
    assert 0 < best["epoch"] < 10
    assert validation[10] > 1.02 * best["value"]
    assert "over-fit" in (tmp_path / "run" / "report.html").read_text().lower()


@pytest.mark.slow
@pytest.mark.parametrize("cut", ["sft/checkpoints", "checkpoints"])
def test_two_stages_killed_in_either_and_resumed(tmp_path: Path, cut: str) -> None:
    steps = ["first_trainer.args.num_train_epochs=3", "trainer.args.max_steps=6"]
    short = ["dataset.limit=64", "evaluation.limit=8", "trainer.args.save_steps=2"]
    command = ["experiment=sft_then_grpo", "tracking.mode=disabled", *steps, *short]
    process = start(tmp_path, *command, "output_dir=cut")
    states = tmp_path / "cut" / cut
    wait_for(lambda: any(states.glob("checkpoint-*/trainer_state.json")), process)
    process.kill()
    process.wait()
    for done in (
        run_medgrpo(tmp_path, "resume=cut"),
        run_medgrpo(tmp_path, *command, "output_dir=whole"),
    ):
        assert done.returncode == 0, done.stdout + done.stderr
    one, other = tmp_path / "cut", tmp_path / "whole"
    assert same_results(one, other)
    for name in ("sft/metrics.jsonl", "sft/best.json"):
        assert (one / name).read_text() == (other / name).read_text()


def test_without_validation_rows_there_is_nothing_to_measure(monkeypatch):
    """All of them were test rows, perhaps."""
    monkeypatch.setattr("medgrpo.trainer.sft.refuse_other_opening", lambda *_: None)
    data = {"train": [{}], "validation": []}
    training = SimpleNamespace(policy=Policy(None, None), data=data, prompt=None, folder=None)
    with pytest.raises(UserError, match="SFT is measured on validation rows, and there are none"):
        SFT(args={}).train(training)
