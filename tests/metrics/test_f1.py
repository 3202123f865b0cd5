"""F1 of list items and of words, worked by hand."""

from __future__ import annotations

import pytest

from medgrpo.metrics.f1 import list_f1, token_f1


@pytest.mark.parametrize(
    ("predicted", "gold", "score"),
    [
        ("BRCA1; BRCA2", "BRCA1; BRCA2", 1.0),
        ("brca2; BRCA1", "BRCA1; BRCA2", 1.0),
        ("BRCA1, BRCA2", "BRCA1; BRCA2", 1.0),
        ("BRCA1\nBRCA2", "BRCA1; BRCA2", 1.0),
        ("1. aspirin\n2. heparin", "aspirin; heparin", 1.0),
        ("* aspirin\n* heparin", "aspirin; heparin", 1.0),
        ("aspirin, heparin, and warfarin", "aspirin; heparin; warfarin", 1.0),
        ("the FANCD1 gene", "BRCA2 | FANCD1 gene", 1.0),
        ("carcinoma of the lung", "lung carcinoma of the", 1.0),  # word order is nothing
        ("aspirin", "aspirin; heparin", 2 / 3),
        ("aspirin; heparin; insulin; glucagon", "aspirin; heparin", 2 / 3),
        ("aspirin; aspirin; aspirin", "aspirin; heparin", 2 / 3),  # repeating does not pay
        ("insulin", "aspirin; heparin", 0.0),
        ("a, b, c, d syndrome", "a, b, c, d syndrome", 1.0),  # commas inside an item
        ("Two\nlines, of; prose", "Two\nlines, of; prose", 1.0),
        ("", "aspirin", 0.0),
        (" ; ;\n", "aspirin", 0.0),
        ("инсулин", "инсулин", 1.0),
    ],
)
def test_list_f1(predicted: str, gold: str, score: float) -> None:
    assert list_f1(predicted, gold) == pytest.approx(score)


@pytest.mark.parametrize(
    ("item", "gold"), [("Th17", "Th27"), ("type 1 diabetes", "type 2 diabetes")]
)
def test_another_number_is_another_item(item: str, gold: str) -> None:
    assert list_f1(item, gold) == 0.0
    assert list_f1(item, item) == 1.0


def test_items_match_one_to_one_the_closest_first() -> None:
    assert list_f1("interleukin alpha; interleukin alphas", "interleukin alpha") == pytest.approx(
        2 / 3
    )
    assert (
        list_f1("alpha beta gamma delta; alpha beta", "alpha beta gamma; alpha beta gamma delta")
        == 1
    )
    assert list_f1("interleukin 6", "interleukin 6; interleukin 8") == pytest.approx(2 / 3)


def test_threshold_decides_what_is_a_match() -> None:
    assert list_f1("haemoglobine", "hemoglobin", threshold=70) == 1.0
    assert list_f1("haemoglobine", "hemoglobin", threshold=99) == 0.0


@pytest.mark.parametrize(
    ("predicted", "gold", "score"),
    [
        ("The heart attack.", "heart attack", 1.0),
        ("heart attack today", "heart attack", 0.8),
        ("heart heart heart", "heart attack", 0.4),
        ("stroke", "heart attack", 0.0),
        ("heart attack", "myocardial infarction | heart attack; stroke", 0.8),
        ("", "heart attack", 0.0),
        ("the", "a", 0.0),
    ],
)
def test_token_f1(predicted: str, gold: str, score: float) -> None:
    assert token_f1(predicted, gold) == pytest.approx(score)


@pytest.mark.parametrize(
    ("predicted", "gold", "score"),
    [
        ("维生素 B12", "维生素B12", 1.0),
        ("维生素Ｂ１２。", "维生素B12", 1.0),
        ("缺乏维生素C", "维生素C", 0.8),
        ("烟酸", "维生素C", 0.0),
        ("C-reactive protein", "creactive protein", 1.0),  # SQuAD's own reading stays
    ],
)
def test_words_of_a_script_without_spaces(predicted: str, gold: str, score: float) -> None:
    assert token_f1(predicted, gold) == pytest.approx(score)


@pytest.mark.parametrize("listed", ["维生素A；维生素D", "维生素A、维生素D", "维生素Ａ，维生素Ｄ"])
def test_a_list_in_chinese(listed: str) -> None:
    assert list_f1(listed, "维生素A; 维生素D", threshold=100) == 1.0
