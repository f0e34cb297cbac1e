"""Which stack an idle machine begins: simulated with machines of unlike paces."""

import heapq
import random

import pytest

from ablab.execute.cluster.choice import next_stack


def simulated(seconds, paces):
    """The time at which everything ends, if idle machines ask for work as they do in a command."""
    left, now = list(seconds), 0.0
    ends = [0.0] * len(paces)
    events = [(0.0, machine) for machine in range(len(paces))]
    idle = []
    while left:
        now, machine = heapq.heappop(events)
        idle.append(machine)
        for each in list(idle):
            free = [max(0.0, end - now) for end in ends]
            place = next_stack(left, paces, free, each)
            if place is not None:
                idle.remove(each)
                ends[each] = now + left.pop(place) / paces[each]
                heapq.heappush(events, (ends[each], each))
    return max(ends)


def ideal(seconds, paces):
    """As if stacks could be divided at will."""
    return sum(seconds) / sum(paces)


def test_two_machines_one_of_a_third_of_the_pace():
    stacks = [10.0] * 48
    assert ideal(stacks, [1, 1 / 3]) / simulated(stacks, [1, 1 / 3]) >= 0.9


@pytest.mark.parametrize("seed", range(20))
def test_eight_machines_of_unlike_paces(seed):
    rng = random.Random(seed)
    paces = [rng.choice([0.25, 0.5, 1.0, 1.0, 2.0, 4.0]) for _ in range(8)]
    stacks = [rng.uniform(5, 40) for _ in range(120)]
    assert ideal(stacks, paces) / simulated(stacks, paces) >= 0.9


def test_a_slow_machine_leaves_the_last_stack_to_a_faster_one():
    # The fast machine is free in 2 s and needs 10 s; the slow one would need 100 s.
    assert next_stack([10.0], [1.0, 0.1], [2.0, 0.0], 1) is None
    assert next_stack([10.0], [1.0, 0.1], [2.0, 0.0], 0) == 0
    assert next_stack([10.0], [1.0, 0.1], [95.0, 0.0], 1) == 0


def test_the_longest_stack_goes_to_the_fastest_machine():
    assert next_stack([1.0, 8.0, 2.0], [1.0, 4.0], [0.0, 0.0], 1) == 1
    assert next_stack([], [1.0], [0.0], 0) is None
