"""`python -m medgrpo.serve`: the command for what a run left, and the server that it starts."""

import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import wait_for

from medgrpo.serve.__main__ import main


@pytest.fixture
def run(tmp_path, monkeypatch) -> Path:
    """A run of rank 12 with an adapter, of which nothing is loaded here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    folder = tmp_path / "a run"
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text("- dataset=pubmedqa\n- lora.r=12\n")
    (folder / "adapter").mkdir()
    (folder / "adapter" / "adapter_config.json").write_text(json.dumps({"r": 12}))
    return folder


def program(folder: Path, name: str, script: str) -> None:
    """A command `name` that is found."""
    place = folder / "bin"
    place.mkdir(exist_ok=True)
    (place / name).write_text(f"#!/bin/sh\n{script}\n")
    (place / name).chmod(stat.S_IRWXU)


def test_an_adapter_is_served_by_vllm_with_its_base(run, capsys):
    assert main(["a run", "--port", "8123"]) == 0
    told = capsys.readouterr().out
    assert "vLLM, adapter (needs pip install" in told
    assert "--enable-lora --lora-modules" in told
    assert "--max-lora-rank 16" in told  # the least that vLLM knows and that holds 12
    assert f"'a run={run / 'adapter'}'" in told
    assert "engine.base_url=http://127.0.0.1:8123/v1 engine.served_model='a run'" in told


def test_what_is_installed_comes_first(run, tmp_path, capsys):
    (run / "gguf").mkdir()
    (run / "gguf" / "a run-f16.gguf").touch()
    (run / "merged_16bit").mkdir()
    program(tmp_path, "llama-server", "exit 0")
    assert main(["a run"]) == 0
    ways = capsys.readouterr().out
    assert ways.index("llama.cpp, a run-f16.gguf:") < ways.index("vLLM, merged (needs")
    assert "llama-server --jinja --model" in ways


def test_typed_settings_reach_the_server(run, capsys):
    assert (
        main(["a run", "model.max_seq_length=512", "--port", "8001", "model.dtype=bfloat16"]) == 0
    )
    told = capsys.readouterr().out
    assert "--max-model-len 512" in told
    assert "--dtype bfloat16" in told


def test_a_server_that_ends_is_told(run, tmp_path, capsys):
    program(tmp_path, "vllm", "exit 3")
    assert main(["a run", "--start"]) == 1
    assert "the server ended with exit code 3" in capsys.readouterr().err


def test_the_server_ends_with_the_command(run, tmp_path):
    """Also where a cluster ends it: none is left behind on the port."""
    program(tmp_path, "vllm", f"echo $$ > {tmp_path}/pid; exec /bin/sleep 100")
    command = [sys.executable, "-m", "medgrpo.serve", "a run", "--start", "--port", "18124"]
    with subprocess.Popen(command, cwd=tmp_path) as process:
        wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), process)
        process.terminate()
        assert process.wait(30) == 143
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_the_port_of_another_server_is_refused(run, tmp_path, capsys):
    """It would be taken for ours."""
    program(tmp_path, "vllm", "exit 3")
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert main(["a run", "--start", "--port", str(other.getsockname()[1])]) == 2
    assert "another server answers there" in capsys.readouterr().err


def test_mistakes_are_one_line(run, tmp_path, capsys):
    assert main(["nowhere"]) == 2
    assert "nowhere is no run folder" in capsys.readouterr().err
    assert main(["a run", "--start"]) == 2
    assert "needs pip install" in capsys.readouterr().err
    (run / "adapter" / "adapter_config.json").unlink()
    (run / "adapter").rmdir()
    assert main(["a run"]) == 2
    assert "holds nothing to serve" in capsys.readouterr().err
    (run / ".hydra" / "overrides.yaml").write_text("- judge._target_=os.system\n")
    assert main(["a run"]) == 2
    assert "os.system" in capsys.readouterr().err
