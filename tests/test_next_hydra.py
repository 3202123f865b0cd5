"""Config, command line and sweeps on the Hydra to come, in a virtual environment of its own.

The environment has the new Hydra and OmegaConf, and finds everything else where this one has it.
"""

import subprocess
import sys
import sysconfig

import pytest
from conftest import ROOT

NEXT = ["hydra-core==1.4.0rc3", "omegaconf==2.4.1rc1"]
CONCERNED = ["tests/test_cli.py", "tests/test_sweep.py", "tests/conf", "tests/config"]
QUIET = "import warnings; warnings.simplefilter('ignore')"  # tests compare what is on stderr


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> str:
    """The interpreter of the environment."""
    folder = tmp_path_factory.mktemp("hydra")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", *NEXT]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"pip cannot install {' '.join(NEXT)}: {done.stderr[-200:]}")
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "this_environment.pth").write_text(f"{sysconfig.get_path('purelib')}\n{QUIET}\n")
    return str(python)


@pytest.mark.slow
def test_config_command_line_and_sweeps(python):
    code = "import hydra, omegaconf; print(hydra.__version__, omegaconf.__version__)"
    versions = subprocess.check_output([python, "-c", code], text=True)
    assert versions.split() == [line.partition("==")[2] for line in NEXT]
    done = subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *CONCERNED],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
