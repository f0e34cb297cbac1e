"""The parts of a model that can be taken out: heads, MLPs, neurons, edges, paths, positions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ablab.model.base import Model
from ablab.model.block_config import BlockConfig
from ablab.model.thinker import Thinker
from ablab.model.transformer import Transformer

Kind = Literal[
    "head", "attention", "mlp", "neuron", "edge", "skip_attention", "skip_mlp", "positions"
]
POSITIONS_SITE = "pos_embed"


@dataclass(frozen=True)
class Part:
    """A part of a model.

    Attributes:
        kind: What it is.
        prefix: What the names of its sites begin with, such as ``blocks.0``; empty for positional
            embeddings.
        head: The number of the head.
        neuron: The number of the neuron.
        destination: The position of the query of an edge.
        source: The position of its key.
    """

    kind: Kind
    prefix: str = ""
    head: int | None = None
    neuron: int | None = None
    destination: int | None = None
    source: int | None = None

    @property
    def block(self) -> int | None:
        """The number of its block; None if it is in no numbered block."""
        start, _, number = self.prefix.partition(".")
        return int(number) if start == "blocks" and number.isdecimal() else None

    @property
    def name(self) -> str:
        """A name of its own, such as ``blocks.0.head.2`` or ``blocks.0.edge.4-1``."""
        own = {
            "head": f"{self.head}",
            "neuron": f"{self.neuron}",
            "edge": f"{self.destination}-{self.source}",
        }.get(self.kind)
        return ".".join(each for each in (self.prefix, self.kind, own) if each)

    def site(self, name: str) -> str:
        """The full name of a site of its block."""
        return f"{self.prefix}.{name}"


def block_prefixes(sites: Sequence[str]) -> list[str]:
    """What the sites of each block begin with, in the order of the pass."""
    ends = (".attn.z", ".mlp_out")
    return list(
        dict.fromkeys(
            name.removesuffix(end) for name in sites for end in ends if name.endswith(end)
        )
    )


def block_parts(model: Model, sites: Sequence[str], heads: dict[str, int]) -> list[Part]:
    """The heads, the attention, the MLP and the paths around these, of each block.

    Args:
        model: The model.
        sites: The names of its sites.
        heads: The number of heads, by prefix.
    """
    branches: tuple[tuple[Kind, Kind, str], ...] = (
        ("attention", "skip_attention", "attn_out"),
        ("mlp", "skip_mlp", "mlp_out"),
    )
    found = []
    for prefix in block_prefixes(sites):
        residual = has_residual(model, prefix)
        if prefix in heads:
            found += [Part("head", prefix, head=head) for head in range(heads[prefix])]
        for kind, skip, site in branches:
            if f"{prefix}.{site}" in sites:
                found += [Part(kind, prefix), *([Part(skip, prefix)] if residual else [])]
    return found


def edge_parts(model: Model, predicted: Sequence[int]) -> list[Part]:
    """The edges of a transformer's attention, from each key to each query that has an effect.

    In the last block, these are the queries at predicted positions; in earlier ones, all queries up
    to the last of them.
    """
    if not isinstance(model, Transformer):
        return []
    found = []
    for number in range(len(model.blocks)):
        own, prefix = model.config.block(number).attention, f"blocks.{number}"
        if own is None:
            continue
        is_last = number == len(model.blocks) - 1
        for query in predicted if is_last else range(max(predicted) + 1):
            first = 0 if own.window is None else max(0, query - own.window + 1)
            found += [
                Part("edge", prefix, destination=query, source=key)
                for key in range(first, query + 1)
            ]
    return found


def has_residual(model: Model, prefix: str) -> bool:
    """Whether the input of attention and MLP of a block is added to their output."""
    config: BlockConfig
    if isinstance(model, Transformer):
        number = Part("mlp", prefix).block
        assert number is not None, "its blocks are numbered"
        config = model.config.block(number)
    elif isinstance(model, Thinker):
        config = model.config
    else:
        return False
    return config.residual
