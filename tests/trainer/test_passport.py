"""What a passport says of a run beside its config."""

from __future__ import annotations

import json
import subprocess
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest

from medgrpo.model import identity as identities
from medgrpo.model.identity import file_hash, identity
from medgrpo.trainer import machine
from medgrpo.trainer.machine import this_machine


def test_a_machine_is_what_it_has_installed_and_no_secret(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-files")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    facts = this_machine()
    assert facts["libraries"]["pytest"] == version("pytest")
    assert facts["python"].startswith("3.")
    assert facts["threads"]["OMP_NUM_THREADS"] == "7"
    assert facts["hardware"]["cores"] > 0
    assert "sk-not-for-files" not in json.dumps(facts)


def test_the_commit_of_the_checkout_and_what_was_changed_in_it(tmp_path, monkeypatch):
    def git(*arguments: str) -> str:
        named = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        done = subprocess.run(named, cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    source = tmp_path / "medgrpo" / "trainer" / "machine.py"
    source.parent.mkdir(parents=True)
    source.write_text("before")
    monkeypatch.setattr(machine, "__file__", str(source))
    assert machine.git_state() == (None, None)  # an installed package has no commit
    git("init")
    git("add", "medgrpo")
    git("commit", "-m", "first")
    commit = git("rev-parse", "HEAD")
    assert machine.git_state() == (commit, None)
    hashes = set()
    for text in ("after", "and after that"):
        source.write_text(text)
        state, changed = machine.git_state()
        assert state == f"{commit}-dirty"
        hashes.add(changed)
    assert len(hashes) == 2


@pytest.fixture
def known(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(identities, "KNOWN", tmp_path / "home" / "hashes.json")
    return tmp_path / "home" / "hashes.json"


def test_local_weights_are_hashed_once(tmp_path, known, monkeypatch):
    weights = tmp_path / "model" / "model.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"numbers")
    first = identity(SimpleNamespace(_name_or_path=str(weights.parent)))
    assert first["sha256"] == {"model.safetensors": file_hash(weights)}
    monkeypatch.setattr("hashlib.file_digest", None)  # reads nothing again
    assert identity(SimpleNamespace(_name_or_path=str(weights.parent))) == first
    monkeypatch.undo()
    weights.write_bytes(b"other numbers")
    assert identity(SimpleNamespace(_name_or_path=str(weights.parent))) != first


@pytest.mark.parametrize("damage", ["", "[]", "{", '{"a": 1}'])
def test_a_damaged_memory_of_hashes_is_made_anew(tmp_path, known, damage):
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"numbers")
    right = file_hash(file)
    known.write_text(damage)
    assert file_hash(file) == right


def test_a_model_of_the_hub_is_its_commit_and_no_byte_is_read(tmp_path, monkeypatch):
    blob = tmp_path / "models--me--model" / "blobs" / "d41d8c"
    file = tmp_path / "models--me--model" / "snapshots" / "abc" / "model.safetensors"
    for path in (blob, file):
        path.parent.mkdir(parents=True)
    blob.touch()
    file.symlink_to(blob)
    monkeypatch.setattr("medgrpo.model.hub.hub_cache", lambda: tmp_path)
    monkeypatch.setattr("hashlib.file_digest", None)
    config = SimpleNamespace(_name_or_path="me/model", _commit_hash="abc")
    assert identity(config) == {
        "name": "me/model",
        "commit": "abc",
        "blobs": {"model.safetensors": "d41d8c"},
    }
