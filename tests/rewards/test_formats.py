"""The four format rewards: what each sees, and that no two see the same."""

from __future__ import annotations

from itertools import combinations

import pytest

from medgrpo.dataset.example import Example
from medgrpo.rewards.base import RuleReward
from medgrpo.rewards.formats import (
    MultilineComplianceReward,
    ReasoningTagsReward,
    ResponseFormatReward,
    StructureValidationReward,
)
from medgrpo.rewards.verifiable import ChoiceAccuracyReward

CHOICE = Example(
    id="1",
    question="Which poison?",
    context=[],
    options=["Methanol", "Ethylene glycol"],
    answer="Ethylene glycol",
    label="B",
    explanation="",
)
VERDICT = Example({**CHOICE, "options": [], "answer": "yes", "label": "yes"})
LIST = Example({**CHOICE, "options": [], "answer": "BRCA1; BRCA2", "label": None})
THOUGHT = (
    "The urine holds oxalate crystals.\nMethanol does not form these.\nAntifreeze holds glycol."
)
IDEAL = f"<reasoning>\n{THOUGHT}\n</reasoning>\n<answer>\nB) Ethylene glycol\n</answer>"
NOTHING = "<reasoning>\nx x x\ny y y\nz z z\n</reasoning>\n<answer>\nA) Methanol\n</answer>"

# tags, multiline, structure, format
EXAMPLES = {
    "as prompted": (IDEAL, (1, 1, 1, 1)),
    "wrong answer, as prompted": (IDEAL.replace("B) Ethylene glycol", "A) Methanol"), (1, 1, 1, 1)),
    "nothing said, wrong answer": (NOTHING, (1, 1, 1, 1)),
    "on one line": (
        "<reasoning>The urine holds oxalate crystals.</reasoning><answer>B</answer>",
        (1, 0.25, 1, 0.6),
    ),
    "tags with nothing in them": ("<reasoning></reasoning><answer></answer>", (1, 0.08, 0.25, 0.6)),
    "junk around the blocks": (f"Sure!\n{IDEAL}\nHope it helps, ask me more.", (1, 1, 0.75, 1)),
    "answer inside reasoning": (
        f"<reasoning>\n{THOUGHT}\n<answer>\nB) Ethylene glycol\n</answer>\n</reasoning>",
        (0.75, 1, 0.75, 1),
    ),
    "reasoning left out": ("<answer>\nB) Ethylene glycol\n</answer>", (0.67, 0.42, 0.5, 0.9)),
    "answer that is none": (IDEAL.replace("B) Ethylene glycol", "It depends."), (1, 1, 0.75, 0.8)),
    "upper-case tags, bold answer": (
        f"<REASONING>\n{THOUGHT}\n</REASONING>\n<ANSWER>\n**B**\n</ANSWER>",
        (1, 1, 0.75, 0.4),
    ),
    "no tags, many lines": (f"{THOUGHT}\nSo it is glycol.\nMy choice is B.\nB", (0, 1, 0, 0.6)),
    "no tags, one line": ("B) Ethylene glycol", (0, 0.25, 0, 0.6)),
    "blank": ("  \n", (0, 0, 0, 0)),
}


def rewards() -> list[RuleReward]:
    return [
        ReasoningTagsReward(),
        MultilineComplianceReward(),
        StructureValidationReward(),
        ResponseFormatReward(),
    ]


@pytest.mark.parametrize("case", EXAMPLES)
def test_table_of_examples(case: str) -> None:
    response, expected = EXAMPLES[case]
    scores = [reward.score(response, CHOICE) for reward in rewards()]
    assert scores == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize(("one", "other"), list(combinations(range(4), 2)))
def test_no_two_rank_responses_alike(one: int, other: int) -> None:
    """For each pair there are two responses that they order in opposite ways."""
    table = [
        [reward.score(response, CHOICE) for reward in rewards()]
        for response, _ in EXAMPLES.values()
    ]
    assert any((a[one] - b[one]) * (a[other] - b[other]) < 0 for a, b in combinations(table, 2))


