"""A user's measure: what it sees, what it may return, and what it lacks."""

import pytest
import torch

import ablab
from ablab.config import InputError
from ablab.tasks.modular import Modular, ModularConfig
from tests.users_code import MODEL

TASK = Modular(ModularConfig(p=5))
ASKED = {
    "name": "measured",
    "task": {"kind": "modular", "p": 5},
    "model": {"n_layers": 1, "d_model": 8, "n_heads": 2},
}
HEAD = "from ablab.analysis.measure import measure\n\n"
SEES = (
    HEAD
    + '''
@measure(sites=["blocks.0.mlp_out"], direction="lower")
def mine(seen):
    """What is seen?"""
    (name,) = seen.activations
    return {"samples": len(seen.tokens), "width": seen.activations[name].shape[-1],
            "loss": -seen.logits.log_softmax(-1)[range(25), -1, seen.targets[:, -1]] @ seen.weights}
'''
)


def found(folder, source):
    folder.write(mine=source)
    model = ablab.experiment(ASKED).variants[0].model(seed=0)
    return model, ablab.analyze(model, "mine:mine", task=TASK)


def test_what_it_sees(folder):
    model, findings = found(folder, SEES)
    assert findings.question == "What is seen?"
    values = dict(findings.scalars.select("name", "value").iter_rows())
    tokens = torch.tensor([[a, b, 5] for a in range(5) for b in range(5)])
    answers = torch.tensor([(a + b) % 5 for a in range(5) for b in range(5)])
    loss = torch.nn.functional.cross_entropy(model.eval()(tokens)[:, -1], answers)
    assert values == pytest.approx(
        {
            "analysis/mine:mine/samples": 25,
            "analysis/mine:mine/width": 8,
            "analysis/mine:mine/loss": loss.item(),
        },
        rel=1e-5,
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("@measure\ndef mine(seen): return 1", r"decorator without \(\)"),
        ("@measure()\ndef mine(): return 1", "cannot be called with seen"),
        ("@measure()\ndef mine(seen): return seen.logits", r"an array of shape \(25, 3, 6\)"),
        ("@measure()\ndef mine(seen): pass", "returns NoneType; expected a number"),
        ("def mine(seen): return 1", "not a valid analysis"),
        ("@measure(sites=['blocks.0.mpl_out'])\ndef mine(seen): return 1", "blocks.0.mpl_out"),
    ],
)
def test_what_it_lacks(folder, source, message):
    with pytest.raises(InputError, match=message):
        found(folder, HEAD + source)


ANALYSIS = """
from ablab.analysis.analysis import analysis

@analysis("mine", question="?", inputs=["model"], cost="none")
def mine(subject, settings): return {"x": 1.0}
"""


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (ANALYSIS, "mine:mine returns dict; expected a Finding"),
        (ANALYSIS.replace(", settings", ""), "cannot be called with subject, settings"),
    ],
)
def test_what_an_analysis_lacks(folder, source, message):
    with pytest.raises(InputError, match=message) as caught:
        found(folder, source)
    assert "def my_analysis(subject, settings):" in str(caught.value)


def test_edited_code_is_computed_again(folder):
    folder.write(mine=SEES, other=MODEL)
    train = {"steps": 2, "batch_size": 4, "snapshots": {"every": 2, "logarithmic": False}}
    ablab.run(ASKED | {"train": train}, store="lab")
    first = ablab.analyze("measured", "mine:mine", store="lab").scalars
    folder.write(mine=SEES.replace("len(seen.tokens)", "2 * len(seen.tokens)"))
    again = ablab.analyze("measured", "mine:mine", store="lab").scalars

    def samples(scalars):
        own = scalars.filter(scalars["name"] == "analysis/mine:mine/samples")
        return own.sort("step").select("step", "value").rows()

    assert samples(first) == [(0, 25.0), (2, 25.0)]
    assert samples(again) == [(0, 50.0), (2, 50.0)]
