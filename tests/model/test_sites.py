"""The names of sites are a contract with users; this list changes only on purpose."""

import torch

from ablab.model.bigram_config import BigramConfig
from ablab.model.build import build_model
from ablab.model.interventions import plain_site, sites
from ablab.model.transformer_config import TransformerConfig

TOKENS = torch.zeros(1, 4, dtype=torch.long)
BLOCK = [
    "resid_pre",
    "attn.q",
    "attn.k",
    "attn.v",
    "attn.attn_scores",
    "attn.pattern",
    "attn.z",
    "attn_out",
    "resid_mid",
    "mlp.pre",
    "mlp.post",
    "mlp_out",
    "resid_post",
]
GOLDEN = [
    "embed",
    "pos_embed",
    *(f"blocks.0.{name}" for name in BLOCK),
    *(f"blocks.1.{name}" for name in BLOCK),
    "ln_final",
    "logits",
]


def test_a_transformers_sites():
    model = build_model(TransformerConfig(n_layers=2, d_model=8), 12, 4, seed=0)
    assert sites(model, TOKENS) == GOLDEN


def test_sites_of_parts_that_are_left_out_are_missing():
    config = TransformerConfig(d_model=8, attention=None, position="none")
    assert sites(build_model(config, 12, 4, seed=0), TOKENS) == [
        "embed",
        "blocks.0.resid_pre",
        "blocks.0.resid_mid",
        "blocks.0.mlp.pre",
        "blocks.0.mlp.post",
        "blocks.0.mlp_out",
        "blocks.0.resid_post",
        "ln_final",
        "logits",
    ]
    config = TransformerConfig(d_model=8, mlp=None)
    assert "blocks.0.mlp_out" not in sites(build_model(config, 12, 4, seed=0), TOKENS)


def test_a_bigrams_sites():
    assert sites(build_model(BigramConfig(), 12, 4, seed=0), TOKENS) == ["logits"]


def test_transformerlens_names_are_aliases():
    assert plain_site("blocks.0.attn.hook_q") == "blocks.0.attn.q"
    assert plain_site("blocks.*.hook_resid_pre") == "blocks.*.resid_pre"
    assert plain_site("ln_final.hook_normalized") == "ln_final"
