"""Effects as sentences, with their numbers."""

from ablab.read.effects.compare import TOO_WIDE, Comparison
from ablab.read.effects.inference import ALPHA, Interval
from ablab.read.effects.interactions import Contrast, Interaction
from ablab.read.effects.pairwise import Counts
from ablab.read.effects.results import Scale
from ablab.read.effects.scaling import Fit, Scaling

_LEAST_SEEDS = 3  # with fewer, the deviation of seeds is too uncertain for a number of seeds
_MOST_SEEDS = 1000  # a difference that needs more is not told apart from none


def number(value: float) -> str:
    """A number with three significant digits."""
    return f"{value:.3g}"


def p_value(p: float | None) -> str:
    """A p-value with two significant digits, or ``< 0.001``."""
    if p is None:
        return "none"
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def interval(ends: Interval | None) -> str:
    """An interval as text, or ``no interval``."""
    return "no interval" if ends is None else f"[{number(ends[0])}, {number(ends[1])}]"


def comparison_sentence(found: Comparison, measure: str) -> str:
    """A comparison with its verdict, in a sentence: the counts first, then the level."""
    said = f"{found.key}={found.value} vs {found.reference}: "
    if found.counts is not None:
        said += f"{_counted(found.counts, found)}; "
    return f"{said}{_said(found, measure)}."


def counts_words(counts: Counts) -> str:
    """The counts in a few words, such as ``4 of 5 vs 1 of 5 runs learnt``."""
    one, other = (f"{k} of {n}" for k, n in (counts.value, counts.reference))
    cut = number(counts.cut or 0.0)
    words = {"reached": "reached it", "above": f"above {cut}"}
    words |= {"lower": f"below {cut}", "higher": f"above {cut}"}
    return f"{one} vs {other} runs {words.get(counts.what, counts.what)}"


def verdict_words(found: Comparison) -> str:
    """The verdict of a comparison in a few words, for a table: the counts first."""
    told = "" if found.counts is None else f"{counts_words(found.counts)}; "
    return told + _verdict(found)


def _verdict(found: Comparison) -> str:
    if found.verdict == "differs":
        return _difference(found)
    if found.verdict != "undecided":
        among = f" {_among(found)}" if found.verdict == "equivalent_among_seen" else ""
        return f"no difference larger than {_margin(found)}{among}"
    if found.counts is not None and found.interval is None:
        return "undecided"
    if found.seeds < 2:
        lacking = found.missing == found.pairs
        return f"undecided: {'no pair of runs has values' if lacking else 'needs at least 2 seeds'}"
    return "undecided" + _seeds_needed(found, ", about {} seeds would show this")


def _difference(found: Comparison) -> str:
    if not found.level_differs and found.counts is not None:
        if found.ranked and found.counts.p > ALPHA:
            return f"{found.direction}, by the ranks of all runs"
        return "more often" if found.counts.difference > 0 else "less often"
    near = f", by less than {_margin(found)}" if found.within_margin else ""
    return f"{found.direction}{near}"


def interaction_sentence(found: Interaction, measure: str) -> str:
    """Whether two settings interact, with the clearest contrast."""
    pair = f"{found.key} and {found.other}"
    if found.p is None or found.statistic is None or found.degrees is None:
        why = "fewer than two complete seeds" if found.seeds < 2 else "the seeds do not differ"
        return f"No test of whether {pair} interact in their effect on {measure}: {why}."
    test = (
        f"F({found.degrees[0]:.1f}, {found.degrees[1]:.1f}) = {number(found.statistic)}, "
        f"adjusted p {p_value(found.p_adjusted)}, {_seeds(found.seeds)}"
    )
    if not found.exists:
        return f"Undecided whether {pair} interact in their effect on {measure} ({test})."
    text = f"{pair} interact in their effect on {measure} ({test})"
    told = [each for each in found.contrasts if each.interacts and each.p is not None]
    if not told:
        return f"{text}."
    return f"{text}; {contrast_sentence(min(told, key=lambda each: each.p or 0.0))}"


def contrast_sentence(found: Contrast) -> str:
    """A difference of differences, or ratio of ratios, in a sentence."""
    step = f"{found.key}={found.value} vs {found.reference}"
    here, there = f"{found.other}={found.other_value}", f"{found.other}={found.other_reference}"
    if found.difference is None:
        return f"{step}: no seed has all four runs."
    if found.scale == "ratio":
        amount = f"{number(found.difference)} {interval(found.interval)}"
        return f"{step}: the ratio at {here} is {amount} times the ratio at {there}."
    amount = f"{number(abs(found.difference))} {interval(found.interval)}"
    if found.interval is not None and found.difference < 0:
        amount = f"{number(-found.difference)} {interval((-found.interval[1], -found.interval[0]))}"
    order = "higher" if found.difference >= 0 else "lower"
    return f"{step}: the difference at {here} is {order} by {amount} than at {there}."