def test_credit_comes_in_parts() -> None:
    """From nothing to the ideal, token by token, each reward takes several steps upwards."""
    words = IDEAL.split(" ")
    prefixes = [" ".join(words[:n]) for n in range(len(words) + 1)]
    for reward in rewards():
        scores = [reward.score(prefix, CHOICE) for prefix in prefixes]
        assert len(set(scores)) >= 4, reward.__name__
        assert scores[-1] == 1.0, reward.__name__


def test_repeating_does_not_pay() -> None:
    assert ReasoningTagsReward().score(IDEAL * 5, CHOICE) < 0.5
    assert MultilineComplianceReward().score("We do not know.\n" * 50, CHOICE) < 0.3


def test_answers_of_each_kind_of_question() -> None:
    structure, form = StructureValidationReward(), ResponseFormatReward()
    for row, good, loose in (
        (CHOICE, "A) methanol", "A"),
        (VERDICT, "maybe", "Maybe, if one trusts it"),
        (LIST, "BRCA1; TP53", "- BRCA1\n- TP53"),
    ):
        response = IDEAL.replace("B) Ethylene glycol", "{}")
        assert structure.score(response.format(good), row) == 1
        assert structure.score(response.format(loose), row) == 1
        assert form.score(response.format(good), row) == 1
        assert form.score(response.format(loose), row) == pytest.approx(0.8)


def test_each_convention_costs_its_share() -> None:
    score = ResponseFormatReward().score
    for spoilt in (
        IDEAL.replace("Methanol does", "## Methanol does\n## It does"),
        IDEAL.replace("crystals.\n", "crystals.  \n"),
        IDEAL.replace("crystals.\n", "crystals.\n\n\n"),
        f"{IDEAL}\n",
        IDEAL.replace("<answer>\n", "<answer>"),
    ):
        assert 0.75 <= score(spoilt, CHOICE) < 1, spoilt
    listed = IDEAL.replace(THOUGHT, "- One thing.\n- Other thing.")
    assert score(listed, CHOICE) == 1
    assert score(listed.replace("- Other", "2. Other"), CHOICE) == pytest.approx(0.9)


def test_limits_are_the_users() -> None:
    assert MultilineComplianceReward(min_lines=1, min_steps=1).score("It is glycol.", CHOICE) == 1
    assert StructureValidationReward(min_reasoning_words=100).score(IDEAL, CHOICE) < 1
    assert StructureValidationReward(max_answer_words=2).score(IDEAL, CHOICE) == 0.75


def test_called_as_trl_calls_them() -> None:
    columns = {key: [value, value] for key, value in CHOICE.items()}
    completions = [
        [{"role": "assistant", "content": IDEAL}],
        [{"role": "assistant", "content": ""}],
    ]
    for reward in rewards():
        assert reward(completions=completions, **columns) == [1.0, 0.0]


def test_another_script_is_counted_as_it_is_written() -> None:
    row = Example({**CHOICE, "options": ["维生素B1", "维生素B12"], "answer": "维生素B12"})
    thought = "患者有巨幼细胞性贫血。\n振动觉减退提示后索受累。\n缺乏的是维生素B12。"
    ideal = f"<reasoning>\n{thought}\n</reasoning>\n<answer>\nB) 维生素B12\n</answer>"
    assert [reward.score(ideal, row) for reward in rewards()] == [1, 1, 1, 1]
    full_width = ideal.replace("B) 维生素B12", "Ｂ）维生素Ｂ１２")
    assert StructureValidationReward().score(full_width, row) == 1
    assert MultilineComplianceReward(min_words=20).score(ideal, row) < 1


def test_form_pays_for_nothing_but_form() -> None:
    assert [reward.score(NOTHING, CHOICE) for reward in rewards()] == [1, 1, 1, 1]
    assert ChoiceAccuracyReward().score(NOTHING, CHOICE) == 0
