"""Rewards for form: four different things, none of which looks at whether the answer is right.

- `ReasoningTagsReward`: are the four tags there, once each and in order? Not what is in them.
- `MultilineComplianceReward`: is the response laid out over lines and in steps? With or without
  tags, in one block or two.
- `StructureValidationReward`: does the whole response fit the schema: two filled blocks, nothing
  around them, an answer of the kind that the question asks for? Not how it is laid out.
- `ResponseFormatReward`: does it keep to writing conventions throughout: tags on own lines, the
  answer as the prompt writes it, plain text, tidy spacing, one kind of list marker?

Each gives part credit in many small steps, because a group of generations that all score alike
teaches GRPO nothing; the open-r1 rewards (huggingface/open-r1 `rewards.py`, `tag_count_reward`)
show the idea for tags. README.md has a table of responses on which the four differ. They
judge the `reasoning` prompt style. A blank response scores 0 with each. Words are Unicode's, in
every script.

Form is all that they measure: "x x x", "y y y", "z z z" between the right tags and a wrong answer
as prompted get 1.0 from all four. What makes an answer right is paid for by `verifiable` or judges
beside them, and `python -m medgrpo.audit` shows what a config pays for form alone.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Annotated

from annotated_types import Ge
from rapidfuzz.distance import Indel

from medgrpo.answers.parse import predict
from medgrpo.answers.tags import (
    EXPECTED,
    extract_answer,
    extract_block,
    parse_tags,
    strip_tags,
    tag_sequence,
)
from medgrpo.answers.text import nfkc, words
from medgrpo.dataset.example import (
    LETTERS,
    YES_NO_MAYBE,
    Example,
    is_multi_select,
    option_line,
)
from medgrpo.rewards.base import RuleReward

_MARKDOWN = re.compile(r"```|\*\*|__|^\s*#{1,6}\s|^\s*\|.*\|\s*$|\\boxed", re.MULTILINE)
_UNTIDY = re.compile(r"[ \t]+$|\n[ \t]*\n[ \t]*\n|\A\s|\s\Z", re.MULTILINE)
_LIST_MARKER = re.compile(r"^\s*(?:([-*•])|(\d+[.)])|(step \d+))\s", re.MULTILINE | re.IGNORECASE)
_TAG_LINE = re.compile(r"^</?(?:reasoning|answer)>$", re.MULTILINE)


class ReasoningTagsReward(RuleReward):
    """Presence and nesting of `<reasoning>`, `</reasoning>`, `<answer>`, `</answer>`.

    Range [0, 1]. Formula: 2 L / (n + 4), n tags found, L of them in the expected order (longest
    common subsequence; the similarity of Python's difflib). A missing, repeated or misplaced tag
    each costs; case and spaces inside tags do not.

    >>> reward = ReasoningTagsReward()
    >>> reward.score("<reasoning>So.</reasoning><answer>B</answer>", {})
    1.0
    >>> reward.score("<reasoning>So.<answer>B</answer></reasoning>", {})
    0.75
    """

    default_name = "reasoning_tags"

    def score(self, response: str, row: Example) -> float:
        """Similarity of the response's tags to the expected four."""
        return Indel.normalized_similarity(tag_sequence(response), EXPECTED)


class MultilineComplianceReward(RuleReward):
    """A response over several lines whose text goes in steps, not one slab.

    Range [0, 1]. Formula: half min(1, lines / min_lines), half min(1, steps / min_steps). Lines
    are those that are not blank (the prompt's layout has six), steps those of at least `min_words`
    words without tags; repeated lines count once. Source: the multi-line and reasoning-depth
    checks usual in GRPO recipes for R1-style answers, made continuous.

    >>> reward = MultilineComplianceReward(min_lines=6, min_steps=2)
    >>> text = "<reasoning>\\nIt is an alcohol.\\n</reasoning>\\n<answer>\\nB\\n</answer>"
    >>> reward.score(text, {})
    0.75
    """

    def __init__(
        self,
        *,
        weight: float = 1.0,
        name: str = "multiline_compliance",
        min_lines: Annotated[int, Ge(1)] = 6,
        min_steps: Annotated[int, Ge(1)] = 3,
        min_words: Annotated[int, Ge(1)] = 3,
    ) -> None:
        super().__init__(weight=weight, name=name)
        self.min_lines = min_lines
        self.min_steps = min_steps
        self.min_words = min_words

    def score(self, response: str, row: Example) -> float:
        """Mean of both shares; `row` does not matter."""
        lines = {line.strip() for line in response.splitlines()} - {""}
        told = {line.strip() for line in strip_tags(response).splitlines()}
        steps = [line for line in told if len(words(line)) >= self.min_words]
        breadth = min(1.0, len(lines) / self.min_lines)
        return (breadth + min(1.0, len(steps) / self.min_steps)) / 2


class StructureValidationReward(RuleReward):
    """The whole response against the schema: reasoning block, answer block, nothing else.

    Range [0, 1]. Formula: mean of four checks. Two blocks and nothing around them (0/1); words of
    reasoning / `min_reasoning_words`, at most 1; an answer of 1 to `max_answer_words` words (0/1);
    an answer of the kind asked for: one of the options, yes / no / maybe, or text (0/1). Source:
    validation against a schema, as in structured output.

    >>> reward = StructureValidationReward()
    >>> row = {"options": ["Ethanol", "Ethylene glycol"], "label": "B"}
    >>> text = "<reasoning>Oxalate crystals point to antifreeze.</reasoning><answer>{}</answer>"
    >>> reward.score(text.format("A"), row), reward.score(text.format("It depends"), row)
    (1.0, 0.75)
    """

    def __init__(
        self,
        *,
        weight: float = 1.0,
        name: str = "structure_validation",
        min_reasoning_words: Annotated[int, Ge(1)] = 5,
        max_answer_words: Annotated[int, Ge(1)] = 100,
    ) -> None:
        super().__init__(weight=weight, name=name)
        self.min_reasoning_words = min_reasoning_words
        self.max_answer_words = max_answer_words

    def score(self, response: str, row: Example) -> float:
        """Mean of the four checks."""
        reasoning = words(extract_block(response, "reasoning") or "")
        answer = extract_answer(response) or ""
        checks = [
            parse_tags(response) is not None,
            min(1.0, len(reasoning) / self.min_reasoning_words),
            1 <= len(words(answer)) <= self.max_answer_words,
            bool(answer) and predict(response, row, "reasoning") is not None,
        ]
        return sum(checks) / len(checks)


class ResponseFormatReward(RuleReward):
    """Consistent writing conventions, the same from the first line to the last.

    Range [0, 1]. Formula: mean of five shares. Tags (of at least four) alone on a line, lower case;
    the answer as the prompt writes it ("B) option text", a lower-case yes / no / maybe, a list on
    one line; 0/1); no markdown (0/1); no trailing spaces, blank ends or double blank lines (0/1);
    list markers of the commonest kind, 1 without a list. Source: house-style linters.

    >>> reward = ResponseFormatReward()
    >>> row = {"options": ["Ethanol", "Ethylene glycol"], "label": "B"}
    >>> text = "<reasoning>\\nSo.\\n</reasoning>\\n<answer>\\n{}\\n</answer>"
    >>> reward.score(text.format("A) Ethanol"), row), reward.score(text.format("**A**"), row)
    (1.0, 0.6)
    """

    default_name = "response_format"

    def score(self, response: str, row: Example) -> float:
        """Mean of the five shares."""
        if not response.strip():
            return 0.0
        tags = max(len(EXPECTED), len(tag_sequence(response)))
        kinds = Counter(found.lastindex for found in _LIST_MARKER.finditer(response))
        shares = [
            len(_TAG_LINE.findall(response)) / tags,
            _as_prompted(extract_answer(response) or "", row),
            not _MARKDOWN.search(response),
            not _UNTIDY.search(response),
            max(kinds.values()) / kinds.total() if kinds else 1.0,
        ]
        return sum(shares) / len(shares)


def _as_prompted(answer: str, row: Example) -> bool:
    """Whether the answer is written in the very form in which prompts and gold answers are."""
    if row["options"]:
        letters = LETTERS[: len(row["options"])]
        prompted = {nfkc(option_line(row, letter)).casefold() for letter in letters}
        parts = answer.split("; ") if is_multi_select(row["label"]) else [answer]
        return {nfkc(part).casefold() for part in parts} <= prompted
    if row["label"] in YES_NO_MAYBE:
        return answer in YES_NO_MAYBE
    return answer != "" and "\n" not in answer and not _LIST_MARKER.match(answer)
