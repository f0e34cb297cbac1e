"""Replays the work of a function as a CUDA graph, which launches all of its kernels at once.

A step of a small model is hundreds of kernels of a few microseconds each. Launched one by one from
Python they take longer to launch than to run. A graph is recorded once and launched as a whole; it
reads and writes the memory that was recorded.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ablab.train.batches import Batches
from ablab.train.gradients import Gradients, LossesAndGradients, Wrapper
from ablab.train.taps import TapReducer
from ablab.train.timings import NO_TIMINGS, Timings

Results = tuple[Tensor, ...]
USUAL_CALLS = 2  # calls before one is recorded: they load kernels and fill caches
_STREAMS = 64  # twice as many as torch has, which gives them in turn
_APART = 1e-3  # a replay may differ by this from the usual call: sums may have another order


class Recording:
    """A recorded call.

    Attributes:
        results: Where a replay writes what the call returns.
    """

    def __init__(
        self, results: Results, replay: Callable[[], None], release: Callable[[], None]
    ) -> None:
        self.results, self._replay, self._release = results, replay, release

    def replay(self) -> None:
        """Does what was recorded, with what is now in the memory that it reads."""
        self._replay()

    def release(self) -> None:
        """Gives back its memory; it cannot be replayed any more."""
        self._release()
        self.results = ()


Record = Callable[[Callable[[], Results]], Recording]


class RefusedError(Exception):
    """A call could not be recorded; the message is the reason."""


class CudaRecorder:
    """Records CUDA graphs. There is one for the process.

    Each graph has a stream of its own as long as it lives: torch keeps the workspace of matrix
    products by stream, and drops it with any graph of that stream. After a failure for another
    reason than memory nothing is recorded any more, since the allocator of some releases of torch
    stays in the state of a recording; the graph that failed is kept for the same reason.
    """

    def __init__(self) -> None:
        self._free: list[torch.cuda.Stream] = []
        self._streams: set[int] = set()  # of torch's, of which there are few
        self._refused: str | None = None
        self._failed: list[Any] = []

    def __call__(self, call: Callable[[], Results]) -> Recording:
        """Records a call, which does not run.

        Raises:
            RefusedError: It waits for the device or uses memory of the host, or an earlier one did,
                or there are too many graphs.
            OutOfMemoryError: It does not fit.
        """
        if self._refused is not None:
            raise RefusedError(self._refused)
        graph, stream, usual = torch.cuda.CUDAGraph(), self._stream(), torch.cuda.current_stream()
        try:
            # Other threads, which draw batches, may allocate pinned memory meanwhile.
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                results = call()
        except Exception as error:
            torch.cuda.set_stream(usual)  # torch leaves its own in place
            if isinstance(error, torch.OutOfMemoryError) and _reset(graph):
                self._free.append(stream)
                raise
            self._failed += [graph, stream]
            self._refused = _reason(error)
            raise RefusedError(self._refused) from None

        def release() -> None:
            torch.cuda.synchronize()  # the last replay may not be over
            graph.reset()
            self._free.append(stream)

        return Recording(results, graph.replay, release)

    def _stream(self) -> torch.cuda.Stream:
        """A stream that no other graph has."""
        for _ in range(_STREAMS):
            if self._free:
                return self._free.pop()
            stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            if stream.cuda_stream not in self._streams:
                self._streams.add(stream.cuda_stream)
                return stream
        raise RefusedError(f"there are {len(self._streams)} graphs, each with a stream of its own")


def _reset(graph: torch.cuda.CUDAGraph) -> bool:
    """Gives back what a graph holds after its recording failed; whether that was possible."""
    try:
        graph.reset()
    except RuntimeError:
        return False
    return True


def _reason(error: Exception) -> str:
    """Why recording failed. torch says at last only that something had failed before."""
    cause = error.__context__ or error
    return f"{type(cause).__name__}: {cause}".splitlines()[0]


RECORDERS: dict[str, Record] = {"cuda": CudaRecorder()}  # by the type of device


class Replayed:
    """A function of tensors of fixed shapes, replayed after a few calls.

    The first calls are usual ones. One is then recorded, and the next is made both ways, with other
    inputs than those of the recording. If recording fails, or what the replay returns or writes
    differs by more than rounding, all calls are usual ones.

    Args:
        function: Reads its arguments and ``state``, and nothing else that changes. It may overwrite
            both. It returns tensors, each with the leading axis R.
        state: Tensors with the leading axis R that it reads or changes, which stay where they are.
        record: Records a call.
        after: Calls before one is recorded.
        adopts: Whether a first argument lies where most will lie. A call with such a one is
            recorded, and reads it there; if it is elsewhere later, it is copied there first, as all
            others are.

    Attributes:
        failed: Why calls are not replayed; None if they are, or if it is too early to know.
    """

    def __init__(
        self,
        function: Callable[..., Results],
        state: Sequence[Tensor],
        record: Record,
        after: int = USUAL_CALLS,
        adopts: Callable[[Tensor], bool] | None = None,
    ) -> None:
        self._function, self._state, self._record = function, list(state), record
        self._after, self._adopts = after, adopts
        self._calls = 0
        self._inputs: list[Tensor] = []  # where the recorded call reads its arguments
        self._recording: Recording | None = None
        self._agrees = False
        self.failed: str | None = None

    @property
    def replays(self) -> bool:
        """Whether calls are replayed."""
        return self._agrees

    def holds(self, tensor: Tensor) -> bool:
        """Whether a tensor is the place of a replay's result."""
        results = () if self._recording is None else self._recording.results
        return any(tensor.data_ptr() == each.data_ptr() for each in results)

    def __call__(self, *inputs: Tensor) -> Results:
        """The function's results. Those of a replay are overwritten by the next one."""
        if self._agrees:
            return self._replay(inputs)
        if self._recording is not None:
            return self._compare(inputs)
        self._calls += 1
        due = self.failed is None and self._calls > self._after
        if due and (self._adopts is None or self._adopts(inputs[0])):
            self._try_to_record(inputs)
        return self._function(*inputs)

    def release(self) -> None:
        """Gives back the memory of the graph; calls are usual ones from now on."""
        if self._recording is not None:
            self._recording.release()
        self._recording, self._inputs, self._agrees = None, [], False
        self.failed = self.failed or "released"

    def _try_to_record(self, inputs: Sequence[Tensor]) -> None:
        adopted = 0 if self._adopts is None else 1
        try:
            self._inputs = [*inputs[:adopted], *(each.clone() for each in inputs[adopted:])]
            self._recording = self._record(lambda: self._function(*self._inputs))
        except (RefusedError, torch.OutOfMemoryError) as error:
            self._fail(str(error).splitlines()[0])

    def _replay(self, inputs: Sequence[Tensor]) -> Results:
        assert self._recording is not None, "a call was recorded"
        for own, given in zip(self._inputs, inputs, strict=True):
            if own.data_ptr() != given.data_ptr():
                own.copy_(given)
        self._recording.replay()
        return self._recording.results

    def _compare(self, inputs: Sequence[Tensor]) -> Results:
        """Makes a call both ways; what counts is the replay if it agrees."""
        before: list[Tensor] = []
        try:
            before = [each.clone() for each in self._state]
            usual = self._function(*(each.clone() for each in inputs))
            usual = tuple(each.clone() for each in usual)
            after = [each.clone() for each in self._state]
        except torch.OutOfMemoryError as error:  # beside the graph's memory
            if len(before) == len(self._state):
                _restore(self._state, before)
            self._fail(str(error).splitlines()[0])
            return self._function(*inputs)
        try:
            _restore(self._state, before)
            results = self._replay(inputs)
            pairs = zip([*results, *self._state], [*usual, *after], strict=True)
            apart = max((_distance(mine, other) for mine, other in pairs), default=0.0)
        except torch.OutOfMemoryError as error:
            failure = str(error).splitlines()[0]
        else:
            if apart <= _APART:
                self._agrees = True
                return results
            failure = f"a replay differs by {apart:.1e} from the call"
        _restore(self._state, after)
        self._fail(failure)
        return usual

    def _fail(self, reason: str) -> None:
        self.failed = reason
        self.release()


