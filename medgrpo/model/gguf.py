"""Unpack a GGUF file into a plain model folder, once.

transformers reads GGUF, but what it returns is half a model: it refuses to be saved, cannot be
loaded in 4 bit, and its tokenizer may come with the wrong end token and without a pad token, so
that generation never stops. A folder has none of these limits, and PEFT, Unsloth and vLLM take it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

from medgrpo.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

CACHE = Path("~/.cache/medgrpo/gguf")


def unpacked(file: Path) -> Path:
    """The folder with the weights (float16), config and tokenizer of a GGUF file.

    Written on first use into ~/.cache/medgrpo/gguf, and used as it is as long as the file does not
    change. Raises UserError where `gguf` is not installed or the file cannot be read.
    """
    stat = file.stat()
    identity = f"{file.resolve()} {stat.st_size} {stat.st_mtime_ns}"
    key = hashlib.sha256(identity.encode()).hexdigest()[:12]
    folder = CACHE.expanduser() / f"{file.stem}-{key}"
    if not folder.is_dir():
        log.info("model: unpacking %s into %s (once)", file.name, folder)
        temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
        try:
            _unpack(file, temporary)
            temporary.replace(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


def read_gguf(file: Path, like: PreTrainedModel) -> PreTrainedModel:
    """What a GGUF file of the same model as `like` holds, on its device and in its precision."""
    from transformers import AutoModelForCausalLM

    from medgrpo.model.shared_prompts import inner_model

    config = deepcopy(inner_model(like).config)  # transformers reads no scaled positions of a file
    config.__dict__.pop("quantization_config", None)
    return AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, config=config, dtype=like.dtype,
        device_map=str(like.device),
    )  # fmt: skip


def _unpack(file: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        read = AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, dtype=torch.float16
        )
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    except ImportError as error:
        raise UserError("model.name_or_path: a GGUF file needs gguf: pip install gguf") from error
    except Exception as error:  # a broken file raises whatever its reader runs into
        raise UserError(f"model.name_or_path: cannot read {file} ({error})") from error
    config = read.config
    del config.quantization_config
    with torch.random.fork_rng(devices=[]):  # the first run draws as later ones do
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float16)
    model.load_state_dict(read.state_dict())
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(config.eos_token_id)
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(
        config.pad_token_id or config.eos_token_id
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
