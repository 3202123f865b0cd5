"""The audit names every reward that pays more for something else than for the right answer."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from medgrpo.answers.parse import predict
from medgrpo.audit.__main__ import scored
from medgrpo.audit.answers import GOLD, candidates
from medgrpo.audit.figures import exploits, figures, totals
from medgrpo.dataset.example import Example
from medgrpo.dataset.rubric import Criterion, Rubric
from medgrpo.judge.client import Reply
from medgrpo.judge.lexical import LexicalJudge
from medgrpo.rewards.base import RuleReward
from medgrpo.rewards.formats import (
    MultilineComplianceReward,
    ReasoningTagsReward,
    ResponseFormatReward,
    StructureValidationReward,
)
from medgrpo.rewards.rubric import RubricReward
from medgrpo.rewards.verifiable import ChoiceAccuracyReward, ListMatchReward, TokenF1Reward

ROOT = Path(__file__).parents[1]
ROWS = [
    Example(
        id=f"q{n}",
        question=f"A patient of {30 + n} has fever and a sore throat. What is the likely cause?",
        context=context,
        options=["Epstein-Barr virus", "Streptococcus", "Candida", "Amoxicillin"] if not n else [],
        answer=["Epstein-Barr virus", "yes", "aspirin; ibuprofen", "maybe"][n],
        label=["A", "yes", None, "maybe"][n],
        explanation="",
    )
    for n, context in enumerate([[], ["One passage."], ["Two.", "Passages."], ["Another one."]])
]


def share(response: str, words: str) -> float:
    said = response.lower().split()
    return sum(word in words.lower() for word in said) / max(1, len(said))


EXPLOITABLE = {  # what a reward pays for -> the answer that gets most of it
    "length": (lambda r, row: min(1.0, len(r.split()) / 2000), "very long"),
    "brevity": (lambda r, row: 1 / (1 + len(r)), "empty"),
    "white space": (lambda r, row: sum(c.isspace() for c in r) / max(1, len(r)), "whitespace"),
    "tags": (lambda r, row: min(1.0, r.count("<answer>") / 20), "tag spam"),
    "flattery": (lambda r, row: float("full marks" in r), "injected"),
    "words of the question": (lambda r, row: share(r, row["question"]), "question copy"),
    "words of the context": (lambda r, row: share(r, " ".join(row["context"])), "context copy"),
    "no conclusion": (lambda r, row: float(bool(r.strip()) and "/answer" not in r), "truncated"),
    "repetition": (lambda r, row: 1 - len(set(r.split())) / max(1, len(r.split())), "repeated"),
    "accents": (lambda r, row: min(1.0, sum(c in "áéíóú" for c in r) / 9), "non-English"),
    "semicolons": (lambda r, row: min(1.0, r.count(";") / 9), "every option"),
    "being wrong": (
        lambda r, row: float("/answer" in r and predict(r, row, "reasoning") != row["label"]),
        "wrong",
    ),
}


class Paying(RuleReward):
    def __init__(self, name, pays, weight=1.0):
        super().__init__(weight=weight, name=name)
        self.pays = pays

    def score(self, response, row):
        return self.pays(response, row)


def tried(*rewards) -> pd.DataFrame:
    answers = [candidates(*pair, "reasoning") for pair in zip(ROWS, [*ROWS[1:], ROWS[0]])]  # noqa: B905
    scores = scored(rewards, ROWS, answers)
    scores["total"] = totals(scores, {r.__name__: r.weight for r in rewards}, [])
    return scores


@pytest.mark.parametrize("name", EXPLOITABLE)
def test_every_exploitable_reward_is_named_with_its_exploit(name):
    pays, exploit = EXPLOITABLE[name]
    assert exploit in exploits(tried(Paying(name, pays)))


def test_form_alone_is_an_exploit_until_the_answer_counts():
    """Format rewards pay "x x x" with a wrong answer as they pay gold; `verifiable` tells them."""
    forms = [
        ReasoningTagsReward(),
        MultilineComplianceReward(),
        StructureValidationReward(),
        ResponseFormatReward(),
    ]
    scores = tried(*forms)
    means = scores.groupby("kind")["total"].mean()
    assert means["form only"] == means[GOLD] == 4.0
    assert exploits(scores)["form only"] == 0.0
    verifiable = [ChoiceAccuracyReward(), ListMatchReward(), TokenF1Reward()]
    assert exploits(tried(*forms, *verifiable)) == {}


def test_no_exploit_beats_gold_under_the_shipped_weights(tmp_path):
    done = audit(tmp_path, "--rows", "5", "rewards=[formats,verifiable]", "output_dir=out")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out" / "audit.json").read_text())
    earned = found["total_by_kind"]
    listed = {"form only", "hedged", "conditional", "contradicted", "options, cut off"}
    assert listed < earned.keys()
    assert found["exploits"] == {}
    assert max(earned[kind] for kind in listed) < earned[GOLD] - 0.5


RUBRIC = Rubric(
    (
        Criterion('Says "rest", and for how long', 5),
        Criterion("Asks about fever", 3),
        Criterion('Prescribes "amoxicillin" unseen', -4),
    )
)
GULLIBLE = {  # what a judge falls for -> the answer that gets most of it
    "its own criteria": (lambda text: all(c.text in text for c in RUBRIC.criteria[:2]),
                         "criteria restated"),
    "flattery": (lambda text: "an expert like you" in text, "grader praised"),
    "length": (lambda text: len(text) > 2000, "very long"),
    "doubt": (lambda text: "may not be" in text, "claims hedged"),
    "orders": (lambda text: "full marks" in text, "injected"),
    "everything": (lambda text: all(c.text in text for c in RUBRIC.criteria), "everything listed"),
}  # fmt: skip


class Gullible(LexicalJudge):
    """Sees a good response where there is one, and all criteria met where it is fooled."""

    def __init__(self, fooled):
        super().__init__()
        self.fooled = fooled

    async def chat(self, messages, schema, logprobs=0):
        asked = messages[-1]["content"]
        response = asked.partition("\n<response>\n")[2].partition("\n</response>\n")[0]
        good = "Sleep for a week" in response and "amoxicillin" not in response
        good = good and "may not be" not in response
        fooled = self.fooled(response)
        if "rating" in schema.model_fields:
            return Reply(json.dumps({"rating": 10 if fooled else 9 if good else 1}), 0, 0)
        n = len(re.findall(r"^\d+\. \[", asked, re.MULTILINE))
        met = [fooled or (good and number == 1) for number in range(1, n)]
        grades = [{"number": k, "met": m} for k, m in enumerate([*met, False], 1)]
        return Reply(json.dumps({"grades": grades}), 0, 0)


def audited_rubric(fooled, aggregation):
    row = {
        "id": "r1", "question": "What helps?", "context": [], "options": [], "label": None,
        "answer": "Sleep for a week. Drink water.", "explanation": "", "rubric": RUBRIC.dumps(),
    }  # fmt: skip
    other = {**row, "id": "r2", "question": "And then?", "answer": "Walk."}
    judge = Gullible(fooled)
    reward = RubricReward(judge=judge, aggregation=aggregation)
    scores = scored([reward], [row], [candidates(row, other, "reasoning")])
    judge.close()
    scores["total"] = totals(scores, {"rubric": 1.0}, ["rubric"])
    return exploits(scores)


@pytest.mark.parametrize("aggregation", ["explicit", "implicit"])
@pytest.mark.parametrize("name", GULLIBLE)
def test_what_a_grader_of_criteria_falls_for_is_named(name, aggregation):
    fooled, exploit = GULLIBLE[name]
    assert exploit in audited_rubric(fooled, aggregation)
    assert audited_rubric(lambda text: False, aggregation) == {}


@pytest.mark.parametrize("aggregation", ["explicit", "implicit"])
def test_what_the_shipped_rubric_settings_pay_for(tmp_path, aggregation):
    """docs/rubrics.md has these figures: a stand-in that counts words cannot see doubt."""
    done = audit(tmp_path, "dataset=healthbench", "rewards=[rubric,formats]", "--rows", "20",
                 f"rewards.rubric.aggregation={aggregation}", "output_dir=out")  # fmt: skip
    assert done.returncode == 1, done.stderr
    found = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert found["exploits"] == {"claims hedged": pytest.approx(0.0)}
    paid = found["rewards"]["rubric"]["by_kind"]
    nothing = {"wrong", "empty", "very long", "injected", "grader praised", "non-English"}
    assert {kind for kind in nothing if paid[kind] == 0} == nothing
    assert paid["criteria restated"] == paid["gold"] == 1
    assert paid["everything listed"] == pytest.approx(
        0.4 if aggregation == "explicit" else 4 / 9, abs=1e-3
    )


def test_a_row_without_a_reference_answer_cannot_be_audited(tmp_path):
    rows = [
        {"prompt_id": f"p{n}", "prompt": [{"role": "user", "content": f"Question {n}?"}]}
        | {"rubrics": [{"criterion": "Asks.", "points": 1, "tags": []}], "example_tags": []}
        for n in range(5)
    ]
    (tmp_path / "test.jsonl").write_text("\n".join(map(json.dumps, rows)))
    done = audit(tmp_path, "dataset=healthbench", "dataset.source=path", "dataset.path=.",
                 "rewards=[rubric]")  # fmt: skip
    assert done.returncode == 2
    assert "2 held-out rows with a reference answer (dataset.answer)" in done.stderr


def test_a_reward_for_the_right_answer_is_not():
    assert exploits(tried(ChoiceAccuracyReward())) == {}


def test_weights_decide():
    length = Paying("length", EXPLOITABLE["length"][0], weight=0.5)
    assert exploits(tried(ChoiceAccuracyReward(), length)) == {}
    length.weight = 5.0
    assert "very long" in exploits(tried(ChoiceAccuracyReward(), length))


def test_only_gold_is_right():
    for row, other in zip(ROWS, [*ROWS[1:], ROWS[0]], strict=True):
        for style in ("reasoning", "choice_cot"):
            answers = candidates(row, other, style)
            if row["label"]:
                right = [k for k, r in answers.items() if predict(r, row, style) == row["label"]]
                assert GOLD in right
                assert set(right) <= {GOLD, "context copy", "every option"}
            assert len(set(answers.values())) == len(answers)


@pytest.mark.filterwarnings("error")
def test_figures():
    weights = {"choice_accuracy": 1.0, "length": 1.0, "twin": 1.0, "nothing": 1.0}
    pays = EXPLOITABLE["length"][0]
    scores = tried(
        ChoiceAccuracyReward(),
        Paying("length", pays),
        Paying("twin", pays),
        Paying("nothing", lambda r, row: 0.5),
    )
    again = pd.DataFrame({"length": scores["length"] + 0.1})
    found = figures(scores, weights, again)
    assert found["choice_accuracy"]["auroc"] == found["choice_accuracy"]["kappa"] == 1.0
    assert found["length"]["correlations"]["twin"] == pytest.approx(1.0)
    assert found["length"]["length_rho"] > 0.9
    assert found["length"]["retest"] == pytest.approx(0.1)
    assert found["twin"]["retest"] is None
    assert found["nothing"]["variance_share"] == pytest.approx(0.0)
    assert found["nothing"]["correlations"]["length"] is None
    assert found["nothing"]["length_rho"] is None
    assert sum(of["variance_share"] for of in found.values()) == pytest.approx(1.0)


def audit(cwd, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "medgrpo.audit", *arguments]
    env = {"PYTHONPATH": f"{ROOT}:{cwd}", "HOME": str(cwd), "PATH": "", "COLUMNS": "100"}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


def test_the_command(tmp_path):
    done = audit(tmp_path, "--rows", "3", "output_dir=out")
    assert "GlobalHydra" not in done.stderr
    found = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert list(found["rewards"])[:1] == ["deepeval_geval_rag"]
    assert found["rewards"]["evidently_correctness"]["auroc"] == 1.0
    assert found["judge"] == "lexical"
    assert "judge=lexical counts words" in " ".join(done.stdout.split())
    assert len(pq.read_table(tmp_path / "out" / "audit.parquet")) == 3 * 18
    assert done.returncode == bool(found["exploits"])


def test_an_exploit_is_exit_code_one_and_named(tmp_path):
    (tmp_path / "greedy.py").write_text(
        "from medgrpo.rewards.base import RuleReward\n"
        "class Length(RuleReward):\n"
        "    def __init__(self, *, weight: float = 1.0, name: str = 'length'):\n"
        "        super().__init__(weight=weight, name=name)\n"
        "    def score(self, response, row):\n"
        "        return min(1.0, len(response) / 5000)\n"
    )
    (tmp_path / "mine" / "rewards").mkdir(parents=True)
    (tmp_path / "mine" / "rewards" / "length.yaml").write_text(
        "# @package rewards\nlength:\n  _target_: greedy.Length\n  weight: 1.0\n"
    )
    chosen = ["rewards=[length]", "trusted_targets=[greedy]", "output_dir=out"]
    done = audit(tmp_path, "--config-dir", "mine", "--rows", "2", *chosen)
    assert done.returncode == 1, done.stderr
    assert "very long (+" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_config_is_exit_code_two_and_nothing_is_written(tmp_path):
    done = audit(tmp_path, "rewards.response_format.wieght=1")
    assert done.returncode == 2
    assert "weight" in done.stderr
    assert not list(tmp_path.iterdir())
