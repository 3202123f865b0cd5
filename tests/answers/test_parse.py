"""Answers as people and models write them, and what each of them claims."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medgrpo.answers.parse import complies, predict
from medgrpo.dataset.example import Example
from medgrpo.errors import UserError

OPTIONS = ["Methanol", "Ethylene glycol", "Ethanol", "Isopropyl alcohol"]
NESTED = ["Vitamin A", "Aspirin", "Aspirin and clopidogrel", "No treatment"]
BLOOD_GROUPS = ["B", "A", "AB", "O"]
SIGNS = ["↑ sodium", "↓ sodium", "-0.45", "0.45"]


def row(options: list[str] = OPTIONS, label: str | None = "B", answer: str = "") -> Example:
    return Example(
        id="1",
        question="Which?",
        context=[],
        options=options,
        answer=answer,
        label=label,
        explanation="",
    )


# What stands in the answer block of a four-option question.
BLOCK = [
    ("B", "B"),
    ("b", "B"),
    (" B ", "B"),
    ("(B)", "B"),
    ("( b )", "B"),
    ("[B]", "B"),
    ("B)", "B"),
    ("B.", "B"),
    ("b.", "B"),
    ("B:", "B"),
    ("B;", "B"),
    ("**B**", "B"),
    ("**B)** Ethylene glycol", "B"),
    ("*B*", "B"),
    ("`B`", "B"),
    ("__B__", "B"),
    ("# B", "B"),
    ('"B"', "B"),
    ("“B”", "B"),
    ("'B'", "B"),
    ("$B$", "B"),
    ("\\boxed{B}", "B"),
    ("$\\boxed{\\text{B}}$", "B"),
    ("\\(\\boxed{B}\\)", "B"),
    ("B) Ethylene glycol", "B"),
    ("B. Ethylene glycol", "B"),
    ("B: Ethylene glycol", "B"),
    ("B - Ethylene glycol", "B"),
    ("B – Ethylene glycol", "B"),
    ("(B) Ethylene glycol", "B"),
    ("(b) ethylene glycol.", "B"),
    ("B Ethylene glycol", "B"),
    ("A) Methanol", "A"),
    ("A Methanol", "A"),
    ("Therefore (B) is right", "B"),
    ("A", "A"),
    ("a)", "A"),
    ("Option B", "B"),
    ("option (b)", "B"),
    ("Choice B", "B"),
    ("Letter B", "B"),
    ("Answer: B", "B"),
    ("Answer: B) Ethylene glycol", "B"),
    ("Final answer: (B)", "B"),
    ("The answer is B", "B"),
    ("The answer is (B).", "B"),
    ("the correct answer is b) ethylene glycol", "B"),
    ("B is correct", "B"),
    ("B is the correct answer because of the crystals", "B"),
    ("Therefore B is the best answer", "B"),
    ("B, because calcium oxalate crystals form", "B"),
    ("B because calcium oxalate crystals form", "B"),
    ("B, not C", "B"),
    ("B\n", "B"),
    ("B\nCalcium oxalate crystals point to antifreeze.", "B"),
    ("Let me think about the crystals.\nB", "B"),
    ("Ethylene glycol", "B"),
    ("ethylene glycol", "B"),
    ("ETHYLENE GLYCOL.", "B"),
    ("Ethylene-glycol", "B"),
    ("**Ethylene glycol**", "B"),
    ("It is ethylene glycol", "B"),
    ("Ethylene glycol poisoning", "B"),
    ("The patient drank ethylene glycol, an antifreeze.", "B"),
    ("B) Ethylen glykol", "B"),  # the letter counts, the spelling does not
    ("B) antifreeze", "B"),
    ("A or B", None),
    ("A and B", None),
    ("A, B", None),
    ("B or E", None),
    ("A/B", None),
    ("A & B", None),
    ("(A) and (C)", None),
    ("either B or C", None),
    ("A\nB", None),
    ("A) Methanol\nB) Ethylene glycol\nC) Ethanol\nD) Isopropyl alcohol", None),
    ("B) Ethylene glycol or C) Ethanol", None),
    ("B) Methanol", None),  # letter and text disagree
    ("(C) Ethylene glycol", None),
    ("Methanol or ethanol", None),
    ("methanol, ethanol", None),
    ("not ethanol", None),
    ("It isn't ethanol", None),
    ("It can’t be ethanol", None),
    ("B isn’t right", None),
    ("It is not B", None),
    ("B is incorrect", None),
    ("B is not the answer", None),
    ("E", None),  # not offered
    ("(E) Acetone", None),
    ("Z", None),
    ("Acetone", None),
    ("None of the above", None),
    ("All of the above", None),
    ("I don't know", None),
    ("I cannot answer this question.", None),
    ("I can't choose between A and B", None),
    ("As an AI language model, I cannot give medical advice.", None),
    ("A 54-year-old man", None),
    ("a drug", None),
    ("", None),
    ("   \n ", None),
    ("...", None),
    ("?", None),
    ("42", None),
    ("B", "B"),  # full width
    ("(B)", "B"),
    ("Ⓑ", "B"),
    ("答案是B", "B"),
    ("答案是(B)", "B"),
    ("答案:B", "B"),
    ("Ответ: B", "B"),
    ("Ответ: В", None),  # Cyrillic, which looks like B
    ("Б", None),
    ("β", None),
    ("الإجابة هي (B)", "B"),
    ("उत्तर: B", "B"),
    ("Этиленгликоль", None),
    ("naïf", None),  # an accent is no other script
]

# A whole response without tags, in either style.
CHAIN = [
    ("Crystals form. Therefore, the answer is (B) Ethylene glycol.", "B"),
    ("the answer is (C)", "C"),
    ("the answer is (c) ethanol.", "C"),
    ("THE ANSWER IS (C)", "C"),
    ("the answer is C", "C"),
    ("the answer is c.", "C"),
    ("the answer is **C**", "C"),
    ("the answer is: (C)", "C"),
    ("the answer is\n(C) Ethanol", "C"),
    ("The answer is option C.", "C"),
    ("The answer would be C.", "C"),
    ("The correct choice is (C).", "C"),
    ("The best option is C, ethanol.", "C"),
    ("My answer: C", "C"),
    ("Answer (C)", "C"),
    ("**Final Answer:** C) Ethanol", "C"),
    ("### Answer\nC", "C"),
    ("The answer to this question is (C) Ethanol", "C"),
    ("The answer, in my opinion, is C.", "C"),
    ("The answer is therefore (C).", "C"),
    ("The answer is most likely (C).", "C"),
    ("The most likely diagnosis is C.", "C"),
    ("I choose C.", "C"),
    ("I would go with (C).", "C"),
    ("the answer is ethylene glycol", "B"),
    ("The answer is A. No, wait. The answer is (B).", "B"),  # the last one counts
    ("The answer is (A).\n\nOn reflection, the answer is (D) Isopropyl alcohol.", "D"),
    ("the answer is (B) Ethylene glycol. I hope this answer is helpful.", "B"),
    ("the answer is (B), as (A) and (C) do not form crystals", "B"),
    ("The answer is not A. The answer is D.", "D"),
    ("the answer is A or B", None),
    ("the answer is (A) and (C)", None),
    ("the answer is methanol or ethanol", None),
    ("the answer is (B) Methanol", None),
    ("the answer is (E)", None),
    ("the answer is (A). Sorry, the answer is (E).", None),
    ("the answer is unclear", None),
    ("The answer is not A.", None),
    ("The answer is a matter of debate.", None),
    ("B", "B"),
    ("B) Ethylene glycol", "B"),
    ("Ethylene glycol", "B"),
    ("B) Ethylene glycol\n\nCalcium oxalate crystals form in the tubules.", "B"),
    ("Crystals form in the tubules.\n\nB) Ethylene glycol", "B"),
    ("Crystals form in the tubules.\n\nEthylene glycol.", "B"),
    ("Crystals form in the tubules.\n\nSo (B) is the correct answer.", "B"),
    ("(A) would not do it.\n\n(C) Ethanol could explain the", None),  # cut off
    ("Crystals form in the tubules.\n\nThis rules out (C).", None),
    ("(A) is a drug.\n(B) is an alcohol.\n(C) is a fuel.\n(D) is a solvent.", None),
    ("Option (A) is wrong.\nOption (C) is wrong too.\nThis is hard.", None),
    ("B. burgdorferi causes Lyme disease.\nThis is hard to tell.", None),
    ("A 54-year-old man drank antifreeze.\nHe has crystals.", None),
    ("I am not able to help with that.\nPlease see a doctor.", None),
    ("", None),
]

# Whole responses with tags that are not as they should be; all in `reasoning` style.
TAGGED = [
    ("<reasoning>\nSo.\n</reasoning>\n<answer>\nB) Ethylene glycol\n</answer>", "B"),
    ("<reasoning>\nThe answer is A?\n</reasoning>\n<answer>\nB\n</answer>", "B"),
    ("<answer>B</answer>", "B"),
    ("<ANSWER>B</ANSWER>", "B"),
    ("< answer >B</ answer >", "B"),
    ("<answer>B", "B"),  # cut off
    ("<reasoning>So.<answer>B</answer></reasoning>", "B"),
    ("<answer><answer>B</answer></answer>", "B"),
    ("<answer>A</answer>\n<answer>B</answer>", "B"),
    ("<answer>A</answer>\n<answer>B", "A"),  # a closed block goes before an open one
    ("<answer></answer>", None),
    ("<answer></answer> the answer is B", None),  # an empty answer is an answer: none
    ("<answer>I don't know</answer> the answer is B", None),
    ("<answer>A or B</answer>", None),
    ("B</answer>", "B"),
    ("<reasoning>Crystals.\n</reasoning>\nthe answer is (B)", "B"),
    ("<reasoning>Is it A or B?", None),
    ("<answer>\nthe answer is (B) Ethylene glycol\n</answer>", "B"),
]

NESTED_OPTIONS = [
    ("Aspirin", "B"),
    ("Aspirin and clopidogrel", "C"),
    ("C) Aspirin and clopidogrel", "C"),
    ("aspirin, given daily", "B"),
    ("B) Aspirin and clopidogrel", None),
    ("C) Aspirin", None),
    ("Give aspirin and clopidogrel now", "C"),
    ("No treatment", "D"),
    ("D) No treatment", "D"),
    ("no treatment is needed", "D"),
    ("Vitamin A", "A"),
    ("vitamin a", "A"),
    ("A) Vitamin A", "A"),
]

LETTER_OPTIONS = [
    ("B", "B"),  # a letter is a letter, even where it is the text of another option
    ("B) A", "B"),
    ("(A) B", "A"),
    ("AB", "C"),
    ("group AB", "C"),
    ("O", "D"),
]

SIGN_OPTIONS = [
    ("↓ sodium", "B"),
    ("A) ↑ sodium", "A"),
    ("-0.45", "C"),
    ("0.45", "D"),
    ("C) -0.45", "C"),
    ("sodium", None),
]

VERDICT = [
    ("yes", "yes"),
    ("Yes.", "yes"),
    ("YES", "yes"),
    ("**yes**", "yes"),
    ("no", "no"),
    ("No.", "no"),
    ("No!", "no"),
    ("maybe", "maybe"),
    ("Maybe, the data are few", "maybe"),
    ("Yes, mortality fell by a third", "yes"),
    ("yes it does", "yes"),
    ("Yes, no significant harm was seen", "yes"),
    ("No, it did not", "no"),
    ("No it does not", "no"),
    ("no - the difference was not significant", "no"),
    ("No because the trial was small", "no"),
    ("The answer is yes", "yes"),
    ("Answer: no", "no"),
    ("Final decision: maybe", "maybe"),
    ("The answer is yes. Wait, the answer is no.", "no"),
    ("Probably no.", "no"),
    ("I think yes", "yes"),
    ("Definitely yes!", "yes"),
    ("Mortality fell by a third.\nyes", "yes"),
    ("yes\nMortality fell by a third.", "yes"),
    ("yes and no", None),
    ("yes or no", None),
    ("yes/no", None),
    ("Yes, no", None),
    ("maybe yes", None),
    ("yes\nno", None),
    ("No difference was found", None),  # "no" as an article says nothing about the question
    ("no evidence", None),
    ("The answer is no longer known", None),
    ("I cannot answer yes or no", None),
    ("There is no way to say whether this is true", None),
    ("uncertain", None),
    ("possibly", None),
    ("not sure", None),
    ("certainly not yes", None),
    ("nope", None),
    ("yesterday", None),
    ("да", None),
    ("是", None),
    ("yes", "yes"),
    ("B", None),
    ("", None),
]


def test_the_tables_are_as_large_as_promised() -> None:
    tables = (BLOCK, CHAIN, TAGGED, NESTED_OPTIONS, SIGN_OPTIONS, VERDICT)
    assert len({(i, said) for i, table in enumerate(tables) for said, _ in table}) >= 150


@pytest.mark.parametrize(("said", "claimed"), BLOCK)
def test_answer_block_of_a_choice(said: str, claimed: str | None) -> None:
    response = f"<reasoning>\nIs it (A) or (D)?\n</reasoning>\n<answer>\n{said}\n</answer>"
    assert predict(response, row(), "reasoning") == claimed


@pytest.mark.parametrize("style", ["reasoning", "choice_cot"])
@pytest.mark.parametrize(("said", "claimed"), CHAIN)
def test_response_without_tags(said: str, claimed: str | None, style: str) -> None:
    assert predict(said, row(), style) == claimed


@pytest.mark.parametrize(("said", "claimed"), TAGGED)
def test_tags_missing_nested_or_repeated(said: str, claimed: str | None) -> None:
    assert predict(said, row(), "reasoning") == claimed


@pytest.mark.parametrize(("said", "claimed"), NESTED_OPTIONS)
def test_an_option_that_contains_another(said: str, claimed: str | None) -> None:
    assert predict(f"<answer>{said}</answer>", row(NESTED), "reasoning") == claimed


@pytest.mark.parametrize(("said", "claimed"), LETTER_OPTIONS)
def test_options_that_are_letters(said: str, claimed: str | None) -> None:
    assert predict(f"<answer>{said}</answer>", row(BLOOD_GROUPS), "reasoning") == claimed


@pytest.mark.parametrize(("said", "claimed"), SIGN_OPTIONS)
def test_options_that_differ_by_a_sign(said: str, claimed: str | None) -> None:
    assert predict(f"<answer>{said}</answer>", row(SIGNS), "reasoning") == claimed


@pytest.mark.parametrize(("said", "claimed"), VERDICT)
def test_yes_no_maybe(said: str, claimed: str | None) -> None:
    response = f"<answer>\n{said}\n</answer>"
    assert predict(response, row([], "yes"), "reasoning") == claimed


@pytest.mark.parametrize(
    ("response", "style", "text"),
    [
        ("<answer>\nBRCA1; BRCA2\n</answer>", "reasoning", "BRCA1; BRCA2"),
        ("<answer>\n- BRCA1\n- BRCA2\n</answer>", "reasoning", "- BRCA1\n- BRCA2"),
        ("Both genes.\nThe answer is BRCA1; BRCA2", "reasoning", "BRCA1; BRCA2"),
        ("Both genes.\nThe answer is BRCA1; BRCA2", "choice_cot", "BRCA1; BRCA2"),
        ("BRCA1; BRCA2", "reasoning", "BRCA1; BRCA2"),
        ("<answer></answer>", "reasoning", None),
        ("Many genes are known.\nThey differ.", "reasoning", None),
        ("", "choice_cot", None),
    ],
)
def test_text_of_a_list(response: str, style: str, text: str | None) -> None:
    assert predict(response, row([], None, "BRCA1"), style) == text


MEDQA = Path(__file__).parents[3] / "shared/data/medqa/medqa_us_4options_test_first300.jsonl"


@pytest.mark.skipif(not MEDQA.exists(), reason="needs MedQA's own file")
@pytest.mark.parametrize(
    ("form", "style"),
    [
        ("<answer>\n{letter}) {option}\n</answer>", "reasoning"),
        ("<answer>{letter} {option}</answer>", "reasoning"),
        ("<answer>The answer is {letter}, because of the fever.</answer>", "reasoning"),
        ("<answer>{option}.</answer>", "reasoning"),
        (
            "A 9-year-old has (A) or (B).\n\nTherefore, the answer is ({letter}) {option}.",
            "choice_cot",
        ),
        ("A 9-year-old has a fever.\n\n**Answer: {letter}. {option}**", "choice_cot"),
        ("{letter}. {option}\n\nExplanation: the fever.", "choice_cot"),
    ],
)
def test_every_option_of_medqa_is_read_back(form: str, style: str) -> None:
    for line in MEDQA.read_text(encoding="utf-8").splitlines():
        options = json.loads(line)["options"]
        for letter, option in options.items():
            response = form.format(letter=letter, option=option)
            assert predict(response, row(list(options.values())), style) == letter, (
                option,
                options,
            )


def test_unknown_style_is_the_users_mistake() -> None:
    with pytest.raises(UserError, match=r"prompt\.style: 'tags'"):
        predict("B", row(), "tags")


@pytest.mark.parametrize(
    ("response", "style", "kept"),
    [
        ("<reasoning>\nSo.\n</reasoning>\n<answer>\nwrong\n</answer>", "reasoning", True),
        ("<reasoning></reasoning><answer>B</answer>", "reasoning", False),
        ("<reasoning>So.</reasoning><answer>B</answer> Bye.", "reasoning", False),
        ("B", "reasoning", False),
        ("So.\nTherefore, the answer is (B) Ethylene glycol.", "choice_cot", True),
        ("the answer is (B) Ethylene glycol.\nBye.", "choice_cot", False),
        ("the answer is B", "choice_cot", False),
        ("", "choice_cot", False),
    ],
)
def test_form_that_the_prompt_asks_for(response: str, style: str, kept: bool) -> None:
    assert complies(response, row(), style) is kept


def test_hostile_length_is_read_in_time() -> None:
    """A model in a loop writes such things; the reading stays linear enough to finish."""
    for piece in ("<answer>", "the answer is ", "B or ", "(", " ", "\n", "yes and ", "answer to "):
        predict(piece * (50_000 // len(piece)), row(), "reasoning")
        predict(piece * (50_000 // len(piece)), row([], "yes"), "choice_cot")
