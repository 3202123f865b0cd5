"""Load a policy with Unsloth: the published recipe, on a CUDA GPU.

Unsloth must be imported before transformers, trl and peft, because it patches them; `load` is
the first to import any of these when it is called first (run.py loads the model before it makes
the trainer). Arguments follow Unsloth's own GRPO notebooks; tests/model/test_contracts.py checks
each against the source of the release in the extra `unsloth`.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from annotated_types import Interval

from medgrpo.errors import UserError
from medgrpo.model.base import ModelSource, Policy
from medgrpo.model.lora import LoRA, sort_target_modules

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

_COMPILED = "UNSLOTH_COMPILE_LOCATION"  # of the code that it generates; read when it is imported
MIRROR_ENDINGS = (
    "-unsloth-bnb-4bit",
    "-bnb-4bit",
)  # of the repositories that Unsloth loads instead


@dataclass(kw_only=True)
class UnslothModel(ModelSource):
    """`unsloth.FastLanguageModel` with its own LoRA kernels and gradient checkpointing."""

    library: ClassVar[str] = "unsloth"
    loads_prequantized: ClassVar[bool] = True

    fast_inference: bool = False  # with trainer=grpo_vllm: generate by vLLM on the same weights
    gpu_memory_utilization: Annotated[float, Interval(gt=0, lt=1)] = 0.5  # share of vLLM then

    def unsupported(self, lora: LoRA | None) -> Iterator[str]:
        path = self.local_path()
        if path and path.is_file():
            yield "model.name_or_path: Unsloth takes no GGUF file here; model=local does"
        if self.fast_inference and self.revision:
            yield "model.revision: vLLM loads the default branch; leave out model.fast_inference"
        if lora is None:
            return
        for name in lora.modules_to_save or []:
            if name not in ("lm_head", "embed_tokens") and "norm" not in name:
                yield f"lora.modules_to_save: Unsloth trains no {name} in full"
        asked = {
            "bias": lora.bias != "none",
            "modules_to_save": lora.modules_to_save,
            "use_dora": lora.use_dora,
        }
        for name in filter(asked.get, asked if self.fast_inference else ()):
            yield f"lora.{name}: vLLM cannot serve it; leave out model.fast_inference"

    def weights(self) -> str:
        return _without_ending(super().weights())

    def load(self, lora: LoRA | None) -> Policy:
        self.prepare_device()
        language_model = _import_unsloth().FastLanguageModel
        adapter = self.adapter_path()
        if adapter is not None:
            self._check_base(adapter)
            log.info("model: adapter %s keeps its own LoRA settings", adapter)
        seed = sys.modules["torch"].initial_seed()
        model, tokenizer = language_model.from_pretrained(
            model_name=str(adapter or self.local_path() or self.name_or_path),
            max_seq_length=self.max_seq_length,
            dtype=self.dtype and getattr(sys.modules["torch"], self.dtype),
            load_in_4bit=self.load_in_4bit,
            full_finetuning=not (lora or adapter or self.load_in_4bit),
            revision=None if adapter else self.revision,
            use_exact_model_name=self.revision is not None,  # else a mirror, without the revision
            fast_inference=self.fast_inference,
            gpu_memory_utilization=self.gpu_memory_utilization,
            max_lora_rank=lora.r if lora else 64,
            random_state=seed,
        )
        if lora is not None and adapter is None:
            model = language_model.get_peft_model(model, **_lora_arguments(lora), random_state=seed)
        tokenizer = getattr(tokenizer, "tokenizer", tokenizer)  # Gemma 3 comes with a processor
        tokenizer.padding_side = "left"
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        return Policy(sort_target_modules(model), tokenizer)

    def load_merged(self, folder: Path, like: PreTrainedModel) -> PreTrainedModel:
        """By Unsloth, too: the classes that it has patched run no model that others loaded."""
        model, _ = _import_unsloth().FastLanguageModel.from_pretrained(
            model_name=str(folder),
            max_seq_length=self.max_seq_length,
            dtype=like.dtype,
            load_in_4bit=False,
        )
        return model

    def _check_base(self, adapter: Path) -> None:
        """Unsloth loads an adapter on the base that the adapter names, whatever the config says."""
        config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
        base = config["base_model_name_or_path"]
        if _original(base) != _original(str(self.local_path() or self.name_or_path)):
            raise UserError(
                f"model.adapter: {adapter} was trained on {base}, not on {self.name_or_path}; "
                f"set model.name_or_path={base}"
            )


def _lora_arguments(lora: LoRA) -> dict[str, Any]:
    arguments = {
        "r": lora.r,
        "target_modules": lora.target_modules,
        "lora_alpha": lora.alpha,
        "lora_dropout": lora.dropout,
        "bias": lora.bias,
        "use_gradient_checkpointing": "unsloth",
        "use_rslora": lora.use_rslora,
        "modules_to_save": lora.modules_to_save,
    }
    return arguments | ({"use_dora": True} if lora.use_dora else {})  # handed on to PEFT


def _import_unsloth() -> Any:
    earlier = {"transformers", "trl", "peft"} & sys.modules.keys()
    if earlier and "unsloth" not in sys.modules:
        raise UserError(
            f"model: Unsloth must be imported before {', '.join(sorted(earlier))}, which an "
            "earlier run of this process has loaded. In a sweep, add launch.own_process=true."
        )
    if _COMPILED not in os.environ:  # else in the working directory, where jobs share it
        folder = tempfile.mkdtemp(prefix="medgrpo-unsloth-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ[_COMPILED] = folder
    os.environ.setdefault("UNSLOTH_DISABLE_STATISTICS", "1")  # downloads that count its users
    try:
        import unsloth
    except (ImportError, NotImplementedError) as error:  # not installed, or no GPU that it knows
        raise UserError(
            f"model: Unsloth, which loads this model, cannot be imported ({error}). Install it "
            "(pip install -e '.[unsloth]') on a machine with a GPU, or use "
            "model._target_=medgrpo.model.huggingface.HuggingFaceModel"
        ) from error
    return unsloth


def _original(name: str) -> str:
    """What tells a model from others, whoever has it and in whichever case it is written."""
    return _without_ending(name.rpartition("/")[2].lower())


def _without_ending(name: str) -> str:
    """A repository without what Unsloth appends for its own 4-bit copies of it."""
    for ending in MIRROR_ENDINGS:
        name = name.removesuffix(ending)
    return name
