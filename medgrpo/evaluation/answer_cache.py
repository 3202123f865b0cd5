"""Greedy answers on disk: what a model has answered once, it is not asked again.

The base model's answers are the same for every job of a sweep, and so are those of an adapter that
is evaluated again. One SQLite file, shared by the processes of a sweep (medgrpo/judge/cache.py). A
key is made of all that decides an answer: the contents of the weights in memory, adapter included,
the engine with the versions of its libraries, type and device of the weights, the tokens that end
an answer, the prompt's token ids and the length allowed. What is sampled, and what a server
answers, is never kept: a seed means nothing in another batch, and a server's weights cannot be
seen.
"""

from __future__ import annotations

import time
from importlib.metadata import PackageNotFoundError, version

from medgrpo import __version__
from medgrpo.evaluation.engines.base import (
    Decoding,
    Engine,
    Generation,
    OnAnswers,
    Prompts,
    end_tokens,
    prompt_ids,
)
from medgrpo.judge.cache import Cache, cache_key
from medgrpo.model.base import Policy
from medgrpo.model.identity import weights_hash

LIBRARIES = ("torch", "transformers", "peft", "bitsandbytes", "vllm", "unsloth")


class AnswerCache:
    """Asks an engine for those answers alone that are not known yet."""

    def __init__(self, path: str, engine: Engine, policy: Policy) -> None:
        """`policy` as it is now: what it answers after another step of training is not its own."""
        self.hits = 0  # answers that were there
        self.seconds_saved = 0.0  # that these took when they were made
        self._engine, self._policy = engine, policy
        self._cache = Cache(path, "evaluation.answer_cache")
        self._known = [
            weights_hash(policy.model), __version__,
            [len(policy.tokenizer), end_tokens(policy)],
            [f"{type(engine).__module__}.{type(engine).__qualname__}", str(engine)],
            {name: _version(name) for name in LIBRARIES},
        ]  # fmt: skip

    def generate(
        self, prompts: Prompts, decoding: Decoding, on_answers: OnAnswers
    ) -> list[Generation]:
        """As `Engine.generate`, of a greedy `decoding`.

        What it returns is kept, and not what comes meanwhile: an engine may think better of it.
        """
        ids = prompt_ids(self._policy.tokenizer, prompts, decoding.chat_template_kwargs)
        keys = [cache_key(self._known, prompt, decoding.max_new_tokens) for prompt in ids]
        found = {place: self._cache.get(key) for place, key in enumerate(keys)}
        known = {place: one for place, one in found.items() if one is not None}
        answers = {place: Generation(*one[:3]) for place, one in known.items()}
        self.hits += len(known)
        self.seconds_saved += sum(one[3] for one in known.values())
        on_answers(answers)
        left = [place for place in range(len(prompts)) if place not in answers]
        if left:
            start, asked = time.monotonic(), [prompts[place] for place in left]
            made = self._engine.generate(
                self._policy, asked, decoding,
                lambda new: on_answers({left[index]: answer for index, answer in new.items()}),
            )  # fmt: skip
            seconds = round((time.monotonic() - start) / len(left), 4)
            for place, answer in zip(left, made, strict=True):
                self._cache.put(keys[place], [*answer, seconds])
                answers[place] = answer
        return [answers[place] for place in range(len(prompts))]

    def close(self) -> None:
        self._cache.close()


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None
