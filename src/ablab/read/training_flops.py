"""The arithmetic of a training step, estimated from a run's settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class StepFlops:
    """The estimated floating-point operations of one training step of a run.

    Attributes:
        flops: Additions and multiplications of the forward and the backward pass.
        formula: The formula in words.
        complete: Whether the products of attention are counted, which needs a known model.
    """

    flops: float
    formula: str
    complete: bool


def step_flops(
    model: Mapping[str, Any],
    n_params: int,
    samples: int,
    input_length: int,
    source_length: int | None = None,
) -> StepFlops:
    """The floating-point operations of a training step, forward and backward.

    A token costs 6 N operations in products with the N parameters: 2 N in the forward pass and
    4 N in the backward pass (Kaplan et al., 2020, section 2.1). Attention adds 12 L T D, for L
    layers, T positions and heads of width D together (Chowdhery et al., 2022, PaLM, appendix B);
    as there, causal attention counts like full attention, and embeddings count as parameters.
    With ``attention.window``, T is at most the window.

    The blocks of a thinker, about a third of N each, act on different numbers of positions: reading
    and each thought on the M latents, writing on the T positions. So a sample costs
    2 N (M + thoughts · M + T) + 12 D (M S + thoughts · M² + T M), with a question of S tokens.

    For other models, only the 6 N operations per token are counted.

    Args:
        model: The settings of the model, as stored with a run.
        n_params: The number of its parameters, N.
        samples: The samples per step.
        input_length: The tokens per sample, T.
        source_length: The tokens of a sample's question, S; by default all.
    """
    kind = model.get("kind")
    if kind == "thinker":
        return StepFlops(
            samples * _thinker(model, n_params, input_length, source_length or input_length),
            "2 N (M + thoughts · M + T) per sample, plus attention",
            True,
        )
    products = 6.0 * n_params * input_length
    if kind == "transformer":
        attention = sum(_attention(block, input_length) for block in _blocks(model))
        return StepFlops(samples * (products + attention), "6 N + 12 L T D per token", True)
    return StepFlops(samples * products, "6 N per token, without attention", False)


def _blocks(model: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The settings of each block of a transformer."""
    own = {int(number): block for number, block in model.get("blocks", {}).items()}
    return [own.get(number, model) for number in range(int(model.get("n_layers", 1)))]


def _attention(block: Mapping[str, Any], length: int) -> float:
    """The operations of a block's attention for one sample, without products with parameters."""
    attention = block.get("attention")
    if attention is None:
        return 0.0
    seen = min(length, attention.get("window") or length)
    return 12.0 * _width(block) * length * seen


def _width(block: Mapping[str, Any]) -> int:
    """The width of all heads together, D."""
    return int(block["n_heads"] * block["d_head"])


def _thinker(model: Mapping[str, Any], n_params: int, length: int, source: int) -> float:
    """The operations of a thinker for one sample."""
    latents, thoughts = int(model["n_latents"]), int(model["n_thoughts"])
    acted = latents * (1 + thoughts) + length
    pairs = latents * source + thoughts * latents**2 + length * latents
    return 2.0 * n_params * acted + 12.0 * _width(model) * pairs
