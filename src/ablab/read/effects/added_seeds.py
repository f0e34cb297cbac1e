"""Effects of an experiment that added seeds until its questions were settled.

A test that is made again whenever seeds were added finds something by chance more often than 5%.
So p-values are multiplied by 5% over the level of the last look (``statistics.looks``): what is at
most 5% then is significant at that look.
"""

from dataclasses import replace

from ablab.experiments.seeds import Settling
from ablab.read.effects.compare import Comparison
from ablab.read.effects.inference import ALPHA
from ablab.read.effects.interactions import Interaction
from ablab.read.effects.report import Effects
from ablab.read.statistics.looks import Looks


def with_added_seeds(found: Effects, settling: Settling) -> Effects:
    """The same effects with p-values for all looks.

    Args:
        found: The effects, as those of a fixed number of seeds.
        settling: How seeds are added.
    """
    looks = Looks(settling.first, settling.last)
    level = next(
        (level for number, level in zip(looks.numbers, looks.levels, strict=True)
         if number >= found.seeds), looks.levels[-1],
    )  # fmt: skip
    factor = ALPHA / level

    def more(p: float | None) -> float | None:
        return None if p is None else min(1.0, factor * p)

    def comparison(each: Comparison) -> Comparison:
        p, equivalence = more(each.p_adjusted), more(each.p_equivalence_adjusted)
        shown = each.verdict
        decided = p if shown == "differs" else equivalence
        if shown != "undecided" and (decided is None or decided > ALPHA):
            shown = "undecided"
        return replace(each, p_adjusted=p, p_equivalence_adjusted=equivalence, verdict=shown)

    def interaction(each: Interaction) -> Interaction:
        contrasts = tuple(replace(c, p_adjusted=more(c.p_adjusted)) for c in each.contrasts)
        return replace(each, p_adjusted=more(each.p_adjusted), contrasts=contrasts)

    between = tuple(map(interaction, found.interactions))
    exist = {frozenset((each.key, each.other)) for each in between if each.exists}
    scalings = tuple(
        replace(scaling, fits=tuple(replace(fit, p=more(fit.p)) for fit in scaling.fits))
        for scaling in found.scalings
    )
    return replace(
        found,
        marginal=tuple(map(comparison, found.marginal)),
        factorial=tuple(map(comparison, found.factorial)),
        interactions=between,
        trends=tuple(replace(each, p_adjusted=more(each.p_adjusted)) for each in found.trends),
        scalings=scalings,
        best_values=tuple(
            each for each in found.best_values if frozenset((each.key, each.other)) in exist
        ),
        added_seeds=(
            f"Seeds were added where questions were open, up to {found.seeds}. Adjusted p-values "
            f"are for all looks: {factor:.3g} times those of one look. Intervals are those of a "
            "fixed number of seeds, and pairs that lack a value are mostly of seeds that were not "
            "added."
        ),
    )
