"""The initial parameters of stored runs: with which torch they were drawn, and what they were.

Another version of torch may draw others from the same seed. A run keeps those that it was trained
from: their digest is in the index, and they are its snapshot of step 0.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ablab.model.base import Model
from ablab.store.index import StoreError
from ablab.store.snapshots import read_parameters
from ablab.store.store import Store
from ablab.train.optimizer import initial_state, make_optimizer
from ablab.train.parameter_layout import ParameterLayout
from ablab.train.recovery import RecoveryState
from ablab.train.run import Run
from ablab.train.run_state import RunState
from ablab.train.stack import initial_model


@dataclass(frozen=True)
class InitialParameters:
    """What is known of a run's initial parameters.

    Attributes:
        torch: The version of torch that drew them; None if that was not recorded.
        digest: Their digest; None if that was not recorded.
        theta: They themselves, as a flat row (P,); None without a snapshot of step 0.
    """

    torch: str | None
    digest: str | None
    theta: Tensor | None

    def are(self, theta: Tensor, layout: ParameterLayout) -> bool:
        """Whether these parameters are the same, as far as is known."""
        if self.digest is not None:
            return self.digest == parameters_digest(theta, layout)
        return self.theta is None or torch.equal(self.theta, theta)

    def difference(self, run: str) -> str:
        """One line that says that other parameters were drawn now, and with what consequence."""
        before = "the torch that trained it" if self.torch is None else f"torch {self.torch}"
        return f"run {run}: torch {torch.__version__} draws other initial parameters than {before}"


def parameters_digest(theta: Tensor, layout: ParameterLayout) -> str:
    """SHA-256 of parameters in a flat row (P,), with their names, shapes and type."""
    digest = hashlib.sha256(f"{theta.dtype}\n".encode())
    for name, shape in zip(layout.names, layout.shapes, strict=True):
        digest.update(f"{name} {tuple(shape)}\n".encode())
    digest.update(theta.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def record_initial(connection: Any, run: str, theta: Tensor, layout: ParameterLayout) -> None:
    """Records a run's initial parameters, unless earlier ones are recorded."""
    connection.execute(
        "INSERT OR IGNORE INTO initial VALUES (?, ?, ?)",
        (run, torch.__version__, parameters_digest(theta, layout)),
    )


def initial_parameters(store: Store, run: str, layout: ParameterLayout) -> InitialParameters:
    """What the store knows of a run's initial parameters."""
    rows = store.index.rows("SELECT torch, digest FROM initial WHERE run = ?", run)
    theta = None
    if store.index.rows("SELECT 1 FROM snapshots WHERE run = ? AND step = 0", run):
        try:
            named = read_parameters(store, run, 0)
            theta = torch.cat([named[name].reshape(-1) for name in layout.names])
        except (StoreError, KeyError):
            theta = None  # damaged, or of another model
    if not rows:
        return InitialParameters(None, None, theta)
    return InitialParameters(rows[0]["torch"], rows[0]["digest"], theta)


def state_of_step_0(
    store: Store, run: Run, layout: ParameterLayout
) -> tuple[RunState | None, str | None]:
    """The state to start a run from, and one line if it is not the one that torch draws now.

    Returns:
        The state, with the stored parameters; None if parameters are to be drawn.
    """
    known = initial_parameters(store, run.id, layout)
    if known.digest is None and known.theta is None:
        return None, None  # a new run
    if known.are(layout.flatten(initial_model(run)), layout):
        return None, None
    if known.theta is None:
        return None, f"{known.difference(run.id)}, which are lost: it cannot be trained as before"
    optimizer = make_optimizer(run.train.optimizer_config, layout)
    state = initial_state(optimizer, known.theta)
    recovery = RecoveryState.initial(known.theta, state)
    return RunState(0, known.theta, state, recovery), (
        f"{known.difference(run.id)}; it starts from the stored ones"
    )


def buffers_line(store: Store, run: Run, drawn: Model, layout: ParameterLayout) -> str | None:
    """One line if a run that continues from a snapshot may get other buffers than it had.

    Buffers are in no snapshot, so a random one is drawn anew.

    Args:
        store: The store.
        run: The run.
        drawn: Its model, drawn now.
        layout: The layout of its parameters.
    """
    if not any(True for _ in drawn.buffers()):
        return None
    known = initial_parameters(store, run.id, layout)
    if known.torch == torch.__version__ or known.are(layout.flatten(drawn), layout):
        return None
    return f"{known.difference(run.id)}, so buffers that are random may be others too"
