"""No training: the run evaluates the model as it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(kw_only=True)
class NoTraining:
    """Stands where a trainer stands and leaves the policy alone."""

    args: dict[str, Any] = field(default_factory=dict)

    def train(self, *unused: object, **also_unused: object) -> None:
        """Nothing to do."""
