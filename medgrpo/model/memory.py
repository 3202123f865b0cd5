"""How much memory a run needs, estimated from the model's config.json before anything is loaded.

In bytes, for parameters N (E of them in embeddings), adapter parameters P, layers L, width H, key
and value width K, vocabulary V, batch B, sequence S and completion C (tokens), and b bytes a number
(2; 4 in float32):

    weights      N b,  in 4 bit (N - E) 0.52 + E b     NF4 with double quantisation: 4.13 bits
    training     16 P with LoRA (float32 weight, gradient, two of Adam), N (b + 8) without
    activations  B S H (b L + 34)                      checkpointed: one of L layers is recomputed
                 B S H 34 L                            otherwise
    logits       12 B C V                              float32, their softmax and its gradient
    cache        2 G S L K b                           keys and values of G answers at a time
    context      1.5 GB on a GPU                       CUDA, kernels, fragments

34 bytes a layer and number: Korthikanti et al. 2022, https://arxiv.org/abs/2205.05198. Training and
generation take turns: the estimate is weights + training + max(activations + logits, cache) +
context. The floor, without which nothing can be loaded at all, is weights + training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from medgrpo.model.base import ModelSource
from medgrpo.model.lora import LoRA

GB = 1e9


@dataclass(frozen=True)
class Shape:
    """The sizes of a decoder, as its config.json has them (images' towers are left out)."""

    layers: int
    width: int  # of the hidden state
    inner: int  # of the MLP
    queries: int  # heads x size of a head
    keys: int  # key and value heads x size of a head
    vocabulary: int
    tied: bool  # embedding and output are one

    @classmethod
    def of(cls, config: dict[str, Any]) -> Shape | None:
        """From a config.json; None for an architecture that is described otherwise."""
        try:
            text = {**config, **config.get("text_config", {})}
            heads, width = text["num_attention_heads"], text["hidden_size"]
            size = text.get("head_dim") or width // heads
            return cls(
                layers=text["num_hidden_layers"],
                width=width,
                inner=text["intermediate_size"],
                queries=heads * size,
                keys=(text.get("num_key_value_heads") or heads) * size,
                vocabulary=text["vocab_size"],
                tied=text.get("tie_word_embeddings", True),
            )
        except (KeyError, TypeError, AttributeError):
            return None

    @property
    def embeddings(self) -> int:
        return self.vocabulary * self.width * (1 if self.tied else 2)

    @property
    def parameters(self) -> int:
        attention = 2 * self.width * (self.queries + self.keys)
        return self.layers * (attention + 3 * self.width * self.inner) + self.embeddings

    def adapter(self, rank: int) -> int:
        """Parameters of LoRA on all seven projections: rank x (in + out) each."""
        attention = 4 * self.width + 2 * (self.queries + self.keys)
        return rank * self.layers * (attention + 3 * (self.width + self.inner))


@dataclass(frozen=True)
class MemoryWorkload:
    """What is in memory at a time: tokens of a sequence and completion, sequences."""

    sequence: int
    completion: int
    batch: int  # sequences of a forward and backward pass, 0 without training
    answers: int  # sequences generated at a time
    checkpointing: bool

    @classmethod
    def of(cls, args: dict[str, Any], prompt: int, answer: int, answers: int) -> MemoryWorkload:
        """Of a run with TRL's `args` ({} without training), and `answers` evaluated at a time.

        `prompt` and `answer` are lengths in tokens.
        """
        batch = args.get("per_device_train_batch_size", 0)
        steps = args.get("steps_per_generation") or args.get("gradient_accumulation_steps") or 1
        whole = args.get("max_length")  # of SFT: prompt and completion
        completion = args.get("max_completion_length") or whole or answer
        return cls(
            sequence=whole or prompt + max(completion, answer),
            completion=completion,
            batch=batch,
            answers=max(batch * steps, answers),
            checkpointing=args.get("gradient_checkpointing", True),
        )


def estimate(
    shape: Shape, model: ModelSource, lora: LoRA | None, workload: MemoryWorkload
) -> tuple[float, float]:
    """(floor, estimate) in bytes, by the formula above."""
    number = 4 if (model.dtype or _default_dtype(model)) == "float32" else 2
    weights: float = shape.parameters * number
    if model.load_in_4bit:
        weights = (shape.parameters - shape.embeddings) * 0.52 + shape.embeddings * number
    trained = 16 * shape.adapter(lora.r) if lora else shape.parameters * (number + 8)
    floor = weights + (trained if workload.batch else 0)
    layers = number * shape.layers + 34 if workload.checkpointing else 34 * shape.layers
    activations = workload.batch * workload.sequence * shape.width * layers
    logits = 12 * workload.batch * workload.completion * shape.vocabulary
    cache = 2 * workload.answers * workload.sequence * shape.layers * shape.keys * number
    context = 1.5 * GB if model.device == "cuda" else 0
    return floor, floor + max(activations + logits, cache) + context


def _default_dtype(model: ModelSource) -> str:
    return "float32" if model.device == "cpu" else "bfloat16"
