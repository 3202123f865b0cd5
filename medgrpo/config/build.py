"""From a node of the config to the object that it describes."""

from __future__ import annotations

from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig

from medgrpo.errors import UserError


def build(node: DictConfig | None, **given: Any) -> Any:
    """What a config node describes, made by its `_target_`; None for a node that is null.

    Its values arrive as plain lists and dicts, and its errors as they are raised.
    """
    try:
        return node and instantiate(node, _convert_="all", _partial_=True)(**given)
    except InstantiationException as error:  # of a node within: a member of judge=panel
        if not isinstance(error.__cause__, UserError):
            raise
        where = str(error).rpartition("full_key: ")[2]
        raise UserError(f"{where}: {error.__cause__}") from None
