"""Log-probabilities of options, shuffles and shots: by the real engine, and by the command."""

import json

import pyarrow.parquet as pq
import pytest
import torch

from medgrpo.dataset.prompt import Prompt, worked_answer
from medgrpo.errors import UserError
from medgrpo.evaluation.engines.base import Decoding
from medgrpo.evaluation.engines.openai_engine import OpenAIEngine
from medgrpo.evaluation.engines.transformers_engine import TransformersEngine
from medgrpo.model.base import TINY, Policy
from medgrpo.model.huggingface import HuggingFaceModel


@pytest.fixture(scope="module")
def policy() -> Policy:
    return HuggingFaceModel(name_or_path=str(TINY), device="cpu").load(None)


def alone(policy: Policy, text: str, label: str) -> float:
    """The label's tokens after the text, one sequence at a time, without padding."""
    model, tokenizer = policy
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    said = tokenizer(label, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        logs = model(torch.tensor([ids + said])).logits[0].log_softmax(-1)
    return sum(float(logs[len(ids) - 1 + n, token]) for n, token in enumerate(said))


@pytest.mark.parametrize("batch_size", [1, 5])
def test_a_label_is_as_likely_as_it_is_alone(policy, batch_size):
    """Also one of several tokens, and whatever longer prompts it is padded beside."""
    questions = [
        "What?",
        "For a 30-year-old man on enalapril, which drug class is this?",
        "Why is it?",
    ]
    prompts = [[{"role": "user", "content": text}] for text in questions]
    labels = [["A", "B"], ["yes", "no", "maybe"], ["zyx, or so", "B"]]
    decoding = Decoding(batch_size=batch_size, max_new_tokens=1)
    found = TransformersEngine().option_logprobs(policy, prompts, labels, decoding, "<answer>\n")
    for prompt, some, logs in zip(prompts, labels, found, strict=True):
        text = policy.tokenizer.apply_chat_template(
            prompt, tokenize=False, add_generation_prompt=True
        )
        expected = [alone(policy, f"{text}<answer>\n", label) for label in some]
        assert logs == pytest.approx(expected, abs=1e-4)
    assert len(policy.tokenizer("zyx, or so")["input_ids"]) > 1


def test_an_engine_without_them_says_so(policy):
    engine = OpenAIEngine(base_url="http://x", served_model="x")
    with pytest.raises(UserError, match=r"evaluation\.option_logprobs: this engine gives none"):
        engine.option_logprobs(policy, [], [], Decoding(batch_size=1, max_new_tokens=1), "")


ROBUST = [
    "trainer=none", "tracking=local", "evaluation.limit=12", "evaluation.answer_cache=null",
    "rewards=[formats]",
]  # fmt: skip
ASKED = [
    "evaluation.shuffles=3", "evaluation.option_logprobs=true", "evaluation.samples=4",
    "metrics=[standard,sampling,shuffled,calibration]",
]  # fmt: skip


def test_what_was_asked_for_is_in_the_tables_and_nothing_else(medgrpo, tmp_path):
    plain = medgrpo(*ROBUST, "output_dir=plain")
    robust = medgrpo(*ROBUST, *ASKED, "output_dir=robust")
    assert (plain.returncode, robust.returncode) == (0, 0), plain.stderr + robust.stderr
    for label in ("pass@4", "accuracy, shuffled", "same in all orders", "ECE", "Brier score"):
        assert label in robust.stdout
        assert label not in plain.stdout
        assert label in (tmp_path / "robust" / "report.html").read_text()
        assert label not in (tmp_path / "plain" / "report.html").read_text()
    page = (tmp_path / "robust" / "report.html").read_text()
    assert "Reliability" in page
    assert "surest of: " in page
    columns, more = (
        set(pq.read_schema(tmp_path / name / "predictions.parquet").names)
        for name in ("plain", "robust")
    )
    assert {"orders", "shuffled", "option_logprobs"} <= more - columns
    rows = pq.read_table(tmp_path / "robust" / "predictions.parquet").to_pylist()
    assert {len(row["shuffled"]) for row in rows} == {3}
    found, without = (
        json.loads((tmp_path / name / "evaluation.json").read_text())["after"]
        for name in ("robust", "plain")
    )
    assert found["accuracy"] == without["accuracy"]  # the answers themselves are the same
    assert set(found["accuracy_shuffled_details"]["picked_by_place"]) == set("ABCD")


@pytest.mark.parametrize(
    ("group", "switch"),
    [
        ("sampling", "samples=4"),
        ("shuffled", "shuffles=4"),
        ("calibration", "option_logprobs=true"),
    ],
)
def test_a_metric_of_answers_that_nobody_asks_for_is_refused(medgrpo, group, switch):
    """It would be nowhere, without a word."""
    done = medgrpo("trainer=none", f"metrics=[standard,{group}]", "output_dir=x")
    assert done.returncode == 2
    assert f"is of answers that nobody asks for: add evaluation.{switch}" in done.stderr


def test_shots_stand_before_the_question():
    """Answered as the prompt asks for, the same for the same seed; none by default."""
    rows = [
        {"id": str(n), "question": f"Which, {n}?", "context": [], "options": ["x", "y"],
         "answer": "y", "label": "B", "explanation": "Because."}
        for n in range(9)
    ]  # fmt: skip
    words = {"system": "Be brief.", "user": "{{ question }}", "answer_with": "a letter"}

    def shown(seed: int, style: str = "reasoning") -> list[dict[str, str]]:
        prompt = Prompt(**words, style=style, shots=2, shots_seed=seed)
        prompt.show(rows)
        return prompt.messages(rows[0])

    messages = shown(0)
    assert [one["role"] for one in messages] == ["system", *["user", "assistant"] * 2, "user"]
    assert (
        messages[2]["content"] == "<reasoning>\nBecause.\n</reasoning>\n<answer>\nB) y\n</answer>"
    )
    assert shown(0, "choice_cot")[2]["content"] == "Because.\nTherefore, the answer is (B) y."
    assert shown(0) == messages
    assert any(shown(seed) != messages for seed in range(1, 5))
    assert len(Prompt(**words).messages(rows[0])) == 2
    for shots in (9, 10):
        with pytest.raises(UserError, match=rf"prompt\.shots: {shots} of 9 training rows"):
            Prompt(**words, shots=shots).show(rows)


def test_a_shot_is_answered_as_sft_teaches_it(caplog):
    """All right options in brackets, an answer once, and a word where there is no reasoning."""
    row = {"id": "1", "question": "?", "context": [], "options": ["x", "y", "z"], "answer": "x; z",
           "label": "{A,C}", "explanation": ""}  # fmt: skip
    assert worked_answer(row, "choice_cot") == "Therefore, the answer is (A) x; (C) z."
    told = {**row, "label": "B", "answer": "y", "explanation": "So the answer is (B) y."}
    assert worked_answer(told, "choice_cot") == "So the answer is (B) y."
    for explained in (told, row):
        prompt = Prompt(system="", user="{{ question }}", answer_with="letters", shots=1)
        prompt.show([explained, explained])
    assert caplog.messages == [
        "prompt.shots: 1 of 1 rows have no explanation: shown without reasoning"
    ]


def test_a_row_that_is_a_shot_is_not_shown_its_own_answer():
    """It would be paid for copying; held-out rows may have the same ids, and see all shots."""
    rows = [
        {"id": str(n), "question": f"Which, {n}?", "context": [], "options": [],
         "answer": f"drug {n}", "label": None, "explanation": ""}
        for n in range(4)
    ]  # fmt: skip
    prompt = Prompt(system="", user="{{ question }}", answer_with="a drug", shots=2)
    prompt.show(rows)
    for row in rows:
        shown = " ".join(one["content"] for one in prompt.messages(row)[:-1])
        assert row["answer"] not in shown
        assert shown.count("<answer>") == 2
    held_out = [prompt.messages({**row, "question": "And which?"}) for row in rows]
    assert {messages[1]["content"] for messages in held_out} == {held_out[0][1]["content"]}
