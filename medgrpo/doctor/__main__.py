"""`python -m medgrpo.doctor`: what this machine can run, and the command to start with.

Looks at Python, the installed libraries, CPU, memory, disk, GPU, extras, keys (whether they are
set, never what they are) and whether the hub can be reached. Loads no model, writes nothing, takes
seconds. Exit codes: 0 the embedded run can start, 1 something that it needs is missing.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement

from medgrpo import __version__
from medgrpo.config.terminal import printable

GB = 1e9
KEYS = {  # the usual names: a config may name others
    "OPENAI_API_KEY": "profile=gpu's judge",
    "HF_TOKEN": "gated models and data",
    "WANDB_API_KEY": "W&B online; without it runs are logged offline",
}
EXTRAS = {
    "unsloth": "profile=gpu: models by Unsloth",
    "vllm": "trainer=grpo_vllm, engine=vllm",
    "sft": "4-bit Adam and fused kernels",
    "slurm": "hydra/launcher=slurm",
    "gguf": "models from a GGUF file, export=gguf",
    "retrieval": "dataset.retrieval=bm25",
    "trackio": "tracking=trackio",
    "workspace": "compare --wandb",
}
EMBEDDED = "python -m medgrpo"
SECONDS = 2.0  # for the hub's answer
DISK, MEMORY = 1 * GB, 3 * GB  # of the embedded run


class Found(NamedTuple):
    """A line of the report."""

    name: str
    value: str
    problem: str = ""  # what to do about it


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m medgrpo.doctor", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.parse_args(argv)
    needed = [*_python(), *_room()]
    gpus, extras = _gpus(), dict(_extras())
    hub = _hub()
    for found in (*needed, Found("GPU", ", ".join(gpus) or "none that torch sees"), hub):
        _print(found)
    for name, missing in extras.items():
        state = "installed" if not missing else f"no ({missing})"
        _print(Found(f"extra {name}", f"{state}: {EXTRAS[name]}"))
    for name, use in KEYS.items():
        _print(Found(name, f"{'set' if os.environ.get(name) else 'not set'}: {use}"))
    problems = [found.problem for found in needed if found.problem]
    print()
    if problems:
        print("First:")
    else:
        print("Start with:")
        problems = start(gpus=bool(gpus), unsloth=not extras["unsloth"], hub=not hub.problem)
    for line in problems:
        print(f"  {line}")
    return int(any(found.problem for found in needed))


def start(
    *, gpus: bool, unsloth: bool, hub: bool, environment: Mapping[str, str] = os.environ
) -> list[str]:
    """The commands to start with on such a machine, one that trusts nobody first."""
    lines = [f"{EMBEDDED}  # embedded model, data and judge: half a minute"]
    if not gpus:
        return [*lines, f"{EMBEDDED} dataset=pubmedqa lora.r=16"]
    if not unsloth:
        lines.append("pip install -c constraints/unsloth.txt -e '.[unsloth]'")
    if not hub:
        lines.append("# the hub is not reached: model.name_or_path=FOLDER dataset.source=path ...")
    judge = "" if environment.get("OPENAI_API_KEY") else " 'rewards=[formats,verifiable]'"
    return [*lines, f"{EMBEDDED} profile=gpu dataset=medqa{judge}"]


def _print(found: Found) -> None:
    value = printable(found.value)
    print(textwrap.fill(f"  {found.name:<18} {value}", 80, subsequent_indent=" " * 21))
    if found.problem:
        print(f"  {'':<18} {printable(found.problem)}")


def _python() -> Iterator[Found]:
    """Python, this package, and what it requires of others."""
    yield Found("medgrpo", f"{__version__}, Python {platform.python_version()}")
    wrong = list(_unmet(None))
    advice = f"pip install {' '.join(repr(str(one)) for one in wrong)}"
    told = f"{len(wrong)} missing or of another version: {', '.join(one.name for one in wrong)}"
    yield Found("libraries", told if wrong else "as required", advice if wrong else "")


def _unmet(extra: str | None) -> Iterator[Requirement]:
    """What is required and is not here: by the package itself, or by an extra."""
    for line in requires("medgrpo") or []:
        one = Requirement(line)
        plain = not one.marker or one.marker.evaluate({"extra": ""})
        asked = one.marker and one.marker.evaluate({"extra": extra or ""})
        if not (plain if extra is None else asked and not plain):
            continue
        try:
            fits = one.specifier.contains(version(one.name), prereleases=True)
        except PackageNotFoundError:
            fits = False
        if not fits:
            one.marker = None
            yield one


def _extras() -> Iterator[tuple[str, str]]:
    """Each extra, and what of it is missing ("": nothing)."""
    for name in EXTRAS:
        yield name, ", ".join(one.name for one in _unmet(name))


def _room() -> Iterator[Found]:
    """Cores, memory and disk of this machine."""
    import psutil

    free = psutil.virtual_memory().available
    advice = f"close something: the embedded run takes {MEMORY / GB:.0f} GB of memory"
    told = f"{os.cpu_count()} cores, {free / GB:.1f} GB of memory free"
    yield Found("CPU", told, advice if free < MEMORY else "")
    disk = shutil.disk_usage(Path.cwd()).free
    advice = f"make room: {DISK / GB:.0f} GB of disk for a run and its logs"
    yield Found("disk", f"{disk / GB:.1f} GB free here", advice if disk < DISK else "")


def _gpus() -> list[str]:
    """CUDA devices, with their memory. Nothing is imported where there is no driver."""
    if not (Path("/proc/driver/nvidia").exists() or shutil.which("nvidia-smi")):
        return []
    import torch

    if not torch.cuda.is_available():
        return []
    cards = map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
    return [f"{card.name}, {card.total_memory / GB:.0f} GB" for card in cards]


def _hub() -> Found:
    """Whether the hub answers, asked once."""
    import httpx
    from huggingface_hub import constants

    elsewhere = "give folders: model.name_or_path=FOLDER, dataset.path=FILE"
    if constants.is_offline_mode():
        return Found("hub", "HF_HUB_OFFLINE forbids asking", elsewhere)
    try:
        httpx.head(constants.ENDPOINT, timeout=SECONDS)
    except httpx.HTTPError as error:
        return Found("hub", f"{constants.ENDPOINT}: {type(error).__name__}", elsewhere)
    return Found("hub", f"{constants.ENDPOINT} answers")


if __name__ == "__main__":
    sys.exit(main())
