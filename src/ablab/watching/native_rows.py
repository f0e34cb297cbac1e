"""The pass over rows as one native function, for tensors on a CPU.

torch's own reductions read a tensor once each, in several calls from Python. The function in
``native_rows.cpp`` reads it once, whatever its shape, and gives nine numbers for each run. It is
built once per machine, which takes a second, and kept in the folder of compiled programs. Where it
cannot be built, or gives something else than torch, torch's operations are used.

Axes: W runs, J jobs (tensors), D.
"""

import ctypes
import hashlib
import math
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from shutil import which
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor

from ablab.config.files import WriteError, write_atomically
from ablab.model import torch_internals
from ablab.train.stored_programs import processor
from ablab.watching.rows import RowPass

SUMS = (
    "norms", "max_norm", "min_norm", "squares", "total", "largest", "zeros", "entropy", "rows",
)  # fmt: skip
_HIDES, _WIDE, _ENTROPY, _NORMS, _PRODUCT = 1, 2, 4, 8, 16  # what may be asked of a tensor
_AXES = 6  # of a tensor without its first and its last one
_ADDRESS, _OTHER, _RUN_STRIDE, _ASKED, _SIZE = 0, 1, 2, 6, 7 + 2 * _AXES  # of a job; its length

_SOURCE = Path(__file__).with_suffix(".cpp")
_FLAGS = (
    "-O2", "-march=native", "-ffp-contract=off", "-fno-math-errno", "-Wno-psabi", "-std=c++17",
    "-fopenmp", "-shared", "-fPIC",
)  # fmt: skip
_SECONDS = 300  # to build it on a machine that is very busy

Reduce = Callable[[Any, int, int], Tensor]


class NativeRows(RowPass):
    """The pass over the tensors of sites; those in double precision are left to torch.

    Its one part, ``sums``, is (W, 1, 9) in float64, in the order of :data:`SUMS`.
    """

    is_traceable = False
    also = frozenset({"mean_entropy"})

    def __init__(self, reduce: Reduce) -> None:
        self._reduce = reduce
        self._jobs: dict[tuple[torch.Size, tuple[int, ...]], Any] = {}

    def reduce(self, x: Tensor, parts: frozenset[str], hides: bool = False) -> dict[str, Tensor]:
        """Computes the sums of a tensor (W, …, D)."""
        # Called for each site of a step, so it takes few calls.
        layout = (x.shape, x.stride())
        if x.dtype is not torch.float32 or not x.is_cpu or not _is_readable(*layout):
            if x.dtype is torch.float64 or not x.is_cpu:
                return {"sums": _sums_by_torch(x, hides)}
            x = _readable(x)
            layout = (x.shape, x.stride())
        job = self._jobs.get(layout)
        if job is None:
            job = self._jobs[layout] = (ctypes.c_int64 * _SIZE)(*_job(*layout))
        job[_ADDRESS] = x.data_ptr()
        job[_ASKED] = _HIDES if hides else _ENTROPY if "mean_entropy" in parts else 0
        return {"sums": self._reduce(job, 1, layout[0][0])}


def finished_sums(found: Tensor) -> dict[str, Tensor]:
    """What reducers of rows need, and what was computed beside it, by name; each (…,).

    Args:
        found: The sums of the parts of a tensor, (…, parts, 9).
    """
    if found.shape[-2] == 1:
        own = dict(zip(SUMS, found[..., 0, :].unbind(-1), strict=True))
        own["mean_norm"], own["mean_entropy"] = (
            own[name] / own["rows"] for name in ("norms", "entropy")
        )
        return own
    own = dict(zip(SUMS, found.unbind(-1), strict=True))
    count = own["rows"].sum(-1)
    return {
        "mean_norm": own["norms"].sum(-1) / count,
        "max_norm": own["max_norm"].amax(-1),
        "min_norm": own["min_norm"].amin(-1),
        "squares": own["squares"].sum(-1),
        "total": own["total"].sum(-1),
        "largest": own["largest"].amax(-1),
        "zeros": own["zeros"].sum(-1),
        "mean_entropy": own["entropy"].sum(-1) / count,
    }


