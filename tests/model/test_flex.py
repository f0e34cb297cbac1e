"""FlexAttention's way to other activations, beside the formulas in float64."""

import pytest
import torch

from ablab.model import flex
from ablab.model.build import build_model
from ablab.model.flex import Terms
from ablab.model.forward import Forward, FusedKernels
from ablab.model.positions.alibi import slopes
from ablab.model.transformer_config import TransformerConfig
from ablab.train.method import SOLO, STACK
from ablab.train.stack import Stack
from tests.helpers import TEXT, make_run
from tests.model.reference import attention_row

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
TERMS = [
    Terms(bias=-3.0),
    Terms(window=37),
    Terms(slopes=tuple(slopes(2))),
    Terms(causal=False),
]


def drawn(requires_grad=False):
    generator = torch.Generator().manual_seed(0)
    shape = (2, 2, 130, 32)
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=requires_grad)
        for _ in range(3)
    ]


def formulas(name, q, k, v, terms):
    """Row by row in NumPy."""
    z = torch.zeros_like(q)
    for b, h, t in torch.cartesian_prod(*(torch.arange(n) for n in q.shape[:3])).tolist():
        first = max(0, t + 1 - terms.window) if terms.window else 0
        last = t + 1 if terms.causal else q.shape[2]
        scores = (k[b, h, first:last] @ q[b, h, t]).numpy() / 32**0.5 + terms.bias
        if terms.slopes:
            scores = scores - terms.slopes[h] * abs(t - torch.arange(first, last).numpy())
        weights = torch.from_numpy(attention_row(scores, name))
        z[b, h, t] = weights @ v[b, h, first:last]
    return z


@pytest.mark.parametrize("terms", TERMS, ids=str)
def test_the_sum_that_is_taken_off_is_of_what_is_visible(terms):
    _, _, v = drawn()
    query, key = torch.arange(130)[:, None], torch.arange(130)
    seen = (key <= query) | (not terms.causal)
    if terms.window:
        seen = seen & (key > query - terms.window)
    expected = seen.double() @ v
    torch.testing.assert_close(flex._visible_sum(v, terms).expand_as(expected), expected)


@pytest.mark.compiled
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's own, of its parts
@pytest.mark.parametrize("name", flex.NAMES)
def test_the_compiled_forward_pass_is_the_formulas(name):
    q, k, v = drawn()
    terms = Terms(bias=-1.0, slopes=tuple(slopes(2)), window=37)
    expected = formulas(name, q, k, v, terms)
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 2e-2)):
        with torch.no_grad():
            found = flex.attend(name, *(x.to(dtype) for x in (q, k, v)), terms)
        error = (found.double() - expected).abs().max() / expected.abs().max()
        assert error < tolerance, dtype


class Formulas(FusedKernels):
    """Attention with the terms that a kernel gets, by the formulas."""

    def attend_by(self, activation, q, k, v, terms):
        return formulas(activation, q, k, v, terms)


@pytest.mark.parametrize("of", ["products", "scores"])
def test_a_kernel_gets_the_terms_of_plain_products(of):
    own = {"activation": "sigmoid", "temperature": 2.5, "temperature_of": of}
    config = TransformerConfig(d_model=64, n_heads=2, position="alibi", attention=own)
    attention = build_model(config, 11, 130, seed=0).double().blocks[0].attention
    q, k, v = drawn()
    q = attention.temperature(q)
    expected = attention._plain(q, k, v, Forward(), 0)
    torch.testing.assert_close(attention._flex(q, k, v, Forward(kernels=Formulas())), expected)


@pytest.mark.gpu
@CUDA
@pytest.mark.parametrize("name", flex.NAMES)
def test_on_a_gpu_forward_and_stacked(name):
    q, k, v = drawn()
    for terms in TERMS:
        expected = formulas(name, q, k, v, terms)
        found = flex.attend(name, *(x.to("cuda", torch.float32) for x in (q, k, v)), terms)
        error = (found.cpu().double() - expected).abs().max() / expected.abs().max()
        assert error < 1e-3
    model = {"d_model": 64, "n_heads": 2, "attention": {"activation": name}}
    # All positions are predicted, so that the kernel takes all queries.
    runs = [make_run(seed, task=TEXT, model=TransformerConfig(**model)) for seed in (0, 1)]
    cpu = Stack([runs[0]], None, torch.device("cpu"), SOLO).advance(20).losses
    gpu = Stack(runs, None, torch.device("cuda"), STACK).advance(20).losses
    assert abs(gpu[:, :1] / cpu - 1).max() < 1e-3


class OnCuda(torch.Tensor):
    """A tensor that says that it is on a GPU."""

    is_cuda = True


@pytest.mark.parametrize(
    ("activation", "width", "dtypes", "expected"),
    [
        ("sigmoid", 64, (torch.float32, torch.float32), True),
        ("sigmoid", 16, (torch.float32, torch.float32), False),  # heads of 8 numbers
        ("sigmoid", 32, (torch.float32, torch.float32), True),
        ("sigmoid", 64, (torch.float64, torch.float64), False),
        ("sigmoid", 64, (torch.float32, torch.bfloat16), True),
        ("tanh", 64, (torch.float32, torch.float32), True),
        # A norm of queries under autocast: the kernel still runs in the precision of the values.
        ("tanh", 64, (torch.float32, torch.bfloat16), False),
        ("relu", 64, (torch.float32, torch.bfloat16), True),
        ("softmax", 16, (torch.float64, torch.float64), True),
    ],
)
def test_where_a_kernel_is_as_accurate_as_products(activation, width, dtypes, expected):
    config = TransformerConfig(d_model=width, n_heads=2, attention={"activation": activation})
    attention = build_model(config, 11, 5, seed=0).blocks[0].attention
    q, v = (torch.zeros(1, 2, 5, width // 2, dtype=dtype).as_subclass(OnCuda) for dtype in dtypes)
    assert attention._has_kernel(q, v, Forward(kernels=FusedKernels()), 0) is expected
