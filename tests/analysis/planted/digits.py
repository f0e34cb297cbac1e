"""A digit adder whose carry is one neuron.

The input is two numbers of n digits (n = 1 or 2), least significant digit last; the answer, at
``=``, is the last digit of their sum for n = 1 and the digit before it for n = 2. One block:

1. The embedding of the digit d has d in one coordinate.
2. Head 1 attends from ``=`` evenly to the two last digits and writes their sum s_0. For n = 2, head
   0 does the same for the first digits, with the sum s_1; for n = 1 its output is zero.
3. Neurons with the activation tanh, which is ±1 up to 1e-8 because κ / 2 = 10:

   - the carry, tanh(κ (s_0 - 9.5)): +1 if s_0 ≥ 10, else -1;
   - for n = 2 the wrap, tanh(κ (10 s_1 + s_0 - 99.5)): +1 if the numbers sum to 100 or more;
   - idle neurons, whose output weights are zero.

4. With c = (1 + carry) / 2 and w = (1 + wrap) / 2, the answer is the integer r = s_0 - 10 c for
   n = 1 and r = s_1 + c - 10 w for n = 2. The MLP writes the last terms, and the sum comes from the
   heads past the MLP, so both paths matter. The logit of the digit d is 2 γ d r - γ d² =
   γ r² - γ (r - d)², which is largest at d = r, by γ or more. The tokens + and = have the logits of
   d = -10 and d = -11.

**Sensitivity.** With independent, uniform digits, the carry is the threshold a + b ≥ 10 of the last
digits a and b. Its indicator f has E f = 45/100 and Var f = 0.45 · 0.55 = 0.2475. E[f | a] = a / 10
has the variance (99/12) / 100 = 0.0825, a third of it, and so has E[f | b]. So the first-order
Sobol indices of a and b are 1/3, their interaction has the remaining 1/3, and the total indices are
2/3. All others are 0. An affine function of f, such as the neuron, has the same indices.

For the wrap (n = 2), with the first digits x, y and the last digits a, b: let g be the indicator of
10 (x + y) + a + b ≥ 100. P(g) = P(x + y ≥ 10) + P(x + y = 9) P(a + b ≥ 10) = 0.45 + 0.1 · 0.45 =
0.495, and Var g = 0.249975. E[g | x] = x / 10 + 0.045, as x + y = 9 for one y of ten; its variance
is 0.0825 again. E[g | a] = 0.45 + 0.1 a / 10 has the variance 0.0825 / 100 = 0.000825. So the
first-order indices are 0.0825 / 0.249975 = 0.33003… for x and y and 0.0033003… for a and b. With
the pair (a, b) known, E[g | a, b] = 0.45 + 0.1 f, with the variance 0.01 · 0.2475 = 0.002475; with
(x, y) known, E[g | x, y] = [x + y ≥ 10] + 0.45 [x + y = 9], with the variance 0.45 + 0.1 · 0.45² -
0.495² = 0.225225. So the total indices of the two pairs together are 1 - 0.225225 / 0.249975 =
0.099009… for {a, b} and 1 - 0.002475 / 0.249975 = 0.990099… for {x, y}. The total index of x alone:
E[g | y, a, b] = (y + f) / 10 has the variance (8.25 + 0.2475) / 100 = 0.084975, so it is 0.165 /
0.249975 = 0.660066…; that of a alone: E[g | x, y, b] = [x + y ≥ 10] + [x + y = 9] b / 10 has the
variance 0.45 + 0.1 · 0.285 - 0.495² = 0.233475, so it is 0.0165 / 0.249975 = 0.0660066….

Here the scale does not apply to the neurons, as tanh is not homogeneous.
"""

from dataclasses import dataclass

import numpy as np

from ablab.model.transformer import Transformer
from ablab.tasks.addition_config import AdditionConfig
from tests.analysis.planted.stream import (
    Stream,
    add_harmless_biases,
    blank_model,
    make_stream,
    write_embedding,
    write_head,
    write_reader,
    write_writer,
)

UNIT = 0.1  # the coordinate of one; coordinates stay of order one
STEEPNESS = 20.0  # κ
SHARPNESS = 40.0  # the score of the digits that a head adds, minus that of other positions
LOGIT = 8.0  # γ
CARRY, WRAP = 2, 4  # the numbers of the neurons
NEURONS = 5


@dataclass(frozen=True)
class DigitAdder:
    """A digit adder and its planted facts. Axes: P digits of the input, in the order of positions.

    Attributes:
        model: The model.
        task: The task.
        stream: The residual stream.
        digit_positions: The positions of the digits, (P,): 0, 2 for n = 1 and 0, 1, 3, 4 for n = 2.
        carry: The number of the carry neuron.
        wrap: The number of the wrap neuron; None for n = 1.
        idle_neurons: The numbers of neurons without output.
        carry_positions: The positions on which the carry depends: those of the last digits.
        head_positions: For each head that adds, by its number, the positions that it attends to
            from ``=``, with the weight 1/2 each.
        idle_heads: The numbers of heads without output.
        carry_sobol: The first-order and total Sobol indices of the carry neuron, (2, P).
        carry_interaction: The index of the interaction of the two digits of the carry.
        wrap_sobol: The first-order and total Sobol indices of the wrap neuron, (2, P); None for
            n = 1.
        steepness: κ.
        logit: γ.
    """

    model: Transformer
    task: AdditionConfig
    stream: Stream
    digit_positions: tuple[int, ...]
    carry: int
    wrap: int | None
    idle_neurons: tuple[int, ...]
    carry_positions: tuple[int, int]
    head_positions: dict[int, tuple[int, int]]
    idle_heads: tuple[int, ...]
    carry_sobol: np.ndarray
    carry_interaction: float
    wrap_sobol: np.ndarray | None
    steepness: float
    logit: float


