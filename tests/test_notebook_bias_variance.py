"""notebooks/bias_variance.ipynb runs on a real run folder and says what the run found."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "bias_variance.ipynb"


def test_it_runs_on_a_run_folder(sft_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    monkeypatch.setenv("MEDGRPO_RUN", str(sft_run))
    paths = [str(NOTEBOOK.parent.parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    text = "".join(json.dumps(output.get("text", output.get("data", {}))) for output in outputs)
    best = json.loads((sft_run / "best.json").read_text())
    assert "Over-fitting begins in epoch" in text
    assert f"best: step {best['step']} by eval_loss" in text
    assert "mcnemar_p" in text
    assert any("image/png" in output.get("data", {}) for output in outputs)


@pytest.mark.parametrize("file", sorted(NOTEBOOK.parent.glob("*.ipynb")), ids=lambda f: f.stem)
def test_it_is_kept_with_small_outputs_of_an_embedded_run(file: Path) -> None:
    """To be looked at without running it; no error and no path of somebody's machine is in it."""
    text = file.read_text()
    outputs = [one for cell in json.loads(text)["cells"] for one in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert all(output["output_type"] != "error" for output in outputs)
    assert file.stat().st_size < 200_000
    assert "/home/" not in text
    assert "/tmp/" not in text
    assert "pip install" in text
