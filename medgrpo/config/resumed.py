"""What may differ when a run is resumed. All else would be recorded of a run that did not do it.

A run's passport holds its settings; those of the command that resumes it are held against them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from medgrpo.config.foreign import inert
from medgrpo.config.schema import Problem

NOT_A_SETTING = ("output_dir", "resume", "hydra", "_wandb")  # where, and how often, it ran
_MAY_DIFFER = re.compile(
    r"(first_)?trainer\.args\.save_total_limit|(evaluation|export|tracking|profile|sweep)\..+"
    r"|judge\.(members\.\w+\.)?(base_url|api_key_env|concurrency|requests_per_minute|tokens_per_minute|attempts"
    r"|attempt_timeout|verdict_deadline|backoff|cache|max_failure_rate|failure_window|max_cost"
    r"|price_in|price_out)"
    r"|launch\.(own_process|rendezvous)|trusted_targets|watch\.action|(first_)?trainer\.watch"
)
_OF_PROBES = re.compile(r"evaluation\.(limit|max_new_tokens|max_prompt_tokens)")
_MAY_GROW = re.compile(r"(first_)?trainer\.args\.(max_steps|num_train_epochs)")
_MISSING = object()


def settings(config: Mapping[str, Any] | DictConfig) -> dict[str, Any]:
    """The config flat, with its references resolved, and nothing called.

    What a resolver reads (`${oc.env:KEY}`) may be a secret: it stays as it is written. In a
    DictConfig, which is this machine's own, it is read, and the start of its SHA-256 added; what is
    merely computed is its value.
    """
    own = config if isinstance(config, DictConfig) else None
    plain: Any = config if own is None else OmegaConf.to_container(own)
    kept = {key: value for key, value in plain.items() if key not in NOT_A_SETTING}
    resolved = OmegaConf.to_container(OmegaConf.create(inert(kept)), resolve=True)
    values = flat(resolved)  # type: ignore[arg-type]
    for key, written in flat(kept).items():
        if own is not None and inert(written) != written:
            read = OmegaConf.select(own, key)
            read = OmegaConf.to_container(read, resolve=True) if OmegaConf.is_config(read) else read
            digest = hashlib.sha256(str(read).encode()).hexdigest()
            computed = str(written).startswith("${accumulation:")
            values[key] = read if computed else f"{values[key]} (sha256 {digest[:8]})"
    return values


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested config with dotted keys; lists are values.

    >>> flat({"lora": {"r": 8}, "tags": ["a"]})
    {'lora.r': 8, 'tags': ['a']}
    """
    values: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict) and value:
            values |= flat(value, f"{prefix}{key}.")
        else:
            values[f"{prefix}{key}"] = value
    return values


def changes(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Settings by key, as they were and as they are; null for one that is not there."""
    return {
        key: (recorded.get(key), now.get(key))
        for key in dict.fromkeys([*recorded, *now])
        if recorded.get(key, _MISSING) != now.get(key, _MISSING)
    }


def refused(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Problem]:
    """The settings that a resumed run cannot take on: they would hold for a part of it only."""
    for key, (was, value) in changes(recorded, now).items():
        if _MAY_GROW.fullmatch(key) and was is not None and value is not None:
            if 0 < value < was or was <= 0 < value:
                yield Problem(key, f"{value} is less than the {was} that this run began with")
        elif _OF_PROBES.fullmatch(key) and _probe_rows(recorded) and (
            key != "evaluation.limit" or _probe_rows(recorded) != _probe_rows(now)
        ):  # fmt: skip
            yield Problem(
                key,
                f"differs from what this run's probes began with, {was!r}: they would not compare; "
                "leave it, or evaluate what was trained with trainer=none model.adapter=FOLDER",
            )
        elif not _MAY_DIFFER.fullmatch(key):
            advice = f"leave it as it was, {was!r}, or start a new run with another output_dir"
            yield Problem(key, f"differs from what this run began with: {advice}")


def _probe_rows(settings: Mapping[str, Any]) -> int:
    """How many rows of validation are answered while it trains, to name the best checkpoint."""
    rows = [settings.get(f"{part}.validation_rows") or 0 for part in ("trainer", "first_trainer")]
    limit = settings.get("evaluation.limit")
    return max(rows) if limit is None else min(max(rows), limit)
