"""What a model is to a run, and what ways of loading one share: fields, weights, adapter."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple, Protocol

from annotated_types import Ge

from medgrpo.errors import UserError
from medgrpo.model.gguf import unpacked
from medgrpo.model.lora import LoRA

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)

TINY = Path(__file__).parent / "tiny" / "weights"


class Policy(NamedTuple):
    """A model ready to generate and to be trained, with its tokenizer (padding on the left)."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


class Model(Protocol):
    """All that a run asks of a model; a `ModelSource` also says beforehand what it will take."""

    def load(self, lora: LoRA | None) -> Policy:
        """Load model and tokenizer and put the adapter on: `lora`'s, an earlier one, or none.

        Raises UserError for what the user can mend.
        """


@cache
def _torchs_own_threads() -> int:
    """Before any model of this process has set them."""
    import torch

    return torch.get_num_threads()


@dataclass(kw_only=True)
class ModelSource(Model):
    """A base model as the config describes it.

    By these fields preflight tells what a run will miss, and export finds the weights to merge
    into. A model without them is loaded unseen, and not merged.
    """

    library: ClassVar[str]  # the distribution that loads it
    loads_prequantized: ClassVar[bool] = False  # 4 bit is downloaded as such

    name_or_path: str  # hub id, folder, GGUF file, or "medgrpo/tiny" for the embedded model
    device: Literal["cpu", "cuda"]  # chosen by the profile, never fallen back from
    revision: str | None = None  # hub commit
    max_seq_length: Annotated[int, Ge(1)] = 2048  # prompt and completion, in tokens
    load_in_4bit: bool = False  # NF4 weights (QLoRA, Dettmers et al. 2023)
    dtype: Literal["float32", "bfloat16", "float16"] | None = None  # None: what the device has
    adapter: str | None = None  # run folder or adapter folder to continue from
    threads: Annotated[int, Ge(1)] | None = None  # of the CPU; None: torch's own choice

    def unsupported(self, lora: LoRA | None) -> Iterator[str]:
        """What this loader cannot do of what it is asked for: `key: why, and what to do`."""
        yield from ()

    def local_path(self) -> Path | None:
        """The folder or GGUF file that `name_or_path` names, or None where it is a hub id."""
        path = TINY if self.name_or_path == "medgrpo/tiny" else Path(self.name_or_path).expanduser()
        return path if path.exists() else None

    def weights(self) -> str:
        """The folder or hub id of the weights as they were before any quantisation."""
        path = self.local_path()
        return str(unpacked(path) if path and path.is_file() else path or self.name_or_path)

    def load_merged(self, folder: Path, like: PreTrainedModel) -> PreTrainedModel:
        """What export merged into `folder`, on the device and in the number format of `like`."""
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_pretrained(
            folder, dtype=like.dtype, device_map=str(like.device)
        )

    def prepare_device(self) -> None:
        """Set the CPU's threads. Raises UserError for a CUDA GPU that torch does not see."""
        import torch

        own = _torchs_own_threads()  # asked first, also where it is not needed now
        torch.set_num_threads(self.threads or own)
        if self.device == "cuda" and not torch.cuda.is_available():
            raise UserError(
                "model.device: cuda was asked for (profile=gpu does), but torch sees no CUDA GPU. "
                "Run where there is one, or choose profile=laptop."
            )

    def adapter_path(self) -> Path | None:
        """The folder of `adapter` that holds adapter_config.json. Raises UserError if none."""
        if self.adapter is None:
            return None
        for path in (Path(self.adapter), Path(self.adapter) / "adapter"):
            if (path / "adapter_config.json").is_file():
                return path
        raise UserError(
            f"model.adapter: {self.adapter} holds no adapter_config.json, "
            "neither itself nor in its folder adapter/"
        )


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch. (transformers' set_seed would import it before Unsloth.)"""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def warn_of_unused_gpu(policy: Policy) -> None:
    """Tell a user with a CUDA GPU who runs on the CPU how to ask for the real recipe."""
    import torch

    if policy.model.device.type == "cpu" and torch.cuda.is_available():
        log.info("This machine has a CUDA GPU; profile=gpu runs the published recipe on it.")
