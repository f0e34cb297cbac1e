"""Groups of runs of equal shape, and the methods that could train them, with their cost."""

from dataclasses import dataclass
from functools import cached_property

from ablab.execute.cost import StepCost
from ablab.execute.early_stops import ExpectedStop
from ablab.execute.estimate import NO_TIME, Estimate
from ablab.train.method import Method
from ablab.train.run import Run


@dataclass(frozen=True)
class Group:
    """Runs of equal shape.

    Attributes:
        runs: The runs.
        cost: The cost of one step, or the error in one line if a step raises.
        left: Steps left to train, one number per run.
        before: The method that trained the unfinished ones among them so far, if it was one and
            the same.
        stops: Where stop rules will probably end the runs, None for a run that is not expected to
            stop; empty if none is.
        until: The step to which runs are trained for now; None for the last step of each.
    """

    runs: tuple[Run, ...]
    cost: StepCost | str
    left: tuple[int, ...]
    before: Method | None = None
    stops: tuple[ExpectedStop | None, ...] = ()
    until: int | None = None

    @cached_property
    def work(self) -> tuple["Work", ...]:
        """What each run has left to do."""
        stops = self.stops or (None,) * len(self.runs)
        return tuple(
            _work(run, left, stop, self.until)
            for run, left, stop in zip(self.runs, self.left, stops, strict=True)
        )

    @property
    def run_steps(self) -> int:
        """Steps that will probably be trained, all runs together."""
        return sum(each.steps[0] for each in self.work)


@dataclass(frozen=True)
class Work:
    """What a run has left to do: the most probable amount, the least and the most.

    Attributes:
        steps: The number of steps.
        evaluations: The number of evaluations.
    """

    steps: tuple[int, int, int]
    evaluations: tuple[int, int, int]


def _work(run: Run, left: int, stop: ExpectedStop | None, until: int | None) -> Work:
    if not left:
        return Work((0, 0, 0), (0, 0, 0))
    total, every = run.train.steps, run.train.evaluate.every
    total = total if until is None else min(until, total)
    done = max(0, total - left)
    ends = (0, 0, 0) if stop is None else (stop.step, stop.earliest, stop.latest)
    saved = [0 if stop is None else total - min(total, max(done + 1, end)) for end in ends]

    def evaluations(end: int) -> int:
        """Those at step 0, periodically, and at the end."""
        return (not done) + end // every - done // every + (end % every > 0)

    expected, least, most = saved
    return Work(
        (left - expected, left - least, left - most),
        (evaluations(total - expected), evaluations(total - least), evaluations(total - most)),
    )


@dataclass(frozen=True)
class Alternative:
    """A method that a group could be trained by, with its estimated cost.

    Attributes:
        method: The method.
        width: Runs per stack.
        processes: The largest number of processes that train the group's stacks; each one compiles.
        step_seconds: Seconds per step of one run.
        compile_seconds: Seconds that each process spends compiling.
        measured: Whether the step has been timed on this machine.
        model_seconds: Seconds per step by the cost model alone, ignoring measurements.
        step_factor: By which factor the seconds per step may be wrong.
        compile_factor: By which factor the seconds of compiling may be wrong.
        evaluation: Seconds per evaluation of one run.
        setup: Seconds before the first step of a stack, and after its last.
    """

    method: Method
    width: int
    processes: int
    step_seconds: float
    compile_seconds: float
    measured: bool
    model_seconds: float
    step_factor: float = 1.0
    compile_factor: float = 1.0
    evaluation: Estimate = NO_TIME
    setup: Estimate = NO_TIME

    def estimate(self, group: Group, part: slice, compiles: bool) -> Estimate:
        """How long some of a group's runs take as one stack in one process.

        Args:
            group: The group.
            part: The runs of the stack.
            compiles: Whether the process has to compile the program.
        """
        work = [each for each in group.work[part] if each.steps[0]]
        if not work:
            return NO_TIME
        steps = [sum(each.steps[k] for each in work) for k in range(3)]
        counts = [sum(each.evaluations[k] for each in work) for k in range(3)]
        each, evaluation = self.step_seconds, self.evaluation
        training = Estimate(
            each * steps[0], each / self.step_factor * steps[1], each * self.step_factor * steps[2]
        )
        evaluating = Estimate(
            evaluation.seconds * counts[0], evaluation.low * counts[1], evaluation.high * counts[2]
        )
        compiling = Estimate.within(self.compile_seconds * compiles, self.compile_factor)
        return self.setup + compiling + training + evaluating
