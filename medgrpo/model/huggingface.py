"""Load a policy with transformers, PEFT and, for 4 bit, bitsandbytes: CPU or GPU, any model."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medgrpo.errors import UserError
from medgrpo.model.base import ModelSource, Policy
from medgrpo.model.lora import LoRA, sort_target_modules

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

BESIDE_THE_TEXT = r".*(vision_tower|multi_modal_projector).*"  # layers that no prompt reaches


class HuggingFaceModel(ModelSource):
    """`AutoModelForCausalLM` with a LoRA adapter through PEFT."""

    library = "transformers"

    def load(self, lora: LoRA | None) -> Policy:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.prepare_device()
        adapter = self.adapter_path()
        where = self.weights()
        try:
            tokenizer = AutoTokenizer.from_pretrained(where, revision=self.revision)
            model = AutoModelForCausalLM.from_pretrained(
                where,
                revision=self.revision,
                dtype=self._dtype(),
                device_map=self.device,
                **self._quantization(),
            )
        except (OSError, ValueError) as error:
            raise UserError(
                f"model.name_or_path: cannot load {self.name_or_path} ({error}). Give a folder, "
                "a GGUF file, a hub id that this machine can reach, or medgrpo/tiny."
            ) from error
        tokenizer.padding_side = "left"
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        model = sort_target_modules(self._adapt(model, lora, adapter))
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        total = sum(p.numel() for p in model.parameters())
        name, sizes = self.name_or_path, map(_n, (total, trained))
        log.info("model: %s, %s parameters, %s of them trainable", name, *sizes)
        return Policy(model, tokenizer)

    def _dtype(self) -> torch.dtype:
        import torch

        if self.dtype is not None:
            return getattr(torch, self.dtype)
        if self.device == "cpu":
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16

    def _quantization(self) -> dict[str, Any]:
        if not self.load_in_4bit:
            return {}
        from transformers import BitsAndBytesConfig

        return {
            "quantization_config": BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_use_double_quant=True,
                bnb_4bit_compute_dtype=self._dtype(),
            )
        }

    def _adapt(self, model: Any, lora: LoRA | None, adapter: Path | None) -> Any:
        from peft import PeftModel, get_peft_model, prepare_model_for_kbit_training

        if self.load_in_4bit:
            for layer in model.modules():
                # On a CPU with AVX-512 bitsandbytes packs the weights anew when they are first read
                # in evaluation, and fails where a row is no whole number of its blocks.
                if hasattr(layer, "support_avx512bf16_for_cpu"):
                    layer.support_avx512bf16_for_cpu = False
            model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
        if adapter is not None:
            log.info("model: adapter %s keeps its own LoRA settings", adapter)
            return PeftModel.from_pretrained(model, str(adapter), is_trainable=lora is not None)
        if lora is None:
            return model
        config = lora.peft_config()
        if hasattr(model.config, "vision_config"):  # Gemma 3
            config.exclude_modules = BESIDE_THE_TEXT
        return get_peft_model(model, config)


def _n(count: int) -> str:
    """A parameter count as people write it: `1.3 M`."""
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return str(count)
