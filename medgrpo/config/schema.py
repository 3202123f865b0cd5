"""What a config may say: the names, types and ranges that no `_target_` describes.

Hydra composes; it does not know what the composed values are for. `medgrpo.config.validate`
checks a composed config against these dataclasses and against the signatures of its targets.
"""

from __future__ import annotations

import json
import re
import textwrap
import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from annotated_types import Ge, Interval

from medgrpo.config.moved import MOVED

UNRESOLVED = object()  # stands where a value could not be read, which is a problem already


@dataclass
class EvaluationBudget:
    """How much a profile evaluates."""

    batch_size: Annotated[int, Ge(1)]
    limit: Annotated[int, Ge(0)] | None  # held-out rows, None for all


@dataclass
class TrainingBudget:
    """How much a profile trains: what the files of conf/trainer/ take from it (TRL's ranges)."""

    num_train_epochs: float
    learning_rate: float
    per_device_train_batch_size: int
    gradient_accumulation_steps: int
    gradient_checkpointing: bool
    logging_steps: float


@dataclass
class GRPOBudget(TrainingBudget):
    """What GRPO takes besides."""

    max_steps: int
    num_generations: int
    save_steps: float


@dataclass
class Profile:
    """What a place to run decides for all groups that do not say otherwise."""

    name: str
    summary: str
    data_source: Literal["sample", "path", "hub"]
    device: Literal["cpu", "cuda"]
    max_prompt_tokens: Annotated[int, Ge(1)]
    max_completion_length: Annotated[int, Ge(1)]
    evaluation: EvaluationBudget
    grpo: GRPOBudget
    sft: TrainingBudget


@dataclass
class Node:
    """A part of the run: the class or function to call and its keyword arguments."""

    _target_: str


@dataclass
class Launch:
    """In which processes a run runs."""

    nproc_per_node: Annotated[int, Ge(1)]  # more than one: under torchrun, one a GPU
    nodes: Annotated[int, Ge(1)]  # machines
    rendezvous: str | None  # HOST:PORT of the first of several machines
    fsdp: bool  # FSDP2, not DDP
    own_process: bool  # each job of a sweep in a process of its own


@dataclass
class Sweep:
    """How the runs of a sweep are ranked."""

    rank_by: Literal["validation", "test"]


@dataclass
class Watch:
    """The hacking watch."""

    action: Literal["warn", "stop"]


@dataclass
class RunConfig:
    """The top of the config. A `Node` is built by its `_target_`."""

    prompt: Node
    dataset: Node
    model: Node
    lora: Node | None
    judge: Node
    rewards: dict[str, Node]
    metrics: dict[str, Node]
    grader: Node | None
    first_trainer: Node | None
    trainer: Node
    engine: Node
    evaluation: Node
    export: Node
    tracking: Node
    profile: Profile
    seed: Annotated[int, Interval(ge=0, lt=2**32)]
    output_dir: str
    resume: str | None
    sweep: Sweep
    watch: Watch
    launch: Launch
    trusted_targets: list[str]


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a config: the dotted key, what is wrong and what is allowed."""

    key: str
    message: str
    refers_to: str = ""  # the key that its value is to be taken from, and that is not there


def unknown(key: str, known: Iterable[str], what: str = "key") -> Problem:
    """The problem of a name that does not exist: where it moved, or the nearest that does."""
    if key in MOVED:
        return Problem(key, f"moved: use {MOVED[key]}")
    parent, _, name = key.rpartition(".")
    known = sorted(known)
    folded = {name.lower(): name for name in known}
    near = get_close_matches(name.lower(), folded, n=1)
    hint = f"; did you mean {parent + '.' if parent else ''}{folded[near[0]]}?" if near else ""
    allowed = f" Known: {', '.join(known)}" if 0 < len(known) <= 20 else ""
    return Problem(key, f"no such {what}{hint or '.' * bool(allowed)}{allowed}")


def check_type(key: str, value: Any, hint: Any) -> Iterator[Problem]:
    """The problem of a value that is not of a type, by pydantic in strict mode."""
    from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

    if value is UNRESOLVED:
        return
    strict = ConfigDict(strict=True, arbitrary_types_allowed=True, allow_inf_nan=False)
    try:
        TypeAdapter(hint, config=strict).validate_python(value)
    except PydanticUserError:  # a type that pydantic cannot describe is checked by its target
        return
    except ValidationError as error:
        wanted = [_wish(details["msg"], details["loc"]) for details in error.errors()][:3]
        if type(None) in typing.get_args(hint):
            wanted.append("null")
        shown = textwrap.shorten(json.dumps(value, default=str), 60)
        shown = re.sub(r"//[^/@\s]*@", "//***@", shown)  # a password in an address
        yield Problem(key, f"{shown} should be {' or '.join(dict.fromkeys(wanted))}")


def _wish(message: str, where: tuple[int | str, ...]) -> str:
    """What pydantic wants instead, in words that follow "should be"."""
    wish = message.removeprefix("Input should be ").removeprefix("Value error, ")
    if wish.startswith("Predicate "):
        wish = f"accepted by {wish.split()[1]}"
    items = [part for part in where if isinstance(part, int)]
    return f"{wish} (at item {items[0]})" if items else wish