def part_job(size: int, is_norms: bool) -> list[int]:
    """The values of a part of the pass at a place, (R, size): norms of rows, or others in a row."""
    rows, width = (size, 1) if is_norms else (1, size)
    none = [0] * (_AXES - 1)
    return [0, 0, size, rows, width, 1, _NORMS if is_norms else _WIDE, rows, *none, width, *none]


class MatrixJobs:
    """Jobs for matrices that lie one after another in flat rows, with sums in double precision.

    Args:
        starts: For each matrix, the place of its first entry in a flat row.
        rows: Its rows.
        widths: Its width.
    """

    def __init__(self, starts: Sequence[int], rows: Sequence[int], widths: Sequence[int]) -> None:
        self._starts = 4 * np.array(starts, dtype=np.int64)
        none = [0] * (_AXES - 1)
        self._jobs = np.array(
            [
                [0, 0, 0, n, width, 1, _WIDE, n, *none, width, *none]
                for n, width in zip(rows, widths, strict=True)
            ],
            dtype=np.int64,
        )

    def of(self, addresses: Sequence[int], entries: int) -> NDArray[np.int64]:
        """The jobs of some tensors at these addresses, each with flat rows of so many entries."""
        jobs = np.tile(self._jobs, (len(addresses), 1))
        jobs[:, _ADDRESS] = np.concatenate([each + self._starts for each in addresses])
        jobs[:, _RUN_STRIDE] = entries
        return jobs

    def of_products(self, address: int, other: int, entries: int) -> NDArray[np.int64]:
        """The jobs whose totals are dot products of the matrices in two such tensors."""
        jobs = self.of([address], entries)
        jobs[:, _OTHER] = other + self._starts
        jobs[:, _ASKED] = _PRODUCT
        return jobs


@cache
def native_reduce() -> Reduce | None:
    """The native function; None where there is none.

    It takes jobs, their number (J) and the number of runs, and returns the sums, (W, J, 9).
    """
    with suppress(OSError, AttributeError, ValueError, WriteError, subprocess.SubprocessError):
        file = _built()
        with suppress(OSError, AttributeError):
            reduce = _loaded(file)
            if _agrees(reduce):
                return reduce
        file.unlink()  # the next process builds it again
    return None


def _loaded(file: Path) -> Reduce:
    function = ctypes.CDLL(str(file)).reduce_rows
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    function.argtypes, function.restype = [pointer, number, number, number, pointer], ctypes.c_int

    def reduce(jobs: Any, count: int, runs: int) -> Tensor:
        found = torch.empty((runs, count, len(SUMS)), dtype=torch.float64, device="cpu")
        if function(jobs, count, runs, torch.get_num_threads(), found.data_ptr()):
            raise MemoryError("there is no memory for the statistics of a step")
        return found

    return reduce


def _built() -> Path:
    """The built file, whose name has the digest of what determines it, and that of its bytes.

    Raises:
        OSError: There is no compiler.
        ValueError: ``CXX`` cannot be read.
        subprocess.SubprocessError: The compiler cannot build the file.
    """
    compiler = shlex.split(os.environ.get("CXX", "")) or ["g++"]
    if which(compiler[0]) is None or not sys.platform.startswith("linux"):
        raise FileNotFoundError("there is no compiler for it")
    parts = [*compiler, *_FLAGS, processor(), _SOURCE.read_text(encoding="utf-8")]
    name = f"rows-{hashlib.sha256('|'.join(parts).encode()).hexdigest()[:32]}"
    folder = torch_internals.programs_folder() / "ablab" / "native"
    folder.mkdir(parents=True, exist_ok=True)
    found = _whole(folder, name)
    if found is not None:
        return found
    with FileLock(folder / f"{name}.lock"):
        return _whole(folder, name) or _build(compiler, folder, name)


def _whole(folder: Path, name: str) -> Path | None:
    """The file under that name whose bytes have the digest in its name."""
    for file in folder.glob(f"{name}-*.so"):
        if hashlib.sha256(file.read_bytes()).hexdigest()[:32] == file.stem.rpartition("-")[2]:
            return file
    return None


