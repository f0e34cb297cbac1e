"""The logbooks' recipes on text: attention-norms, attention-simulator and shakespeare-ladder."""

import pytest

from ablab.experiments import experiment

SIZES = {
    "attention-norms": ("quick", "full"),
    "attention-norms-bugs": ("quick", "full"),
    "attention-simulator": ("quick", "full"),
    "attention-simulator-pair": ("quick", "full"),
    "shakespeare-ladder": ("quick", "full"),
}
# A tokenizer of a whole corpus takes a minute to train.
CHEAP = {"attention-simulator-pair": ("task.tokenizer=char", "task.bpe_size=null")}
CASES = [(recipe, size) for recipe, sizes in SIZES.items() for size in sizes]


@pytest.mark.parametrize(("recipe", "size"), CASES)
def test_recipes_parse_at_every_size_and_expect_cells_that_there_are(recipe, size, tinyshakespeare):
    asked = experiment(recipe, f"size={size}", *CHEAP.get(recipe, ()))
    values = {axis.key: {choice.label for choice in axis.choices} for axis in asked.axes}
    for each in asked.expectations:
        assert each.claim
        assert each.source
        other = each.lower_than or each.higher_than or each.same_as or {}
        for cell in (each.where, each.where | other):
            assert all(value in values[key] for key, value in cell.items()), each.claim


def test_attention_norms_is_the_logbooks_grid(tinyshakespeare):
    quick, full = (experiment("attention-norms", f"size={size}") for size in ("quick", "full"))
    assert len(quick.variants) == len(full.variants) == 48
    assert quick.seeds == full.seeds == (0, 1, 2, 3, 4)
    assert full.variants[0].parts.model.d_model == 384


def test_the_ladder_has_the_logbooks_sizes(tinyshakespeare):
    variants = experiment("shakespeare-ladder").variants
    assert {variant.parts.task.vocab_size for variant in variants} == {66}
    assert [variant.parts.train.batch_size for variant in variants] == [64] + 7 * [1024]
    counts = [sum(p.numel() for p in each.model(seed=0).parameters()) for each in variants]
    # Worked by hand from the modules that the logbook prints, its padding row included.
    table = 66 * 66
    ends = 66 * 32 + 8 * 32 + (32 * 66 + 66)
    heads = ends + 3 * 32 * 32
    linear = 32 * 32 + 32
    block = heads + 3 * linear  # the projection, and the two layers of the feed-forward
    scaled = 66 * 64 + 64 * 64 + (64 * 66 + 66) + 3 * 64 * 64 + 3 * (64 * 64 + 64) + 3 * 2 * 64
    normed = block + 3 * 2 * 32
    assert counts == [table, heads, heads, heads + linear, block, normed, normed, scaled]


def test_the_ladders_budget_is_ten_epochs_of_all_windows(tinyshakespeare):
    steps = [
        each.parts.train.steps for each in experiment("shakespeare-ladder", "size=full").variants
    ]
    windows = 1_003_855 - 8  # nine tenths of the text's 1,115,394 characters
    assert steps[0] == -(-10 * windows // 64)
    assert steps[1:7] == 6 * [-(-10 * windows // 1024)]
    assert steps[7] == -(-3 * (1_003_855 - 64) // 1024)
    quick = {run.id for run in experiment("shakespeare-ladder").runs}
    assert {run.id for run in experiment("shakespeare-ladder", "size=full").runs} <= quick


def test_the_simulators_block_is_the_logbooks(tinyshakespeare):
    (variant,) = experiment("attention-simulator", "task.bpe_size=512").variants
    model = variant.parts.model
    assert (model.d_model, model.n_heads, model.d_head, model.d_mlp) == (384, 12, 32, 1536)
    assert (model.position, model.attention.qk_norm, model.bias) == ("rope", "layer", False)
    assert (variant.parts.watch.every, variant.parts.watch.statistics) == (1, ("*",))


def test_the_pairs_second_block_has_a_setting_of_its_own(tinyshakespeare):
    for variant in experiment("attention-simulator-pair").variants:
        blocks = [variant.parts.model.block(number).attention for number in (0, 1)]
        assert [block.window for block in blocks] == [None, 32]
        assert blocks[0].activation == blocks[1].activation
