"""A folder of somebody else's is resumed and compared without running what it brings."""

import pickle
import shutil
from pathlib import Path

import pytest
import yaml
from synthetic_runs import make_run

from medgrpo.cli import _checked
from medgrpo.compare.comparison import compare
from medgrpo.config import signature
from medgrpo.config.foreign import brought
from medgrpo.errors import UserError


class Bomb:
    def __reduce__(self):
        return Path.touch, (Path("ran"),)


CALLBACK = [
    "+hydra.callbacks.x._target_=pandas.read_pickle",
    "+hydra.callbacks.x.filepath_or_buffer=bomb.pkl",
]


@pytest.fixture
def bomb(tmp_path):
    """A pickle that makes a file `ran` when it is read."""
    (tmp_path / "bomb.pkl").write_bytes(pickle.dumps(Bomb()))
    yield tmp_path / "ran"
    assert not (tmp_path / "ran").exists()


def problems_of(*argv: str) -> list[str]:
    """What the command line says of a command before anything starts."""
    return _checked(list(argv))[1]


def record(folder: Path, *lines: str) -> None:
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(list(lines)))


def test_a_run_that_brings_a_callback_is_not_resumed(medgrpo, tmp_path, bomb):
    record(tmp_path / "run", *CALLBACK)
    done = medgrpo("resume=run")
    assert done.returncode == 2
    assert "which changes what Hydra runs: if you trust it, type it again" in done.stderr
    assert "Traceback" not in done.stderr


def test_nor_asked_about(tmp_path):
    record(tmp_path / "run", *CALLBACK)
    [problem] = problems_of("--cfg", "hydra", f"resume={tmp_path / 'run'}")
    assert "changes what Hydra runs" in problem


def test_a_sweep_that_brings_one_is_not_resumed(tmp_path):
    overrides = {"task": ["lora.r=4,8"], "hydra": ["hydra.launcher.setup=[touch ran]"]}
    text = yaml.safe_dump({"hydra": {"overrides": overrides}})
    (tmp_path / "multirun.yaml").write_text(text)
    [problem] = problems_of(f"resume={tmp_path}")
    assert "'hydra.launcher.setup=[touch ran]', which changes what Hydra runs" in problem


def test_nor_may_one_be_typed_that_is_not_trusted(medgrpo, bomb, tmp_path):
    done = medgrpo(*CALLBACK)
    assert done.returncode == 2
    assert "hydra.callbacks.x._target_ (command line): pandas.read_pickle is not trusted" in (
        done.stderr
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("+hydra.callbacks.x._target_", "medgrpo.run.build"),
        ("hydra.launcher._target_", "os.system"),
        ("+hydra.launcher.x._target_", "os.system"),
        ("+hydra.job_logging.formatters.x.class", "logging.os.system"),
        ("+hydra.job_logging.handlers.x.class", "subprocess.Popen"),
        ("hydra.job_logging.handlers.console.stream", "ext://antigravity.x"),
    ],
)
def test_only_callbacks_plugins_and_log_handlers_that_are_shipped(key, value):
    [problem] = problems_of(f"{key}={value}")
    assert key.lstrip("+") in problem
    assert "is not trusted" in problem or "is no callback" in problem


TRUSTED = ["lora.r=4", "+x=1", "~rewards.a", "hydra/launcher=slurm", "hydra.launcher.mem_gb=8"]
TRUSTED += ["lora.alpha=${lora.r}", "hydra.sweeper.params.lora.r=4,8", "hydra.verbose=true"]
TRUSTED += ["dataset.path='a b/c.csv'", "rewards=[formats]", "hydra.launcher.partition=gpu-a100"]
NOT = ["hydra/callbacks=x", "+hydra.callbacks.x._target_=a.b", "hydra.searchpath=[pkg://evil]"]
NOT += ["++hydra.job.env_set.LD_PRELOAD=x", "hydra.job_logging.root.level=DEBUG", "--config-dir=x"]
NOT += ["hydra.launcher.setup=[x]", "hydra.launcher.partition='x\ntouch y'", "-m", "", 7, None]
NOT += ["dataset@hydra.callbacks.x=medqa", "hydra.sweeper.params.hydra.callbacks=1", {"a": 1}]
NOT += ["judge.salt=${oc.env:HOME}", "judge.salt=${${x}:HOME}", "hydra.launcher._target_=a.b"]
NOT += ["hydra/launcher@hydra.callbacks.x=slurm", "~hydra.callbacks", "hydra.verbose=${oc.env:X}"]


