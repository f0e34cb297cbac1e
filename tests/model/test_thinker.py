"""The thinker against torch's own attention, and its properties."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ablab.config import InputError
from ablab.experiments import experiment
from ablab.model.build import build_model
from ablab.model.interventions import sites, watch
from ablab.model.thinker_config import ThinkerConfig

V, T, S = 11, 8, 5
TOKENS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6], [5, 3, 5, 8, 9, 7, 9, 3]])


def thinker(**settings):
    config = ThinkerConfig(**{"d_model": 8, "n_heads": 2, "n_latents": 3} | settings)
    model = build_model(config, V, T, seed=1, source_length=S).double()
    with torch.no_grad():
        for parameter in model.parameters():
            generator = torch.Generator().manual_seed(parameter.numel())
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(noise * 0.2)
    return model


def torchs(block, x, source):
    """A block by ``nn.MultiheadAttention``: the sum of x and attention, then of it and the MLP."""
    own = block.attention
    attention = nn.MultiheadAttention(8, 2, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        parts = (own.query, own.key, own.value)
        attention.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        attention.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
        attention.out_proj.load_state_dict(own.projection.state_dict())
    q = block.norm1(x)
    source = q if source is None else source
    x = x + attention(q, source, source)[0]
    mlp = block.mlp
    return x + mlp.projection(F.gelu(mlp.linear(block.norm2(x))))


@pytest.mark.parametrize("thoughts", [0, 1, 3])
def test_the_logits_are_those_of_torchs_own_parts(thoughts):
    model = thinker(n_thoughts=thoughts)
    source = model.embedding.weight[TOKENS[:, :S]] + model.positional_embedding.weight
    memory = torchs(model.read, model.memory_embedding.expand(2, -1, -1), model.source_norm(source))
    for _ in range(thoughts):
        memory = torchs(model.thought, memory, None)
    answer = torchs(
        model.write, model.answer_embedding.expand(2, -1, -1), model.memory_norm(memory)
    )
    expected = model.unembedding(model.norm(answer))
    torch.testing.assert_close(model(TOKENS), expected, rtol=1e-10, atol=1e-10)


def test_it_reads_the_question_alone():
    model = thinker()
    other = TOKENS.clone()
    other[:, S:] = 0
    torch.testing.assert_close(model(TOKENS), model(other))
    other[:, 2] = 10
    assert not torch.allclose(model(TOKENS), model(other))


def test_thoughts_share_parameters_and_may_be_more_in_evaluation():
    model, longer = thinker(n_thoughts=1, eval_thoughts=3), thinker(n_thoughts=3)
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in longer.parameters())
    assert not torch.allclose(model(TOKENS), longer(TOKENS))
    torch.testing.assert_close(model.eval()(TOKENS), longer(TOKENS))


def test_thoughts_in_evaluation_are_part_of_the_id():
    base = {"name": "x", "task": {"kind": "copy"}, "model": {"kind": "thinker"}}
    ids = {experiment(base, *more).runs[0].id for more in ((), ("model.eval_thoughts=4",))}
    assert len(ids) == 2


def test_its_sites():
    names = sites(thinker(n_thoughts=2), TOKENS)
    assert names[:3] == ["embed", "pos_embed", "read.resid_pre"]
    assert {"thoughts.0.attn.pattern", "thoughts.1.mlp.post", "memory", "write.attn.z"} < set(names)
    assert names[-2:] == ["ln_final", "logits"]
    _, seen = watch(thinker(), TOKENS, ["read.attn.pattern"])
    assert seen["read.attn.pattern"].shape == (2, 2, 3, S)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("model.position=rope", "cannot use position rope"),
        ("model.attention=null", "needs attention"),
        ("model.attention.window=3", "memory has no order"),
        ("task={kind: text, corpus: python-stdlib}", "does not separate them"),
    ],
)
def test_what_it_cannot_do(override, expected):
    base = {"name": "x", "task": {"kind": "copy"}, "model": {"kind": "thinker"}}
    with pytest.raises(InputError, match=expected):
        experiment(base, override)
