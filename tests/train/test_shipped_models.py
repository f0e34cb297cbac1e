"""Every shipped recipe's model trains by every method that a plan may choose, without falling back.

Programs are traced and then interpreted, which takes a moment; `make test-all` compiles them.
"""

from dataclasses import replace

import pytest
import torch

from ablab.execute.cost import count_cost
from ablab.execute.method_choice import possible_methods
from ablab.execute.verify import try_method
from ablab.experiments import experiment, recipes
from ablab.train.comparison import Comparison
from ablab.train.method import STACK, Method
from tests.interpreted import interpreted  # noqa: F401
from tests.recipes.golden import RECIPES, SAME_RUNS

CPU = torch.device("cpu")
BATCH = 32
USUAL = Method("stack", True, "usual", "plain", 1)
LAYOUTS = {
    "stack": STACK,
    "usual": USUAL,
    "usual, fused": Method("stack", True, rows=1),
    "usual, in parts": replace(USUAL, samples=BATCH // 2),
    "innermost": Method("stack", True, "innermost", "plain", 1),
    "innermost, in parts": Method("stack", True, "innermost", "plain", 1, samples=BATCH // 2),
}
SIZES = {"n_latents", "n_thoughts", "d_model", "n_heads", "d_head", "d_mlp", "init_std"}
# Recipes whose first variants differ from another recipe's in sizes only.
ALIKE = {
    f"digit-addition-{name}": "digit-addition-last"
    for name in ("before", "cures", "decay", "heads", "next", "spikes", "tiny")
} | {"thinker-sequences": "thinker-roll", "thinker-addition": "thinker-size"}
# A module of a user's kind that indexes with a tensor, for which the innermost layout has no rule.
INDEXED = ("ablab.recipes.thinker_bugs:Copier",)
THOROUGH = ("addition", "thinker-permuted")
COMPILED = ("usual", "usual, in parts", "innermost, in parts")
# Samples that see each other, on purpose: no plan splits their batch or has it innermost.
MIXING = {"thinker-permuted": "axes=permuted", "attention-norms-bugs": "without dim"}


def runs_of(recipe):
    """A run of every variant that the golden curves have, with a small batch."""
    for variant in experiment(recipe, *RECIPES[recipe]).variants:
        run = variant.runs[0]
        yield replace(run, train=run.train.model_copy(update={"batch_size": BATCH}))


def layouts_of(run):
    """The layouts in which a plan may train a run."""
    cost = count_cost(run)
    assert not isinstance(cost, str) and not cost.stateful
    if cost.mixes_samples or run.model.kind in INDEXED:
        return ["stack", "usual", "usual, fused"]
    inner = any(each.layout == "innermost" for each in possible_methods(cost, CPU))
    return [name for name in LAYOUTS if inner or "innermost" not in name]


def assert_agrees(run, name, precision="float32"):
    train = run.train.model_copy(update={"precision": precision})
    if precision == "float64":
        loss = train.loss.model_copy(update={"dtype": precision})
        train = train.model_copy(update={"loss": loss})
    runs = [replace(run, train=train, seed=seed) for seed in (0, 1)]
    outcome = try_method(runs, LAYOUTS[name], CPU)
    assert isinstance(outcome, Comparison), f"{name}: {outcome}"
    assert outcome.agrees, f"{name}: {outcome}"


def test_every_recipe_is_tried():
    assert {*RECIPES, *SAME_RUNS} == set(recipes())


def operations(recipe):
    """What the first variant of a recipe computes, whatever its sizes."""
    run = next(runs_of(recipe))
    model = run.model.model_dump(mode="json")
    for part in (model, model.get("mlp") or {}):
        part |= dict.fromkeys(SIZES & part.keys())
    return model, run.train.loss


@pytest.mark.parametrize("recipe", ALIKE)
def test_recipes_that_are_not_tried_one_by_one_compute_the_same(recipe):
    assert operations(recipe) == operations(ALIKE[recipe])


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # torch, about a user's module
@pytest.mark.parametrize("recipe", sorted(RECIPES.keys() - ALIKE.keys()))
def test_no_shipped_model_falls_back(recipe, interpreted, tinyshakespeare):  # noqa: F811
    run = next(runs_of(recipe))
    layouts = layouts_of(run)
    chosen = "innermost" if "innermost" in layouts else "usual"
    for name in layouts if recipe in THOROUGH else ["stack", chosen]:
        if "fused" not in name:  # which is for long sequences, and only the compiler can run
            assert_agrees(run, name)


@pytest.mark.parametrize("recipe", sorted(MIXING))
def test_models_whose_samples_see_each_other_are_known(recipe, tinyshakespeare):
    variants = experiment(recipe, *RECIPES[recipe]).variants
    found = [each.label for each in variants if count_cost(each.runs[0]).mixes_samples]
    assert found == [each.label for each in variants if MIXING[recipe] in each.label]


@pytest.mark.parametrize(
    ("recipe", "precision"),
    [("thinker-size", "float64"), ("digit-addition-tiny", "bfloat16"),
     ("attention-simulator-pair", "bfloat16")],
)  # fmt: skip
@pytest.mark.usefixtures("interpreted", "tinyshakespeare")
def test_no_precision_gives_a_false_alarm(recipe, precision):
    run = list(runs_of(recipe))[-1]
    for name in ("stack", "innermost, in parts"):
        assert_agrees(run, name, precision)


@pytest.mark.slow
@pytest.mark.compiled
@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_compiled_no_shipped_model_falls_back(recipe, tinyshakespeare):
    run = next(runs_of(recipe))
    layouts = [name for name in layouts_of(run) if name in COMPILED]
    for name in layouts:
        assert_agrees(run, name)
    assert_agrees(run, layouts[-1], "bfloat16")
