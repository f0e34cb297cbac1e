"""The trigonometric modular adder: a + b mod p by rotations with a few key frequencies.

Nanda et al., "Progress measures for grokking via mechanistic interpretability" (2023), found this
computation in trained transformers; Gromov, "Grokking modular arithmetic" (2023), gives the weights
of an MLP for it. Here w_k = 2πk / p for each key frequency k. One block, at the position of ``=``:

1. The embedding of the number a is E_k (cos w_k a, sin w_k a) for each k.
2. The head attends to the two operands with the weights 1/2 and writes their mean, which is
   δ_k (cos u_k, sin u_k) with u_k = w_k (a + b) / 2 and δ_k = cos(w_k (a - b) / 2), as
   cos x + cos y = 2 cos((x + y) / 2) cos((x - y) / 2).
3. For each k there are m neurons (m odd) with the phases φ_j = 2πj / m and the inputs
   δ_k cos(u_k - φ_j). Their outputs are weighted by cos 2φ_j and sin 2φ_j and summed. Of the
   Fourier series of the activation in u_k - φ_j, this leaves the second harmonic, whose argument is
   2 u_k = w_k (a + b):

   - ``relu``: relu(cos θ) = 1/π + cos(θ)/2 + Σ_n c_n cos(2nθ) with
     c_n = (2/π) (-1)^(n + 1) / (4n² - 1), so with the weights 3π / m the result is
     |δ_k| (cos w_k (a + b), sin w_k (a + b)), up to the harmonics 2m - 2, 2m + 2, …, which the sum
     does not tell apart from the second: at most about 3 / ((2m - 2)² - 1) of it.
   - ``square``: (δ cos θ)² = δ² (1 + cos 2θ) / 2, so with the weights 4 / m the result is exactly
     δ_k² (cos w_k (a + b), sin w_k (a + b)). ablab computes squares by a gated MLP without an
     activation, whose two input matrices are equal.

4. The unembedding reads cos(w_k c) and sin(w_k c) of this for each answer c, with the amplitude
   A_k:

   logit(c) = Σ_k A_k f(δ_k) cos(w_k (a + b - c)),   f(δ) = |δ| or δ²;   logit(=) = 0.

The two factors of W_U W_out contain more than that, which cancels in the product: all neurons also
write to residual directions that the unembedding does not read, and the unembedding reads
directions to which nothing is written. Both are mutually orthogonal, so what remains of W_U W_out
are the directions cos w_k c and sin w_k c in the space of answers.

The unembedding reads only what the MLP writes, so the path around the MLP does not matter.

Besides the trigonometric neurons, there are neurons that are always active (their output goes to
directions that are not read) and, with ReLU, neurons that are never active (their output weights
point to a direction that is read). With ``square``, the latter have no input weights.
"""

from dataclasses import dataclass, replace

import numpy as np

from ablab.model.build import build_model
from ablab.model.transformer import Transformer
from ablab.tasks.modular_config import ModularConfig
from tests.analysis.planted.stream import (
    Stream,
    add_harmless_biases,
    assign,
    blank_model,
    make_stream,
    write_embedding,
    write_head,
    write_reader,
    write_writer,
)

PHASES = 9  # neurons of a key frequency (m)
EXTRA = 2  # neurons of each other kind
UNREAD = 4  # directions of each kind that cancel in W_U W_out
POSITION_DIRECTIONS = 32
SHARPNESS = 40.0  # the score of the operands minus that of the position of "="
KEYS = {29: {2: 40.0, 5: 48.0, 11: 44.0}, 59: {6: 40.0, 7: 48.0, 12: 44.0, 14: 42.0}}


