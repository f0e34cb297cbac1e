"""A Jupyter kernel that executes cells, with this process's Python and settings."""

from contextlib import contextmanager

import nbformat
from nbclient import NotebookClient

SECONDS = 600  # at the most, for a cell on a busy machine


@contextmanager
def kernel(folder, notebook, monkeypatch):
    """A client whose kernel works in a folder.

    Args:
        folder: The folder.
        notebook: The notebook, or the sources of its cells.
        monkeypatch: Sets the environment of the kernel.
    """
    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(folder / "runtime"))
    if isinstance(notebook, list):
        cells = [nbformat.v4.new_code_cell(source) for source in notebook]
        notebook = nbformat.v4.new_notebook(cells=cells)
    client = NotebookClient(
        notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": folder}}
    )
    with client.setup_kernel():
        yield client


def text_of(cell):
    """The text of a cell's outputs."""
    parts = [
        each.get("text") or each.get("data", {}).get("text/plain", "") for each in cell.outputs
    ]
    return "\n".join(parts)
