import pytest
from pydantic import ValidationError

from ablab.config import InputError
from ablab.experiments import experiment
from ablab.watching.config import CaptureConfig, WatchConfig
from ablab.watching.names import DEFAULT

SMALL = {"name": "small", "task": {"kind": "addition", "n_digits": 2}}


def test_words_stand_for_patterns():
    assert WatchConfig().statistics == DEFAULT
    assert WatchConfig(statistics="all").statistics == ("*",)
    assert WatchConfig(statistics="none").statistics == ()
    assert WatchConfig(statistics=None).statistics == ()
    assert WatchConfig(statistics=["default", "activation/*"]).statistics == (
        *DEFAULT,
        "activation/*",
    )
    assert WatchConfig(statistics="grad/*/rms").statistics == ("grad/*/rms",)


def test_what_is_watched_is_not_in_a_runs_id():
    plain, watched = experiment(SMALL), experiment(SMALL, "watch.statistics=all", "watch.every=log")
    assert [run.id for run in plain.runs] == [run.id for run in watched.runs]
    assert plain.runs[0].stack_key != watched.runs[0].stack_key


def test_steps_of_captures():
    log, every = CaptureConfig(what="logits"), CaptureConfig(what="logits", steps=50)
    listed = CaptureConfig(what="logits", steps=[0, 7, 900])
    for config in (log, every, listed):
        kept = [step for step in range(101) if config.at(step)]
        assert len(kept) == config.count(100)
        walked, step = [0] if config.at(0) else [], 0
        while (step := config.next_stop(step)) is not None and step <= 100:
            walked.append(step)
        assert walked == kept
    assert [step for step in range(101) if log.at(step)] == [0, 1, 2, 4, 8, 16, 32, 64]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"statistics": ["grad/*/rsm"]}, "did you mean rms"),
        ({"statistics": ["grads/*/rms"]}, "no statistic family 'grads'"),
        ({"every": 0}, "greater than or equal to 1"),
        ({"captures": {"what": "grad/x"}}, "no family that can be captured"),
        ({"captures": {"what": "logits", "steps": 0}}, "at least 1"),
        ({"captures": {"what": "logits", "steps": [-1]}}, "no step may be below 0"),
        ({"captures": {"what": []}}, "at least 1 item"),
        ({"recorder": {"jump": 1}}, "greater than 1"),
        ({"captuers": {}}, "Extra inputs"),
    ],
)
def test_what_is_wrong_is_said(settings, said):
    with pytest.raises(ValidationError, match=said):
        WatchConfig(**settings)
    with pytest.raises(InputError):
        experiment({**SMALL, "watch": settings})
