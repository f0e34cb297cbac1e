"""Muon: orthogonalized momentum for matrices, AdamW for the rest. Axes: R, P; G matrices, M, N."""

import math
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ablab.model.roles import Role
from ablab.train.optimizer import Optimizer, OptimizerState, Scalars
from ablab.train.optimizers.adam import adam_scalars, adam_step
from ablab.train.optimizers.muon_config import MuonConfig
from ablab.train.parameter_layout import ParameterLayout

# Jordan's coefficients. The polynomial is steep at zero, so five iterations bring every singular
# value between about 0.7 and 1.2.
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_EPS = 1e-7
_ORTHOGONALIZED = (Role.MATRIX, Role.RESIDUAL_OUTPUT)


class Muon(Optimizer[MuonConfig]):
    """Muon for the matrices, AdamW for all else.

    B ← μ B + (1 − μ) g; θ ← θ − lr λ θ − 0.2 lr √max(M, N) O, where O is :func:`orthogonal` of
    (1 − μ) g + μ B (Nesterov) or of B (Jordan et al., 2024). The rate is that of Liu et al., 2025
    ("Muon is Scalable for LLM Training"), whose steps are as large as AdamW's. Equal to
    ``torch.optim.Muon(adjust_lr_fn="match_rms_adamw")``, except that torch computes in bfloat16 and
    this in the run's precision: the last bit of a sum depends on how runs are stacked, and rounding
    to bfloat16 would enlarge that into differences that training amplifies.

    Muon updates parameters with two axes whose role is a matrix, including residual outputs; AdamW
    updates everything else, including embeddings and the unembedding. The average of a matrix is
    in ``exp_avg``; its part of ``exp_avg_sq`` stays zero.
    """

    Config: ClassVar = MuonConfig
    state_names = ("exp_avg", "exp_avg_sq")

    def __init__(self, config: MuonConfig, layout: ParameterLayout) -> None:
        super().__init__(config, layout)
        self._matrices: dict[tuple[int, int], list[slice]] = {}  # of equal shape together
        self._others: list[slice] = []
        start = 0
        for shape, role in zip(layout.shapes, layout.roles, strict=True):
            place = slice(start, start + shape.numel())
            start = place.stop
            if len(shape) == 2 and role in _ORTHOGONALIZED:
                self._matrices.setdefault((shape[0], shape[1]), []).append(place)
            elif self._others and self._others[-1].stop == place.start:
                self._others[-1] = slice(self._others[-1].start, place.stop)
            else:
                self._others.append(place)

    def scalars(self, config: MuonConfig, step: int, lr: float) -> dict[str, float]:
        """AdamW's numbers, the rate and the momentum."""
        own = {"lr": lr, "momentum": config.momentum, "decay": lr * config.weight_decay}
        return adam_scalars(config.betas, config.eps, step, lr) | own

    def update(
        self,
        theta: Float[Tensor, "R P"],
        grad: Float[Tensor, "R P"],
        optimizer_state: OptimizerState,
        scalars: Scalars,
        decays: Float[Tensor, " P"] | None,
    ) -> None:
        """Decays all parameters, then updates matrices with Muon and the rest with AdamW."""
        self.decay(theta, scalars, decays)
        memory = self.scratch(theta)
        for place in self._others:
            own = {name: each[:, place] for name, each in optimizer_state.items()}
            adam_step(theta[:, place], grad[:, place], own, scalars, self, memory[:, place])
        runs, momentum = theta.shape[0], scalars["momentum"]
        for (rows, columns), places in self._matrices.items():
            steps = []
            for place in places:
                mean, own_grad = optimizer_state["exp_avg"][:, place], grad[:, place]
                mean.lerp_(own_grad, 1 - momentum)
                step = own_grad.lerp(mean, momentum) if self.config.nesterov else mean
                steps.append(step.reshape(runs, rows, columns))
            found = orthogonal(torch.cat(steps)).reshape(len(places), runs, -1)  # (G R, M, N)
            rate = scalars["lr"] * (0.2 * math.sqrt(max(rows, columns)))
            for place, step in zip(places, found, strict=True):
                theta[:, place].sub_(step * rate)


def orthogonal(matrices: Float[Tensor, "G M N"]) -> Float[Tensor, "G M N"]:
    """Matrices with about the same singular vectors and all singular values near 1.

    Five Newton-Schulz iterations X ← a X + (b A + c A²) X with A = X Xᵀ, starting from the matrix
    divided by its Frobenius norm (Jordan et al., 2024). A zero matrix stays zero.
    """
    a, b, c = _COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.transpose(1, 2) if tall else matrices
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=_EPS)
    for _ in range(_ITERATIONS):
        square = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.transpose(1, 2) if tall else x
