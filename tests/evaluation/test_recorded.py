"""Responses of another system, scored without asking a model."""

import json

import pandas as pd
import pytest
from conftest import ROOT

from medgrpo.errors import UserError
from medgrpo.evaluation.engines.base import Decoding
from medgrpo.evaluation.engines.recorded import RecordedEngine

SAMPLE = ROOT / "medgrpo" / "dataset" / "samples" / "healthbench" / "test.jsonl"
ALONE = ["trainer=none", "tracking=local", "engine=recorded"]


def written(path, lines):
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def test_their_rubric_score_is_that_of_their_words(medgrpo, tmp_path):
    """Good answers earn all points, without an answer of the embedded model's."""
    rows = [json.loads(line) for line in SAMPLE.read_text().splitlines()]
    responses = [
        {
            "prompt_id": row["prompt_id"],
            "completion": row["ideal_completions_data"]["ideal_completion"] if n % 2 else "No.",
        }
        for n, row in enumerate(rows)
    ]
    written(tmp_path / "theirs.jsonl", responses)
    done = medgrpo(
        *ALONE, "dataset=healthbench", "engine.path=theirs.jsonl", "output_dir=run",
        "evaluation.limit=40", "prompt=plain", "dataset.max_prompt_tokens=20",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Answered by the responses in theirs.jsonl, not by the model" in done.stdout
    assert "not by the model of this run" in (tmp_path / "run" / "report.html").read_text()
    assert "rows over 20 tokens, kept" not in done.stdout + done.stderr  # there is no prompt to cut
    after = json.loads((tmp_path / "run" / "evaluation.json").read_text())["after"]
    assert after["rubric_score"] == pytest.approx(0.5, abs=1e-9)
    assert after["prompts_trimmed"] == 0
    kept = pd.read_parquet(tmp_path / "run" / "predictions.parquet")["response"]
    assert list(kept) == [one["completion"] for one in responses[:40]]


def test_the_predictions_of_a_run_are_such_a_file(medgrpo, tmp_path):
    first = medgrpo("dataset=pubmedqa", "trainer=none", "tracking=local", "evaluation.limit=12",
                    "output_dir=first")  # fmt: skip
    assert first.returncode == 0, first.stderr
    again = medgrpo("dataset=pubmedqa", *ALONE, "engine.path=first/predictions.parquet",
                    "evaluation.limit=12", "output_dir=again")  # fmt: skip
    assert again.returncode == 0, again.stderr
    found = [
        json.loads((tmp_path / name / "evaluation.json").read_text())["after"]
        for name in ("first", "again")
    ]
    for metric in ("accuracy", "accuracy_interval", "mean_tokens", "format_compliance"):
        assert found[0][metric] == found[1][metric]


ROWS = [{"id": "a"}, {"id": "b"}]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([{"id": "a", "response": "x"}], r"no response to 1 of 2 rows \(b"),
        ([{"id": "a", "response": "x"}] * 2, "record 2: a has a response already"),
        ([{"id": "a"}], "record 1: response: Field required"),
        ([{"id": "a", "response": None}], "record 1: response: Input should be a valid string"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(tmp_path, lines, message):
    engine = RecordedEngine(path=str(written(tmp_path / "r.jsonl", lines))).for_rows(ROWS)
    with pytest.raises(UserError, match=message):
        engine.generate(None, [[], []], Decoding(batch_size=1, max_new_tokens=1))


def test_there_is_no_file_and_no_second_response(tmp_path):
    engine = RecordedEngine(path=str(tmp_path / "none.jsonl")).for_rows(ROWS)
    with pytest.raises(UserError, match=r"engine.path: .*none.jsonl is no file"):
        engine.generate(None, [[], []], Decoding(batch_size=1, max_new_tokens=1))
    with pytest.raises(UserError, match=r"evaluation\.samples"):
        engine.generate(None, [[]], Decoding(batch_size=1, max_new_tokens=1, temperature=0.7))


def test_it_is_not_for_training(medgrpo):
    done = medgrpo(*ALONE, "engine.path=x.jsonl", "evaluation.shuffles=1")
    assert "evaluation.shuffles (command line): recorded responses are to the given" in done.stderr
    done = medgrpo(*ALONE, "engine.path=x.jsonl", "evaluation.option_logprobs=true")
    assert "evaluation.option_logprobs (command line): this engine gives none" in done.stderr
    done = medgrpo("engine=recorded", "engine.path=x.jsonl")
    assert done.returncode == 2
    assert "add trainer=none" in done.stderr
