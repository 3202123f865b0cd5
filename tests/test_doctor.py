"""`python -m medgrpo.doctor` says what is here, what is missing, and what to type."""

import shlex
import subprocess
import sys

from conftest import clean_environment

from medgrpo.cli import _checked
from medgrpo.doctor import __main__ as doctor


def test_it_says_what_this_machine_can_run(tmp_path):
    env = clean_environment(tmp_path, {"OPENAI_API_KEY": "sk-secret", "HF_HUB_OFFLINE": "1"})
    done = subprocess.run(
        [sys.executable, "-m", "medgrpo.doctor"],
        cwd=tmp_path, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Start with:\n  python -m medgrpo " in done.stdout
    assert "OPENAI_API_KEY     set" in done.stdout
    assert "sk-secret" not in done.stdout
    assert "HF_HUB_OFFLINE forbids" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert list(tmp_path.iterdir()) == []


def test_a_library_of_another_version_comes_first(monkeypatch, capsys):
    versions = doctor.version
    monkeypatch.setattr(doctor, "version", lambda name: "0.1" if name == "peft" else versions(name))
    assert doctor.main([]) == 1
    told = capsys.readouterr().out
    assert "1 missing or of another version: peft" in told
    assert "First:\n  pip install 'peft>=0.21'" in told


def test_what_it_advises_can_be_typed(monkeypatch):
    """With and without GPU, Unsloth, hub and key."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *_: name)  # extras are installed
    machines = [
        doctor.start(gpus=gpus, unsloth=unsloth, hub=hub, environment=keys)
        for gpus in (False, True)
        for unsloth in (False, True)
        for hub in (False, True)
        for keys in ({}, {"OPENAI_API_KEY": "x"})
    ]
    commands = {line for lines in machines for line in lines if line.startswith("python")}
    assert any("profile=gpu" in line for line in commands)
    for line in commands:
        assert _checked(shlex.split(line, comments=True)[3:])[1] == []
    assert any("constraints/unsloth.txt" in line for line in machines[8])