def digit_adder(n_digits=2, *, scale=1.0, norm="none", bias=False, seed=0):
    """The digit adder.

    Args:
        n_digits: The number of digits of each operand, 1 or 2.
        scale: The scale of the residual stream; logits do not depend on it.
        norm: The norm, accounted for.
        bias: Whether there are biases.
        seed: The seed of the basis of the residual stream and of the idle neurons.
    """
    two = n_digits == 2
    task = AdditionConfig(n_digits=n_digits, target="next_to_last" if two else "last")
    length = task.input_length
    names = ("digit", "=", "sum 0", "sum 1", "answer", *(f"position {i}" for i in range(length)))
    stream = make_stream(names, norm, scale, bias, seed)
    model = blank_model(
        stream, task, seed, n_heads=2, d_head=4, d_mlp=NEURONS, mlp={"activation": "tanh"}
    )
    heads = {0: (0, 3), 1: (1, 4)} if two else {1: (0, 2)}
    _write_embedding(stream, model, length)
    for head, places in heads.items():
        _write_head(stream, model.blocks[0], head, f"sum {1 - head}", places)
    _write_mlp(stream, model.blocks[0], two, seed)
    _write_unembedding(stream, model, two)
    add_harmless_biases(model, seed)
    first, total = (np.array([0, x, 0, x]) if two else np.array([x, x]) for x in (1 / 3, 2 / 3))
    parts = np.array([[0.0825, 0.000825, 0.0825, 0.000825], [0.165, 0.0165, 0.165, 0.0165]])
    wrap_sobol = parts / 0.249975 if two else None
    return DigitAdder(
        model=model,
        task=task,
        stream=stream,
        digit_positions=(0, 1, 3, 4) if two else (0, 2),
        carry=CARRY,
        wrap=WRAP if two else None,
        idle_neurons=tuple({*range(NEURONS)} - {CARRY, WRAP if two else CARRY}),
        carry_positions=heads[1],
        head_positions=heads,
        idle_heads=() if two else (0,),
        carry_sobol=np.stack([first, total]),
        carry_interaction=1 / 3,
        wrap_sobol=wrap_sobol,
        steepness=STEEPNESS,
        logit=LOGIT,
    )


def _write_embedding(stream, model, length):
    """Step 1; the token = has a coordinate of its own."""
    tokens = np.zeros((12, len(stream.names)))
    tokens[:10] = UNIT * np.arange(10)[:, None] * stream["digit"]
    tokens[11] = stream["="]
    write_embedding(stream, model, tokens, stream.table("position", length))


def _write_head(stream, block, head, name, places):
    """Step 2 for one head: the sum of the digits at two positions."""
    write_head(
        stream, block, head, query=SHARPNESS * stream["="][None],
        key=sum(stream[f"position {place}"] for place in places)[None],
        value=2 * stream["digit"][None], output=stream[name][None],
    )  # fmt: skip


def _write_mlp(stream, block, two, seed):
    """Step 3, and what the MLP contributes to the answer, in units of ``UNIT``."""
    rng = np.random.default_rng(seed)
    ones, tens = stream["sum 0"] / UNIT, stream["sum 1"] / UNIT
    inputs, outputs = rng.normal(size=(NEURONS, len(stream.names))), np.zeros(NEURONS)
    constants = rng.normal(size=NEURONS)
    inputs[CARRY], constants[CARRY] = STEEPNESS * ones, -9.5 * STEEPNESS
    outputs[CARRY] = 0.5 if two else -5.0
    if two:
        inputs[WRAP], constants[WRAP] = STEEPNESS * (10 * tens + ones), -99.5 * STEEPNESS
        outputs[WRAP] = -5.0
    write_reader(stream, block.mlp.linear, block.norm2, inputs, constants)
    columns = stream.scale * UNIT * outputs[:, None] * stream["answer"]
    write_writer(stream, block.mlp.projection, columns)


def _write_unembedding(stream, model, two):
    """Step 4; r is a sum of digits, the output of the MLP and a constant."""
    numbers = np.array([*range(10), -10, -11], dtype=float)
    answer = (stream["sum 1" if two else "sum 0"] + stream["answer"]) / UNIT
    constant = 0.5 - 5.0 if two else -5.0  # from c and w
    directions = 2 * LOGIT * numbers[:, None] * answer
    constants = 2 * LOGIT * numbers * constant - LOGIT * numbers**2
    write_reader(stream, model.unembedding, model.norm, directions, constants)
