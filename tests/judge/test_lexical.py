"""The stand-in says what it is, and refuses what it cannot read."""

import asyncio

import pytest
from pydantic import BaseModel

from medgrpo.errors import UserError
from medgrpo.judge.lexical import LexicalJudge, share_found, token_f1


class Diagnosis(BaseModel):
    diagnosis: str


class Truths(BaseModel):
    truths: list[str]


def ask(prompt: str, schema: type[BaseModel] | None) -> str:
    judge = LexicalJudge()
    return asyncio.run(judge.chat([{"role": "user", "content": prompt}], schema)).text


@pytest.mark.parametrize("schema", [None, Diagnosis])
def test_a_question_of_ones_own_is_refused_not_made_up(schema):
    with pytest.raises(UserError, match="choose a real judge"):
        ask("Does aspirin lower fever?", schema)


def test_an_unknown_prompt_of_a_known_shape_is_refused():
    with pytest.raises(UserError, match="DeepEval 4"):
        ask("Extract the truths.\nDocument: Aspirin lowers fever.", Truths)


def test_an_option_letter_does_not_end_a_sentence():
    truths = Truths.model_validate_json(ask("\nText:\nB. penicillin\n\nJSON:", Truths))
    assert truths.truths == ["B. penicillin"]


def test_word_overlap():
    assert token_f1("B. Hepatitis C", "B) hepatitis C") == 1.0
    assert token_f1("hepatitis B", "hepatitis C") == 0.5
    assert token_f1("", "hepatitis C") == 0.0
    assert share_found("The aspirin, the fever!", {"fever", "rash"}) == 0.5
    assert share_found("the of", {"fever"}) == 0.0