def scaling_sentence(found: Scaling) -> str:
    """The relation of a measure to a numeric setting in a sentence, or why there is none."""
    fit = found.best
    if fit is None:
        return f"Too few runs have a value of {found.measure} to fit a relation to {found.key}."
    missing = ""
    if found.missing:
        verbs = "has no value and is" if found.missing == 1 else "have no value and are"
        missing = f" {found.missing} of {found.runs} runs {verbs} ignored."
    if not fit.holds:
        return f"No clear relation of {found.measure} to {found.key}: {_why(fit)}.{missing}"
    text = f"{_step(fit, found.key)} multiplies {found.measure} by {number(fit.factor)}"
    ends = "" if fit.factor_interval is None else f" {interval(fit.factor_interval)}"
    sure = "" if found.clear or len(found.fits) == 1 else "; the other form fits about as well"
    return (
        f"{text}{ends} ({_form(fit)}, R² {fit.r_squared or 0:.2f}, levels within a factor of "
        f"{number(fit.off_by)} of the line, {_seeds(fit.seeds)}{sure}).{missing}"
    )


def _said(found: Comparison, measure: str) -> str:
    if found.difference is None:
        return _no_level(found, measure)
    amount = _amount(found.difference, found.interval, found.scale) + counted_as_horizon(found)
    if found.counts is not None and found.interval is None and found.deviation != 0:
        return (
            f"{_level(found)}{measure} is {amount}, with no interval: {found.why_none}"
            f"{_ranks(found)}"
        )
    if found.seeds < 2:
        return f"undecided, {measure} is {amount}, but there is only one seed"
    facts = f"{_seeds(found.seeds)}{_where(found)}{_missing(found)}"
    if found.why_none == TOO_WIDE:
        order = f"{found.direction}, " if found.verdict == "differs" else "undecided, "
        test = f"adjusted p {p_value(found.p_adjusted)}, {facts}"
        return f"{order}no estimate of the ratio of {measure}: {TOO_WIDE} ({test})"
    if found.deviation == 0:
        test = f"sign test, adjusted p {p_value(found.p_adjusted)}, {facts}"
        return f"{_level(found)}{measure} is {amount} for every seed ({test}); {_verdict(found)}"
    return _tested(found, measure, amount, facts)


def _no_level(found: Comparison, measure: str) -> str:
    if found.counts is None or found.counts.what != "reached":
        return f"no pair of runs has {measure} on both sides"
    why = "because one side never reached it"
    return f"no level of {measure} to compare, {why}{_ranks(found)}"


def _ranks(found: Comparison) -> str:
    """What the ranks of all runs show, if they decide; may be empty."""
    if not found.ranked:
        return ""
    order = f" {found.order}" if found.verdict == "differs" else ""
    return f"; ranks of all runs{order}: adjusted p {p_value(found.p_adjusted)}"


def _tested(found: Comparison, measure: str, amount: str, facts: str) -> str:
    ranks = "ranks of all runs, " if found.ranked else ""
    test = f"{ranks}adjusted p {p_value(found.p_adjusted)}, {facts}"
    if found.verdict == "differs":
        near = ""
        if found.within_margin:
            near = f"; the difference is smaller than {_margin(found)} (equivalence test)"
        if found.ranked and found.interval is not None and not found.level_differs:
            return (
                f"{_level(found)}{measure} is {found.direction} by the ranks of all runs (adjusted "
                f"p {p_value(found.p_adjusted)}, {facts}); by how much is not decided: "
                f"{amount}{near}"
            )
        return f"{_level(found)}{measure} is {amount} ({test}){near}"
    if found.verdict != "undecided":
        test = f"equivalence test, adjusted p {p_value(found.p_equivalence_adjusted)}, {facts}"
        among, left_open = "", ""
        if found.verdict == "equivalent_among_seen":
            among = f" {_among(found)}"
            if found.counts is None:
                share = 100 * (found.unseen or 1.0)
                left_open = f"; up to {share:.0f}% of runs may be of another kind"
        return (
            f"no difference in {measure} larger than {_margin(found)}{among} ({test}); it is "
            f"{amount}{left_open}"
        )
    bound = ""
    if found.bound is not None:
        size = number(found.bound)
        size = f"a factor of {size}" if found.scale == "ratio" else size
        bound = f"; the 90% interval bounds the difference at {size} (not a test)"
    return (
        f"undecided, {_level(found)}{measure} is {amount} ({test})"
        f"{_seeds_needed(found, '; about {} seeds would show a difference of this size')}{bound}"
    )


