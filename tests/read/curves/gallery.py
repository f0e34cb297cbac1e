"""A picture of generated curves with their truth, for a person to agree or disagree with."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tests.read.curves.generated import KINDS, Generated, generate, structureless
from tests.read.curves.noise import NOISES
from tests.read.curves.truth import (
    Descent,
    Floor,
    Growback,
    Plateau,
    Repeats,
    Slowdown,
    Spike,
    Unfinished,
)


def draw(file: Path, seed: int) -> None:
    """Five rows by noise, six columns: the kinds in turn, and in the last one no structure."""
    rng = np.random.default_rng(seed)
    figure = Figure(figsize=(30, 22), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(NOISES), 6)
    for row, noise in enumerate(NOISES):
        for column in range(5):
            kind = KINDS[(row * 5 + column + seed) % len(KINDS)]
            panel(grid[row, column], generate(rng, kind, noise))
        panel(grid[row, 5], structureless(rng, noise))
    figure.savefig(file, dpi=65)


def panel(axes: Axes, curve: Generated) -> None:
    axes.plot(curve.steps, curve.values, color="0.6", linewidth=0.7)
    axes.plot(curve.steps, curve.clean, color="black", linewidth=0.6)
    axes.set_yscale("log")
    words = []
    for event in curve.truth:
        match event:
            case Plateau(level, first, last):
                axes.plot([first, last], [level, level], color="tab:blue", linewidth=5, alpha=0.5)
            case Floor(level, first):
                end = curve.steps[-1]
                axes.plot([first, end], [level, level], color="tab:green", linewidth=5, alpha=0.5)
            case Descent(start, _, form, rate):
                axes.axvline(start, color="tab:blue", linestyle=":")
                words.append(f"{form} {rate:.2g}")
            case Growback(first, last, low, high):
                axes.plot([first, last], [low, high], color="tab:orange", linewidth=3, marker="o")
            case Spike(step, height, width):
                axes.axvspan(step, step + width, color="tab:red", alpha=0.3)
                words.append(f"spike ×{height:.3g}, {width:.0f} wide")
            case Repeats(period):
                words.append(f"every {period:.0f}")
            case Slowdown(step):
                axes.axvline(step, color="tab:purple")
                words.append("slowdown")
            case Unfinished():
                words.append("unfinished")
    axes.set_title(f"{curve.kind}, {curve.noise.relative:.1%}: {'; '.join(words)}"[:75], fontsize=9)
