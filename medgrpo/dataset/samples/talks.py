"""Draw conversations with a rubric: what a good answer names, and what it must not.

The facts are those of the other samples, with what comes to the asker's mind, some after a word or
two. What a criterion asks for stands in quotation marks.
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from medgrpo.dataset.example import LETTERS
from medgrpo.dataset.samples.draw import Choice, draw_choice

_THEMES = {"drug": "medicines", "suffix": "medicines", "deficiency": "nutrition",
           "infection": "infections", "stain": "infections", "hormone": "hormones",
           "lab": "laboratory"}  # fmt: skip
_OPENINGS = [
    ("Good morning.", "Good morning. What is the question?"),
    ("I am reading my notes.", "Which part of them is not clear?"),
    ("Can I ask about a patient?", "Yes. What would you like to know?"),
]


class Talk(NamedTuple):
    """What is asked, and what was said before."""

    asked: Choice
    opening: tuple[str, str] | None  # of the user, of the assistant

    @property
    def messages(self) -> list[dict[str, str]]:
        """The conversation; the last message is to be answered."""
        said = zip(("user", "assistant"), self.opening or (), strict=False)
        options = zip(LETTERS, self.asked.options, strict=False)
        lines = "\n".join(f"{letter}) {text}" for letter, text in options)
        turns = [*said, ("user", f"{self.asked.question}\n\n{lines}")]
        return [{"role": role, "content": content} for role, content in turns]

    @property
    def rubrics(self) -> list[dict[str, object]]:
        """Criteria in HealthBench's schema; a negative one names a fault."""
        right, near, about = self.asked.answer, self.asked.near, self.asked.entity
        return [
            _criterion(f'Answers "{right}"', 7, "accuracy"),
            _criterion(f'Says what it speaks of: "{about}"', 3, "completeness"),
            _criterion(f'Answers "{near}", which is wrong', -6, "accuracy"),
        ]

    @property
    def theme(self) -> str:
        return f"theme:{_THEMES[self.asked.kind]}"


def draw_talk(rng: Random, row: int) -> Talk:
    """A conversation; every eighth has an opening."""
    opening = rng.choice(_OPENINGS) if row % 8 == 7 else None
    return Talk(draw_choice(rng, row % 4), opening)


def _criterion(text: str, points: int, axis: str) -> dict[str, object]:
    return {"criterion": text, "points": points, "tags": ["level:example", f"axis:{axis}"]}
