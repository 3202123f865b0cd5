"""Write a merged model as one GGUF file, for llama.cpp and what is built on it (Ollama, LM Studio).

By llama.cpp's own package `gguf`. Its converter is no package, and knows hundreds of models; here
are the families of the shipped configs, whose tokenizers are split by rules that llama.cpp has by
name. A model split by other rules would be fed other tokens than it learnt, and is refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from medgrpo.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from medgrpo.model.base import ModelSource

GGUFType: TypeAlias = Literal["f16", "q8_0"]

ARCHITECTURES = {"llama": "LLAMA", "qwen2": "QWEN2", "qwen3": "QWEN3"}  # model_type: gguf's name
_PERMUTED = ("llama",)  # llama.cpp turns neighbours here where transformers turns halves
_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SPLITS = {  # the expression by which a tokenizer splits text: llama.cpp's name for it
    rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+": name
    for digits, name in ((r"\p{N}{1,3}", "llama-bpe"), (r"\p{N}", "qwen2"))
}
_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5  # kinds of tokens


def gguf_problems(source: ModelSource) -> Iterator[str]:
    """What keeps the model of `source` from becoming a GGUF file; said before it is trained."""
    from huggingface_hub import hf_hub_download

    if not find_spec("gguf"):
        yield "export.gguf: needs gguf: pip install -e '.[gguf]'"
    folder = Path(source.weights())
    if not folder.is_dir():
        for name in ("config.json", "tokenizer.json"):
            file = hf_hub_download(source.name_or_path, name, revision=source.revision)
            folder = Path(file).parent
    if why := unsupported(folder):
        yield f"export.gguf: {why}; choose export=merged_16bit"


def unsupported(folder: Path) -> str | None:
    """Why the model in `folder` cannot be written as GGUF; None: it can."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config.get("model_type") not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        return f"models of type {config.get('model_type')} are not written as GGUF, but {known}"
    rope = _rope(config)
    if rope["rope_type"] not in ("default", "llama3"):
        return f"rotary positions of type {rope['rope_type']} are not written as GGUF"
    tokenizer = folder / "tokenizer.json"
    if not tokenizer.is_file():
        return "the tokenizer is none of the library tokenizers (no tokenizer.json)"
    read = json.loads(tokenizer.read_text(encoding="utf-8"))
    if read["model"]["type"] != "BPE" or _pre_tokenizer(read) is None:
        return "llama.cpp has no name for how its tokenizer splits text"
    return None


