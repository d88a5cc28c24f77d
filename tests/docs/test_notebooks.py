"""The notebooks run as they stand, and hold no outputs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

nbclient = pytest.importorskip("nbclient", reason="needs the extra docs")
pytest.importorskip("ipykernel", reason="needs the extra docs")
ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "examples/notebooks").glob("*.ipynb"))


def test_notebooks_hold_no_outputs() -> None:
    assert [file.stem for file in NOTEBOOKS] == ["first_run", "own_simulation"]
    for file in NOTEBOOKS:
        for cell in json.loads(file.read_text())["cells"]:
            assert not cell.get("outputs"), file.name
            assert cell.get("execution_count") is None, file.name


@pytest.mark.filterwarnings("ignore")  # of the kernel's own packages
def test_notebooks_run(tmp_path, monkeypatch) -> None:
    """In one kernel, which takes seconds to start: names are forgotten in between."""
    import nbformat

    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    whole = nbformat.v4.new_notebook()
    for file in NOTEBOOKS:
        whole.cells += nbformat.read(file, as_version=4).cells
        whole.cells.append(nbformat.v4.new_code_cell("%reset -f"))
    client = nbclient.NotebookClient(
        whole,
        kernel_name="python3",  # it listens on loopback alone, and messages are signed
        timeout=300,
        startup_timeout=300,
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()
    shown = [output for cell in whole.cells for output in cell.get("outputs", [])]
    said = "".join(output.get("text", "") for output in shown)
    assert "iterations 5–9 (16, 3, 8, 64, 8) to learn from, 4 held out" in said
    assert "relative error 0." in said
    assert any("image/png" in output.get("data", {}) for output in shown)
    assert (tmp_path / "restored.h5").exists()
