"""In what two passports differ, and which of that may be why two runs do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from medgrpo.config.resumed import changes, flat

# in the order in which a reason is likely
FACTS = ("config", "dataset", "prompt_sha256", "model", "judge", "libraries", "git_commit",
         "git_diff_sha256", "python", "threads", "hardware", "platform")  # fmt: skip
NAMES = {
    "config": "setting",
    "dataset": "data",
    "prompt_sha256": "prompts of",
    "libraries": "library",
    "git_commit": "commit",
    "git_diff_sha256": "uncommitted changes",
    "threads": "threads or determinism:",
}


ANSWERS = "evaluation.answer_cache"  # is not used by a replay, and changes no result


class Difference(NamedTuple):
    """One fact that two passports do not have in common; None: it is not there."""

    fact: str
    was: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.fact}: {self.was} then, {self.now} now"


def passport_differences(
    then: Mapping[str, Any], now: Mapping[str, Any], facts: tuple[str, ...] = FACTS
) -> Iterator[Difference]:
    """What differs, the likeliest reasons first; facts that `then` did not record say nothing."""
    for fact in facts:
        if fact not in then:
            continue
        name = NAMES.get(fact, fact)
        was, found = then[fact], now.get(fact)
        if not isinstance(was, dict) or not isinstance(found, dict):
            if was != found:
                yield Difference(name, was, found)
            continue
        for key, (before, after) in changes(flat(was), flat(found)).items():
            if key == ANSWERS:
                continue
            yield Difference(f"{name} {key}", before, after)
