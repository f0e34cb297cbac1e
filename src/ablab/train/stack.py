"""A stack: runs of equal shape, trained together along a leading run axis. Axes: R, P, K, B, T."""

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablab.config import load_object
from ablab.model.base import Model
from ablab.model.build import build_model
from ablab.tasks.base import Batch, Task
from ablab.tasks.random import Stream, words
from ablab.train.advance import Advance
from ablab.train.batches import Batches
from ablab.train.by_factor import Groups
from ablab.train.collector import StatisticsCollector
from ablab.train.compiled_gradients import make_gradients
from ablab.train.cuda_graphs import USUAL_CALLS
from ablab.train.evaluation import Measured, evaluate_runs, together_is_faster
from ablab.train.gradients import Gradients, LossesAndGradients
from ablab.train.host import finish, move_step, to_host
from ablab.train.loss_config import LossConfig
from ablab.train.method import Method
from ablab.train.objective import DTYPES, Objective
from ablab.train.optimizer import initial_state, make_optimizer
from ablab.train.parameter_layout import ParameterLayout
from ablab.train.parameter_update import Update
from ablab.train.precision import products_during, set_products
from ablab.train.prefetch import Prefetcher, StepInputs
from ablab.train.recovery import Recovery, RecoveryState, Restart
from ablab.train.run import Run
from ablab.train.run_state import RunState
from ablab.train.step_calls import StepCalls
from ablab.train.taps import TapReducer
from ablab.train.template import check_template, program_key
from ablab.train.timings import NO_TIMINGS, Timings

_USUAL_CALLS = 20  # after runs have left, before a step is recorded: others may leave soon
_EVALUATED_TOKENS = 8192  # per call, or as many as a training batch has if that is more


def make_task(run: Run) -> Task:
    """The task that a run's configuration describes."""
    task: Task = load_object(run.task.import_path, "task.kind")(run.task)
    return task


def initial_seed(seed: int) -> int:
    """The seed of a run's initial parameters."""
    return int(words(seed, Stream.INITIAL, 0, 1, 1)[0, 0] >> np.uint64(1))


