"""Turn an Example into the chat messages that the model sees.

Templates are YAML blocks (conf/prompt/), filled in one pass by a sandboxed jinja2: whatever a
question contains ({{ braces }}, tags, template syntax) is data and is never evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from jinja2 import StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

from medgrpo.dataset.example import LETTERS, Example

_JINJA = SandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)


@dataclass
class Prompt:
    """A prompt style: templates over the fields of an Example, `letters` and `answer_with`."""

    system: str  # template of the system message, "" for none
    user: str  # template of the user message
    answer_with: str  # what an answer looks like, said by the dataset's config
    style: str = "reasoning"  # how the answer is parsed: reasoning | choice_cot
    chat_template_kwargs: dict = field(default_factory=dict)  # e.g. {enable_thinking: false}

    def __post_init__(self) -> None:
        self._system = _JINJA.from_string(self.system)
        self._user = _JINJA.from_string(self.user)

    def messages(self, row: Example) -> list[dict[str, str]]:
        """The messages of one row: system (unless empty) and user."""
        fields = {**row, "letters": LETTERS, "answer_with": self.answer_with}
        system = self._system.render(fields).strip()
        user = {"role": "user", "content": self._user.render(fields).strip()}
        return [{"role": "system", "content": system}, user] if system else [user]
