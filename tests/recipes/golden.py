"""Golden loss curves of the shipped recipes: the first steps of every variant's first seed.

``make golden`` writes them anew; nothing else does. A change of code that changes a curve has
changed what is trained.
"""

import json
from pathlib import Path

import numpy as np
import torch

from ablab.experiments import experiment
from ablab.train.method import SOLO, Method
from ablab.train.stack import Stack

FILE = Path(__file__).with_name("golden.json")
# The recipes, each with overrides that leave its trajectories worth the time that they take.
RECIPES: dict[str, tuple[str, ...]] = {
    "addition": (),
    "attention-norms": (
        "model.attention.qk_activation=gelu",
        "model.attention.qk_norm=frobenius,rms",
        "model.attention.post_norm=rms",
    ),
    "attention-norms-bugs": ("attention='none without mask'", "norm='qk rms without dim'"),
    "attention-simulator": ("task.bpe_size=512", "task.seq_len=8", "model.d_model=48"),
    "attention-simulator-pair": (),
    "digit-addition-before": ("shape=64/4",),
    "digit-addition-cures": ("cure='none','falling rate'",),
    "digit-addition-decay": ("train.weight_decay=0,1",),
    "digit-addition-heads": ("shape=8/8,32/32",),
    "digit-addition-last": ("width='4','32'",),
    "digit-addition-next": ("shape=32/16,64/1",),
    "digit-addition-spikes": ("train.weight_decay=0.5",),
    "digit-addition-tiny": (),
    "grokking": (),
    "hexadecimal": (),
    "sequences": (),
    "shakespeare-ladder": ("section='1 bigram','3 one head','7 layer norm'",),
    "shakespeare-nano": (),
    "thinker-addition": ("restart=none",),
    "thinker-permuted": (),
    "thinker-roll": (),
    "thinker-sequences": ("task.n_symbols=2,10", "task.kind=reverse"),
    "thinker-size": ("model.n_latents=8",),
}
# Recipes that look at runs of others, whose curves these are.
SAME_RUNS = {"digit-addition-inside": "digit-addition-last", "grokking-inside": "grokking"}
STEPS = 24
# Training may amplify rounding so much that processors disagree within these steps: grokking's
# float32 curve is 7e-4 off after 24 steps on one processor, and 3e-3 on another. From the given
# step on, such a curve may be three times as far off as rounding of its initial parameters takes
# it here. All its steps are compared in float64 as well, where rounding is far below the bound.
AMPLIFIED_FROM = {"grokking": 16}
PRECISE = ("grokking",)


def curves(
    recipe: str, *overrides: str, method: Method = SOLO, seeds: int = 1
) -> dict[str, list[float]]:
    """The training losses of each variant's first seed, by the variant's label.

    Args:
        recipe: The recipe.
        overrides: Overrides on top of those of ``RECIPES``.
        method: How gradients are computed.
        seeds: How many of the variant's seeds are trained, as one stack.
    """
    found = {}
    for variant in experiment(recipe, *RECIPES[recipe], *overrides).variants:
        stack = Stack(variant.runs[:seeds], None, torch.device("cpu"), method)
        found[variant.label] = stack.advance(STEPS).losses[:, 0].tolist()
    return found


def precise_curves(recipe: str) -> dict[str, list[float]]:
    """:func:`curves` with parameters and arithmetic in float64."""
    return curves(recipe, "train.precision=float64")


def amplified_rounding(recipe: str, trials: int = 3) -> dict[str, np.ndarray]:
    """How far rounding takes each variant's losses: the largest relative change up to each step.

    Each initial parameter is multiplied by one, or by the next number after one, at random.
    """
    found = {}
    for variant in experiment(recipe, *RECIPES[recipe]).variants:
        changes, losses = [], []
        for trial in range(trials + 1):
            stack = Stack(variant.runs[:1], None, torch.device("cpu"), SOLO)
            if trial:
                generator = torch.Generator().manual_seed(trial)
                flips = torch.randint(0, 2, stack.theta.shape, generator=generator)
                stack.theta.mul_(1 + flips * torch.finfo(stack.theta.dtype).eps)
            losses.append(stack.advance(STEPS).losses[:, 0])
            changes.append(np.abs(losses[-1] / losses[0] - 1))
        found[variant.label] = np.maximum.accumulate(np.max(changes, axis=0))
    return found


def main() -> None:
    """Writes the file."""
    golden = {recipe: curves(recipe) for recipe in RECIPES}
    golden |= {f"{recipe} in float64": precise_curves(recipe) for recipe in PRECISE}
    FILE.write_text(json.dumps(golden, indent=1) + "\n")
    print(f"wrote {FILE}")


if __name__ == "__main__":
    main()
