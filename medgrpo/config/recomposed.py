"""The config of a run that was, composed again without its training: to ask it, or to serve it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from medgrpo.config import accumulation, check  # noqa: F401  (a resolver and a profile of conf/)
from medgrpo.config.compose import composed, hydra_with
from medgrpo.config.foreign import brought, read_yaml
from medgrpo.config.overrides import key_of, read, translated
from medgrpo.config.provenance import TYPED, problem_line
from medgrpo.config.resumed import changes, settings
from medgrpo.config.signature import is_own
from medgrpo.config.validate import validate
from medgrpo.errors import UserError

_NO_TRAINER = {"_target_": "medgrpo.trainer.none.NoTraining"}
_NOT_HERE = ("launch", "export", "tracking", "sweep", "watch")  # what a training alone looks at
_OF_ANSWERS = ("prompt.", "dataset.", "model.")


def recomposed(folder: Path, typed: Sequence[str], config_dir: str | None = None) -> DictConfig:
    """The config of the run in `folder`, by the command that it records; `typed` goes before that.

    It is made of the configs of today; what the trainer's brought along (the prompt, rewards) stays
    when the trainer itself is left out. What the folder records is data: see `brought`. Raises
    UserError, with all problems, where it makes no config that answers can be had with.
    """
    file = folder / ".hydra" / "overrides.yaml"
    if not file.is_file():
        raise UserError(f"{folder} is no run folder (no {file} there)")
    recorded = brought(read_yaml(file), str(folder), set(map(key_of, typed)), own=is_own(file))
    kept = [line for line in recorded if not line.lstrip("+~").startswith(("hydra.", "hydra/"))]
    overrides, problems = read([*kept, *translated(typed)])
    cfg = DictConfig({})
    if not problems:
        with hydra_with(config_dir, overrides):
            try:
                cfg = composed("config", [str(override.input_line) for override in overrides])
            except (HydraException, OmegaConfBaseException) as error:
                reason = " ".join(f"{error} {error.__cause__ or ''}".split())
                raise UserError(f"{folder}: {reason}") from None
            with open_dict(cfg):
                cfg.update({"trainer": _NO_TRAINER, "first_trainer": None, "lora": None})
            problems = [one for one in validate(cfg) if one.key.split(".")[0] not in _NOT_HERE]
    if problems:
        lines = [f"  {problem_line(problem, TYPED)}" for problem in problems]
        raise UserError("\n".join([f"{folder}:", *lines]))
    return cfg


def differs(
    recorded: Mapping[str, Any], cfg: DictConfig, typed: Sequence[str]
) -> dict[str, tuple[Any, Any]]:
    """What of prompts, data and model is not as it was `recorded` of the run, and was not typed.

    Its configs have changed since, or the profile is another.
    """
    if not recorded:
        return {}
    unlike = {*map(key_of, typed), "model.adapter"}
    return {
        key: values
        for key, values in changes(recorded, settings(cfg)).items()
        if key.startswith(_OF_ANSWERS) and key not in unlike
    }
