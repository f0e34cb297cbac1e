"""A user's measure: what it sees, what it may return, and what it lacks."""

import json

import pytest
import torch

import ablab
from ablab.config import InputError
from ablab.tasks.modular import Modular, ModularConfig
from tests.cli.command import run_command
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
        ("@measure()\ndef mine(seen): return '0.5'", "returns str; expected a number"),
        ("@measure()\ndef mine(seen): return 1j", "returns complex; expected a number"),
        (
            "@measure()\ndef mine(seen): return seen.logits.new_tensor(1).cfloat()",
            "returns a value of the type torch.complex64; expected a number",
        ),
        (
            "@measure()\ndef mine(seen): return seen.logits.new_tensor(1).to('meta')",
            r"returns a tensor without values \(on the device meta\)",
        ),
        (
            "@measure()\ndef mine(seen): return {'a b': 1.0}",
            "names a number 'a b'",
        ),
        ("@measure()\ndef mine(seen): return {('t', 1): 3}", r"names a number \('t', 1\)"),
        ("def mine(seen): return 1", "not a valid analysis"),
        ("@measure(sites=['blocks.0.mpl_out'])\ndef mine(seen): return 1", "blocks.0.mpl_out"),
    ],
)
def test_what_it_lacks(folder, source, message):
    with pytest.raises(InputError, match=message):
        found(folder, HEAD + source)


@pytest.mark.parametrize(
    ("returned", "value"),
    [
        ("seen.logits.new_tensor([0.5])", 0.5),
        ("__import__('numpy').array([[2]])", 2.0),
        ("seen.logits.new_tensor(0.5).bfloat16()", 0.5),
        ("seen.logits.new_tensor(0.5).to_sparse()", 0.5),
        ("10**400", None),  # as a number that is not finite
        ("{3: True}", 1.0),  # such as the number of a head
        ("sum(each.square().sum() for each in seen.subject.model.parameters()) * 0 + 7", 7.0),
    ],
)
def test_what_counts_as_a_number(folder, returned, value):
    source = f"{HEAD}@measure()\ndef mine(seen): return {returned}"  # no warning of gradients
    assert found(folder, source)[1].scalars["value"].to_list() == [value]


def test_one_site_needs_no_list(folder):
    _, findings = found(folder, SEES.replace('["blocks.0.mlp_out"]', '"blocks.0.mlp_out"'))
    assert findings.scalars.height == 3


ANALYSIS = """
from ablab.analysis.analysis import analysis

@analysis("mine", question="?", inputs=["model"], cost="none")
def mine(subject, settings): return {"x": 1.0}
"""
FINDS = """
import torch
from ablab.analysis.finding import Finding
""" + ANALYSIS.replace('{"x": 1.0}', "Finding({})")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (ANALYSIS, "mine:mine returns dict; expected a Finding"),
        (ANALYSIS.replace(", settings", ""), "cannot be called with subject, settings"),
        (FINDS.format("{'x': torch.ones(2)}"), r"an array of shape \(2,\) as the scalar 'x'"),
        (FINDS.format("{'x': '0.5'}"), "returns str as the scalar 'x'; expected a number"),
        (FINDS.format("{'x y': 1}"), "names a scalar 'x y'; expected letters"),
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


WRONG = (
    HEAD
    + """
@measure()
def several(seen): return seen.logits

@measure(sites="blocks.9.mlp_out")
def elsewhere(seen): return 1.0
"""
)
STEPS = {"steps": 2, "batch_size": 4, "snapshots": {"every": 2, "logarithmic": False}}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("several", "it returns an array of shape (25, 3, 6); expected a number"),
        ("elsewhere", "mine:elsewhere cannot be computed: the model has no site"),
    ],
)
def test_a_wrong_measure_does_not_cost_the_entry_or_other_analyses(folder, name, said):
    folder.write({"asked.json": json.dumps(ASKED | {
        "train": STEPS, "analyze": [f"mine:{name}", "parameter_norms"],
    })}, mine=WRONG)  # fmt: skip
    code, _, err = run_command("run", "asked.json", "--store", "lab")
    assert code == 1 and said in " ".join(err.split())
    (entry,) = (folder.path / "lab" / "logbook").glob("*-measured/entry.md")
    norms = ablab.open("lab").metrics("measured", ["analysis/parameter_norms/*/rms"])
    assert norms.width > 4 and "measured" in entry.read_text()


def test_a_wrong_measure_does_not_cost_the_others_of_a_command(folder):
    folder.write(mine=WRONG)
    ablab.run(ASKED | {"train": STEPS}, store="lab", quiet=True)
    given = ("analyze", "measured", "mine:several", "parameter_norms", "--store", "lab")
    code, out, err = run_command(*given)
    assert code == 1 and "How large is each parameter" in out
    assert "mine:several failed on run" in err and "it returns an array" in " ".join(err.split())
    assert err.count("mine:several failed on run") == 1
    with pytest.raises(InputError, match=r"mine:several failed on run .* it returns an array"):
        ablab.analyze("measured", "mine:several", store="lab")


COUNTING = """
def count():
    with open("calls", "a") as file:
        file.write("x")

@measure()
def odd(seen):
    count()

@measure()
def failing(seen):
    count()
    return 1 / 0
"""


def test_a_wrong_measure_is_computed_and_told_once(folder):
    folder.write(mine=WRONG + COUNTING)
    ablab.run(ASKED | {"train": STEPS, "seeds": 3}, store="lab", quiet=True)
    for name, calls, said in (
        ("odd", 1, "it returns NoneType; expected a number, or numbers by name; "
                   "5 more models left out after that"),
        ("failing", 6, "ZeroDivisionError: division by zero; the same for 5 more models"),
    ):  # fmt: skip
        code, _, err = run_command(
            "analyze", "measured", f"mine:{name}", "--store", "lab", "--workers", "1"
        )
        assert code == 1 and " ".join(err.split()).endswith(said)
        assert err.count("failed on run") == 1
        path = folder.path / "calls"
        assert len(path.read_text()) == calls
        path.unlink()
