"""The layout of compiled steps agrees with what was measured (docs/decisions/0048)."""

import pytest

from ablab.execute.cost import StepCost, count_cost
from ablab.execute.cost_model import innermost_is_possible, step_seconds
from ablab.experiments import experiment
from ablab.train.method import Method

FACTOR = 2.0  # standard deviations are 1.16 and 1.24

# What is counted (launches, bytes, operations with parameters, of activations and of these in small
# matrices, larger matrices), tokens, samples, samples a call, and milliseconds of a step, innermost
# and usual.
MEASURED = {
    "text of 8, width 8": (111, 4.13e6, 3.19e7, 3.15e6, 3.15e6, 0, 8, 512, None, 8.78, 13.54),
    "text of 16, width 8": (111, 9.32e6, 6.37e7, 1.26e7, 0, 1.23e4, 16, 512, 128, 15.28, 18.67),
    "text of 32, width 32": (111, 3.2e6, 8.85e7, 1.26e7, 0, 768, 32, 32, None, 8.78, 6.08),
    "text of 15, width 32": (111, 1.09e7, 3.32e8, 2.21e7, 0, 6.14e3, 15, 256, 128, 21.21, 18.71),
    "text of 32, width 64": (100, 8.89e7, 5.25e9, 4.03e8, 0, 1.23e4, 32, 512, 64, 268.41, 165.72),
    "text of 32, two blocks": (263, 9.49e6, 3.59e8, 3.77e7, 0, 1.15e3, 32, 32, None, 21.76, 18.56),
    "addition, 8 heads of 1": (94, 5.1e5, 3.49e6, 2.95e5, 2.95e5, 0, 12, 256, None, 1.23, 1.80),
    "addition, 16 heads of 2": (94, 1.69e6, 5.41e7, 1.18e6, 1.18e6, 0, 12, 256, None, 2.83, 3.39),
    "addition, all digits": (117, 7.42e6, 2e8, 8.65e6, 8.65e6, 0, 11, 512, 128, 15.00, 25.60),
    "addition, width 128": (77, 5.83e6, 8.58e8, 4.72e6, 0, 1.54e3, 12, 256, None, 21.00, 19.88),
    "a ladder of text": (72, 7.81e6, 2.55e8, 2.52e7, 0, 6.14e3, 8, 1024, 256, 18.15, 16.12),
    "a thinker": (244, 1.14e7, 3.59e8, 9.04e6, 9.04e6, 0, 11, 256, 128, 20.98, 33.36),
}


@pytest.mark.parametrize("name", MEASURED)
def test_the_layout_is_the_one_that_was_measured_to_be_faster(name):
    *counts, tokens, samples, part, innermost, usual = MEASURED[name]
    launches, size, flops, own, small, larger = counts
    cost = StepCost(
        name, flops, own, int(size), 10**5, int(launches), tokens, samples,
        small_flops=small, larger_products=larger,
    )  # fmt: skip
    methods = [Method("stack", True, each, "plain", 1, part) for each in ("usual", "innermost")]
    # The machine's products took 1.47 times as long as those of the reference.
    by_model = [1470 * step_seconds(cost, method, 1) for method in methods]
    assert (by_model[1] < by_model[0]) == (innermost < usual)
    for measured, guess in zip((usual, innermost), by_model, strict=True):
        assert 1 / FACTOR < measured / guess < FACTOR


def test_short_batches_and_long_sequences_keep_the_usual_layout():
    def possible(tokens, samples, mixes):
        cost = StepCost("narrow", 1e6, 1e5, 10**5, 10**4, 100, tokens, samples, mixes)
        return innermost_is_possible(cost)

    assert not possible(11, 16, False) and not possible(64, 512, False)
    assert not possible(11, 512, True)
    assert possible(11, 512, False) and possible(32, 32, False)


@pytest.mark.parametrize(("heads", "small"), [(4, True), (1, False)])
def test_matrices_of_attention_are_counted(heads, small):
    tree = {
        "name": "counted",
        "task": {"kind": "addition", "n_digits": 2, "target": "all"},  # 8 tokens
        "model": {"kind": "transformer", "n_layers": 2, "d_model": 8, "n_heads": heads},
        "train": {"steps": 1, "batch_size": 24},
    }
    cost = count_cost(experiment(tree).runs[0])
    assert not isinstance(cost, str)
    # For each block, sample and head: two products forward, and two for each of them backward. The
    # last block has as many queries as there are digits to predict.
    matrices = 24 * heads * 6
    operations = 2 * 24 * heads * 6 * (8 // heads) * (8 * 8 + 3 * 8)
    assert cost.attention_flops == operations
    found = cost.small_flops, cost.larger_products
    if small:  # at most 8 × 8 × 2 multiplications
        assert found == (operations, 0)
    else:  # 8 × 8 × 8, and 3 × 8 × 8 in the last block
        assert found == (2 * 24 * 6 * 8 * 3 * 8, matrices)
