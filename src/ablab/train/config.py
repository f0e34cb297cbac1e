"""Settings of training. Does not import torch."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ablab.config import Config, Neutral, NotInIdentity
from ablab.train.callback_config import CallbackConfig
from ablab.train.loss_config import LossConfig
from ablab.train.optimizer_config import (
    KEY,
    OPTIMIZERS,
    SHARED,
    OptimizerConfig,
    check_optimizer,
    optimizer_class,
    shared_settings,
)
from ablab.train.schedule_config import ScheduleConfig

Precision = Literal["float32", "float64", "bfloat16", "tf32"]


class EvaluateConfig(Config):
    """Evaluation on held-out data, which also happens at step 0 and at the last step."""

    every: int = Field(100, ge=1)
    """Steps from one evaluation to the next."""
    samples: int = Field(1024, ge=1)
    """The number of held-out samples, the same for every run."""
    precision: Precision | None = None
    """The precision of evaluation; null: ``train.precision``. It is part of the run id where it is
    another one, because stored evaluations depend on it."""
    factors: Literal["all", "none"] | tuple[str, ...] = "all"
    """The factors of the task's samples by which the held-out loss and accuracy are stored, as
    ``eval_loss/FACTOR.VALUE``: ``all``, ``none`` or a list of names."""

    @field_validator("factors", mode="before")
    @classmethod
    def _one_factor_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) and value not in ("all", "none") else value


class SnapshotConfig(Config):
    """The steps at which parameters are stored, in addition to step 0 and the last step."""

    every: int = Field(500, ge=1)
    """Steps from one periodic snapshot to the next."""
    logarithmic: bool = True
    """Whether to store steps 1, 2, 4, 8, … as well."""


class StopConfig(Config):
    """A rule that ends a run early, applied to each run of a stack separately."""

    measure: Literal["train_loss", "eval_loss"] = "train_loss"
    """The training loss, averaged over a logging interval, or the held-out loss."""
    below: float | None = None
    """Stop when the measure is below this value."""
    patience: int | None = Field(None, ge=1)
    """Stop after this many consecutive values without an improvement."""
    min_delta: float = Field(0.0, ge=0)
    """An improvement is a value that is lower than the best one by more than this."""

    @model_validator(mode="after")
    def _has_a_rule(self) -> "StopConfig":
        if self.below is None and self.patience is None:
            raise ValueError("give below, patience or both")
        return self


class RecoverConfig(Config):
    """Resets a run to its best state if its loss jumps, for each run of a stack separately."""

    every: int = Field(10, ge=1)
    """Steps from one check to the next. A check uses the mean training loss over these steps."""
    above: float = Field(1.0, ge=0)
    """A run is reset if its mean exceeds its lowest mean by more than this or is not finite."""
    at_most: int = Field(3, ge=1)
    """The maximum number of resets; after that, a loss that is not finite ends the run."""
    lr_factor: float = Field(0.5, gt=0, le=1)
    """The factor by which each reset multiplies the learning rate."""


class TrainConfig(Config):
    """Settings of training."""

    steps: Annotated[int, NotInIdentity()] = Field(1000, ge=1, le=10**12)
    """The number of updates (N)."""
    epochs: Annotated[float | None, NotInIdentity()] = Field(None, gt=0)
    """The number of passes over the task's training set, as an alternative to ``steps``. An
    experiment converts it to steps, rounded up."""
    batch_size: int = Field(64, ge=1, le=10**9)
    """Samples per batch (B). In an experiment, ``full`` is the complete training set."""
    optimizer: str | dict[str, Any] = "adamw"
    """The optimizer, or a mapping if it has settings of its own: ``{kind: mymod:Mine, rho: 0.1}``.
    An import path refers to a subclass of ``ablab.train.optimizer.Optimizer`` or
    ``torch.optim.Optimizer``."""
    lr: float = Field(1e-3, ge=0)
    """The learning rate, which the schedule multiplies by its factor."""
    weight_decay: float | None = Field(None, ge=0)
    """Weight decay: an L2 penalty in adam and sgd, decoupled in the other optimizers; null uses the
    optimizer's default."""
    decay: Literal["all", "matrices"] = "all"
    """The parameters that decay: all, or those with two or more axes (no biases, no norms)."""
    betas: tuple[float, float] = (0.9, 0.999)
    """The decay rates of the moving averages of the gradient."""
    eps: float = Field(1e-8, gt=0)
    """The term that Adam adds to its denominator."""
    momentum: float = Field(0.0, ge=0, lt=1)
    """The momentum of sgd and muon."""
    nesterov: bool = False
    """Whether to use Nesterov momentum."""
    clip_norm: float | None = Field(None, gt=0)
    """The maximum norm of each run's gradient; larger ones are scaled down. Null: no clipping."""
    schedule: ScheduleConfig = ScheduleConfig()
    """The learning-rate schedule; a name is short for its ``kind``."""
    loss: LossConfig = LossConfig()
    """The loss; a name is short for its ``kind``."""
    precision: Precision = "float32"
    """The precision of parameters and arithmetic. ``bfloat16`` and ``tf32`` only affect matrix
    products: the first uses ``torch.autocast``, the second TensorFloat-32 on GPUs that support it.
    Parameters, updates and the loss stay in float32. In both, methods of training agree within
    1e-2 over 10 steps instead of 1e-4 over 100."""
    evaluate: Annotated[EvaluateConfig, NotInIdentity()] = EvaluateConfig()
    """Evaluation on held-out data."""
    snapshots: Annotated[SnapshotConfig, NotInIdentity()] = SnapshotConfig()
    """Snapshots."""
    stop: Annotated[StopConfig | None, NotInIdentity()] = None
    """Early stopping; null: none."""
    recover: Annotated[RecoverConfig | None, Neutral(None)] = None
    """Recovery: resets a run to its best parameters and optimizer state and lowers its learning
    rate. Step count and batches continue. Null: no recovery."""
    callbacks: Annotated[tuple[CallbackConfig, ...], Neutral(())] = ()
    """Functions of your own that are called after some steps. Their code is part of the run id."""

    @field_validator("optimizer", mode="before")
    @classmethod
    def _optimizer_is_known(cls, value: Any) -> Any:
        return check_optimizer(value)[0]

    @field_validator("callbacks", mode="before")
    @classmethod
    def _one_callback_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str | dict) else value

    @field_validator("callbacks")
    @classmethod
    def _once_each(cls, value: tuple[CallbackConfig, ...]) -> tuple[CallbackConfig, ...]:
        calls = [each.call for each in value]
        if len(set(calls)) < len(calls):
            raise ValueError("a callback is given twice")
        return value

    @field_validator("schedule", mode="before")
    @classmethod
    def _schedule_by_name(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value

    @field_validator("betas")
    @classmethod
    def _betas_in_range(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= beta < 1 for beta in value):
            raise ValueError("both betas must be at least 0 and below 1")
        return value

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:
        """Fills in settings that are left out, so that a run's configuration is complete."""
        if not isinstance(data, dict):
            return data
        data = dict(data)
        try:
            own = shared_settings(check_optimizer(data.get("optimizer", "adamw"))[1])
        except ValueError:
            own = {}  # the field's own validation reports the error
        if data.get("weight_decay") is None:
            data.pop("weight_decay", None)
        if data.get("momentum") == 0:
            data.setdefault("nesterov", False)
        data = own | data
        loss = data.get("loss")
        loss = loss.model_dump() if isinstance(loss, LossConfig) else loss
        loss = {"kind": loss} if isinstance(loss, str) else loss
        if loss is None or (isinstance(loss, dict) and loss.get("dtype") is None):
            precision = "float64" if data.get("precision") == "float64" else "float32"
            data["loss"] = (loss or {}) | {"dtype": precision}
        return data

    @model_validator(mode="after")
    def _settings_belong(self) -> "TrainConfig":
        own = shared_settings(optimizer_class(self._kind))
        for name in sorted(set(SHARED) - own.keys()):
            if getattr(self, name) not in (type(self).model_fields[name].default, 0):
                owners = [
                    kind
                    for kind in OPTIMIZERS.names()
                    if name in shared_settings(OPTIMIZERS.find(kind, KEY))
                ]
                raise ValueError(
                    f"{name} is a setting of {' and '.join(owners)}, not of {self._kind}"
                )
        if self.epochs is not None:
            raise ValueError("epochs need an experiment, which has a task; use steps here")
        if {"nesterov", "momentum"} <= own.keys() and self.nesterov and not self.momentum:
            raise ValueError("nesterov needs momentum above 0")
        if self.schedule.uses_total and self.schedule.warmup >= self.schedule_total:
            raise ValueError(
                f"the schedule's warmup {self.schedule.warmup} must end before "
                f"its total {self.schedule_total}"
            )
        return self

    @property
    def _kind(self) -> str:
        """The optimizer's name or import path."""
        return self.optimizer if isinstance(self.optimizer, str) else str(self.optimizer["kind"])

    @property
    def optimizer_config(self) -> OptimizerConfig:
        """All settings of the optimizer, including those of training that it uses."""
        cls = optimizer_class(self._kind)
        own = {"kind": self._kind} if isinstance(self.optimizer, str) else self.optimizer
        shared = {name: getattr(self, name) for name in shared_settings(cls)}
        return cls.model_validate(own | shared)

    @property
    def evaluation_precision(self) -> Precision:
        """``evaluate.precision``, or that of training if it is null."""
        return self.evaluate.precision or self.precision

    @property
    def schedule_total(self) -> int:
        """The step at which the schedule ends."""
        return self.steps if self.schedule.total is None else self.schedule.total

    def identity(self) -> dict[str, Any]:
        """Includes only settings that the optimizer uses, and the schedule's resolved total."""
        identity = super().identity()
        optimizer = self.optimizer_config
        for name in set(SHARED) - shared_settings(type(optimizer)).keys():
            del identity[name]
        identity |= optimizer.identity()
        if self.schedule.uses_total:
            identity["schedule"]["total"] = self.schedule_total
        if self.evaluation_precision != self.precision:
            identity["evaluate_precision"] = self.evaluation_precision
        return identity