def _restore(state: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    with torch.no_grad():
        for tensor, value in zip(state, values, strict=True):
            tensor.copy_(value)


def _distance(mine: Tensor, other: Tensor) -> float:
    """The largest |mine - other| / |other| of a run; infinite where only one is finite."""
    mine, other = (each.detach().reshape(len(each), -1) for each in (mine, other))  # (R, …)
    if not other.is_floating_point():
        mine, other = mine.double(), other.double()
    alike = (mine == other) | (mine.isnan() & other.isnan())
    apart = torch.where(alike, 0.0, mine - other).norm(dim=1)
    norms = torch.where(alike & ~other.isfinite(), 0.0, other).norm(dim=1)
    found = torch.where(apart == 0, 0.0, apart / norms).nan_to_num(nan=torch.inf)
    return float(found.max())


class GraphedGradients(Wrapper):
    """Replays the gradients of a stack's own parameters; tapped passes are usual calls.

    Args:
        inner: Computes them.
        theta: The stack's parameters, (R, P), which are updated in place.
        record: Records a call.
        usual_calls: Calls before one is recorded.

    Attributes:
        replayed: The passes.
    """

    def __init__(
        self, inner: Gradients, theta: Tensor, record: Record, usual_calls: int = USUAL_CALLS
    ) -> None:
        super().__init__(inner)
        self._theta = theta

        def compute(*tensors: Tensor) -> Results:  # not a method, which would be a cycle
            tokens, targets, *noise = tensors
            own = Batches(tokens, targets, noise[0] if noise else None)
            found = inner.compute(theta, own, NO_TIMINGS)  # others would wait for the device
            return found.losses, found.grad

        self.replayed = Replayed(compute, [theta], record, usual_calls)

    def compute(
        self,
        theta: Float[Tensor, "R P"],
        batches: Batches,
        timings: Timings,
        tap_reducer: TapReducer | None = None,
        share: float = 1.0,
    ) -> LossesAndGradients:
        """See :meth:`Gradients.compute`; the gradient is overwritten by the next call."""
        assert theta is self._theta, "a graph reads the stack's own parameters"
        if tap_reducer is not None or self.replayed.failed is not None:
            return self._inner.compute(theta, batches, timings, tap_reducer, share)
        with timings.phase("gradient"):
            losses, grad = self.replayed(*batches.tensors)
            return LossesAndGradients(losses.clone(), grad, {})