def _counted(counts: Counts, found: Comparison) -> str:
    one, other = (f"{k} of {n}" for k, n in (counts.value, counts.reference))
    verb = {
        "learnt": "runs learnt",
        "lower": f"runs are in the lower group (below {number(counts.cut or 0.0)})",
        "higher": f"runs are in the higher group (above {number(counts.cut or 0.0)})",
        "finished": "runs finished",
        "above": f"runs are above {number(counts.cut or 0.0)}",
        "reached": "runs reached it",
    }[counts.what]
    if found.horizon is not None and counts.what == "reached":
        verb += f" by step {found.horizon:,.0f}"
    every = counts.value[0] == counts.value[1] and counts.reference[0] == counts.reference[1]
    # A seed's runs in several cells may fail together, whereas the interval is of independent ones.
    if every or (found.cells > 1 and counts.what != "finished"):
        return f"{one} vs {other} {verb}"
    change = f"{100 * counts.difference:+.0f} {_percent(counts.interval)} percentage points"
    least = "" if counts.p > counts.least_p * 1.5 else ", the least that so few runs can give"
    return f"{one} vs {other} {verb} ({change}, p {p_value(counts.p)}{least})"


def _percent(ends: Interval) -> str:
    """An interval of a share in percent."""
    return f"[{100 * ends[0]:.0f}, {100 * ends[1]:.0f}]"


def _among(found: Comparison) -> str:
    words = {
        "learnt": "among runs that learnt",
        "lower": "among runs of the lower group",
        "higher": "among runs of the higher group",
        "finished": "among runs that finished",
        "above": "among runs of the larger group",
        "reached": "among runs that reached it",
    }
    if found.counts is None:
        return "among runs like those seen"
    if found.counts.what == "reached" and found.counts.cut is None:
        return "up to the last step that all runs were trained to"
    return words[found.counts.what]


def _level(found: Comparison) -> str:
    if found.counts is None or (found.counts.what == "reached" and found.counts.cut is None):
        return "" if found.horizon is None else f"up to step {found.horizon:,.0f}, "
    return f"{_among(found)}, "


def counted_as_horizon(found: Comparison) -> str:
    """How a level of steps counts runs that did not reach it; empty if it leaves them out."""
    cut = None if found.counts is None else found.counts.cut
    if found.horizon is None or found.counts is None or cut is not None:
        return ""
    return f", counting those that did not as step {found.horizon:,.0f}"


def _amount(difference: float, ends: Interval | None, scale: Scale) -> str:
    shown = "" if ends is None else f" {interval(ends)}"
    if scale == "ratio":
        return "the same" if difference == 1 else f"{number(difference)}{shown} times as large"
    if difference == 0 and ends is None:
        return "the same"
    if difference >= 0:
        return f"higher by {number(difference)}{shown}"
    shown = "" if ends is None else f" {interval((-ends[1], -ends[0]))}"
    return f"lower by {number(-difference)}{shown}"


def _margin(found: Comparison) -> str:
    assert found.margin is not None
    factor = "a factor of " if found.scale == "ratio" else ""
    return f"{factor}{number(found.margin)}"


def _seeds_needed(found: Comparison, words: str) -> str:
    """How many seeds a difference of this size needs; empty if it is too uncertain to say."""
    needed = found.seeds_to_detect
    if needed is None or not found.seeds < needed <= _MOST_SEEDS or found.seeds < _LEAST_SEEDS:
        return ""
    return words.format(f"{needed:,}")


def _where(found: Comparison) -> str:
    if found.others == "base":
        return ", other settings at their base values"
    return f", averaged over {found.cells} cells of the other settings" if found.cells > 1 else ""


def _missing(found: Comparison) -> str:
    lack = "lacks" if found.missing == 1 else "lack"
    return (
        f", {found.missing} of {found.pairs} pair{'s' * (found.pairs != 1)} {lack} a value"
        if found.missing
        else ""
    )


def _seeds(count: int) -> str:
    return f"{count} seed{'s' * (count != 1)}"


def _step(fit: Fit, key: str) -> str:
    if fit.form == "power law":
        return f"doubling {key}" if fit.step > 1 else f"halving {key}"
    return f"{'increasing' if fit.step > 0 else 'decreasing'} {key} by {number(abs(fit.step))}"


def _form(fit: Fit) -> str:
    name = "exponent" if fit.form == "power law" else "rate"
    return f"{fit.form}, {name} {number(fit.slope)} {interval(fit.interval)}"


def _why(fit: Fit) -> str:
    if fit.r_squared is None:
        return "any line fits two levels, or all levels have the same mean"
    if fit.p is None:
        return "the variance of the slope is unknown"
    line = f"the best {fit.form} has R² {fit.r_squared:.2f}, slope {number(fit.slope)}"
    told = "" if fit.p <= ALPHA else ", not significantly different from 0"
    return f"{line} {interval(fit.interval)}{told}"
