"""Every `python -m medgrpo...` that README.md and docs/ show passes all checks; slow: it runs."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, clean_environment, run_medgrpo

from medgrpo.cli import _checked

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(r"^\s*(?:[A-Z_]+=\S+ )*python -m medgrpo (.*)$")
BESIDE = re.compile(r"^\s*python -m medgrpo\.(\w+)(.*)$")
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
    "engine.path=",
    "hydra/launcher=slurm",
    "launch.nodes=",
)


def lines(page: Path) -> Iterator[str]:
    """The lines in blocks of code, and what stands between backquotes."""
    text = re.sub(r"\\\n\s*", " ", page.read_text(encoding="utf-8"))
    blocks = re.findall(r"^```\w*\n(.*?)^```|^((?:    .*\n)+)", text, re.MULTILINE | re.DOTALL)
    yield from (line for block in blocks for line in "".join(block).splitlines())
    yield from re.findall(r"`(python -m medgrpo [^`\n]*=[^`\n]*)`", text)
    yield from re.findall(r"`(python -m medgrpo\.\w+ [^`\n]*)`", text)


def documented(page: Path) -> Iterator[list[str]]:
    """The arguments of each `python -m medgrpo`."""
    for line in lines(page):
        if found := COMMAND.match(line):
            yield shlex.split(re.sub(r"\$\(.*?\)(?=/)", "weights", found[1]), comments=True)


ALL = [(page.name, argv) for page in PAGES for argv in documented(page)]
OTHERS = sorted(
    {
        (found[1], *shlex.split(found[2], comments=True))
        for page in PAGES
        for line in lines(page)
        if (found := BESIDE.match(line)) and "..." not in found[2]
    }
)


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
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "notes.txt").write_text("Aspirin thins blood.\n\nSo does warfarin.")
    kind = "SFT" if "trainer=sft" in argv else "none" if "trainer=none" in argv else "GRPO"
    typed = {arg.partition("=")[0] for arg in argv}
    short = [arg for arg in SHORT[kind] if arg.partition("=")[0] not in typed]
    done = run_medgrpo(tmp_path, *argv, *short, "tracking.mode=disabled")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with runs under the names that the pages give to a reader's own."""
    cwd = tmp_path_factory.mktemp("made")
    done = run_medgrpo(cwd, *SHORT["GRPO"], "rewards=[formats,verifiable]", "output_dir=outputs/X")
    assert done.returncode == 0, done.stderr
    named = {word for _, *argv in OTHERS for word in argv if re.match(r"(outputs|multirun)/", word)}
    for name in named - {"outputs/X"}:
        shutil.copytree(cwd / "outputs" / "X", cwd / name, dirs_exist_ok=True)
    grades = {"question": "?", "answer": "B", "options": ["a", "b"], "response": "B", "grade": 1.0}
    for name in ("graded.jsonl", "FILE"):
        (cwd / name).write_text("".join(json.dumps(grades) + "\n" for _ in range(12)))
    return cwd


@pytest.mark.slow
@pytest.mark.parametrize("argv", OTHERS, ids=lambda argv: " ".join(argv)[:70])
def test_a_documented_command_beside_it_runs(made, argv):
    """But for what asks other machines, or never ends: a page, a server."""
    name, *rest = argv
    if any(arg.startswith(("judge=", "--wandb", "--start", "--terminal")) for arg in rest):
        pytest.skip("asks another machine, or a person")
    if any(arg.startswith("audit.grades=") for arg in rest):
        pytest.skip("of a reader's own file: tests/test_audit_people.py")
    rest = [arg for arg in rest if arg != "--open"]
    if name == "chat" and "--say" not in rest:
        rest += ["--say", "Which vitamin?"]
    if name == "replay" and "--check" not in rest:
        rest += ["--check"]
    done = subprocess.run(
        [sys.executable, "-m", f"medgrpo.{name}", *rest],
        cwd=made, env=clean_environment(made, {}), capture_output=True, text=True, check=False,
    )  # fmt: skip
    told = done.stdout + done.stderr
    assert "Traceback" not in told, told
    expected = {"audit": (0, 1), "replay": (0, 4)}  # exploits were found; the machine differs
    assert done.returncode in expected.get(name, (0,)), told


def test_every_command_is_documented():
    """Each has a page that shows it, a floor of its own, and a place in the reference."""
    commands = {path.parent.name for path in (ROOT / "medgrpo").glob("*/__main__.py")}
    assert {name for name, *_ in OTHERS} == commands
    reference = (ROOT / "docs" / "reference.py").read_text(encoding="utf-8")
    assert all(f'"{name}"' in reference for name in commands)
