"""What a run will miss, said before anything is loaded, all at once.

A missing GPU, a gated model or a full disk would otherwise show up one at a time, each after
minutes of downloads. Nothing heavy is imported on the way: torch only where there is a GPU.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from medgrpo.errors import UserError
from medgrpo.model.base import Model, ModelSource
from medgrpo.model.hub import cached_config, cached_dataset, hub_cache, hub_problems
from medgrpo.model.lora import LoRA
from medgrpo.model.memory import GB, MemoryWorkload, Shape, estimate
from medgrpo.model.to_gguf import gguf_problems

log = logging.getLogger(__name__)

SPARE_DISK = 0.2 * GB  # for the run folder: checkpoints, completions, logs

GPU_ADVICE = (
    "use a machine with one (12-16 GB for a 3B model in 4 bit), or profile=laptop, or a small "
    "model on the CPU: docs/recipes.md"
)


def preflight(
    model: Model,
    lora: LoRA | None,
    loads: Sequence[MemoryWorkload],
    folder: Path,
    dataset_id: str | None,
    *,
    merged: bool = False,
    gguf: bool = False,
) -> None:
    """Raise one UserError with a line for each thing that this machine lacks.

    `loads` are what the trainings of the run hold in memory, one after another, `folder` is where
    it writes, `dataset_id` is the data's hub id if it comes from there, `merged` and `gguf` whether
    the result will be merged, into a folder or a GGUF file. A run that may not fit into memory is
    warned about; one whose weights alone do not is refused. Of a model that is no ModelSource
    nothing is known before it is loaded.
    """
    problems: list[str] = []
    missing: list[str] = []
    written, key = SPARE_DISK, "export.merged" if merged else "export.gguf"
    if isinstance(model, ModelSource):
        shape, missing = _shape(model)
        problems += [*_loader(model, lora), *missing, *_weights(shape, model, lora, loads)]
        if (merged or gguf) and shape:
            written += shape.parameters * (2 * merged + 6 * gguf)  # in float32, before it is a file
            problems += _merging(shape, model, key)
            problems += gguf_problems(model) if gguf else ()
    elif merged or gguf:
        problems.append(
            f"{key}: {type(model).__name__} does not say where its weights lie; make it a "
            "medgrpo.model.base.ModelSource, or choose export=adapter"
        )
    if dataset_id and not missing and not cached_dataset(dataset_id):
        problems += hub_problems("dataset.dataset_id", "dataset", dataset_id, None)
    problems += _disk(folder, written)
    if problems:
        raise UserError("\n  ".join(["this run cannot start here:", *problems]))


def _loader(model: ModelSource, lora: LoRA | None) -> Iterator[str]:
    """What loads the model: whether it can do what it is asked for, is installed, has a GPU."""
    yield from model.unsupported(lora)
    yield from _libraries(model)
    if model.device == "cuda" and not _sees_gpu():
        yield f"model.device: cuda was asked for, but no CUDA GPU is seen; {GPU_ADVICE}"


def _weights(
    shape: Shape | None, model: ModelSource, lora: LoRA | None, loads: Sequence[MemoryWorkload]
) -> Iterator[str]:
    """Whether the weights find room on the disk, where they are not there yet, and in memory."""
    if shape is None:
        return
    if model.local_path() is None and not cached_config(model):
        yield from _disk(hub_cache(), shape.parameters * _downloaded(model))
    if model.device != "cuda" or _sees_gpu():
        yield from _memory(shape, model, lora, loads)


def _merging(shape: Shape, model: ModelSource, key: str) -> Iterator[str]:
    """Whether, for `key`, the base, in float32 and on the CPU, has room at the end of the run.

    Trained from Unsloth's own 4-bit copy, it has to be downloaded for that in 16 bit.
    """
    import psutil

    needed, there = shape.parameters * 4, psutil.virtual_memory().total
    if needed > there:
        yield (
            f"{key}: merging takes {needed / GB:.1f} GB of memory (the base in float32, on "
            f"the CPU), and this machine has {there / GB:.1f}; choose export=adapter and merge on "
            "a larger one"
        )
    downloaded = _downloaded(model) < 2
    if downloaded and model.local_path() is None:
        yield from _disk(hub_cache(), shape.parameters * (2 + _downloaded(model)))
    log.info(
        "export: merging will take %.1f GB of memory and write %.1f GB%s",
        needed / GB, shape.parameters * 2 / GB,
        f", after a download of {shape.parameters * 2 / GB:.1f} GB" * downloaded,
    )  # fmt: skip


def _sees_gpu() -> bool:
    """Whether the CUDA driver counts a device, CUDA_VISIBLE_DEVICES included.

    ROCm, whose GPUs torch calls cuda too, is left to torch.
    """
    if os.path.exists("/dev/kfd"):
        return True
    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int()
    return driver.cuInit(0) == 0 == driver.cuDeviceGetCount(ctypes.byref(count)) and count.value > 0


def _libraries(model: ModelSource) -> Iterator[str]:
    """The loader's library and what it requires, by the metadata of what is installed."""
    from packaging.requirements import Requirement

    if model.device == "cuda" and version("torch").endswith("+cpu"):
        yield (
            f"torch: {version('torch')} is a build for the CPU; install one for CUDA: "
            "https://pytorch.org/get-started/locally"
        )
    try:
        required = [Requirement(line) for line in requires(model.library) or []]
    except PackageNotFoundError:
        yield (
            f"{model.library}: loads this model and is not installed; "
            f"pip install -e '.[{model.library}]', or "
            "model._target_=medgrpo.model.huggingface.HuggingFaceModel"
        )
        return
    for requirement in required:
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            continue  # what it cannot do without, its own import says
        if not requirement.specifier.contains(installed, prereleases=True):
            yield (
                f"{requirement.name}: {installed} is installed, {model.library} needs "
                f"{requirement.specifier}; pip install '{requirement}'"
            )


