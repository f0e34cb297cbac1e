"""Effects in plain English, each with its numbers."""

from ablab.read.effects.compare import Comparison
from ablab.read.effects.inference import ALPHA, Interval
from ablab.read.effects.interactions import Contrast, Interaction
from ablab.read.effects.results import Scale
from ablab.read.effects.scaling import Fit, Scaling


def number(value: float) -> str:
    """A number to three digits."""
    return f"{value:.3g}"


def p_value(p: float | None) -> str:
    """A p value to two digits, or that it is below a thousandth."""
    if p is None:
        return "none"
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def interval(ends: Interval | None) -> str:
    """An interval, or that there is none."""
    return "no interval" if ends is None else f"[{number(ends[0])}, {number(ends[1])}]"


def comparison_sentence(found: Comparison, measure: str) -> str:
    """What a comparison says, with its verdict."""
    return f"{found.key}={found.value} beside {found.reference}: {_said(found, measure)}."


def verdict_words(found: Comparison) -> str:
    """A comparison's verdict in a few words, for a table."""
    if found.verdict == "differs":
        near = f", by less than {_margin(found)}" if found.within_margin else ""
        return f"{found.direction}{near}"
    if found.verdict == "equivalent":
        return f"no difference larger than {_margin(found)}"
    if found.seeds < 2:
        return "undecided: needs 2 seeds or more"
    return "undecided" + _seeds_needed(found, ", about {} seeds would show this")


def interaction_sentence(found: Interaction, measure: str) -> str:
    """Whether two settings interact, and where most."""
    pair = f"{found.key} and {found.other}"
    if found.p is None or found.statistic is None or found.degrees is None:
        why = "with fewer than two whole seeds" if found.seeds < 2 else "as seeds do not vary"
        return f"Whether the effects of {pair} on {measure} depend on each other is untold {why}."
    test = (
        f"F({found.degrees[0]:.1f}, {found.degrees[1]:.1f}) = {number(found.statistic)}, "
        f"adjusted p {p_value(found.p_adjusted)}, {_seeds(found.seeds)}"
    )
    if not found.exists:
        return (
            f"Undecided whether the effects of {pair} on {measure} depend on each other ({test})."
        )
    text = f"The effects of {pair} on {measure} depend on each other ({test})"
    told = [each for each in found.contrasts if each.interacts and each.p is not None]
    if not told:
        return f"{text}."
    return f"{text}; {contrast_sentence(min(told, key=lambda each: each.p or 0.0))}"


def contrast_sentence(found: Contrast) -> str:
    """A difference of differences."""
    step = f"{found.key}={found.value} instead of {found.reference}"
    where = f"at {found.other}={found.other_value} than at {found.other_reference}"
    if found.difference is None:
        return f"{step}: no seed has all four runs."
    amount = f"{number(abs(found.difference))} {interval(found.interval)}"
    if found.scale == "ratio":
        amount = f"{number(found.difference)} {interval(found.interval)}"
        return f"{step} has {amount} times the factor {where}."
    more = "more" if found.difference >= 0 else "less"
    if found.interval is not None and found.difference < 0:
        amount = f"{number(-found.difference)} {interval((-found.interval[1], -found.interval[0]))}"
    return f"{step} adds {amount} {more} {where}."


def scaling_sentence(found: Scaling) -> str:
    """The relation of a measure to a numeric setting, or that there is none to speak of."""
    fit = found.best
    if fit is None:
        return f"Too few runs have a value of {found.measure} for a relation to {found.key}."
    missing = ""
    if found.missing:
        missing = f" {found.missing} of {found.runs} runs have no value and are left out."
    if not fit.holds:
        return f"No relation of {found.measure} to {found.key} to speak of: {_why(fit)}.{missing}"
    text = f"{_step(fit, found.key)} multiplies {found.measure} by {number(fit.factor)}"
    ends = "" if fit.factor_interval is None else f" {interval(fit.factor_interval)}"
    sure = "" if found.clear or len(found.fits) == 1 else "; the other form fits about as well"
    return (
        f"{text}{ends} ({_form(fit)}, R² {fit.r_squared or 0:.2f}, levels within a factor of "
        f"{number(fit.off_by)} of the line, {_seeds(fit.seeds)}{sure}).{missing}"
    )


def _said(found: Comparison, measure: str) -> str:
    if found.difference is None:
        return f"no pair of runs has {measure} on both sides"
    if found.seeds < 2:
        amount = _amount(found.difference, None, found.scale)
        return f"{measure} is {amount} with the one seed there is; without a second, undecided"
    facts = f"{_seeds(found.seeds)}{_where(found)}{_missing(found)}"
    if found.deviation == 0:
        amount = _amount(found.difference, None, found.scale)
        test = f"sign test, adjusted p {p_value(found.p_adjusted)}, {facts}"
        return f"{measure} is {amount} for every seed alike ({test}); {verdict_words(found)}"
    amount = _amount(found.difference, found.interval, found.scale)
    if found.verdict == "differs":
        near = ""
        if found.within_margin:
            near = f"; the difference is smaller than {_margin(found)} (equivalence test)"
        test = f"adjusted p {p_value(found.p_adjusted)}, {facts}"
        return f"{measure} is {amount} ({test}){near}"
    if found.verdict == "equivalent":
        test = f"equivalence test, adjusted p {p_value(found.p_equivalence_adjusted)}, {facts}"
        return f"no difference of {measure} larger than {_margin(found)} ({test}); it is {amount}"
    bound = ""
    if found.bound is not None:
        size = number(found.bound)
        size = f"a factor of {size}" if found.scale == "ratio" else size
        bound = f"; the 90% interval bounds the difference at {size}, which is no test"
    return (
        f"undecided, {measure} is {amount} (adjusted p {p_value(found.p_adjusted)}, {facts})"
        f"{_seeds_needed(found, '; about {} seeds would show a difference of this size')}{bound}"
    )


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
    needed = found.seeds_to_detect
    return words.format(f"{needed:,}") if needed is not None and needed > found.seeds else ""


def _where(found: Comparison) -> str:
    if found.others == "base":
        return ", other settings at their base values"
    return f", averaged over {found.cells} cells of the other settings" if found.cells > 1 else ""


def _missing(found: Comparison) -> str:
    return f", {found.missing} of {found.pairs} pairs lack a value" if found.missing else ""


def _seeds(count: int) -> str:
    return f"{count} seed{'s' * (count != 1)}"


def _step(fit: Fit, key: str) -> str:
    if fit.form == "power law":
        return f"doubling {key}" if fit.step > 1 else f"halving {key}"
    return f"{number(abs(fit.step))} {'more' if fit.step > 0 else 'less'} of {key}"


def _form(fit: Fit) -> str:
    name = "exponent" if fit.form == "power law" else "rate"
    return f"{fit.form}, {name} {number(fit.slope)} {interval(fit.interval)}"


def _why(fit: Fit) -> str:
    if fit.r_squared is None:
        return "two levels fit any line, or all levels are the same"
    if fit.p is None:
        return "nothing tells the slope's spread"
    line = f"the best {fit.form} has R² {fit.r_squared:.2f}, slope {number(fit.slope)}"
    told = "" if fit.p <= ALPHA else ", not told from 0"
    return f"{line} {interval(fit.interval)}{told}"
