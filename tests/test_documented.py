"""Every `python -m medgrpo` that README.md and docs/ show passes all checks; slow: it runs."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, run_medgrpo

from medgrpo.cli import _checked

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(r"^\s*(?:[A-Z_]+=\S+ )*python -m medgrpo (.*)$")
SHORT = {
    "GRPO": ["trainer.args.max_steps=1", "evaluation.limit=4", "trainer.validation_rows=0"],
    "SFT": ["trainer.args.num_train_epochs=1", "dataset.limit=16", "evaluation.limit=4"],
    "none": ["evaluation.limit=4"],
}
ELSEWHERE = (
    "profile=gpu",
    "experiment=",
    "judge=",
    "resume=",
    "model=smollm2",
    "--config-dir",
    "dataset=mmlu_medical",
)


def documented(page: Path) -> Iterator[list[str]]:
    """The arguments of each command in a block of code, or between backquotes with some."""
    text = re.sub(r"\\\n\s*", " ", page.read_text(encoding="utf-8"))
    blocks = re.findall(r"^```\w*\n(.*?)^```|^((?:    .*\n)+)", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in "".join(block).splitlines()]
    for line in [*lines, *re.findall(r"`(python -m medgrpo [^`\n]*=[^`\n]*)`", text)]:
        if found := COMMAND.match(line):
            yield shlex.split(re.sub(r"\$\(.*?\)(?=/)", "weights", found[1]), comments=True)


ALL = [(page.name, argv) for page in PAGES for argv in documented(page)]


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A folder with what the pages name: files, an adapter, a preset of one's own."""
    (tmp_path / "weights").mkdir()
    for name in ("ori_pqal.json", "weights/SmolLM2-135M-Instruct.Q4_1.gguf"):
        (tmp_path / name).touch()
    (tmp_path / "medmcqa").mkdir()
    (tmp_path / "RUN").mkdir()
    (tmp_path / "RUN" / "adapter_config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *_: name)  # extras are installed
    return tmp_path


def test_there_are_commands():
    assert len(ALL) > 25
    assert {page for page, _ in ALL} >= {"README.md", "recipes.md", "sweeps.md", "judges.md"}


@pytest.mark.parametrize(("page", "argv"), ALL, ids=lambda part: " ".join(part)[:60])
def test_a_documented_command_passes_all_checks(place, page, argv):
    if any(arg.startswith(("resume=", "--config-dir")) for arg in argv) or "dataset=mine" in argv:
        pytest.skip("of a reader's own folder: tested with it")
    assert _checked(argv)[1] == []


RUN = [
    argv
    for _, argv in ALL
    if not any(arg.startswith(ELSEWHERE) for arg in argv)
    and not {"dataset=mine", "--help"} & {*argv}
]


@pytest.mark.slow
@pytest.mark.parametrize("argv", RUN, ids=lambda argv: " ".join(argv)[:60])
def test_a_documented_command_runs(tmp_path, argv):
    if "model.adapter=RUN" in argv:
        made = run_medgrpo(tmp_path, *SHORT["GRPO"], "output_dir=RUN")
        assert made.returncode == 0, made.stderr
    record = {"CONTEXTS": ["One."], "final_decision": "yes", "LONG_ANSWER": "So it is."}
    records = {str(i): {"QUESTION": f"Does {i}?", **record} for i in range(80)}
    (tmp_path / "ori_pqal.json").write_text(json.dumps(records))
    kind = "SFT" if "trainer=sft" in argv else "none" if "trainer=none" in argv else "GRPO"
    typed = {arg.partition("=")[0] for arg in argv}
    short = [arg for arg in SHORT[kind] if arg.partition("=")[0] not in typed]
    done = run_medgrpo(tmp_path, *argv, *short, "tracking.mode=disabled")
    assert done.returncode == 0, done.stdout + done.stderr
