"""A checkpoint is resumed from only if it is, byte for byte, what was written."""

from collections.abc import Callable
from pathlib import Path

import pytest

from medgrpo.errors import UserError
from medgrpo.rundir import RunFolder
from medgrpo.trainer.manifest import MANIFEST, whole_checkpoint, write_manifest

FILES = [
    "adapter_model.safetensors", "adapter_config.json", "optimizer.pt", "scheduler.pt",
    "rng_state.pth", "trainer_state.json", "training_args.bin", "global_step5/zero.pt",
]  # fmt: skip


def missing(file: Path) -> None:
    file.unlink()


def empty(file: Path) -> None:
    file.write_bytes(b"")


def half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:500])


def zeroed(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


def one_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[300] ^= 1
    file.write_bytes(content)


DAMAGE: list[Callable[[Path], None]] = [missing, empty, half, zeroed, one_bit]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """Three checkpoints, the last of which was being written."""
    folder = RunFolder(tmp_path)
    for step in (5, 10, 15):
        checkpoint = folder.checkpoints / f"checkpoint-{step}"
        for name in FILES:
            (checkpoint / name).parent.mkdir(parents=True, exist_ok=True)
            (checkpoint / name).write_text(f"{name} of step {step}\n" * 100)
        if step < 15:
            write_manifest(checkpoint)
    return folder


def newest(folder: RunFolder) -> str | None:
    checkpoint = whole_checkpoint(folder)
    return checkpoint and checkpoint.name


def test_one_that_was_never_finished_is_none(folder: RunFolder, tmp_path: Path) -> None:
    assert newest(folder) == "checkpoint-10"
    assert newest(RunFolder(tmp_path / "elsewhere")) is None


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", DAMAGE)
def test_one_that_was_damaged_is_left_out(folder, caplog, name, damage) -> None:
    damage(folder.checkpoints / "checkpoint-10" / name)
    assert newest(folder) == "checkpoint-5"
    assert f"checkpoint-10 is damaged ({name}" in caplog.text


@pytest.mark.parametrize("damage", DAMAGE[1:4])
def test_a_manifest_that_cannot_be_read(folder, caplog, damage) -> None:
    damage(folder.checkpoints / "checkpoint-10" / MANIFEST)
    assert newest(folder) == "checkpoint-5"
    assert "manifest.json cannot be read" in caplog.text


def test_where_all_are_damaged_nothing_is_trained_anew(folder: RunFolder) -> None:
    for step in (5, 10):
        zeroed(folder.checkpoints / f"checkpoint-{step}" / "optimizer.pt")
    with pytest.raises(UserError, match=r"no checkpoint in .* is whole"):
        whole_checkpoint(folder)
