"""The commands that serve what a run made, by the servers that people have.

All of them speak OpenAI's protocol, which engine=openai and `medgrpo.chat` ask.
"""

from __future__ import annotations

import importlib.util
import json
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from medgrpo.errors import UserError
from medgrpo.evaluation.engines.vllm_engine import RANKS
from medgrpo.model.base import ModelSource
from medgrpo.rundir import RunFolder

VLLM_ADVICE = "pip install -e '.[vllm]'"
LLAMA_ADVICE = "llama-server of llama.cpp, or pip install xllamacpp"


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to serve a run."""

    name: str
    command: list[str]
    served_model: str  # the name to ask for
    missing: str | None  # what is to be installed first; None: nothing

    def __str__(self) -> str:
        return shlex.join(self.command)


@dataclass(frozen=True, kw_only=True)
class Served:
    """What is to be served, and where."""

    folder: RunFolder
    model: ModelSource  # the base model as the run loaded it
    host: str = "127.0.0.1"
    port: int = 8000

    @property
    def name(self) -> str:
        """The run's, by which the tuned model is asked for."""
        return self.folder.path.name

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/v1"

    def ways(self) -> list[Way]:
        """Every way that its files allow, what is installed first. UserError for none."""
        found = [*self._by_vllm(), *self._by_llama_cpp()]
        if not found:
            raise UserError(f"{self.folder.path} holds nothing to serve: no adapter/, no gguf/")
        return sorted(found, key=lambda way: way.missing is not None)

    def _by_vllm(self) -> Iterator[Way]:
        adapter = self.folder.adapter
        beside = Path(sys.executable).with_name("vllm")
        program = str(beside) if beside.exists() else shutil.which("vllm")
        start = [program or "vllm", "serve"]
        missing = None if program else VLLM_ADVICE
        end = [
            "--host", self.host, "--port", str(self.port),
            "--max-model-len", str(self.model.max_seq_length),
            "--generation-config", "vllm",  # greedy is greedy: none of the model's own settings
        ]  # fmt: skip
        end += ["--dtype", self.model.dtype] if self.model.dtype else []
        if self.folder.merged.is_dir():
            merged = [str(self.folder.merged), "--served-model-name", self.name]
            yield Way(
                name="vLLM, merged", command=[*start, *merged, *end],
                served_model=self.name, missing=missing,
            )  # fmt: skip
        if (adapter / "adapter_config.json").is_file():
            settings = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
            ranks = [settings["r"], *(settings.get("rank_pattern") or {}).values()]
            rank = next((one for one in RANKS if one >= max(ranks)), RANKS[-1])
            command = [
                *start, self.model.weights(), "--served-model-name", "base",
                "--tokenizer", str(adapter), "--enable-lora",
                "--lora-modules", f"{self.name}={adapter}", "--max-lora-rank", str(rank),
                *(["--quantization", "bitsandbytes"] if self.model.load_in_4bit else []), *end,
            ]  # fmt: skip
            yield Way(
                name="vLLM, adapter", command=command, served_model=self.name, missing=missing
            )
        elif adapter.is_dir():
            whole = [str(adapter), "--served-model-name", self.name]
            yield Way(
                name="vLLM", command=[*start, *whole, *end],
                served_model=self.name, missing=missing,
            )  # fmt: skip

    def _by_llama_cpp(self) -> Iterator[Way]:
        program = shutil.which("llama-server")
        wheel = importlib.util.find_spec("xllamacpp") is not None
        start = [program or "llama-server", "--jinja"]
        if wheel and not program:
            start = [sys.executable, "-m", "medgrpo.serve.llama_server"]
        for file in sorted(self.folder.gguf.glob("*.gguf")):
            command = [
                *start, "--model", str(file), "--ctx-size", str(self.model.max_seq_length),
                "--alias", self.name, "--host", self.host, "--port", str(self.port),
            ]  # fmt: skip
            missing = None if program or wheel else LLAMA_ADVICE
            yield Way(
                name=f"llama.cpp, {file.name}", command=command,
                served_model=self.name, missing=missing,
            )  # fmt: skip
