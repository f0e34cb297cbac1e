"""What reads results between the rounds of a training."""

from ablab.execute.rounds import Round
from ablab.execute.tune import Readers
from ablab.experiments.halving import halving_of
from ablab.read.halving import judge_rung
from ablab.read.halving_report import rung_sentence
from ablab.read.settling import questions_of
from ablab.read.tuning import trial_values
from ablab.store.store import ExperimentRecord, Store


def next_round(store: Store, record: ExperimentRecord) -> Round:
    """What an experiment that adds seeds, or has halving, trains next, and what was found."""
    if halving_of(record.definition) is not None:
        decisions = judge_rung(store, record)
        return Round({}, rung_sentence(store, record, decisions), decisions)
    found = questions_of(store, record)
    return Round(found.wanted, found.sentence)


READERS = Readers(next_round, trial_values)
"""The readers of :func:`ablab.execute.tune.train_experiment`."""
