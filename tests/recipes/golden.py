"""Golden loss curves of the shipped recipes: the first steps of every variant's first seed.

``make golden`` writes them anew; nothing else does. A change of code that changes a curve has
changed what is trained.
"""

import json
from pathlib import Path

import torch

from ablab.experiments import experiment
from ablab.train.method import SOLO
from ablab.train.stack import Stack

FILE = Path(__file__).with_name("golden.json")
RECIPES = ("addition", "hexadecimal", "sequences", "shakespeare", "shakespeare-nano")
STEPS = 24


def curves(recipe: str) -> dict[str, list[float]]:
    """The training losses of each variant's first seed, by the variant's label."""
    found = {}
    for variant in experiment(recipe).variants:
        stack = Stack([variant.runs[0]], [None], torch.device("cpu"), SOLO)
        found[variant.label] = stack.advance(STEPS).losses[:, 0].tolist()
    return found


def main() -> None:
    """Writes the file."""
    golden = {recipe: curves(recipe) for recipe in RECIPES}
    FILE.write_text(json.dumps(golden, indent=1) + "\n")
    print(f"wrote {FILE}")


if __name__ == "__main__":
    main()
