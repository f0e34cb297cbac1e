"""Tokens per second of generation, with the cache and without, for each position and activation.

``python benchmarks/generate.py`` alternates the two within a round and prints medians as JSON: a
model of 4 layers, width 128, 4 heads; 1 sample; 5 tokens of prompt and 200 that follow.
"""

import argparse
import json
import statistics
import time

import torch

from ablab.model.build import build_model
from ablab.model.generate import Sampling
from ablab.model.transformer_config import TransformerConfig

V = 66
POSITIONS = ("learned", "sinusoidal", "rope", "alibi", "none")
ACTIVATIONS = ("softmax", "softmax1", "sigmoid", "sigmoid_n", "tanh", "none", "relu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=200)
    asked = parser.parse_args()
    cases = [(position, "softmax") for position in POSITIONS]
    cases += [("rope", activation) for activation in ACTIVATIONS[1:]]
    prompt = torch.randint(0, V, (1, 5), generator=torch.Generator().manual_seed(0))
    rows = []
    for position, activation in cases:
        config = TransformerConfig(
            n_layers=4,
            d_model=128,
            n_heads=4,
            position=position,
            attention={"activation": activation},  # type: ignore[arg-type]
        )
        model = build_model(config, V, asked.tokens + 5, seed=0)
        rates: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(asked.rounds):
            texts = []
            for cached in (True, False):
                began = time.perf_counter()
                texts.append(model.generate(prompt, asked.tokens, Sampling(), cached=cached))
                rates[cached].append(asked.tokens / (time.perf_counter() - began))
            assert torch.equal(*texts), "cached equals uncached"
        cached, uncached = (statistics.median(rates[kind]) for kind in (True, False))
        rows.append(
            {
                "position": position,
                "activation": activation,
                "cached": round(cached, 1),
                "uncached": round(uncached, 1),
                "ratio": round(cached / uncached, 2),
            }
        )
    print(json.dumps({"threads": torch.get_num_threads(), "tokens_per_second": rows}, indent=1))


if __name__ == "__main__":
    main()
