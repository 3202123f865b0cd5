"""Asking an engine for answers: each once, with progress and the metric so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from medgrpo.config.progress import Phase
from medgrpo.evaluation.answer_cache import AnswerCache
from medgrpo.evaluation.engines.base import Decoding, Engine, Generation, Prompts
from medgrpo.model.base import Policy
from medgrpo.model.sharding import is_sharded


class Answered(NamedTuple):
    """Answers in the order of their prompts."""

    answers: list[Generation]
    cached: int = 0  # of them, that were known
    seconds_saved: float = 0.0


def ask(
    engine: Engine,
    policy: Policy,
    prompts: Prompts,
    decoding: Decoding,
    *,
    name: str,
    measure: str = "",
    value: Callable[[int, Generation], float | None] = lambda place, answer: None,
    cache: str | None = None,
) -> Answered:
    """The engine's answers; `name` and the mean `value` of those that are there show how far it is.

    `measure` says what the value is. Greedy answers are kept in the file `cache`, if one is given;
    not those of a server, whose weights cannot be seen, nor of weights that are sharded.
    """
    if not prompts:
        return Answered([])
    values: list[float] = []
    with Phase(name, len(prompts)) as phase:

        def seen(new: Mapping[int, Generation]) -> None:
            found = (value(place, answer) for place, answer in new.items())
            values.extend(one for one in found if one is not None)
            note = f"{measure} so far {sum(values) / len(values):.3f}" if values else ""
            phase.update(phase.done + len(new), note)

        local = getattr(engine, "renders", True)
        if not cache or decoding.temperature or not local or is_sharded(policy.model):
            return Answered(engine.generate(policy, prompts, decoding, seen))
        known = AnswerCache(cache, engine, policy)
        try:
            answers = known.generate(prompts, decoding, seen)
        finally:
            known.close()
        return Answered(answers, known.hits, round(known.seconds_saved, 1))