@dataclass(frozen=True)
class ModularAdder:
    """A trigonometric modular adder and its planted facts. Axes: M neurons, D, V = p + 1, F keys.

    Attributes:
        model: The model.
        task: The task: a + b modulo p.
        stream: The residual stream.
        key_frequencies: The key frequencies k, sorted, (F,).
        amplitudes: A_k, (F,); the amplitudes of the embedding are E_k = sqrt(A_k / max A).
        activation: ``relu`` or ``square``.
        head: The block and the number of the head that adds; its pattern at ``=`` is ½, ½, 0.
        neuron_frequency: The frequency of each neuron's input, (M,).
        neuron_phase: The phase φ of each neuron, whose input is a constant plus
            δ_k cos(u_k - φ), (M,).
        trigonometric: Whether a neuron computes the sum, (M,).
        always_active: Whether a neuron is positive for all a and b, and its output unused, (M,).
        dead: Whether a neuron is zero for all a and b, (M,).
        unread: Orthonormal directions (n, D) to which neurons write and that are not read.
        unwritten: Orthonormal directions (n, D) that the unembedding reads, with the gain of the
            last norm folded into it, and to which nothing is written.
        answers: The token (p,) to which the logit of each answer c belongs: c itself, except in the
            permuted control.
        accuracy: The share of correct answers over all p² pairs.
        loss: The mean loss over all pairs.
    """

    model: Transformer
    task: ModularConfig
    stream: Stream
    key_frequencies: np.ndarray
    amplitudes: np.ndarray
    activation: str
    head: tuple[int, int]
    neuron_frequency: np.ndarray
    neuron_phase: np.ndarray
    trigonometric: np.ndarray
    always_active: np.ndarray
    dead: np.ndarray
    unread: np.ndarray
    unwritten: np.ndarray
    answers: np.ndarray
    accuracy: float
    loss: float

    def logits(self):
        """The logits of all pairs, (p, p, p + 1) with the axes a, b and token, in float64.

        They are the sum over neurons of step 3, without approximation, up to the same constant for
        all tokens.
        """
        p = self.task.p
        a, b, c = np.ogrid[:p, :p, :p]  # the last axis of a and b is that of neurons
        phases = 2 * np.pi * np.arange(PHASES) / PHASES
        logits = np.zeros((p, p, p + 1))
        for k, amplitude in zip(self.key_frequencies, self.amplitudes, strict=True):
            w = 2 * np.pi * k / p
            inputs = np.cos(w * a - phases) / 2 + np.cos(w * b - phases) / 2  # (p, p, m)
            if self.activation == "relu":
                hidden = 3 * np.pi / PHASES * np.maximum(inputs, 0)
            else:
                hidden = 4 / PHASES * inputs**2
            logits[:, :, self.answers] += (
                amplitude * hidden @ np.cos(2 * phases[:, None] - w * c[0])
            )
        return logits

    @property
    def restricted_amplitudes(self):
        """The coefficients of cos(w_k (a + b - c)) in the logits as a function of a, b and c, (F,).

        They are A_k times the mean of f(δ_k) over all a - b: 1/2 for δ², and
        1 / (p sin(π / 2p)), about 2/π, for \\|δ\\| (for an odd p without a common divisor with k).
        With ReLU, aliases with the same frequency modulo p add less than 1e-4 of it.
        """
        p = self.task.p
        mean = 0.5 if self.activation == "square" else 1 / (p * np.sin(np.pi / (2 * p)))
        return self.amplitudes * mean


