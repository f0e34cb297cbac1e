"""The process in which an agent trains: ``python -m ablab.execute.cluster.training_process``.

Its first line of standard input says what all claims need; each further line is a claim, with the
store in which to train it. Events are lines on standard output, as those of
:mod:`ablab.execute.worker`; ``claim_ended`` follows each claim. On SIGTERM it saves its progress
and ends. It ends at once if standard input closes.
"""

import json
import os
import queue
import sys
import threading

from ablab.config import InputError
from ablab.execute.cluster.unlike_devices import planned_here
from ablab.execute.executors.in_process import InProcess
from ablab.execute.pause import pause_on_signals
from ablab.execute.queue import StackQueue
from ablab.execute.worker import STORE_ERROR, open_events, plan_from_data, problems_as_data
from ablab.experiments.experiment import experiment
from ablab.store.known_runs import as_stored
from ablab.store.store import Store
from ablab.tasks.provided import provide

_LOOK_SECONDS = 0.1  # between two looks at whether a pause is requested while there is no claim


def main() -> None:
    """Trains claims until it is asked to pause."""
    should_pause = pause_on_signals()
    report = open_events()
    first = json.loads(sys.stdin.readline())
    claims: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_listen, args=(claims,), daemon=True).start()
    sys.path[:] = first["path"]
    provide(first["texts"])
    asked = experiment(first["definition"])
    report({"event": "ready"})
    while not should_pause():
        try:
            claim = json.loads(claims.get(timeout=_LOOK_SECONDS))
        except queue.Empty:
            continue
        try:
            store = Store(claim["store"])
            mine = as_stored(asked, store)
            plan = plan_from_data(claim["plan"], mine)
            if claim["device"] != plan.device:
                number, engine = claim["experiment"], claim["engine"]
                plan = planned_here(plan, store, number, claim["device"], engine)
            stacks = StackQueue(
                store, claim["experiment"], first["definition"], plan, report, should_pause
            )
            complete = InProcess().train(stacks)
            store.close()
        except InputError as error:  # of the store, or there is no such device
            report({"event": "store_error", "problems": problems_as_data(error)})
            sys.exit(STORE_ERROR)
        report({"event": "claim_ended", "token": claim["token"], "complete": complete})


def _listen(claims: "queue.Queue[str]") -> None:
    for line in sys.stdin:
        claims.put(line)
    os._exit(1)


if __name__ == "__main__":
    main()
