"""Cyclic groups of tasks: the answer is the sum of the operands' numbers."""

import numpy as np
import pytest

from ablab.tasks.addition import Addition
from ablab.tasks.addition_config import AdditionConfig
from ablab.tasks.groups import NoCyclicGroupError, multiplicative_group, primitive_root
from ablab.tasks.modular import Modular
from ablab.tasks.modular_config import ModularConfig
from ablab.tasks.probe import probe
from ablab.tasks.sequences import Copy
from ablab.tasks.sequences_config import CopyConfig

# The smallest primitive roots of the first primes (OEIS A001918).
PRIMES = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83,
          89, 97, 101, 103, 107, 109, 113]  # fmt: skip
ROOTS = [1, 2, 2, 3, 2, 2, 3, 2, 5, 2, 3, 2, 6, 3, 5, 2, 2, 2, 2, 7, 5, 3, 2, 3, 5, 2, 5, 2, 6, 3]


def test_smallest_primitive_roots():
    assert [primitive_root(p) for p in PRIMES] == ROOTS


def test_discrete_logarithms_of_the_units_modulo_7():
    group = multiplicative_group(7, (0, 1), 2)
    assert group.elements.tolist() == [1, 3, 2, 6, 4, 5]  # the powers of 3
    assert group.numbers(np.array([1, 2, 3, 4, 5, 6])).tolist() == [0, 2, 1, 4, 5, 3]
    assert group.numbers(np.array([0, 7])).tolist() == [-1, -1]
    assert group.order == 6


@pytest.mark.parametrize(
    ("operation", "p", "order", "coefficients"),
    [
        ("a+b", 12, 12, (1, 1)),
        ("b + a", 7, 7, (1, 1)),
        ("a-b", 7, 7, (1, -1)),
        ("b-a", 12, 12, (-1, 1)),
        ("a*b", 11, 10, (1, 1)),
        ("b*a", 3, 2, (1, 1)),
    ],
)
def test_every_answer_is_a_sum_in_the_group(operation, p, order, coefficients):
    task = Modular(ModularConfig(operation=operation, p=p, train_fraction=0.4))
    (group,) = task.cyclic_groups().values()
    assert (group.order, group.coefficients, group.carry) == (order, coefficients, None)
    found = probe(task)
    answers = found.targets[:, group.answer_position]
    assert (found.tokens[:, group.answer_position] == p).all()  # the equals sign
    sums = group.sums(found.tokens)
    inside = sums >= 0
    assert inside.sum() == order**2  # for products, without those with 0
    np.testing.assert_array_equal(group.elements[sums[inside]], answers[inside])


@pytest.mark.parametrize("order", ["most_significant_first", "least_significant_first"])
def test_every_digit_of_a_sum_is_one_in_the_group_with_the_carry(order):
    task = Addition(AdditionConfig(n_digits=2, base=7, order=order, target="all"))
    groups, found = task.cyclic_groups(), probe(task)
    assert set(groups) == {"digit_0", "digit_1"}
    assert [groups[f"digit_{d}"].carry for d in (0, 1)] == [None, "carry_into_1"]
    for group in groups.values():
        carry = 0 if group.carry is None else found.factors[group.carry]
        answers = found.targets[:, group.answer_position]
        np.testing.assert_array_equal((group.sums(found.tokens) + carry) % 7, answers)


def test_a_single_digit_is_read_at_the_equals_sign():
    task = Addition(AdditionConfig(n_digits=3, target=1))
    (group,) = task.cyclic_groups().values()
    assert (group.operand_positions, group.answer_position, group.carry) == (
        (1, 5),
        7,
        "carry_into_1",
    )
    assert task.text(task.tokens("123+456="))[7] == "="


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        (Modular(ModularConfig(operation="a**2+b", p=7)), r"a \*\* 2 \+ b is not a sum"),
        (Modular(ModularConfig(operation="a*b", p=12)), "12 is not prime"),
        (Modular(ModularConfig(operation="a*b", p=2)), "1 is the only number with an inverse"),
        (Addition(AdditionConfig(n_digits=2, target=2)), "the leading digit of a sum is the carry"),
        (Copy(CopyConfig()), "the task copy does not add in a cyclic group"),
    ],
)
def test_tasks_without_a_group_say_why(task, reason):
    with pytest.raises(NoCyclicGroupError, match=reason):
        task.cyclic_groups()