def modular_adder(
    p=29,
    keys=None,
    activation="relu",
    *,
    scale=1.0,
    norm="none",
    bias=False,
    positions=None,
    seed=0,
):
    """The trigonometric modular adder.

    Args:
        p: The modulus, odd; 29 and 59 have default keys.
        keys: The amplitude of each key frequency; None for the default.
        activation: ``relu`` or ``square``.
        scale: The scale of the residual stream and of the neurons; logits do not depend on it.
        norm: The norm, accounted for.
        bias: Whether there are biases.
        positions: The components (3, ``POSITION_DIRECTIONS``) of the positional embeddings in
            directions that nothing reads; None for a model without positional embeddings.
        seed: The seed of the basis of the residual stream and of everything without effect.
    """
    keys = dict(sorted((KEYS[p] if keys is None else keys).items()))
    task = ModularConfig(p=p)
    stream = make_stream(_names(keys), norm, scale, bias, seed)
    neurons = _neurons(list(keys), seed)
    square = activation == "square"
    mlp = {"activation": "none", "gated": True} if square else {"activation": "relu"}
    model = blank_model(
        stream, task, seed, n_heads=1, d_head=2 * len(keys), d_mlp=len(neurons["frequency"]),
        mlp=mlp, position="none" if positions is None else "learned",
    )  # fmt: skip
    _write_embedding(stream, model, keys, p, positions)
    _write_attention(stream, model, keys)
    _write_mlp(stream, model, neurons, square, seed)
    _write_unembedding(stream, model, keys, p, seed)
    add_harmless_biases(model, seed)
    kinds = ("trigonometric", "always_active", "dead")
    found = ModularAdder(
        model=model,
        task=task,
        stream=stream,
        key_frequencies=np.array(list(keys)),
        amplitudes=np.array(list(keys.values())),
        activation=activation,
        head=(0, 0),
        neuron_frequency=neurons["frequency"],
        neuron_phase=neurons["phase"],
        **{kind: neurons["kind"] == number for number, kind in enumerate(kinds)},
        unread=stream.directions(stream.table("unread", UNREAD)),
        unwritten=stream.directions(stream.table("unwritten", UNREAD)),
        answers=np.arange(p),
        accuracy=0.0,
        loss=0.0,
    )
    return _with_scores(found)


def permuted_adder(p=29, *, seed=0, **settings):
    """A control without structure in its answers: the adder with permuted rows of the unembedding.

    The logit of the answer c is that of the token π(c), for a random permutation π of the numbers,
    so the model maps a + b to π(a + b). As a function of the output token, neither the logits nor
    the unembedding have key frequencies; embedding, attention and neurons still have them.

    Args:
        p: The modulus.
        seed: The seed, as of :func:`modular_adder`, and of the permutation.
        settings: As of :func:`modular_adder`.
    """
    adder = modular_adder(p, seed=seed, **settings)
    answers = np.random.default_rng((seed, 1)).permutation(p)
    linear = adder.model.unembedding
    for parameter in linear.parameters():
        values = parameter.detach().numpy().copy()
        values[answers] = parameter.detach().numpy()[:p]
        assign(parameter, values)
    return _with_scores(replace(adder, answers=answers))


def untrained_adder(p=29, *, norm="layer", bias=True, seed=0):
    """A control without any structure: a transformer with the usual random initial parameters.

    Args:
        p: The modulus.
        norm: The norm.
        bias: Whether there are biases.
        seed: The seed of the parameters.

    Returns:
        The model and its task.
    """
    task = ModularConfig(p=p)
    config = modular_adder(p, norm=norm, bias=bias).model.config
    return build_model(config, task.vocab_size, task.input_length, seed=seed).eval(), task


def pairs(p):
    """The tokens of all pairs, (p², 3), in the order a p + b."""
    a, b = np.divmod(np.arange(p * p), p)
    return np.stack([a, b, np.full_like(a, p)], axis=-1)


def _names(keys):
    """The names of the coordinates."""
    parts = ("number", "mean", "sum")
    waves = [f"{part} {wave} {k}" for part in parts for k in keys for wave in ("cos", "sin")]
    cancelling = [f"{kind} {i}" for kind in ("unread", "unwritten") for i in range(UNREAD)]
    return (*waves, *cancelling, "=", *(f"position {i}" for i in range(POSITION_DIRECTIONS)))


def _waves(stream, part, keys):
    """The coordinates of the cosine and the sine of each key, (2 F, N)."""
    return np.stack([stream[f"{part} {wave} {k}"] for k in keys for wave in ("cos", "sin")])


