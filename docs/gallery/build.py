"""Trains the experiments of this folder and puts their entries beside the HTML pages."""

import contextlib
import shutil
import sys
import tempfile
from pathlib import Path

import ablab

HERE = Path(__file__).parent


def build(folder: Path) -> list[Path]:
    """Trains each experiment, and copies its page to ``folder/NAME/index.html``."""
    pages = []
    folder = folder.resolve()
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(HERE):  # for the file's name
        for file in sorted(Path().glob("*.yaml")):
            result = ablab.run(file, store=Path(scratch) / "lab", quiet=True)
            if not result.complete or any(run.status != "finished" for run in result.runs):
                raise SystemExit(f"{file.name}: not all runs finished")
            page = folder / file.stem / "index.html"
            page.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(result.entry, page)
            pages.append(page)
    return pages


if __name__ == "__main__":
    for page in build(Path(sys.argv[1])):
        print(page)
