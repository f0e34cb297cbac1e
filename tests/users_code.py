"""A folder with a user's modules, as the working directory."""

import sys
from pathlib import Path
from typing import Any

MODEL = """
import torch

class Mine(torch.nn.Module):
    def __init__(self, vocab_size: int, width: int = 4) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(vocab_size, width)
        self.head = torch.nn.Linear(width, vocab_size)

    def forward(self, tokens):
        return self.head(self.table(tokens) * 2.0)
"""
# The same with the function of a module beside it.
HELPED = MODEL.replace("import torch\n", "import torch\nfrom helper import scale\n", 1).replace(
    "self.table(tokens) * 2.0", "scale(self.table(tokens))"
)
HELPER = "def scale(x):\n    return x * 2.0\n"

ASKED: dict[str, Any] = {
    "name": "mine",
    "task": {"kind": "addition", "n_digits": 1},
    "model": {"kind": "mine:Mine"},
    "train": {
        "steps": 4, "batch_size": 8, "evaluate": {"every": 4, "samples": 8},
        "snapshots": {"every": 2, "logarithmic": False},
    },
    "watch": {"every": 2},
    "seeds": 2,
}  # fmt: skip


class Folder:
    """The working directory of a user, whose modules are imported anew after each change."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, files: dict[str, str] | None = None, **modules: str) -> None:
        """Writes files by their paths, and modules by their names."""
        for name, text in {**(files or {}), **{f"{k}.py": v for k, v in modules.items()}}.items():
            file = self.path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        self.forget()

    def forget(self) -> None:
        """What a new process would not have imported."""
        for name, module in list(sys.modules.items()):
            about = vars(module)
            places = [about.get("__file__") or "", *list(about.get("__path__") or ())]
            if any(str(place).startswith(str(self.path)) for place in places):
                del sys.modules[name]
