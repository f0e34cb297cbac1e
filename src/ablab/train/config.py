"""Settings of training. Does not import torch."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ablab.config import Config, Neutral, NotInIdentity
from ablab.train.optimizer_config import (
    KEY,
    OPTIMIZERS,
    SHARED,
    OptimizerConfig,
    check_optimizer,
    optimizer_class,
    shared_settings,
)


class ScheduleConfig(Config):
    """The learning rate's factor in [0, 1] at each step."""

    kind: Literal["constant", "linear", "cosine"] = "constant"
    """What follows the warm-up: 1 throughout, or a line or half a cosine from 1 to ``final``."""
    warmup: int = Field(0, ge=0)
    """Steps of warm-up: at step s ≤ ``warmup`` the factor is s / ``warmup``."""
    final: float = Field(0.0, ge=0, le=1)
    """The factor at step ``total`` and after it (linear and cosine)."""
    total: int | None = Field(None, ge=1)
    """The step at which ``final`` is reached (linear and cosine); null: ``train.steps``."""

    @model_validator(mode="after")
    def _warmup_ends(self) -> "ScheduleConfig":
        if self.total is not None and self.warmup >= self.total:
            raise ValueError(f"warmup {self.warmup} must end before the total {self.total}")
        return self

    def identity(self) -> dict[str, Any]:
        """A constant schedule has no end to remember."""
        identity = super().identity()
        if self.kind == "constant":
            del identity["final"], identity["total"]
        return identity


class LossConfig(Config):
    """The loss of the predicted tokens: their mean in a sample, and the mean over samples."""

    kind: Annotated[Literal["cross_entropy", "stablemax", "mse"], Neutral("cross_entropy")] = (
        "cross_entropy"
    )
    """Cross-entropy in nats; the same with stablemax for softmax (Prieto et al., 2025); or the
    squared error of logits against one-hot targets, its mean over V (Hui and Belkin, 2020)."""
    label_smoothing: Annotated[float, Neutral(0.0)] = Field(0.0, ge=0, lt=1)
    """The share of each target that is spread evenly over all tokens, as torch has it (not mse)."""
    z_loss: Annotated[float, Neutral(0.0)] = Field(0.0, ge=0)
    """What (log Z)² is added with, Z softmax's denominator (PaLM, Chowdhery et al., 2022;
    cross_entropy)."""
    dtype: Literal["float32", "float64"] | None = None
    """The precision that logits are raised to for the loss; null: as ``train.precision``."""

    @model_validator(mode="after")
    def _settings_belong(self) -> "LossConfig":
        if self.label_smoothing and self.kind == "mse":
            raise ValueError("label_smoothing is a setting of cross_entropy and stablemax, not mse")
        if self.z_loss and self.kind != "cross_entropy":
            raise ValueError(f"z_loss is a setting of cross_entropy, not of {self.kind}")
        return self

    @property
    def plain(self) -> bool:
        """Whether it is cross-entropy and nothing else."""
        return self.kind == "cross_entropy" and not self.label_smoothing and not self.z_loss


class EvaluateConfig(Config):
    """When and on how much held-out data a run is evaluated; also at step 0 and at its end."""

    every: int = Field(100, ge=1)
    """Steps from one evaluation to the next."""
    samples: int = Field(1024, ge=1)
    """Size of the held-out sample, the same for every run."""


class SnapshotConfig(Config):
    """Which steps' parameters are kept; always step 0 and a run's last."""

    every: int = Field(500, ge=1)
    """Steps from one periodic snapshot to the next."""
    logarithmic: bool = True
    """Whether steps 1, 2, 4, 8, … are kept too."""


class StopConfig(Config):
    """When a run ends before its steps; each run of a stack by itself."""

    measure: Literal["train_loss", "eval_loss"] = "train_loss"
    """What is looked at: the training loss's mean over a logging interval, or the held-out loss."""
    below: float | None = None
    """Stop once the measure is below this."""
    patience: int | None = Field(None, ge=1)
    """Stop after this many looks in a row without an improvement."""
    min_delta: float = Field(0.0, ge=0)
    """What counts as an improvement: lower than the best so far by more than this."""

    @model_validator(mode="after")
    def _has_a_rule(self) -> "StopConfig":
        if self.below is None and self.patience is None:
            raise ValueError("give below, patience or both")
        return self


class RecoverConfig(Config):
    """When a run goes back to its best state; each run of a stack by itself."""

    every: int = Field(10, ge=1)
    """Steps from one look to the next: at a run's mean training loss over these steps."""
    above: float = Field(1.0, ge=0)
    """A run goes back when its mean is above its lowest so far by more than this, or not finite."""
    at_most: int = Field(3, ge=1)
    """How many times; after that a loss that is not finite ends the run."""
    lr_factor: float = Field(0.5, gt=0, le=1)
    """What the learning rate is multiplied by from each restart on."""


