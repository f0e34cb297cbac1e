import torch

from ablab.model.build import build_model
from ablab.model.transformer_config import TransformerConfig
from ablab.train.parameter_layout import ParameterLayout


def test_views_are_the_models_parameters_for_every_run():
    config = TransformerConfig(d_model=8, tied_embeddings=True)
    models = [build_model(config, 12, 8, seed) for seed in (0, 1)]
    layout = ParameterLayout.of(models[0])
    rows = torch.stack([layout.flatten(model) for model in models])
    assert rows.shape == (2, layout.size)
    views = layout.views(rows)
    for run, model in enumerate(models):
        named = dict(model.named_parameters())
        assert list(named) == list(views)
        for name, parameter in named.items():
            assert torch.equal(views[name][run], parameter)
    views["embedding.weight"].zero_()
    assert (rows == 0).any(), "views share the rows' memory"


def test_each_parameter_begins_at_its_start():
    layout = ParameterLayout.of(build_model(TransformerConfig(d_model=8), 12, 8, seed=0))
    rows = torch.arange(layout.size)[None]
    views = layout.views(rows)
    assert layout.starts == tuple(int(view.reshape(-1)[0]) for view in views.values())
    assert ParameterLayout((), (), ()).starts == ()


def test_matrices_are_told_from_vectors():
    model = build_model(TransformerConfig(d_model=8), 12, 8, seed=0)
    layout = ParameterLayout.of(model)
    views = layout.views(layout.matrices()[None])
    assert (views["blocks.0.attention.query.weight"] == 1).all()
    assert (views["blocks.0.attention.query.bias"] == 0).all()
    assert (views["norm.weight"] == 0).all()
