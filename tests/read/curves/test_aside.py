"""Two curves read without their spikes; real ones are described in said/."""

import numpy as np
import pytest

from ablab.read.curves.aside import without_spikes
from ablab.read.curves.pair_sentences import pair_sentence
from ablab.read.curves.scale import scale_of
from ablab.read.curves.together import read_together
from tests.read.curves.real import real


def test_overfitting_does_not_rise_to_the_peak_of_a_spike():
    found = read_together(real("slingshot"), real("slingshot_held_out"))
    assert found.double_descent is None
    assert found.overfits_from == pytest.approx(610, abs=50)
    # The held-out loss is 0.0120 at 1,120; the spike at 1,160 leads to 0.026, from where it rises.
    assert (found.overfits.low, found.overfits.high) == pytest.approx((4.6e-4, 0.0120), rel=0.03)
    assert found.overfits.last < 1_160
    assert "0.287" not in pair_sentence(found)


def test_the_decay_of_a_spike_is_no_second_descent():
    found = read_together(real("slingshot_later"), real("slingshot_later_held_out"))
    assert found.double_descent is None and found.overfits is None
    # The held-out loss is 10.1 at most; a factor of e^3 below that it is 0.503.
    assert found.value == pytest.approx(10.1 / np.e**3, rel=0.01)
    assert (found.memorised, found.generalised) == (pytest.approx(54, abs=4), 360)


def test_what_is_left_out_of_a_held_out_curve():
    """The training curve has a spike at 501; the held-out one is back at its level at 560."""
    steps = np.arange(1, 1001)
    training = np.exp(-steps / 200.0)
    training[500:] *= 1 + 50 * np.exp(-(steps[500:] - 501) / 10)
    held_steps = np.arange(0, 1001, 20)
    held_out = np.ones(len(held_steps))
    held_out[26:28] = 4.0, 2.0  # 520 and 540
    scale = scale_of(np.concatenate([training, held_out]), "lower")
    learnt, kept, leaps = without_spikes((steps, training), (held_steps, held_out), scale)
    assert 500 in learnt[0] and not np.isin(np.arange(501, 521), learnt[0]).any()
    assert set(held_steps) - set(kept[0]) == {520, 540}
    assert leaps == []


def test_a_curve_without_spikes_stays_as_it_is():
    steps = np.arange(1, 501)
    training, held_out = np.exp(-steps / 100.0), 1 + np.exp(-steps / 100.0)
    scale = scale_of(np.concatenate([training, held_out]), "lower")
    learnt, kept, leaps = without_spikes((steps, training), (steps, held_out), scale)
    assert len(learnt[0]) == len(kept[0]) == 500
    assert leaps == []


@pytest.mark.parametrize("slope", [0.0, 0.002])
def test_a_spike_that_leaves_the_held_out_loss_higher_is_no_overfitting(slope):
    """The held-out loss is 0.1 until the spike at 1,001 and 0.2 after it, but for a slow rise."""
    rng = np.random.default_rng(0)
    steps, held_steps = np.arange(1, 2001), np.arange(0, 2001, 20)
    noise = np.exp(0.01 * rng.standard_normal(len(steps)))
    training = np.exp(-np.minimum(steps, 1000) / 150.0) * noise
    training[1000:] *= 1 + 1e4 * np.exp(-(steps[1000:] - 1001) / 40)
    training[1000:] *= np.exp(-(steps[1000:] - 1000) / 400)
    held_out = 0.1 + 2 * np.exp(-held_steps / 40.0)
    held_out *= np.exp(slope * np.clip(held_steps - 400, 0, 600))
    held_out[held_steps > 1000] *= 2 + 20 * np.exp(-(held_steps[held_steps > 1000] - 1020) / 20)
    held_out *= np.exp(0.01 * rng.standard_normal(len(held_steps)))
    scale = scale_of(np.concatenate([training, held_out]), "lower")
    assert without_spikes((steps, training), (held_steps, held_out), scale)[2] == [1001]
    found = read_together((steps, training), (held_steps, held_out)).overfits
    if slope:
        assert (found.first, found.high) == (
            pytest.approx(400, abs=80),
            pytest.approx(0.33, rel=0.1),
        )
    else:
        assert found is None