def _build(compiler: Sequence[str], folder: Path, name: str) -> Path:
    new = folder / f"{name}.{uuid4().hex}.new"
    command = [*compiler, *_FLAGS, str(_SOURCE), "-o", str(new)]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=_SECONDS)
        content = new.read_bytes()
    finally:
        new.unlink(missing_ok=True)
    file = folder / f"{name}-{hashlib.sha256(content).hexdigest()[:32]}.so"
    write_atomically(file, lambda partial: partial.write_bytes(content))
    return file


def _agrees(reduce: Reduce) -> bool:
    """Whether each kind of sum is what torch gives, for tensors of several blocks."""
    x = torch.linspace(-3, 4, 2 * 3 * 90 * 37, device="cpu").reshape(2, 3, 90, 37).sin() - 0.3
    x[1, :, ::2, :5] = 0
    site, none, entropy = NativeRows(reduce), frozenset[str](), frozenset({"mean_entropy"})
    hidden, broken = torch.where(x > 0.6, -torch.inf, x), torch.where(x > 0.69, torch.nan, x)
    pattern = x.softmax(-1)
    flat, other = x.flatten(1), (3 * x).cos().flatten(1)
    matrices, entries = MatrixJobs([0], [270], [37]), flat.shape[1]
    norms = torch.linalg.vector_norm(x, dim=-1).flatten(1)
    parts = np.array([part_job(270, is_norms=True)])
    parts[0, _ADDRESS] = norms.data_ptr()

    def of(jobs: NDArray[np.int64]) -> Tensor:
        return reduce(jobs.ctypes.data, len(jobs), 2)

    by_torch, number = _sums_by_torch(x), SUMS.index
    products = of(matrices.of_products(flat.data_ptr(), other.data_ptr(), entries))
    found = [
        (site.reduce(x, none)["sums"][..., :7], by_torch[..., :7]),
        (site.reduce(broken, none)["sums"][..., :7], _sums_by_torch(broken)[..., :7]),
        (site.reduce(hidden, none, True)["sums"][..., :7], _sums_by_torch(hidden, True)[..., :7]),
        (site.reduce(pattern, entropy)["sums"], _sums_by_torch(pattern)),
        (of(matrices.of([flat.data_ptr()], entries))[..., :7], by_torch[..., :7]),
        (products[:, 0, number("total")], (flat.double() * other.double()).sum(1)),
        (of(parts)[..., : number("total")], by_torch[..., : number("total")]),
    ]
    return all(torch.allclose(*pair, rtol=1e-5, atol=1e-3, equal_nan=True) for pair in found)


def _sums_by_torch(x: Tensor, hides: bool = False) -> Tensor:
    """The sums by torch's operations in double precision, (W, 1, 9)."""
    x = x.double()
    x = torch.where(x == -torch.inf, 0.0, x) if hides else x
    x = (x if x.ndim > 2 else x.unsqueeze(-1)).flatten(1, -2)
    norms = torch.linalg.vector_norm(x, dim=-1)
    logs = x.clamp(min=torch.finfo(x.dtype).tiny).log()
    found = [
        norms.sum(1), norms.amax(1), norms.amin(1), norms.square().sum(1), x.sum((1, 2)),
        x.abs().amax((1, 2)), (x == 0).double().sum((1, 2)), -(x * logs).sum((1, 2)),
        torch.full_like(norms[:, 0], norms.shape[1]),
    ]  # fmt: skip
    return torch.stack(found, dim=-1).unsqueeze(1)


def _is_readable(shape: torch.Size, strides: tuple[int, ...]) -> bool:
    return strides[-1] == 1 and 3 <= len(shape) <= _AXES + 2


def _readable(x: Tensor) -> Tensor:
    """The tensor in float32, with neighbouring entries in its rows."""
    x = x.to(torch.float32)
    if x.ndim < 3:  # one number per sample is a row
        x = x.unsqueeze(-1)
    x = x.contiguous()
    return x.flatten(1, -2) if x.ndim > _AXES + 2 else x


def _job(shape: torch.Size, strides: tuple[int, ...]) -> list[int]:
    """A tensor (W, …, D) as the function takes it, without its address and what is asked."""
    fill = [0] * (_AXES + 2 - len(shape))
    rows = math.prod(shape[1:-1])
    begin = [0, 0, strides[0], rows, shape[-1], len(shape) - 2, 0]
    return [*begin, *shape[1:-1], *fill, *strides[1:-1], *fill]
