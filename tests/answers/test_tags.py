"""One reading of the tags for rewards, judges and evaluation."""

from __future__ import annotations

import pytest

from medgrpo.answers.tags import extract_answer, extract_block, parse_tags, strip_tags, tag_sequence

WHOLE = "<reasoning>\nLine one.\n\nLine two.\n</reasoning>\n<answer>\nB) text\n</answer>"


@pytest.mark.parametrize(
    ("response", "parts"),
    [
        (WHOLE, ("Line one.\n\nLine two.", "B) text")),
        (f"\n {WHOLE} \n", ("Line one.\n\nLine two.", "B) text")),
        ("<reasoning>a</reasoning><answer>b</answer>", ("a", "b")),
        ("<reasoning></reasoning><answer> </answer>", ("", "")),
        (f"{WHOLE}\nHope it helps!", None),
        (f"Sure!\n{WHOLE}", None),
        (f"{WHOLE}\n{WHOLE}", None),
        ("<reasoning>a</reasoning> so <answer>b</answer>", None),
        ("<answer>b</answer><reasoning>a</reasoning>", None),
        ("<reasoning>a<answer>b</answer></reasoning>", None),
        ("<reasoning>a</reasoning><answer>b", None),
        ("<Reasoning>a</Reasoning><answer>b</answer>", None),
        ("<reasoning>a</reasoning><answer>a <answer> b</answer>", None),
        ("a b", None),
        ("", None),
    ],
)
def test_strict_layout(response: str, parts: tuple[str, str] | None) -> None:
    assert parse_tags(response) == parts


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (WHOLE, "B) text"),
        ("<ANSWER>B</Answer>", "B"),
        ("< answer >\n\tB\n</ answer >", "B"),
        ("<answer>line 1\nline 2</answer>", "line 1\nline 2"),
        ("<answer>A</answer> no, <answer>B</answer>", "B"),
        ("<answer><answer>B</answer></answer>", "B"),
        ("<answer><reasoning>So.</reasoning>B</answer>", "So.\nB"),
        ("<reasoning>I use <answer> tags.</reasoning><answer>B</answer>", "B"),
        ("<answer>B</answer> These are the <answer> tags.", "B"),
        ("<answer>B", "B"),
        ("<answer>B</reasoning> and so on", "B"),
        ("<answer></answer>", ""),
        ("<answer>", ""),
        ("B</answer>", None),
        ("<answers>B</answers>", None),
        ("B", None),
        ("", None),
    ],
)
def test_tolerant_answer(response: str, answer: str | None) -> None:
    assert extract_answer(response) == answer


def test_reasoning_block_is_read_the_same_way() -> None:
    assert extract_block("<reasoning>a <answer>B</answer> b</reasoning>", "reasoning") == "a\nB\nb"
    assert extract_block("<reasoning>cut off", "reasoning") == "cut off"


def test_strip_tags_keeps_every_word_apart() -> None:
    assert strip_tags("so<answer>B</answer>end") == "so\nB\nend"
    assert strip_tags(WHOLE) == "Line one.\n\nLine two.\nB) text"
    assert strip_tags("a < b and <b>bold</b>") == "a < b and <b>bold</b>"


def test_tag_sequence_is_in_order_of_appearance() -> None:
    assert tag_sequence("<answer>x</ANSWER><reasoning>") == ["answer", "/answer", "reasoning"]


def test_hostile_repetition_is_read_in_time() -> None:
    for piece in ("<answer>", "</answer>", "<reasoning>", "<", "<  ", "< answer"):
        extract_answer(piece * 20_000)
        parse_tags(piece * 20_000)
