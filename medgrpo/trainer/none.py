"""No training: evaluate a model, or an adapter against the model that it was made for."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, ClassVar

from medgrpo.model.base import Policy
from medgrpo.trainer.base import Training, TRLTrainer


@dataclass(kw_only=True)
class NoTraining(TRLTrainer):
    """Stands where a trainer stands; what it ends with is `model.adapter`, if there is one."""

    name: ClassVar[str] = "none"

    args: dict[str, Any] = field(default_factory=dict)

    def train(self, training: Training) -> None:
        """Nothing to do."""

    def starting_point(self, policy: Policy) -> AbstractContextManager[Any]:
        """The base model, without the adapter."""
        return policy.model.disable_adapter() if self.changes(policy) else nullcontext()

    def changes(self, policy: Policy) -> bool:
        """Whether an adapter was loaded (conf/trainer/none.yaml puts no new one on)."""
        from peft import PeftModel

        return isinstance(policy.model, PeftModel)