class TrainConfig(Config):
    """How a run is trained."""

    steps: Annotated[int, NotInIdentity()] = Field(1000, ge=1, le=10**12)
    """Updates (N)."""
    epochs: Annotated[float | None, NotInIdentity()] = Field(None, gt=0)
    """In place of ``steps``: how often the task's training set is visited. An experiment makes it
    the number of steps that it comes to, rounded up."""
    batch_size: int = Field(64, ge=1, le=10**9)
    """Samples in a batch (B); ``full``, in an experiment, for all of the task's training set."""
    optimizer: str | dict[str, Any] = "adamw"
    """The optimizer, or a mapping if it has own settings: ``{kind: mymod:Mine, rho: 0.1}``. An
    import path gives a subclass of ``ablab.train.optimizer.Optimizer`` or of
    ``torch.optim.Optimizer``."""
    lr: float = Field(1e-3, ge=0)
    """Learning rate, before the schedule's factor."""
    weight_decay: float | None = Field(None, ge=0)
    """Weight decay: an L2 penalty in adam and sgd, decoupled in the other optimizers; null uses the
    optimizer's default."""
    decay: Literal["all", "matrices"] = "all"
    """Which parameters decay: all, or those of two axes and more (not biases and norms)."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay rates of the gradient's averages."""
    eps: float = Field(1e-8, gt=0)
    """What Adam adds to its denominator."""
    momentum: float = Field(0.0, ge=0, lt=1)
    """Momentum of sgd and muon."""
    nesterov: bool = False
    """Whether that is Nesterov's momentum."""
    clip_norm: float | None = Field(None, gt=0)
    """Each run's gradient is scaled down to this norm where it is larger; null: never."""
    schedule: ScheduleConfig = ScheduleConfig()
    """The learning rate over the steps; a bare name stands for its kind."""
    loss: LossConfig = LossConfig()
    """The loss; a bare name stands for its kind."""
    precision: Literal["float32", "float64", "bfloat16", "tf32"] = "float32"
    """Precision of parameters and arithmetic. ``bfloat16`` and ``tf32`` keep parameters, updates
    and the loss in float32: the first takes matrix products in bfloat16 (``torch.autocast``), the
    second in TensorFloat-32 where a GPU has it."""
    evaluate: Annotated[EvaluateConfig, NotInIdentity()] = EvaluateConfig()
    """Evaluation on held-out data."""
    snapshots: Annotated[SnapshotConfig, NotInIdentity()] = SnapshotConfig()
    """Snapshots."""
    stop: Annotated[StopConfig | None, NotInIdentity()] = None
    """When to stop early."""
    recover: Annotated[RecoverConfig | None, Neutral(None)] = None
    """When to go back to the best parameters and optimizer state seen, with a lower learning rate;
    step count and batches go on. Null: never."""

    @field_validator("optimizer", mode="before")
    @classmethod
    def _optimizer_is_known(cls, value: Any) -> Any:
        return check_optimizer(value)[0]

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
        """What is left open is resolved, so that a run's configuration is complete."""
        if not isinstance(data, dict):
            return data
        data = dict(data)
        try:
            own = shared_settings(check_optimizer(data.get("optimizer", "adamw"))[1])
        except ValueError:
            own = {}  # the field's own validation says what is wrong
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
            raise ValueError("epochs are an experiment's, which knows the task; give steps here")
        if {"nesterov", "momentum"} <= own.keys() and self.nesterov and not self.momentum:
            raise ValueError("nesterov needs momentum above 0")
        if self.schedule.kind != "constant" and self.schedule.warmup >= self.schedule_total:
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
        """All settings of the optimizer, those of training among them."""
        cls = optimizer_class(self._kind)
        own = {"kind": self._kind} if isinstance(self.optimizer, str) else self.optimizer
        shared = {name: getattr(self, name) for name in shared_settings(cls)}
        return cls.model_validate(own | shared)

    @property
    def schedule_total(self) -> int:
        """The step at which the schedule ends."""
        return self.steps if self.schedule.total is None else self.schedule.total

    def identity(self) -> dict[str, Any]:
        """Only the optimizer's own settings count, and the schedule's total as resolved."""
        identity = super().identity()
        optimizer = self.optimizer_config
        for name in set(SHARED) - shared_settings(type(optimizer)).keys():
            del identity[name]
        identity |= optimizer.identity()
        if self.schedule.kind != "constant":
            identity["schedule"]["total"] = self.schedule_total
        return identity
