"""A stack: runs of equal shape trained as one along a leading run axis. Axes: R, P, K, B, T."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablab.config import load_object
from ablab.model.base import Model
from ablab.model.build import build_model
from ablab.model.forward import FusedKernels
from ablab.tasks.base import Batch, Task
from ablab.tasks.random import Stream, words
from ablab.train.batches import Batches
from ablab.train.collector import StatisticsCollector
from ablab.train.compiled_gradients import make_gradients
from ablab.train.gradients import Gradients, LossesAndGradients
from ablab.train.host import to_host
from ablab.train.kernels import StackedKernels
from ablab.train.method import Method
from ablab.train.objective import DTYPES, Objective
from ablab.train.optimizer import Scalars, initial_state, make_optimizer
from ablab.train.parameter_layout import ParameterLayout
from ablab.train.prefetch import Prefetcher
from ablab.train.recovery import Recovery, RecoveryState, Restart
from ablab.train.run import Run
from ablab.train.timings import Timings

_EVALUATED_TOKENS = 8192  # at once, where a training batch has fewer


@dataclass(frozen=True)
class RunState:
    """One run's parameters after a step, as a flat row of shape (P,), and optimizer state.

    ``recovery`` is what else a run that may go back has to remember.
    """

    step: int
    theta: Tensor
    optimizer_state: dict[str, Tensor]
    recovery: RecoveryState | None = None


@dataclass(frozen=True)
class Advance:
    """What some steps of a stack came to.

    Attributes:
        losses: The training loss of each step and run, before its update; shape (K, R).
        grad_norms: The gradient's norm at the last of the steps, before clipping; shape (R,).
        lrs: The learning rate of each step and run; shape (K, R).
        fatal: Whether a loss is not finite and its run has no restart left; shape (K, R).
        restarts: The runs that went back to an earlier state.
        watched: What the collector made of the last of the steps, (R, S); None where it is not
            watched.
    """

    losses: NDArray[np.float64]
    grad_norms: NDArray[np.float64]
    lrs: NDArray[np.float64]
    fatal: NDArray[np.bool_]
    restarts: list[Restart]
    watched: NDArray[np.float64] | None = None


def make_task(run: Run) -> Task:
    """The task that a run's configuration describes."""
    task: Task = load_object(run.task.import_path, "task.kind")(run.task)
    return task


def initial_seed(seed: int) -> int:
    """The seed of a run's initial parameters."""
    return int(words(seed, Stream.INITIAL, 0, 1, 1)[0, 0] >> np.uint64(1))


def initial_model(run: Run) -> Model:
    """The run's model with its initial parameters, on the CPU, in the run's precision."""
    model = build_model(
        run.model,
        run.task.vocab_size,
        run.task.input_length,
        initial_seed(run.seed),
        run.task.source_length,
    )
    return model.to(DTYPES[run.train.precision])


