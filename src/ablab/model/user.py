"""A user's own ``torch.nn.Module`` as a model: stacked, drawn and watched like the others."""

import inspect
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from ablab.config import load_object
from ablab.model.base import Model
from ablab.model.forward import Forward
from ablab.model.user_config import GIVEN, UserModelConfig


class UserModel(Model):
    """Holds any module that takes tokens (B, T) and returns logits (B, T, V).

    The constructor is given its settings, and of ``vocab_size``, ``input_length`` and
    ``source_length`` those that it names. The output of every submodule is a site, called by the
    submodule's own name. ``nn.Dropout`` draws its masks from the run's seed and step.

    Attributes:
        module: The user's module.
    """

    def __init__(
        self,
        config: UserModelConfig,
        vocab_size: int,
        input_length: int,
        source_length: int | None = None,
    ) -> None:
        super().__init__(config, vocab_size, input_length)
        cls = load_object(config.kind, "model.kind")
        known = dict(zip(GIVEN, (vocab_size, input_length, source_length), strict=True))
        taken = set(inspect.signature(cls).parameters)
        given = {name: value for name, value in known.items() if name in taken}
        self.module: nn.Module = cls(**config.arguments, **given)
        self._pass = _Pass()
        if not any(True for _ in self.module.parameters()):
            raise ValueError(f"{cls.__name__} has no parameters to train")
        for name, part in self.module.named_modules():
            _check_part(name or cls.__name__, part)
        _replace_dropout(self.module, self._pass, {})
        for name, part in self.module.named_modules():
            if name not in ("", "logits"):  # which is the model's own site
                part.register_forward_hook(_SitePasser(name, self._pass))

    @classmethod
    def make(
        cls, config: UserModelConfig, vocab_size: int, input_length: int, source_length: int | None
    ) -> "UserModel":
        """See :meth:`ablab.model.base.Model.make`."""
        return cls(config, vocab_size, input_length, source_length)

    def initialise(self, generator: torch.Generator) -> None:
        """Leaves the values that the module drew as it was made, from the run's seed."""

    def forward(
        self, tokens: Int[Tensor, "B T"], forward: Forward | None = None
    ) -> Float[Tensor, "B T V"]:
        """The module's logits.

        Raises:
            ValueError: It returned something else than one tensor of three axes.
        """
        forward = Forward() if forward is None else forward
        self._pass.forward = forward
        try:
            logits: Any = self.module(tokens)
        finally:
            self._pass.forward = None
        if not isinstance(logits, Tensor) or logits.ndim != 3 or logits.shape[:2] != tokens.shape:
            shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ValueError(
                f"{type(self.module).__name__} returned {shape} for tokens {tuple(tokens.shape)}; "
                f"expected logits (B, T, V)"
            )
        return forward.site("logits", logits)


class _Pass:
    """The forward pass that a module is in, for what stands inside of it."""

    forward: Forward | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Pass":
        """A copied model has a pass of its own, which its hooks and dropouts share."""
        memo[id(self)] = copied = _Pass()
        return copied


class _SitePasser:
    """A hook that passes a submodule's output as a site of its name."""

    def __init__(self, name: str, present: _Pass) -> None:
        self._name, self._pass = name, present

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        forward = self._pass.forward
        if forward is None or not isinstance(output, Tensor):
            return None
        return forward.site(self._name, output)


class _Dropout(nn.Module):
    """Dropout whose masks come from the forward pass."""

    def __init__(self, p: float, present: _Pass) -> None:
        super().__init__()
        self.p = p
        self._pass = present

    def forward(self, x: Tensor) -> Tensor:
        forward = self._pass.forward or Forward()
        return forward.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p:g}"


def _check_part(name: str, part: nn.Module) -> None:
    """Refuses what would keep a run from being a function of its configuration and seed.

    Raises:
        ValueError: The part draws inside of torch, or mixes the samples of a batch.
    """
    inside = isinstance(part, nn.MultiheadAttention | nn.RNNBase) and part.dropout
    other = isinstance(part, _DropoutNd) and type(part) is not nn.Dropout
    if inside or other:
        raise ValueError(
            f"{name} draws dropout inside torch, where it cannot be repeated: give dropout=0 and "
            f"put nn.Dropout beside it"
        )
    if isinstance(part, _BatchNorm):
        raise ValueError(
            f"{name} takes statistics over the batch, so a sample's answer hangs on the others and "
            f"on what was trained before; take nn.LayerNorm or another norm of single samples"
        )


def _replace_dropout(module: nn.Module, present: _Pass, known: dict[nn.Module, nn.Module]) -> None:
    """Puts dropout with masks of the pass's own in the place of torch's, wherever it stands."""
    for name, child in list(module._modules.items()):
        if type(child) is nn.Dropout:
            setattr(module, name, known.setdefault(child, _Dropout(child.p, present)))
        elif child is not None:
            _replace_dropout(child, present, known)
