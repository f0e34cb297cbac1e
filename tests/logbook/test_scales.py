from ablab.logbook.scales import after_start, is_uneven, planned_ends
from ablab.logbook.variant_curves import curves
from ablab.read.bands import Band, SeedCurve
from ablab.store.store import RunRecord


def band(label, steps, values, seeds=()):
    return Band({"a": label}, label, steps, values, values, values, [], list(seeds), 1)


def test_curves_that_are_eight_times_as_long_are_uneven():
    assert is_uneven([band("x", [0, 10], [1, 2]), band("y", [0, 81], [1, 2])])
    assert not is_uneven([band("x", [0, 10], [1, 2]), band("y", [0, 80], [1, 2])])
    assert not is_uneven([band("x", [0], [1]), band("y", [0, 80], [1, 2])])  # has only begun
    assert not is_uneven([])


def test_runs_that_go_on_are_as_long_as_they_will_be():
    def run(label, status, step, steps=1000):
        return RunRecord(label, ["x"], {"a": label}, 0, status, step, steps, 1.0, 1.0, 1.0, 5, None)

    begun = [band("a=x", [0, 10], [1, 2]), band("a=y", [0, 900], [1, 2])]
    assert is_uneven(begun)  # so far
    assert not is_uneven(begun, planned_ends([run("x", "running", 10), run("y", "running", 900)]))
    # One that a rule has stopped stays as short as it is.
    assert planned_ends([run("x", "stopped", 10), run("y", "running", 900)]) == {
        "a=x": 10, "a=y": 1000
    }  # fmt: skip
    assert is_uneven(begun, {"a=x": 10, "a=y": 1000})
    short = [run("x", "planned", 0, 100), run("y", "running", 10, 1000)]
    assert is_uneven(
        [band("a=x", [0, 9], [1, 2]), band("a=y", [0, 10], [1, 2])], planned_ends(short)
    )


def test_step_0_is_left_out_of_a_logarithmic_axis():
    seed = SeedCurve(3, [0, 5], [9.0, 1.0], [9.0, 1.0], [9.0, 1.0])
    (found,) = after_start([band("x", [0, 5], [9.0, 1.0], [seed])])
    assert (found.steps, found.values, found.low, found.high) == ([5], [1.0], [1.0], [1.0])
    assert (found.seeds[0].steps, found.seeds[0].values) == ([5], [1.0])
    assert after_start([band("x", [1, 5], [9.0, 1.0])])[0].steps == [1, 5]


def test_curves_of_very_different_length_have_labels_at_powers_of_ten():
    uneven = [band("x", [0, 10, 20], [5.0, 2.0, 1.5]), band("y", [0, 500, 1000], [5.0, 2.0, 1.0])]
    drawing = curves(uneven, "train_loss", {})
    assert ">10</text>" in drawing and ">100</text>" in drawing and ">1000</text>" in drawing
    assert ">5.0</text>" not in drawing, "the value at step 0 is not shown"
    assert ">5.0</text>" in curves([uneven[0]], "train_loss", {})