def _shape(model: ModelSource) -> tuple[Shape | None, list[str]]:
    """The sizes in the model's config.json (None: not told), and why it could not be had."""
    path = model.local_path()
    if path is not None:
        return _read(path / "config.json"), []
    file = cached_config(model)
    if file is not None:
        return _read(file), []
    problems = [*hub_problems("model.name_or_path", "model", model.name_or_path, model.revision)]
    if problems:
        return None, problems
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        file = Path(hf_hub_download(model.name_or_path, "config.json", revision=model.revision))
    except EntryNotFoundError:
        return None, []
    return _read(file), []


def _read(config: Path) -> Shape | None:
    """None where there is no such file, or none that we understand: its loader will say more."""
    try:
        return Shape.of(json.loads(config.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def _downloaded(model: ModelSource) -> float:
    """Bytes a parameter of what is downloaded: 16 bit, or the 4-bit copy that Unsloth prefers."""
    return 0.7 if model.loads_prequantized and model.load_in_4bit and not model.revision else 2.0


def _disk(folder: Path, needed: float) -> Iterator[str]:
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        yield f"disk: {folder} needs {needed / GB:.1f} GB, {free / GB:.1f} GB are free; make room"


def _memory(
    shape: Shape, model: ModelSource, lora: LoRA | None, loads: Sequence[MemoryWorkload]
) -> Iterator[str]:
    free = _free_gpu() if model.device == "cuda" else _free_ram()
    if free is None:
        return
    estimates = [estimate(shape, model, lora, load) for load in loads]
    floor, all_in_all = map(max, zip(*estimates, strict=True))
    figures = f"{all_in_all / GB:.1f} GB by estimate, {free / GB:.1f} GB are free ({model.device})"
    advice = "a smaller model, model.load_in_4bit=true, smaller batches: docs/recipes.md"
    if floor > free:
        yield f"memory: this run needs {figures}; {advice}"
    elif all_in_all > free:
        log.warning("memory: this run may need %s. If it fails: %s", figures, advice)
    elif model.device == "cuda":
        log.info("memory: %s", figures)


def _free_gpu() -> float | None:
    import torch

    return torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else None


def _free_ram() -> float:
    import psutil

    return psutil.virtual_memory().available
