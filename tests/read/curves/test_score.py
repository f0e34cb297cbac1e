from dataclasses import dataclass, replace

import numpy as np

from tests.read.curves.generated import KINDS
from tests.read.curves.matching import FINDINGS
from tests.read.curves.noise import NOISES
from tests.read.curves.score import Score, curve, invented, plain_curve
from tests.read.curves.truth import Descent, Floor, Plateau, Repeats, Spike

ALL = range(len(KINDS) * len(NOISES))


@dataclass(frozen=True)
class Reading:
    plateaus: tuple = ()
    descents: tuple = ()
    growbacks: tuple = ()
    spikes: tuple = ()
    slowdowns: tuple = ()
    floor: Floor | None = None
    finished: bool = True
    period: float | None = None


def perfect(truth):
    of = {kind: tuple(e for e in truth if isinstance(e, FINDINGS[kind])) for kind in FINDINGS}
    return Reading(
        *(of[kind] for kind in ("plateau", "descent", "growback", "spike", "slowdown")),
        floor=next(iter(of["floor"]), None),
        finished=not of["unfinished"],
        period=of["period"][0].period if of["period"] else None,
    )


def judged(change=lambda reading, curve: reading):
    total = Score()
    for number in ALL:
        one = curve(0, number)
        total.judge(one, change(perfect(one.truth), one), str(number))
    return total


def test_the_truth_itself_is_found_without_a_fault():
    total = judged()
    assert total.faults == []
    assert all(total.precision(kind) == total.recall(kind) == 1 for kind in FINDINGS)
    assert {error for _, error, _ in total.errors} == {0}
    assert "1.000 / 1.000" in total.table()


def test_a_reader_that_finds_nothing_is_sure_of_nothing():
    total = judged(lambda reading, curve: Reading())
    assert all(total.recall(kind) == 0 for kind in FINDINGS)
    assert all(np.isnan(total.precision(kind)) for kind in FINDINGS)


def test_what_is_not_there_or_elsewhere_is_false():
    def wrong(reading, curve):
        late = [Descent(d.start + 400, d.level, d.form, d.rate) for d in reading.descents]
        high = tuple(replace(plateau, level=2 * plateau.level) for plateau in reading.plateaus)
        spikes = (*reading.spikes, *(Spike(s.step, s.height, s.width) for s in reading.spikes))
        return replace(reading, descents=tuple(late), plateaus=high, spikes=spikes, period=7.0)

    total = judged(wrong)
    assert total.recall("plateau") == total.precision("plateau") == 0
    assert total.recall("descent") == 0 and max(error for _, error, _ in total.errors) == 400
    assert total.recall("spike") == 1 and total.precision("spike") == 0.5
    assert total.precision("period") == 0
    assert total.recall("growback") == total.precision("growback") == 1


def test_the_floor_may_be_called_a_plateau_and_the_first_fall_a_descent():
    def more(reading, curve):
        floor = reading.floor
        last = int(curve.steps[-1])
        also = (Plateau(floor.level, floor.first, last),) if floor else ()
        first = Descent(1, 9.0, "exponential", 1.0)
        return replace(
            reading, plateaus=reading.plateaus + also, descents=(first, *reading.descents)
        )

    assert judged(more).faults == []


def test_findings_on_curves_without_structure_are_counted():
    def spiky(steps, values):
        return Reading(spikes=(Spike(50, 3.0, 2.0),), period=Repeats(9.0).period, finished=False)

    def whole(steps, values):
        return Reading(plateaus=(Plateau(values[-1], 1, steps[-1]),))

    assert len(invented(spiky, range(6), 0)) == 12
    assert invented(whole, range(6), 0) == []
    assert {plain_curve(0, number).kind for number in range(6)} == {"constant", "power", "approach"}
