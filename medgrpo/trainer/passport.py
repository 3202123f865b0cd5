"""A run's passport: written before it trains; what resumes it is held against it.

After the idea of a model card that can be replayed: it says what the run was made of.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from medgrpo.config.resumed import changes, refused, settings
from medgrpo.dataset.base import SHOWN
from medgrpo.dataset.example import Example, as_read
from medgrpo.dataset.fit import fingerprint
from medgrpo.dataset.prompt import Prompt
from medgrpo.errors import UserError
from medgrpo.judge.client import Judge
from medgrpo.rundir import RunFolder, nan_to_null
from medgrpo.trainer.machine import this_machine

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

RENDERED = 50  # rows of a split, evenly spread, of whose prompts the passport holds a hash


def record_settings(
    folder: RunFolder, cfg: DictConfig, data: DatasetDict, made_of: Mapping[str, Any]
) -> None:
    """Write the passport; hold a run that resumes from checkpoints against its own.

    `made_of` is what else goes into it (JSON). Raises UserError for other training data, or a
    setting that would hold for a part of the run only.
    """
    from medgrpo.trainer.manifest import step_of, whole_checkpoint

    now, recorded, prints = settings(cfg), folder.settings(), fingerprint(data)
    if not (recorded and folder.has_checkpoints):
        passport = {
            "command": ["python", "-m", "medgrpo", *HydraConfig.get().overrides.task],
            "seed": cfg.seed,
            "config": now,
            "changes": [],
            "dataset": prints,
            "rows": [as_read(cast(Example, row)) for row in data["train"].take(SHOWN)],
            **made_of,
            **this_machine(),
        }
        folder.write_json(folder.passport, nan_to_null(passport))
        return
    for problem in refused(recorded, now):
        raise UserError(f"{problem.key}: {problem.message}")
    known = folder.read_passport()["dataset"]
    if other := [split for split in prints if prints[split] != known.get(split)]:
        raise UserError(
            f"dataset: the {' and '.join(other)} rows are not those that this run began with "
            f"({folder.passport}); put them back, or start a new run with another output_dir"
        )
    if changed := changes(recorded, now):
        log.info("resumes with other settings: %s", ", ".join(
            f"{key}={value} ({was} before)" for key, (was, value) in changed.items()
        ))  # fmt: skip
        folder.record_changes(max(0, step_of(whole_checkpoint(folder))), changed)


def prompt_hashes(
    data: DatasetDict, prompt: Prompt, tokenizer: PreTrainedTokenizerBase
) -> dict[str, str]:
    """By split, the SHA-256 of rendered prompts: of data, prompt and chat template together."""
    return {split: _prompt_hash(rows, prompt, tokenizer) for split, rows in data.items()}


def _prompt_hash(rows: Dataset, prompt: Prompt, tokenizer: PreTrainedTokenizerBase) -> str:
    import numpy as np

    digest = hashlib.sha256()
    for place in np.unique(np.linspace(0, len(rows) - 1, min(len(rows), RENDERED)).astype(int)):
        text = tokenizer.apply_chat_template(
            rows[int(place)]["prompt"], tokenize=False, add_generation_prompt=True,
            **prompt.chat_template_kwargs,
        )  # fmt: skip
        digest.update(text.encode())
    return digest.hexdigest()


def judge_facts(judge: Judge | None) -> dict[str, Any] | None:
    """Who judges, and the SHA-256 of all that its cached answers depend on; None for nobody."""
    if judge is None:
        return None
    space = json.dumps(judge.identity, sort_keys=True, default=str)
    return {"name": judge.name, "identity_sha256": hashlib.sha256(space.encode()).hexdigest()}
