"""Load a policy with Unsloth: the published recipe, on a CUDA GPU.

Unsloth must be imported before transformers, trl and peft, because it patches them; `load` is
the first to import any of these when it is called first (run.py loads the model before it makes
the trainer). Arguments follow Unsloth's own GRPO notebooks.
"""

from __future__ import annotations

import sys

from medgrpo.errors import UserError
from medgrpo.model.base import ModelSource, Policy
from medgrpo.model.lora import LoRA


class UnslothModel(ModelSource):
    """`unsloth.FastLanguageModel` with its own LoRA kernels and gradient checkpointing."""

    def load(self, lora: LoRA | None) -> Policy:
        self.prepare_device()
        try:
            import unsloth
        except ImportError as error:
            raise UserError(
                "model: this model is loaded by Unsloth, which is not installed "
                f"({error}). Install it (pip install 'medgrpo[unsloth]') or use the transformers "
                "loader: model._target_=medgrpo.model.huggingface.HuggingFaceModel"
            ) from error
        adapter = self.adapter_path()
        model, tokenizer = unsloth.FastLanguageModel.from_pretrained(
            model_name=str(adapter or self.name_or_path),
            max_seq_length=self.max_seq_length,
            dtype=self._dtype(),
            load_in_4bit=self.load_in_4bit,
            revision=None if adapter else self.revision,
        )
        if lora is not None and adapter is None:
            model = unsloth.FastLanguageModel.get_peft_model(
                model,
                r=lora.r,
                target_modules=lora.target_modules,
                lora_alpha=lora.alpha,
                lora_dropout=lora.dropout,
                bias=lora.bias,
                use_gradient_checkpointing="unsloth",
                random_state=sys.modules["torch"].initial_seed() % 2**31,
                use_rslora=lora.use_rslora,
                modules_to_save=lora.modules_to_save,
            )
        tokenizer.padding_side = "left"
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        return Policy(model, tokenizer)

    def _dtype(self) -> object:
        import torch

        return getattr(torch, self.dtype) if self.dtype else None
