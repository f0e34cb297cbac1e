"""What the difference of two values of a setting is about, in words, and why it has no interval."""

from ablab.read.effects.pairwise import Pair
from ablab.read.effects.results import Results


def estimand(results: Results, pair: Pair) -> str:
    """What the difference is about.

    Means of scaled values estimate medians: of symmetric noise both are the same, and of skewed
    values (on the log scale, or whose skewness few seeds cannot show) the median is covered.
    """
    counts = pair.counts
    kind = "ratio of medians" if results.scale == "ratio" else "difference of medians"
    if (
        results.horizon is not None
        and pair.ranks is not None
        and (counts is None or (counts.what == "reached" and counts.cut is None))
    ):
        kind = "ratio of geometric means" if results.scale == "ratio" else "difference of means"
        return f"{kind} of steps up to step {results.horizon:g}"
    if counts is None:
        return f"{kind} of runs of the kind seen"
    among = {
        "learnt": "runs that learnt",
        "lower": "runs of the lower group",
        "higher": "runs of the higher group",
        "finished": "runs that finished",
        "above": "runs of the larger group",
        "reached": "runs that reached it by the horizon",
    }
    return f"{kind} among {among[counts.what]}"


def why_none(pair: Pair) -> str:
    """Why the difference of two values has no interval."""
    if pair.counts is not None and pair.counts.what == "reached" and pair.level.mean is None:
        return "no run reached it on one side"
    if pair.level.seeds < 2:
        return "fewer than two runs on one side"
    if pair.level.mean is not None and pair.level.deviation is None:
        return "too few runs in two groups"
    return "all seeds are equal"
