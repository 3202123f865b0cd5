"""Run folders as finished runs leave them, without training: for tests of what reads them."""

import json
import random
from pathlib import Path

import yaml

from medgrpo.metrics.intervals import wilson
from medgrpo.rundir import RunFolder

HOSTILE = "</script><img src=x onerror=\"document.title='owned'\"> & <b>bold</b>"


def make_run(
    path: Path,
    *,
    accuracy: float = 0.5,
    dataset: str = "medqa",
    rank: int = 8,
    weight: float = 1.0,
    seed: int = 1,
    steps: int = 20,
    rows: int = 40,
    number: int = 0,
    validation: float | None = None,
    **summary: object,
) -> RunFolder:
    """A finished run (a sweep's job `number`) with the first `accuracy` of its rows right.

    `validation`: its accuracy on 30 rows of validation, if it answered them.
    """
    folder = RunFolder(path)
    _write_hydra(path, number, dataset=dataset, rank=rank, weight=weight, seed=seed)
    correct = round(accuracy * rows)
    noise = random.Random(f"{path.name}{seed}")
    folder.metrics.write_text("".join(map(_metrics_line, range(1, steps + 1), [noise] * steps)))
    folder.write_parquet(
        folder.predictions,
        [
            _prediction(stage, row, row < correct)
            for stage in ("before", "after")
            for row in range(rows)
        ],
    )
    figures = {
        "primary": accuracy,
        "accuracy": accuracy,
        "accuracy_interval": wilson(correct, rows),
        "n": rows,
        "unparsed_rate": 0.05,
    }
    evaluation = {"before": {"primary": 0.1}, "after": figures}
    if validation is not None:
        chosen_by = {"split": "validation", "n": 30, "n_choosing": 10, "primary": validation}
        evaluation["selection"] = chosen_by
    folder.write_json(folder.evaluation, evaluation)
    told = {"status": "finished", "score": accuracy, "primary_metric": "accuracy"}
    folder.update_summary(**{**told, "wall_seconds": 75.0, **summary})
    return folder


def make_sweep(path: Path, **kwargs: object) -> Path:
    """Two ranks x two weights x two seeds on medqa, and two ranks on pubmedqa."""
    for rank in (8, 16):
        make_run(path / f"pub_{rank}", dataset="pubmedqa", rank=rank, accuracy=0.3 + rank / 100)
        for weight in (1.0, 2.0):
            for seed in (1, 2):
                accuracy = 0.2 + rank / 40 + (weight == 2.0) / 10 + seed / 20
                name = f"{rank}_{weight}_{seed}"
                make_run(
                    path / name, accuracy=accuracy, rank=rank, weight=weight, seed=seed, **kwargs
                )
    return path


def make_settings(path: Path, accuracies: dict[int, list[float]], **kwargs: object) -> Path:
    """A sweep over ranks of LoRA, in this order, with an accuracy for each of seeds 1, 2, ..."""
    for rank, of_seeds in accuracies.items():
        for seed, accuracy in enumerate(of_seeds, start=1):
            number = len(list(path.glob("*")))
            make_run(
                path / f"{rank}_{seed}",
                accuracy=accuracy, rank=rank, seed=seed, number=number, **kwargs,
            )  # fmt: skip
    return path


def _write_hydra(
    path: Path, number: int, *, dataset: str, rank: int, weight: float, seed: int
) -> None:
    typed = {"dataset": dataset, "lora.r": rank, "rewards.tags.weight": weight, "seed": seed}
    config = {
        "dataset": {
            "_target_": f"medgrpo.dataset.{dataset}",
            "source": "sample",
            "primary_metric": "accuracy",
            "answer_with": f"{dataset} words",
        },
        "prompt": {"answer_with": "${dataset.answer_with}"},
        "lora": {"r": rank},
        "rewards": {"tags": {"weight": weight}},
        "evaluation": {"split": "test"},
        "seed": seed,
        "output_dir": "${hydra:runtime.output_dir}",
    }
    choices = {"dataset": dataset, "model": "tiny"}
    hydra = {"hydra": {"runtime": {"choices": choices}, "job": {"num": number}}}
    overrides = [f"{key}={value}" for key, value in typed.items()] + ["++trainer.args.max_steps=20"]
    (path / ".hydra").mkdir(parents=True)
    for name, content in {"overrides": overrides, "config": config, "hydra": hydra}.items():
        (path / ".hydra" / f"{name}.yaml").write_text(yaml.safe_dump(content))


def _metrics_line(step: int, noise: random.Random) -> str:
    row = {"step": step, "reward": step / 10, "loss": 0.1, "rewards/tags/mean": noise.random()}
    return json.dumps(row) + "\n"


def _prediction(stage: str, row: int, correct: bool) -> dict[str, object]:
    correct = correct and stage == "after"
    return {
        "stage": stage,
        "id": str(row),
        "question": f"Question {row}? {HOSTILE}",
        "options": ["aspirin", "insulin"],
        "answer": "insulin",
        "label": "B",
        "response": f"{HOSTILE} so B" if correct else "no idea",
        "predicted": "B" if correct else None,
        "correct": correct,
        "list_f1": float(correct),
        "token_f1": float(correct),
    }