def _neurons(keys, seed):
    """The frequency, the phase and the kind (0 trigonometric, 1 always active, 2 dead), (M,)."""
    phases = 2 * np.pi * np.arange(PHASES) / PHASES
    order = np.random.default_rng((seed, 2)).permutation(len(keys) * PHASES + 2 * EXTRA)
    extra = np.arange(2 * EXTRA)
    frequency = np.concatenate([np.repeat(keys, PHASES), np.resize(keys, 2 * EXTRA)])
    phase = np.concatenate([np.tile(phases, len(keys)), extra + 0.5])
    kind = np.concatenate([np.zeros(len(keys) * PHASES, dtype=int), 1 + extra // EXTRA])
    return {"frequency": frequency[order], "phase": phase[order], "kind": kind[order]}


def _sizes(keys):
    """The amplitudes of the embedding, E_k."""
    return {k: np.sqrt(amplitude / max(keys.values())) for k, amplitude in keys.items()}


def _write_embedding(stream, model, keys, p, positions):
    """Step 1; ``=`` has a coordinate of its own."""
    tokens = np.zeros((p + 1, len(stream.names)))
    for k, size in _sizes(keys).items():
        angles = 2 * np.pi * k * np.arange(p) / p
        tokens[:p] += size * np.cos(angles)[:, None] * stream[f"number cos {k}"]
        tokens[:p] += size * np.sin(angles)[:, None] * stream[f"number sin {k}"]
    tokens[p] = stream["="]
    if positions is not None:
        positions = positions @ stream.table("position", POSITION_DIRECTIONS)
    write_embedding(stream, model, tokens, positions)


def _write_attention(stream, model, keys):
    """Step 2; the sizes E_k are divided out."""
    sizes = np.repeat(list(_sizes(keys).values()), 2)[:, None]
    write_head(
        stream, model.blocks[0], 0, query=SHARPNESS * stream["="][None], key=-stream["="][None],
        value=_waves(stream, "number", keys) / sizes, output=_waves(stream, "mean", keys),
    )  # fmt: skip


def _write_mlp(stream, model, neurons, square, seed):
    """Step 3, and the neurons without effect."""
    block, rng = model.blocks[0], np.random.default_rng((seed, 3))
    weight = (4 if square else 3 * np.pi) / PHASES
    inputs, outputs, constants = [], [], []
    for k, phase, kind in zip(*(neurons[x] for x in ("frequency", "phase", "kind")), strict=True):
        wave = np.cos(phase) * stream[f"mean cos {k}"] + np.sin(phase) * stream[f"mean sin {k}"]
        double = (
            np.cos(2 * phase) * stream[f"sum cos {k}"] + np.sin(2 * phase) * stream[f"sum sin {k}"]
        )
        unused = 0.3 * rng.normal(size=UNREAD) @ stream.table("unread", UNREAD)
        is_off = kind == 2 and square
        inputs.append(0 * wave if is_off else wave)
        constants.append(0.0 if is_off else (0.0, 2.0, -2.0)[kind])
        outputs.append(unused + (0 if kind == 1 else weight * double))
    inputs, constants = np.stack(inputs), np.array(constants)
    hidden = stream.scale
    first = block.mlp.gate if square else block.mlp.linear
    write_reader(stream, first, block.norm2, hidden * inputs, hidden * constants)
    if square:
        write_reader(stream, block.mlp.linear, block.norm2, inputs, constants)
    write_writer(stream, block.mlp.projection, np.stack(outputs))


def _write_unembedding(stream, model, keys, p, seed):
    """Step 4, and what reads directions to which nothing is written."""
    angles = 2 * np.pi * np.outer(np.arange(p), list(keys)) / p  # (p, F)
    waves = np.stack([np.cos(angles), np.sin(angles)], axis=-1).reshape(p, -1)  # (p, 2 F)
    amplitudes = np.repeat(list(keys.values()), 2)
    directions = np.random.default_rng((seed, 4)).normal(size=(p + 1, UNREAD))
    directions = 10 * directions @ stream.table("unwritten", UNREAD)
    directions[:p] += (amplitudes * waves) @ _waves(stream, "sum", keys)
    write_reader(stream, model.unembedding, model.norm, directions)


def _with_scores(adder):
    """The same adder, with the accuracy and the loss of its logits."""
    logits = adder.logits().reshape(-1, adder.task.p + 1)
    targets = pairs(adder.task.p)[:, :2].sum(-1) % adder.task.p
    right = logits[np.arange(len(targets)), targets]
    highest = logits.max(-1)
    losses = highest + np.log(np.exp(logits - highest[:, None]).sum(-1)) - right
    accuracy = (logits.argmax(-1) == targets).mean()
    return replace(adder, accuracy=float(accuracy), loss=float(losses.mean()))
