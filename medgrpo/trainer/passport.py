"""A run's passport: written before it trains; what resumes it is held against it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, cast

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from medgrpo.config.resumed import changes, refused, settings
from medgrpo.dataset.base import SHOWN
from medgrpo.dataset.example import Example, as_read
from medgrpo.dataset.fit import fingerprint
from medgrpo.errors import UserError
from medgrpo.rundir import RunFolder

if TYPE_CHECKING:
    from datasets import DatasetDict

log = logging.getLogger(__name__)


def record_settings(folder: RunFolder, cfg: DictConfig, data: DatasetDict) -> None:
    """Write the passport; hold a run that resumes from checkpoints against its own.

    Raises UserError for other training data, or a setting that would hold for a part of it only.
    """
    from medgrpo.trainer.manifest import step_of, whole_checkpoint

    now, recorded, prints = settings(cfg), folder.settings(), fingerprint(data)
    if not (recorded and folder.has_checkpoints):
        rows = [as_read(cast(Example, row)) for row in data["train"].take(SHOWN)]
        typed = list(HydraConfig.get().overrides.task)
        folder.write_passport(overrides=typed, config=now, dataset=prints, rows=rows)
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