def write_gguf(folder: Path, file: Path, kind: GGUFType) -> None:
    """Write the model in `folder` (as `save_pretrained` leaves it) into `file`.

    Matrices are in half precision (`f16`), or in blocks of 32 bytes that share a scale (`q8_0`);
    the rest is in float32. Raises UserError for a model that cannot be written.
    """
    import gguf

    if why := unsupported(folder):
        raise UserError(f"export.gguf: {why}")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    writer = gguf.GGUFWriter(file, config["model_type"])
    _settings(writer, config, kind)
    _vocabulary(writer, folder, config["vocab_size"])
    for name, tensor in _tensors(folder, config):
        matrix = tensor.ndim > 1
        stored = gguf.GGMLQuantizationType.F32
        if matrix:
            fits = kind == "q8_0" and tensor.shape[-1] % 32 == 0
            stored = gguf.GGMLQuantizationType.Q8_0 if fits else gguf.GGMLQuantizationType.F16
        writer.add_tensor(name, gguf.quants.quantize(tensor, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _settings(writer: Any, config: dict[str, Any], kind: GGUFType) -> None:
    """Sizes, in the words of GGUF."""
    import gguf

    heads = config["num_attention_heads"]
    head = config.get("head_dim") or config["hidden_size"] // heads
    writer.add_file_type(getattr(gguf.LlamaFileType, f"MOSTLY_{kind.upper()}"))
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads") or heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(_rope(config)["rope_theta"])
    writer.add_rope_dimension_count(head)
    writer.add_vocab_size(config["vocab_size"])


def _rope(config: dict[str, Any]) -> dict[str, Any]:
    """Of rotary positions: the type, the base and what the type needs."""
    found = config.get("rope_parameters") or config.get("rope_scaling") or {}
    theta = config.get("rope_theta", 10_000.0)
    return {"rope_type": "default", "rope_theta": theta, **found}


def _pre_tokenizer(read: dict[str, Any]) -> str | None:
    """llama.cpp's name for how text is split before it is encoded; None: it has none."""
    first = read["pre_tokenizer"] or {}
    steps = first["pretokenizers"] if first.get("type") == "Sequence" else [first]
    kinds = [step.get("type") for step in steps]
    if kinds == ["ByteLevel"] and steps[0]["use_regex"]:
        return "gpt-2"
    if kinds == ["Digits", "ByteLevel"] and steps[0]["individual_digits"]:
        return "smollm" if steps[1]["use_regex"] else None
    if kinds == ["Split", "ByteLevel"] and not steps[1]["use_regex"]:
        return _SPLITS.get(steps[0]["pattern"].get("Regex"))
    return None


def _vocabulary(writer: Any, folder: Path, size: int) -> None:
    """Tokens, merges, special tokens and the chat template."""
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    read = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    tokens = {number: token for token, number in tokenizer.get_vocab().items()}
    added = {one["id"]: one for one in read["added_tokens"]}
    kinds = [
        _UNUSED if number not in tokens
        else _NORMAL if number not in added
        else _CONTROL if added[number]["special"]
        else _USER_DEFINED
        for number in range(size)
    ]  # fmt: skip
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_pre_tokenizer(read))
    writer.add_token_list([tokens.get(number, f"[PAD{number}]") for number in range(size)])
    writer.add_token_types(kinds)
    merges = read["model"]["merges"]
    writer.add_token_merges([one if isinstance(one, str) else " ".join(one) for one in merges])
    for name in ("bos", "eos", "pad", "unk"):
        if (number := getattr(tokenizer, f"{name}_token_id")) is not None:
            getattr(writer, f"add_{name}_token_id")(number)
    begins = tokenizer.bos_token_id is not None and tokenizer("").input_ids[:1] == [
        tokenizer.bos_token_id
    ]
    writer.add_add_bos_token(begins)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def _tensors(folder: Path, config: dict[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    """Name and values (float32) of each tensor, as llama.cpp has them."""
    import gguf
    import numpy as np
    import torch
    from transformers import AutoModelForCausalLM

    architecture = getattr(gguf.MODEL_ARCH, ARCHITECTURES[config["model_type"]])
    names = gguf.get_tensor_name_map(architecture, config["num_hidden_layers"])
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    heads = config["num_attention_heads"]
    of = {"q_proj": heads, "k_proj": config.get("num_key_value_heads") or heads}
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.get("tie_word_embeddings"):
            continue
        values = tensor.numpy()
        part = name.split(".")[-2]
        if part in of and config["model_type"] in _PERMUTED:
            shape = (of[part], 2, len(values) // of[part] // 2, *values.shape[1:])
            values = values.reshape(shape).swapaxes(1, 2).reshape(values.shape)
        theirs = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if theirs is None:
            raise UserError(f"export.gguf: llama.cpp has no name for the weights {name}")
        yield theirs, values
    if _rope(config)["rope_type"] == "llama3":
        yield "rope_freqs.weight", np.array(_llama3_factors(config), dtype=np.float32)


def _llama3_factors(config: dict[str, Any]) -> list[float]:
    """By what Llama 3 divides each frequency (transformers' `_compute_llama3_parameters`)."""
    rope = _rope(config)
    head = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    trained, factor = rope["original_max_position_embeddings"], rope["factor"]
    factors = []
    for place in range(0, head, 2):
        turns = trained * rope["rope_theta"] ** (-place / head) / (2 * math.pi)  # in the context
        smooth = min(1.0, max(0.0, (turns - low) / (high - low)))
        factors.append(1 / ((1 - smooth) / factor + smooth))
    return factors
