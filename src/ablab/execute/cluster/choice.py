"""Which stack an idle machine begins next, if machines have unlike paces."""

from collections.abc import Sequence

_EACH = 8  # with more stacks than this for each machine, any machine may take the longest one


def next_stack(
    seconds: Sequence[float], paces: Sequence[float], free_at: Sequence[float], machine: int
) -> int | None:
    """The stack that an idle machine should begin, so that all end as early as possible.

    Stacks are assigned in the order of their lengths, the longest first, each to the machine that
    would end it first (Graham's list scheduling with unlike machines: Cho and Sahni, SIAM Journal
    on Computing 9, 1980).

    Args:
        seconds: The estimated length of each stack that nobody has begun, in seconds at pace 1.
        paces: The pace of each machine: seconds at pace 1 that it does in one second.
        free_at: When each machine will be free, in seconds from now.
        machine: The idle machine.

    Returns:
        The place of the stack in ``seconds``; None if faster machines, which are still busy, will
        have ended all stacks before this one could end one.
    """
    order = sorted(range(len(seconds)), key=lambda place: (-seconds[place], place))
    if not order:
        return None
    if len(order) > _EACH * len(paces):
        return order[0]
    free = list(free_at)
    for place in order:
        ends = [free[each] + seconds[place] / paces[each] for each in range(len(free))]
        best = min(range(len(free)), key=lambda each: (ends[each], free[each], each != machine))
        if best == machine:
            return place
        free[best] = ends[best]
    return None