class Stack:
    """Runs that are trained together, and their state.

    Args:
        runs: The runs, of one ``stack_key``.
        states: Where each continues from, None where it begins; None where all begin.
        device: Where the tensors live.
        method: How gradients are computed.

    Attributes:
        objective: One run's loss.
        layout: Where parameters lie in a row.
        theta: Every run's parameters, (R, P).
        optimizer_state: The optimizer's state by name, each with the leading axis R.
        collector: What watches the steps; None where nothing does.
        timings: How long training takes, rehearsals not among it.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        states: Sequence[RunState | None] | None,
        device: torch.device,
        method: Method,
    ) -> None:
        if method.engine == "solo" and len(runs) != 1:
            raise ValueError(f"{len(runs)} runs cannot be trained alone")
        self.runs = list(runs)
        first = runs[0]
        self.config = first.train
        self.device = device
        self.method = method
        self.task = make_task(first)
        self.timings = Timings(device)
        # Parameters are passed in, so the template's own values are never read.
        model = initial_model(first).to(device)
        self.layout = ParameterLayout.of(model)
        self._optimizer = make_optimizer(first.train.optimizer_config, self.layout)
        if len(runs) > 1 and not self._optimizer.stackable:
            kind = first.train.optimizer_config.kind
            raise ValueError(f"{kind} trains one run at a time; {len(runs)} runs cannot be stacked")
        precision = self.config.precision
        self.objective = Objective(
            model, self.task, self.config.loss, autocast=precision == "bfloat16"
        )
        if device.type == "cuda":
            # A setting of the whole process, which trains one stack at a time.
            torch.backends.cuda.matmul.fp32_precision = "tf32" if precision == "tf32" else "ieee"
        self._check_model(model)
        self._gradients = self._make_gradients()
        self.collector: StatisticsCollector | None = None
        started = [
            self._initial_state(run) if state is None else state
            for run, state in zip(runs, states or [None] * len(runs), strict=True)
        ]
        steps = {state.step for state in started}
        if len(steps) != 1:
            raise ValueError(f"the runs of a stack must be at one step, not {sorted(steps)}")
        (self.step,) = steps
        self.theta = torch.stack([state.theta for state in started]).to(device)  # (R, P)
        self.optimizer_state = {
            name: torch.stack([state.optimizer_state[name] for state in started]).to(device)
            for name in self._optimizer.state_names
        }
        self._recovery = self._recovery_of(started)
        self._decays = self.layout.matrices().to(device) if self.config.decay != "all" else None
        sizes = self.objective.noise_sizes(first.task.input_length, device)
        self._prefetcher = Prefetcher(runs, self.task, self._optimizer, sizes, self.theta)

    def _make_gradients(self) -> Gradients:
        key = self.runs[0].program_key
        return make_gradients(self.objective, self.layout, self.method, key)

    def _check_model(self, model: Model) -> None:
        """Refuses what flat parameters and one template for all runs cannot hold."""
        frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
        if frozen:
            raise ValueError(f"parameter {frozen[0]} is frozen, which ablab does not train around")
        buffers = dict(model.named_buffers())
        for run in self.runs[1:] if buffers else []:
            for name, buffer in initial_model(run).named_buffers():
                if not torch.equal(buffer, buffers[name].cpu()):
                    raise ValueError(f"buffer {name} differs between runs; make it a parameter")

    def _initial_state(self, run: Run) -> RunState:
        theta = self.layout.flatten(initial_model(run))
        optimizer_state = initial_state(self._optimizer, theta)
        return RunState(0, theta, optimizer_state, RecoveryState.initial(theta, optimizer_state))

    def _recovery_of(self, started: Sequence[RunState]) -> Recovery | None:
        if self.config.recover is None:
            return None
        states = [state.recovery for state in started if state.recovery is not None]
        if len(states) != len(started):
            raise ValueError("a run that may go back has to bring what its recovery remembers")
        return Recovery(self.config.recover, states, self.device)

    def state(self, index: int) -> RunState:
        """The state of the run at ``index``, copied to the CPU."""
        return RunState(
            self.step,
            self.theta[index].detach().cpu().clone(),
            {name: slot[index].cpu().clone() for name, slot in self.optimizer_state.items()},
            None if self._recovery is None else self._recovery.state(index),
        )

    @torch.no_grad()
    def load_states(self, other: "Stack", index: int) -> None:
        """Puts the state of a run of another stack in the place of this one's only run."""
        self.step = other.step
        self.theta.copy_(other.theta[index : index + 1])
        for name, slot in self.optimizer_state.items():
            slot.copy_(other.optimizer_state[name][index : index + 1])

    def narrow(self, indices: Sequence[int]) -> None:
        """Narrows the stack to some of its runs."""
        chosen = torch.tensor(list(indices), device=self.device, dtype=torch.long)
        self.runs = [self.runs[i] for i in indices]
        self.theta = self.theta.index_select(0, chosen)
        self.optimizer_state = {
            name: slot.index_select(0, chosen) for name, slot in self.optimizer_state.items()
        }
        self._prefetcher.narrow(indices)
        if self._recovery is not None:
            self._recovery.narrow(indices)
        if self.collector is not None:
            self.collector.narrow(indices)

    def use(self, method: Method) -> None:
        """Computes gradients by another method from now on."""
        if method.engine == "solo" and len(self.runs) != 1:
            raise ValueError(f"{len(self.runs)} runs cannot be trained alone")
        self.method = method
        self._gradients = self._make_gradients()
        self._prefetcher.forget()

    def time_gradient(self) -> float:
        """Computes the next step's gradients, changing nothing; returns the seconds it took.

        The first call compiles, where the method is a compiled one.
        """
        batches = self._gradients.arrange(self.draw(self.step + 1)).at(0)
        began = time.perf_counter()
        self._gradients.compute(self.theta, batches, Timings(self.device))
        return time.perf_counter() - began

    @property
    def lr_scales(self) -> NDArray[np.float64]:
        """What recovery multiplies each run's learning rate by now, (R,)."""
        return np.ones(len(self.runs)) if self._recovery is None else self._recovery.lr_scales

    @property
    def compile_seconds(self) -> float:
        """What compiling has taken so far."""
        return self._gradients.compile_seconds

    def advance(self, steps: int) -> Advance:
        """Trains ``steps`` steps; losses leave the device once, at the end."""
        drawn: list[Tensor] = []
        rates: list[NDArray[np.float64]] = []
        fatal: list[NDArray[np.bool_]] = []
        restarts: list[Restart] = []
        unchecked = 0  # losses that recovery has not seen
        norms = statistics = None
        for k in range(steps):
            step, is_last = self.step + 1, k == steps - 1
            with self.timings.phase("data"):
                inputs = self._prefetcher.at(step, self._recovery, self._gradients.arrange)
            tap_reducer = None if self.collector is None else self.collector.tap_reducer(step)
            self.timings.begin_step(len(self.runs))
            found = self._gradients.compute(self.theta, inputs.batches, self.timings, tap_reducer)
            norms, statistics = self._update(step, found, inputs.scalars, wants_norm=is_last)
            drawn.append(found.losses)
            rates.append(inputs.lrs)
            self.step, unchecked = step, unchecked + 1
            recovery = self._recovery
            if recovery is not None and (is_last or recovery.until_look(step - 1) == 1):
                ends, found_restarts = self._recover(recovery, drawn[-unchecked:])
                fatal.append(ends)
                restarts += found_restarts
                unchecked = 0
        assert norms is not None, "the last step computes the gradient's norm"
        losses, norm, watched = self._moved(drawn, norms, statistics)
        bad = np.concatenate(fatal) if fatal else ~np.isfinite(losses)
        return Advance(losses, norm, np.stack(rates), bad, restarts, watched)

    def _update(
        self, step: int, found: LossesAndGradients, scalars: Scalars, wants_norm: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        """Updates the parameters; returns the gradient's norm and the step's statistics, if any."""
        grad, collector = found.grad, self.collector
        norm = statistics = None
        with torch.no_grad():
            if collector is not None:
                with self.timings.phase("watch"):
                    collector.before(step, self.theta, grad)
            with self.timings.phase("update"):
                if wants_norm or self.config.clip_norm is not None:
                    norm = torch.linalg.vector_norm(grad, dim=1)
                if norm is not None and self.config.clip_norm is not None:
                    # The formula of torch.nn.utils.clip_grad_norm_, run by run.
                    grad.mul_((scalars["clip_norm"] / (norm[:, None] + 1e-6)).clamp(max=1.0))
                self._optimizer.update(
                    self.theta, grad, self.optimizer_state, scalars, self._decays
                )
            if collector is not None:
                with self.timings.phase("watch"):
                    if collector.watches(step):
                        state = self.optimizer_state
                        statistics = collector.after(step, self.theta, state, found.tapped)
                    collector.done(step)
        return norm, statistics

    def _recover(
        self, recovery: Recovery, losses: Sequence[Tensor]
    ) -> tuple[NDArray[np.bool_], list[Restart]]:
        """Lets recovery see losses (K, R) since its last check.

        Returns:
            Whether each loss ends its run, (K, R), and the runs that went back.
        """
        on_host = to_host(torch.stack(list(losses)))
        bad = ~np.isfinite(on_host)
        ends = bad & ~recovery.has_restarts
        restarts = recovery.note(on_host, self.step, self.theta, self.optimizer_state)
        if self.step == self.config.steps:  # no check follows
            ends[-1] = bad[-1]
            ends[-1, [each.run for each in restarts]] = False
        if restarts and self.collector is not None:
            self.collector.forget()
        return ends, restarts

    def _moved(
        self, losses: Sequence[Tensor], norms: Tensor, numbers: Tensor | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64] | None]:
        """Losses (K, R), norms (R,) and a collector's numbers (R, S), all in one transfer."""
        count, runs = len(losses), len(self.runs)
        flat = [torch.stack(list(losses)).reshape(-1), norms]
        flat += [] if numbers is None else [numbers.reshape(-1)]
        moved = to_host(torch.cat(flat))
        watched = None if numbers is None else moved[(count + 1) * runs :].reshape(runs, -1)
        return moved[: count * runs].reshape(count, runs), moved[count * runs :][:runs], watched

    def draw(self, step: int) -> Batches:
        """Every run's batch of a step, and dropout's words, with the leading axes (1, R, B)."""
        return self._prefetcher.draw(step, 1)

    @torch.no_grad()
    def evaluate(self, batch: Batch, chunk: int | None = None) -> dict[str, NDArray[np.float64]]:
        """The loss and the task's measures on a held-out batch, by name, each of shape (R,).

        Args:
            batch: Arrays with the leading axis B.
            chunk: How many samples are taken at once; by default as many as a training batch has,
                or a few thousand tokens.
        """
        chunk = chunk or max(self.config.batch_size, _EVALUATED_TOKENS // batch.tokens.shape[-1])
        tokens = torch.from_numpy(batch.tokens).to(self.device)
        targets = torch.from_numpy(batch.targets).to(self.device)
        names: list[str] = []
        sums: list[Tensor] = []
        self.objective.model.eval()
        measure = self._measures
        parameters = self.layout.views(self.theta)
        if self.method.engine == "stack":
            measure = torch.vmap(measure, in_dims=(0, None, None))
        else:
            parameters = {name: view[0] for name, view in parameters.items()}
        for start in range(0, len(tokens), chunk):
            part = slice(start, start + chunk)
            found = measure(parameters, tokens[part], targets[part])
            names = list(found)
            values = torch.stack(
                [value.reshape(-1).to(self.theta.dtype) for value in found.values()]
            )
            sums.append(values.cpu().double() * len(tokens[part]))
        self.objective.model.train()
        means = torch.stack(sums).sum(dim=0).numpy() / len(tokens)  # (names, R)
        return dict(zip(names, means, strict=True))

    def _measures(
        self, parameters: dict[str, Tensor], tokens: Tensor, targets: Tensor
    ) -> dict[str, Tensor]:
        kernels = StackedKernels() if self.method.engine == "stack" else FusedKernels()
        return self.objective.measures(parameters, tokens, targets, kernels)
