"""Two curves read together as text."""

from collections.abc import Sequence

from ablab.read.curves.numbers import number
from ablab.read.curves.sentences import of_seeds, spread
from ablab.read.curves.together import Together
from ablab.read.medians import median_of


def pair_sentence(found: Together) -> str:
    """What two curves say together, in one line; empty if there is nothing to say."""
    return "; ".join(filter(None, [_memory(found), _worse_again(found)]))


def _worse_again(found: Together) -> str:
    training, held, lower = found.training, found.held_out, found.direction == "lower"
    better, worse = ("falls", "rises") if lower else ("rises", "drops")
    if found.overfits is not None:
        rise = found.overfits
        return (
            f"overfits from {rise.first:,}: {held} {worse} from {number(rise.low)} to "
            f"{number(rise.high)} while {training} still {better}"
        )
    if found.double_descent is not None:
        rise = found.double_descent
        return (
            f"double descent: {held} {better} to {number(rise.low)} at {rise.first:,}, {worse} to "
            f"{number(rise.high)} at {rise.last:,}, then {better} again"
        )
    return ""


def _memory(found: Together) -> str:
    training, held = found.training, found.held_out
    better = "falls" if found.direction == "lower" else "rises"
    if found.memorised is None or found.stays_at is None:
        return ""
    if found.generalised is None:
        return (
            f"memorises: {training} {better} at {found.memorised:,}, {held} is "
            f"{number(found.stays_at)} and does not improve by {found.last:,}"
        )
    return (
        f"memorises, then generalises: {training} reaches {number(found.value or 0)} at "
        f"{found.memorised:,}, {held} only at "
        f"{found.generalised:,} ({found.delay:,} steps later, {number(found.factor or 1)} times as "
        f"many steps); in between it is {number(found.stays_at)}"
    )


def group_pair_sentence(found: Sequence[Together]) -> str:
    """The pairs of several seeds in one line; empty if none has anything to say."""
    count = len(found)
    if count == 1:
        return pair_sentence(found[0])
    late = [each for each in found if each.generalised is not None]
    never = [each for each in found if each.memorised is not None and each.generalised is None]
    overfit = [each.overfits_from for each in found if each.overfits_from is not None]
    double = [each for each in found if each.double_descent is not None]
    parts = []
    if late:
        parts.append(_generalise(late, never) + of_seeds(len(late), count))
    if never:
        last = min(each.last for each in never)
        parts.append(f"memorises and does not generalise by {last:,}{of_seeds(len(never), count)}")
    if overfit:
        parts.append(f"overfits from {spread(overfit)}{of_seeds(len(overfit), count)}")
    if double:
        parts.append(f"double descent{of_seeds(len(double), count)}")
    return "; ".join(parts)


def _generalise(late: Sequence[Together], never: Sequence[Together]) -> str:
    """When the held-out curves of several seeds follow; seeds whose never does are later.

    If so many never do that the median is not reached, those are told that do.
    """
    steps = [each.generalised for each in late if each.generalised is not None]
    factors = [each.factor for each in late if each.factor is not None]
    later = 0 if median_of(steps, len(never)) is None else len(never)
    words = ("", "never")
    text = f"{late[0].held_out} generalises at {spread(steps, later, words=words)}"
    if not factors:
        return text
    many = spread(factors, later, words=words)
    return f"{text}, after {many} times as many steps as {late[0].training}"
