"""A worker process of analyses: ``python -m ablab.analysis.worker``.

It reads what to do as one line of JSON from standard input, saves findings in the store, and writes
how many they are as lines of JSON to standard output. It ends on SIGTERM once it has saved what it
has found, and immediately if standard input closes, because then the process that started it has
ended.
"""

import json
import os
import sys
import threading
from dataclasses import asdict, replace
from typing import Any

from ablab.analysis.request import make_request
from ablab.analysis.subject import Probing
from ablab.analysis.units import make_units
from ablab.analysis.work import Progress, work_off
from ablab.execute.pause import pause_on_signals
from ablab.store.store import Store
from ablab.store.stored_run import StoredRun


def main() -> None:
    """Works on the units that standard input describes."""
    should_pause = pause_on_signals()
    events = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else is printed goes to standard error
    data = json.loads(sys.stdin.readline())
    sys.path[:] = data["path"]
    threading.Thread(target=_end_with_parent, daemon=True).start()

    reported = Progress()

    def report(progress: Progress) -> None:
        found = {"found": progress.found - reported.found}
        reported.found = progress.found
        lines: list[dict[str, Any]] = [found] if found["found"] else []
        for each in progress.failures[len(reported.failures) :]:
            lines.append({"failure": asdict(each)})
            reported.failures.append(each)
        try:
            events.writelines(json.dumps(line) + "\n" for line in lines)
            events.flush()
        except OSError:  # the process that started this one has ended
            os._exit(1)

    store = Store(data["store"])
    records = store.run_records(data["runs"])
    runs = [  # up to the last step in the experiment that is analyzed
        StoredRun(store, replace(each, step=last))
        for each, last in zip(records, data["lasts"], strict=True)
    ]
    requests = [
        make_request(name, settings, Probing(**probing))
        for name, settings, probing in data["analyses"]
    ]
    # Backwards, so that it meets the process that started it halfway.
    units = make_units(runs, data["steps"], data["parts"])[::-1]
    work_off(store, units, requests, report, should_pause, wait=False)


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