def initial_model(run: Run) -> Model:
    """The run's model with initial parameters, on the CPU, in the run's precision."""
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
        runs: The runs, which must have equal ``stack_key``.
        states: The state from which each run continues, None for a new run; None if all are new.
        device: Where tensors live.
        method: How gradients are computed.
        replays: Whether steps may be replayed as CUDA graphs.

    Attributes:
        objective: One run's loss.
        layout: The layout of parameters in a row.
        theta: The parameters of all runs, (R, P).
        optimizer: The update rule.
        optimizer_state: The optimizer's state by name, with the leading axis R.
        collector: Computes statistics; None if nothing is watched.
        evaluates_together: Whether one call evaluates all runs, under ``torch.vmap``.
        narrowed: Called after runs have left the stack.
        timings: Seconds of each phase of training.
        calls: What a step calls.
        replays: Whether steps may be replayed as CUDA graphs.

    Raises:
        ValueError: The runs cannot be trained together, or the model cannot be trained.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        states: Sequence[RunState | None] | None,
        device: torch.device,
        method: Method,
        replays: bool = False,
    ) -> None:
        if method.engine == "solo" and len(runs) != 1:
            raise ValueError(f"the solo engine trains a single run, not {len(runs)}")
        self.runs = list(runs)
        first = runs[0]
        self.config = first.train
        self.device = device
        self.method = method
        self.task = make_task(first)
        self.timings = Timings(device)
        # Parameters are passed as arguments, so the template's own values are never read.
        model = initial_model(first).to(device)
        self.layout = ParameterLayout.of(model)
        self.optimizer = make_optimizer(first.train.optimizer_config, self.layout)
        if len(runs) > 1 and not self.optimizer.stackable:
            kind = first.train.optimizer_config.kind
            raise ValueError(f"{kind} trains one run at a time; {len(runs)} runs cannot be stacked")
        precision = self.config.precision
        self._noise_sizes: Sequence[int] = ()
        self.objective = self._objective_of(model, precision)
        set_products(device, precision)
        self._evaluation: Objective | None = None  # in another precision
        check_template(model, runs, initial_model)
        self.program_key = program_key(first, model)
        self._compile_seconds: dict[Method, float] = {}
        self._gradients = self._make_gradients()
        self.collector: StatisticsCollector | None = None
        self.evaluates_together = together_is_faster(method, device, self.layout)
        self.narrowed: Callable[[], None] = lambda: None
        started = [
            self.initial_state(run) if state is None else state
            for run, state in zip(runs, states or [None] * len(runs), strict=True)
        ]
        steps = {state.step for state in started}
        if len(steps) != 1:
            raise ValueError(f"the runs of a stack must be at the same step, not {sorted(steps)}")
        (self.step,) = steps
        self.theta = torch.stack([state.theta for state in started]).to(device)  # (R, P)
        self.optimizer_state = {
            name: torch.stack([state.optimizer_state[name] for state in started]).to(device)
            for name in self.optimizer.state_names
        }
        self._recovery = self._recovery_of(started)
        self._decays = self.layout.matrices().to(device) if self.config.decay != "all" else None
        sizes = self.objective.count_noise(first.task.input_length, device)
        self._noise_sizes = sizes
        self._prefetcher = Prefetcher(runs, self.task, self.optimizer, sizes, self.theta)
        self.replays = replays
        self.calls = self._make_calls()

    def new_objective(self, precision: str | None = None) -> Objective:
        """The same loss with a new model, so that passes leave nothing behind in the stack's.

        Args:
            precision: Another precision, but not a lower one for the loss; by default that of
                training.
        """
        model = initial_model(self.runs[0]).to(self.device)
        if precision is None:
            return self._objective_of(model, self.config.precision)
        loss = self.config.loss
        if precision == "float64":
            loss = loss.model_copy(update={"dtype": precision})
        return self._objective_of(model.to(DTYPES[precision]), precision, loss)

    def _objective_of(
        self, model: Model, precision: str, loss: LossConfig | None = None
    ) -> Objective:
        autocast = precision == "bfloat16"
        return Objective(model, self.task, loss or self.config.loss, autocast, self._noise_sizes)

    @property
    def _is_shipped(self) -> bool:
        """Whether a step runs no user's code."""
        return self.runs[0].program_is_shipped and self.objective.is_shipped

    def _make_gradients(self) -> Gradients:
        key, shipped = self.program_key, self._is_shipped
        return make_gradients(self.objective, self.layout, self.method, key, shipped)

    def initial_state(self, run: Run) -> RunState:
        """The state of a run before its first step, on the CPU."""
        theta = self.layout.flatten(initial_model(run))
        optimizer_state = initial_state(self.optimizer, theta)
        return RunState(0, theta, optimizer_state, RecoveryState.initial(theta, optimizer_state))

    def _recovery_of(self, started: Sequence[RunState]) -> Recovery | None:
        if self.config.recover is None:
            return None
        states = [state.recovery for state in started if state.recovery is not None]
        if len(states) != len(started):
            raise ValueError("train.recover is set, but the state of a run has no recovery state")
        return Recovery(self.config.recover, states, self.device)

    def state(self, index: int) -> RunState:
        """The state of the run at ``index``, copied to the CPU."""
        return RunState(
            self.step,
            self.theta[index].detach().cpu().clone(),
            {name: each[index].cpu().clone() for name, each in self.optimizer_state.items()},
            None if self._recovery is None else self._recovery.state(index),
        )

    @torch.no_grad()
    def load_states(self, other: "Stack", index: int) -> None:
        """Overwrites the state of this stack's only run with that of a run of another stack."""
        self.step = other.step
        self.theta.copy_(other.theta[index : index + 1])
        for name, tensor in self.optimizer_state.items():
            tensor.copy_(other.optimizer_state[name][index : index + 1])

    def narrow(self, indices: Sequence[int]) -> None:
        """Narrows the stack to some of its runs."""
        chosen = torch.tensor(list(indices), device=self.device, dtype=torch.long)
        self.runs = [self.runs[i] for i in indices]
        self.theta = self.theta.index_select(0, chosen)
        self.optimizer_state = {
            name: each.index_select(0, chosen) for name, each in self.optimizer_state.items()
        }
        if self._recovery is not None:
            self._recovery.narrow(indices)
        if self.collector is not None:
            self.collector.narrow(indices)
        if self.runs:
            # Its settings are those of the first run, and all settings if only that one is left.
            self.optimizer = make_optimizer(self.runs[0].train.optimizer_config, self.layout)
            self._prefetcher.narrow(indices, self.optimizer)
            self._renew_calls()
            self.narrowed()
            self._renew_calls(_USUAL_CALLS)

    def use(self, method: Method) -> None:
        """Switches to another method of computing gradients.

        Raises:
            ValueError: The method trains one run, and the stack has several.
        """
        if method.engine == "solo" and len(self.runs) != 1:
            raise ValueError(f"the solo engine trains a single run, not {len(self.runs)}")
        self._compile_seconds[self.method] = self.compile_seconds
        self.method = method
        self.evaluates_together = together_is_faster(method, self.device, self.layout)
        self._gradients = self._make_gradients()
        self._prefetcher.forget()
        self._renew_calls()

    def renew(self) -> None:
        """Replaces the model, in which a pass may have left something behind, with a new one."""
        self._compile_seconds[self.method] = self.compile_seconds
        self.objective, self._evaluation = self.new_objective(), None
        self._gradients = self._make_gradients()
        self._renew_calls()

    def release(self) -> None:
        """Gives back memory that is not the stack's state; it can still be trained."""
        self.calls.release()
        self._prefetcher.close()

    def _renew_calls(self, usual_calls: int = USUAL_CALLS) -> None:
        self.calls.release()
        self.calls = self._make_calls(usual_calls)

    def _make_calls(self, usual_calls: int = USUAL_CALLS) -> StepCalls:
        clips = self.config.clip_norm is not None
        own = (self.optimizer, self.theta, self.optimizer_state, clips, self._decays)
        if not self.replays:
            return StepCalls(self._gradients, Update(*own))
        only_computes = self.method.compiled or self._is_shipped
        return StepCalls.make(self._gradients, *own, only_computes, usual_calls)

    def gradients_at(
        self, theta: Tensor, batches: Batches, tap_reducer: TapReducer | None = None
    ) -> LossesAndGradients:
        """Losses and gradients at other parameters (R, P); the stack's state does not change."""
        arranged = self._gradients.arrange(batches)
        return self._gradients.compute(theta, arranged, NO_TIMINGS, tap_reducer)

    def time_gradient(self) -> float:
        """Computes the gradients of the next step without an update; returns the seconds it took.

        The first call of a compiled method also compiles it.
        """
        batches = self._gradients.arrange(self.draw(self.step + 1)).at(0)
        finish(self.device)
        began = time.perf_counter()
        self._gradients.compute(self.theta, batches, Timings(self.device))
        finish(self.device)
        return time.perf_counter() - began

    @property
    def lr_scales(self) -> NDArray[np.float64]:
        """The factor that recovery applies to each run's learning rate, (R,)."""
        return np.ones(len(self.runs)) if self._recovery is None else self._recovery.lr_scales

    @property
    def compile_seconds(self) -> float:
        """Seconds spent compiling the method so far."""
        return self._compile_seconds.get(self.method, 0.0) + self._gradients.compile_seconds

    def advance(self, steps: int) -> Advance:
        """Trains ``steps`` steps; all losses are moved to the host at the end, in one transfer."""
        drawn: list[Tensor] = []
        rates: list[NDArray[np.float64]] = []
        fatal: list[NDArray[np.bool_]] = []
        restarts: list[Restart] = []
        unchecked = 0  # steps whose losses recovery has not seen
        norms = statistics = None
        for k in range(steps):
            step, is_last = self.step + 1, k == steps - 1
            with self.timings.phase("data"):
                inputs = self._prefetcher.at(step, self._recovery, self._gradients.arrange)
            tap_reducer = None if self.collector is None else self.collector.tap_reducer(step)
            self.timings.begin_step(len(self.runs))
            passes = self.calls.gradients
            found = passes.compute(self.theta, inputs.batches, self.timings, tap_reducer)
            norms, statistics = self._end_step(step, found, inputs, wants_norm=is_last)
            drawn.append(found.losses)
            rates.append(inputs.lrs)
            self.step, unchecked = step, unchecked + 1
            recovery = self._recovery
            if recovery is not None and (is_last or recovery.until_check(step - 1) == 1):
                ends, found_restarts = self._recover(recovery, drawn[-unchecked:])
                fatal.append(ends)
                restarts += found_restarts
                unchecked = 0
        assert norms is not None, "the last step computes the gradient's norm"
        losses, norm, watched = move_step(drawn, norms, statistics)
        bad = np.concatenate(fatal) if fatal else ~np.isfinite(losses)
        return Advance(losses, norm, np.stack(rates), bad, restarts, watched)

    def _end_step(
        self, step: int, found: LossesAndGradients, inputs: StepInputs, wants_norm: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        """Updates the parameters; returns the gradient's norm and the step's statistics, if any."""
        grad, collector = found.grad, self.collector
        statistics = None
        with torch.no_grad():
            if collector is not None:
                with self.timings.phase("watch"):
                    collector.before(step, self.theta, grad)
            with self.timings.phase("update"):
                norm = self.calls.update(grad, inputs.names, inputs.numbers, wants_norm)
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
        """Passes the losses since its last check, (K, R), to recovery.

        Returns:
            Whether each loss ends its run, (K, R), and the runs that were reset.
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

    def draw(self, step: int) -> Batches:
        """Draws the batches and dropout words of a step, with the leading axes (1, R, B)."""
        return self._prefetcher.draw(step, 1)

    def evaluate(self, batch: Batch, chunk: int | None = None, groups: Groups = ()) -> Measured:
        """The loss and the task's measures on a held-out batch, by name, (R,) each.

        Args:
            batch: Arrays with the leading axis B.
            chunk: Samples per call; by default a training batch, or a few thousand tokens.
            groups: Tokens of the batch whose loss and accuracy are wanted as well.
        """
        chunk = chunk or max(self.config.batch_size, _EVALUATED_TOKENS // batch.tokens.shape[-1])
        own, precision = self.config.precision, self.config.evaluation_precision
        objective = self.objective
        if precision != own:
            objective = self._evaluation = self._evaluation or self.new_objective(precision)
        theta, together = self.theta.to(DTYPES[precision]), self.evaluates_together
        with products_during(self.device, precision, own):
            return evaluate_runs(objective, self.layout, theta, batch, chunk, together, groups)
