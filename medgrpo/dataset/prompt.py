"""Turn an Example into the chat messages that the model sees.

Templates are YAML blocks (conf/prompt/), filled in one pass by a sandboxed jinja2: whatever a
question contains ({{ braces }}, tags, template syntax) is data and is never evaluated.
"""

from __future__ import annotations

import json
import logging
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import takewhile
from typing import TYPE_CHECKING, Annotated, Any, Literal

import jinja2
from annotated_types import Ge
from jinja2 import StrictUndefined, TemplateSyntaxError, meta
from jinja2.sandbox import SandboxedEnvironment
from pydantic import AfterValidator

from medgrpo.dataset.example import LETTERS, Example, Messages, gold_text, letters_in
from medgrpo.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

_JINJA = SandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)

_CLOSED = re.compile(r"<(think|thinking)>.*?</\1>\s*", re.DOTALL)  # thinking switched off
# Some templates put an empty thinking block into every response, so that "<think>" is shared.
_LEFT_OPEN = re.compile(r"<(think|thinking|reasoning|answer)>(?!.*</\1>).*\Z", re.DOTALL)

_FIELDS = {*Example.__annotations__, "letters", "answer_with"}


def _fillable(template: str) -> str:
    """The template. Raises ValueError for bad syntax or a field that no example has."""
    try:
        unknown = meta.find_undeclared_variables(_JINJA.parse(template)) - _FIELDS
    except TemplateSyntaxError as error:
        raise ValueError(f"a jinja2 template: {error.message}, line {error.lineno}") from error
    if unknown:
        raise ValueError(f"made of {', '.join(sorted(_FIELDS))}, not {', '.join(sorted(unknown))}")
    return template


Template = Annotated[str, AfterValidator(_fillable)]


@dataclass
class Prompt:
    """A prompt style: templates over the fields of an Example, `letters` and `answer_with`."""

    system: Template  # of the system message, "" for none
    user: Template  # of the user message
    answer_with: str  # what an answer looks like, said by the dataset's config
    style: Literal["reasoning", "choice_cot"] = "reasoning"  # how the answer is read
    # of the tokenizer, for example {enable_thinking: false}
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict)
    shots: Annotated[int, Ge(0)] = 0  # training rows that are shown, answered, before each question
    shots_seed: int = 0  # which ones
    examples: list[Example] = field(init=False, repr=False, default_factory=list)

    def show(self, train: Sequence[Example]) -> None:
        """Draw the `shots` rows that every prompt begins with. UserError where there are too few.

        The same for the same training rows and seed, whatever is asked; but a training row that is
        one of them is not shown its own answer: one row more is drawn, which takes its place.
        """
        if self.shots and self.shots >= (there := len(train)):
            raise UserError(
                f"prompt.shots: {self.shots} of {there} training rows, and one more is needed; "
                "show fewer"
            )
        drawn = self.shots + (self.shots > 0)
        places = random.Random(self.shots_seed).sample(range(len(train)), drawn)
        self.examples = [train[place] for place in places]
        bare = sum(not row["explanation"] for row in self.examples[: self.shots])
        if bare and self.style == "reasoning":
            log.warning(
                "prompt.shots: %d of %d rows have no explanation: shown without reasoning",
                bare, self.shots,
            )  # fmt: skip

    def messages(self, row: Example) -> Messages:
        """The messages of one row: system (unless empty) and user.

        A row with `turns` is a conversation: its messages stay as they are, but for the last, which
        is written as the question, and a system message, which follows ours.
        """
        fields = {**row, "letters": LETTERS, "answer_with": self.answer_with}
        said = json.loads(str(row.get("turns") or "[]"))
        if said:
            fields["question"] = said.pop()["content"]
        theirs = [said.pop(0)["content"]] if said and said[0]["role"] == "system" else []
        system = "\n\n".join(filter(None, [_compiled(self.system).render(fields).strip(), *theirs]))
        user = {"role": "user", "content": _compiled(self.user).render(fields).strip()}
        asked = row["id"], row["question"]
        others = [one for one in self.examples if (one["id"], one["question"]) != asked]
        shown = [turn for one in others[: self.shots] for turn in self._shown(one)]
        return [*[{"role": "system", "content": system}] * bool(system), *shown, *said, user]

    def _shown(self, row: Example) -> Messages:
        """A training row as a turn that was answered as it should be."""
        fields = {**row, "letters": LETTERS, "answer_with": self.answer_with}
        asked, said = _compiled(self.user).render(fields).strip(), worked_answer(row, self.style)
        return [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]

    def prefilled(self, tokenizer: PreTrainedTokenizerBase) -> str:
        """What the chat template has already written of every response: mostly "".

        A template that ends in `<reasoning>` or `<think>` writes the tag itself, and it belongs to
        the response. Found by rendering: it follows a prompt, and a response does not begin there.
        """
        asked = [{"role": "user", "content": "?"}]
        answered = [*asked, {"role": "assistant", "content": "."}]

        def render(messages: Messages, **more: bool) -> str:
            return tokenizer.apply_chat_template(
                messages, tokenize=False, **self.chat_template_kwargs, **more
            )

        opened = render(asked, add_generation_prompt=True)
        pairs = zip(opened, render(answered), strict=False)
        start = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        tag = _LEFT_OPEN.search(opened, opened.rfind("?"))
        return _CLOSED.sub("", opened[min(start, tag.start()) if tag else start :])


def worked_answer(row: Example, style: str) -> str:
    """The row's explanation and gold answer in a prompt style: what SFT teaches, and shots show.

    >>> row = {"options": ["x", "y"], "label": "B", "answer": "y", "explanation": "Because."}
    >>> worked_answer(row, "choice_cot")
    'Because.\\nTherefore, the answer is (B) y.'
    """
    why = row["explanation"].strip()
    if style == "reasoning":
        return f"<reasoning>\n{why}\n</reasoning>\n<answer>\n{gold_text(row)}\n</answer>"
    letters = letters_in(row["label"] or "") if row["options"] else []
    lettered = [f"({one}) {row['options'][LETTERS.index(one)]}" for one in letters]
    answer = "; ".join(lettered) or row["answer"]
    if why.removesuffix(".").endswith(f"the answer is {answer}"):
        return why
    return f"{why}\nTherefore, the answer is {answer}.".strip()


@cache
def _compiled(template: str) -> jinja2.Template:
    """Kept here and not by Prompt, which stays plain data that can be pickled."""
    return _JINJA.from_string(template)
