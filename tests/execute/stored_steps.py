"""What a store has so far of a command that trains in another process."""

import time

from ablab.store import Store


def steps(lab):
    """The stored steps of each run; none while the store is not there."""
    if not (lab / "index.sqlite").is_file():
        return {}
    opened = Store(lab)
    found = {row["id"]: row["step"] for row in opened.index.rows("SELECT id, step FROM runs")}
    opened.close()
    return found


def wait_until(condition, process=None):
    """Waits until a condition holds, or until a process has ended."""
    deadline = time.monotonic() + 90
    while not condition() and (process is None or process.poll() is None):
        assert time.monotonic() < deadline
        time.sleep(0.1)
