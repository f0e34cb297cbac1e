"""What an experiment that is trained in rounds trains next."""

from ablab.execute.rounds import Round
from ablab.read.halving import judge_rung
from ablab.read.halving_report import rung_sentence
from ablab.read.settling import questions_of
from ablab.store.store import ExperimentRecord, Store


def next_round(store: Store, record: ExperimentRecord) -> Round:
    """What an experiment that adds seeds, or has halving, trains next, and what was found."""
    if record.definition.get("halving") is not None:
        decisions = judge_rung(store, record)
        return Round({}, rung_sentence(store, record, decisions), decisions)
    found = questions_of(store, record)
    return Round(found.wanted, found.sentence)