@pytest.mark.parametrize("line", TRUSTED)
def test_settings_are_taken_over(line):
    assert brought([line], "run", {}) == [line]


@pytest.mark.parametrize("line", NOT, ids=str)
def test_what_is_more_than_a_setting_is_not(line):
    with pytest.raises(UserError, match="type it again"):
        brought([line], "run", {})
    if isinstance(line, str) and "=" in line:
        assert brought([line], "run", {line.lstrip("+~").partition("=")[0]}) == []


def test_trust_is_not_inherited():
    assert brought(["trusted_targets=[os]", "lora.r=4"], "run", {}) == ["lora.r=4"]


@pytest.mark.parametrize(
    "text", ["{a: 1}", "7", "[", "\x00", "- [1", "!!python/object/apply:os.x []"]
)
def test_what_is_no_record_is_told_in_one_line(tmp_path, text):
    folder = tmp_path / "run"
    record(folder)
    (folder / ".hydra" / "overrides.yaml").write_text(text)
    [problem] = problems_of(f"resume={folder}")
    assert "\n" not in problem


def test_a_comparison_resolves_no_more_than_references(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_SECRET", "hunter2")
    folder = make_run(tmp_path / "a").path
    file = folder / ".hydra" / "config.yaml"
    config = yaml.safe_load(file.read_text())
    config["prompt"] = {"text": "${oc.env:MY_SECRET}", "again": "${prompt.text}", "r": "${lora.r}"}
    config["prompt"]["hidden"] = "\\${oc.env:MY_SECRET} ${${prompt.x}:MY_SECRET}"
    file.write_text(yaml.safe_dump(config))
    found = compare([tmp_path]).jobs[0].config
    assert "hunter2" not in str(found)
    assert found["prompt.r"] == found["lora.r"]


SENDS = ["judge.base_url=http://x/v1", "engine.api_key_env=MY_KEY", "export.push_to=them/model",
         "tracking.entity=them", "hydra.sweeper.params.judge.base_url=http://x/v1",
         "++trainer.args.vllm_server_base_url=http://x"]  # fmt: skip


@pytest.mark.parametrize("line", SENDS)
def test_where_to_send_things_is_taken_over_from_oneself_alone(line):
    with pytest.raises(UserError, match="to an address of somebody else's: if you trust it, type"):
        brought([line], "run", {})
    assert brought([line], "run", {}, own=True) == [line]


def test_ones_own_folder_is_known_by_its_signature(tmp_path, monkeypatch):
    monkeypatch.setattr(signature, "KEY", tmp_path / "home" / "key")
    record = tmp_path / "run" / "overrides.yaml"
    record.parent.mkdir()
    record.write_text("- judge.base_url=http://localhost:8000/v1")
    assert not signature.is_own(record)
    signature.sign(record)
    assert signature.is_own(record)
    moved = shutil.copytree(record.parent, tmp_path / "elsewhere") / record.name
    assert signature.is_own(moved)
    moved.write_text("- judge.base_url=http://them/v1")
    assert not signature.is_own(moved)
    monkeypatch.setattr(signature, "KEY", tmp_path / "other home" / "key")
    assert not signature.is_own(record)
    assert (tmp_path / "home" / "key").stat().st_mode & 0o077 == 0
