"""A user's ``torch.nn.Module`` as a model, with stacking, dropout and sites like the others."""

import inspect
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ablab.config import load_object
from ablab.config.own_parts import part_error
from ablab.model.base import Model
from ablab.model.forward import Forward
from ablab.model.user_config import FORWARD, GIVEN, UserModelConfig

_BATCH_NORMS = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm
_OTHER_DROPOUTS = (
    nn.Dropout1d | nn.Dropout2d | nn.Dropout3d | nn.AlphaDropout | nn.FeatureAlphaDropout
)


class UserModel(Model):
    """Wraps any module that takes tokens (B, T) and returns logits (B, T, V).

    The constructor receives its settings, and ``vocab_size``, ``input_length`` and
    ``source_length`` if it has arguments with these names. The output of every submodule is a site
    with the name of the submodule. The masks of ``nn.Dropout`` depend on seed and step only.

    Args:
        config: The settings of the module.
        vocab_size: The number of tokens in the vocabulary (V).
        input_length: The number of tokens per sample (T).
        source_length: The number of tokens of the question; None if the task has none.

    Attributes:
        module: The user's module.

    Raises:
        ValueError: The module has no parameters, or a part that ablab cannot train reproducibly.
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
            line = "        self.embedding = torch.nn.Embedding(vocab_size, width)"
            what = "has no parameters to train: they are those of submodules and nn.Parameters"
            raise part_error("model.kind", config.kind, what, line)
        for name, part in self.module.named_modules():
            _check_part(name or cls.__name__, part)
        if type(self.module).forward is nn.Module.forward:
            raise part_error("model.kind", config.kind, "has no forward", FORWARD)
        _replace_dropout(self.module, self._pass)
        for name, part in self.module.named_modules():
            if name not in ("", "logits"):  # ``logits`` is the site of the model's output
                part.register_forward_hook(_SitePasser(name, self._pass))

    @classmethod
    def make(
        cls, config: UserModelConfig, vocab_size: int, input_length: int, source_length: int | None
    ) -> "UserModel":
        """See :meth:`ablab.model.base.Model.make`."""
        return cls(config, vocab_size, input_length, source_length)

    def initialise(self, generator: torch.Generator) -> None:
        """Does nothing: the constructor has drawn the parameters, from the run's seed."""

    def forward(
        self, tokens: Int[Tensor, "B T"], forward: Forward | None = None
    ) -> Float[Tensor, "B T V"]:
        """The logits of the module.

        Raises:
            ValueError: It did not return a tensor (B, T, V).
        """
        forward = Forward() if forward is None else forward
        self._pass.forward = forward
        try:
            logits: Any = self.module(tokens)
        finally:
            self._pass.forward = None
        if not isinstance(logits, Tensor) or logits.ndim != 3 or logits.shape[:2] != tokens.shape:
            shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            what = f"returned {shape} for tokens {tuple(tokens.shape)}; expected logits (B, T, V)"
            raise part_error("model.kind", type(self.module).__name__, what, FORWARD)
        return forward.site("logits", logits)


class _Pass:
    """The current forward pass, shared by a module's hooks and dropouts."""

    forward: Forward | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Pass":
        """A copied model has its own pass, shared by its hooks and dropouts."""
        memo[id(self)] = copied = _Pass()
        return copied


class _SitePasser:
    """A hook that passes the output of a submodule as a site."""

    def __init__(self, name: str, current: _Pass) -> None:
        self._name, self._pass = name, current

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        forward = self._pass.forward
        if forward is None or not isinstance(output, Tensor):
            return None
        return forward.site(self._name, output)


class _Dropout(nn.Module):
    """Dropout with the masks of the forward pass."""

    def __init__(self, p: float, current: _Pass) -> None:
        super().__init__()
        self.p = p
        self._pass = current

    def forward(self, x: Tensor) -> Tensor:
        forward = self._pass.forward or Forward()
        return forward.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p:g}"


def _check_part(name: str, part: nn.Module) -> None:
    """Checks that a run remains a function of its configuration and seed.

    Raises:
        ValueError: The part draws dropout inside torch, or mixes the samples of a batch.
    """
    inside = isinstance(part, nn.MultiheadAttention | nn.RNNBase) and part.dropout
    other = isinstance(part, _OTHER_DROPOUTS)
    other |= isinstance(part, nn.Dropout) and type(part) is not nn.Dropout
    if inside or other:
        raise ValueError(
            f"{name} draws dropout inside torch, which is not reproducible; use dropout=0 and a "
            f"separate nn.Dropout"
        )
    if isinstance(part, _BATCH_NORMS):
        raise ValueError(
            f"{name} computes statistics over the batch, so the output of a sample depends on the "
            f"others and on earlier steps; use nn.LayerNorm or another norm of single samples"
        )


def _replace_dropout(module: nn.Module, current: _Pass) -> None:
    """Replaces every ``nn.Dropout`` with one that uses the masks of the forward pass."""
    known: dict[nn.Module, nn.Module] = {}  # one dropout may have several names
    for path, part in list(module.named_modules(remove_duplicate=False)):
        if type(part) is nn.Dropout:
            parent, _, name = path.rpartition(".")
            replacement = known.setdefault(part, _Dropout(part.p, current))
            setattr(module.get_submodule(parent), name, replacement)
