"""The built wheel is the whole program: it carries conf/, samples and weights, from any folder."""

import subprocess
import sys
import zipfile

import pytest
from conftest import ROOT


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The wheel of this checkout, unpacked as an installer would."""
    folder = tmp_path_factory.mktemp("wheel")
    pytest.importorskip("hatchling", reason="hatchling builds the wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def medgrpo(site, cwd, *overrides):
    return python(site, cwd, "-m", "medgrpo", *overrides)


def python(site, cwd, *arguments):
    """Python with the unpacked wheel and without this checkout."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin", "HOME": str(cwd)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_wheel_carries_every_config_sample_and_weight(unpacked):
    def files(folder, *, below):
        found = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
        return {path.relative_to(below) for path in found}

    packed = files(unpacked, below=unpacked)
    conf = {"medgrpo" / path for path in files(ROOT / "conf", below=ROOT)}
    assert conf <= packed
    assert files(ROOT / "medgrpo", below=ROOT) <= packed


def test_wheel_composes_from_any_folder(unpacked, tmp_path):
    done = medgrpo(unpacked, tmp_path, "--cfg", "job")
    assert done.returncode == 0, done.stderr
    assert "GBaker/MedQA-USMLE-4-options" in done.stdout


def test_wheel_runs(unpacked, tmp_path):
    done = medgrpo(
        unpacked,
        tmp_path,
        "trainer.args.max_steps=1",
        "evaluation.limit=4",
        "rewards=[formats]",
        "output_dir=run",
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "adapter" / "adapter_model.safetensors").exists()


@pytest.mark.slow
def test_wheel_teaches_the_prompts_that_it_ships(unpacked, tmp_path):
    """`python -m medgrpo.model.tiny.build` takes minutes; its first lessons need all its files."""
    taught = (
        "from random import Random\n"
        "from medgrpo.model.tiny.build import MIX, lessons\n"
        "for name, style, _ in MIX:\n"
        "    print(lessons.clean_lesson(name, Random(1), style).messages[0]['content'])"
    )
    done = python(unpacked, tmp_path, "-c", taught)
    assert done.returncode == 0, done.stderr
    assert "<reasoning>" in done.stdout
    usage = python(unpacked, tmp_path, "-m", "medgrpo.model.tiny.build", "--help")
    assert usage.stdout.startswith("usage:"), usage.stderr
