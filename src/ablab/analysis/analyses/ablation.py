"""Ablation of heads, MLPs, neurons, edges of attention, skip paths and positional embeddings."""

from collections.abc import Sequence
from typing import get_args

import numpy as np
import polars as pl
from pydantic import Field

from ablab.analysis.analysis import NOT_NEGATIVE, analysis
from ablab.analysis.figures import Bars, Curves
from ablab.analysis.finding import Finding
from ablab.analysis.methods.changes import Changes, Resampling, by_factor_table, parts_table
from ablab.analysis.methods.last_mlp import LastMlp, linear_mlp
from ablab.analysis.methods.neuron_ablation import losses_without_neurons
from ablab.analysis.methods.removable_parts import (
    POSITIONS_SITE,
    Kind,
    Part,
    block_parts,
    block_prefixes,
    edge_parts,
)
from ablab.analysis.methods.removal import Removal
from ablab.analysis.methods.samples import Samples, samples_of
from ablab.analysis.replacement import How
from ablab.analysis.subject import DoesNotApplyError, Subject
from ablab.config import Config
from ablab.model.base import Model
from ablab.model.interventions import sites
from ablab.tasks.probe import Probe

_HALF = 0.5  # the least share of samples that need a partner


class AblationSettings(Config):
    """Settings of ``ablation``."""

    how: How = "mean"
    """By what a part is replaced: ``zero``, ``mean`` (over samples) or ``resample`` (its values for
    another sample)."""
    least: float = Field(0.01, ge=0)
    """The smallest rise of the loss, in nats, with which a part can matter."""
    max_tokens: int = Field(40_000, ge=1)
    """The largest number of tokens of the samples; of larger probes, a random part is used."""
    max_targets: int = Field(20_000, ge=1)
    """The largest number of targets of the samples."""
    neuron_samples: int = Field(1024, ge=1)
    """The largest number of samples for single neurons."""
    neurons: int = Field(64, ge=0)
    """The largest number of neurons outside of the last MLP for which each is ablated, which needs
    a pass each."""
    edges: int = Field(64, ge=0)
    """The largest number of edges that are ablated, which needs a pass each; if there are more,
    only those of the last block, or none."""
    values: int = Field(12, ge=2)
    """The largest number of values of a factor by which changes are listed."""
    resamples: int = Field(400, ge=50)
    """The number of resamples for each interval."""
    seed: int = Field(0, ge=0)
    """The seed of samples, replacements and resamples."""


@analysis(
    "ablation",
    question="Which heads, MLPs, neurons, edges of attention, skip paths and positions matter?",
    inputs=["model", "task"],
    edition=3,
    cost="two passes for each head, MLP, skip path and edge; one pass for all neurons of the last "
    "MLP",
    settings=AblationSettings,
    headline=["loss", "largest", "parts_that_matter", "largest_skip_*", "largest_positions"],
    limits={"loss": NOT_NEGATIVE, "*_that_matter": NOT_NEGATIVE},
    directions={"loss": "lower"},
    figures=[
        Bars(
            "parts",
            "Change of the loss without each part",
            table="parts",
            x=("part",),
            y="change",
            x_label="part",
            y_label="change of the loss [nats]",
            low="low",
            high="high",
            sort=True,
            most=24,
        ),
        Curves(
            "changes",
            "Largest change of the loss by kind of part",
            scalars={
                f"largest_{kind}": kind.replace("_", " ")
                for kind in ("head", "mlp", "skip_attention", "skip_mlp", "positions")
            },
            y="change of the loss [nats]",
        ),
    ],
)
def ablation(subject: Subject, settings: AblationSettings) -> Finding:
    """The change of the loss when a part of the model is replaced.

    Parts, and the sites that are replaced:

    - ``head``: ``attn.z`` of one head. ``attention``, ``mlp``: ``attn_out``, ``mlp_out``.
    - ``neuron``: one entry of ``mlp.post``.
    - ``edge``: what goes from one key position to one query position in all heads of a block, the
      weights of ``attn.pattern`` times the values ``attn.v``, in the sums ``attn.z``. Its
      replacement by zero is that of the entries of ``attn.pattern``, without rescaling their rows
      (similar to attention knockout, Geva et al., 2023). In the last block, only for queries at
      predicted positions, as others have no effect.
    - ``skip_attention``: the path around attention. ``resid_pre`` is replaced, while ``attn_out``
      keeps its values, so that only what goes from ``resid_pre`` to ``resid_mid`` without attention
      is lost: in x + attention(norm(x)), only the first x is replaced. ``skip_mlp``: the same
      around the MLP, with ``resid_mid`` and ``mlp_out``.
    - ``positions``: the positional embeddings of all positions. As they are the same for all
      samples, ``mean`` is over positions, and ``resample`` shifts them by one position.

    Replacement by zero (``zero``), by the mean over samples, at each position, with the samples'
    weights (``mean``), or by the values for another sample (``resample``); Li and Janson, "Optimal
    ablation for interpretability" (2024), compare them. ``zero`` also removes constants, and with a
    norm changes its scale.

    The loss is the mean cross-entropy over the targets of a sample, in nats; the change is the
    weighted mean over samples of the difference, in all, over training and over held-out samples.
    ``change_matched`` is the change if the part has its values for another sample with the same
    targets (a simple case of causal scrubbing, Chan et al., 2022): what remains of the change is
    not about the answer. Of one head of several that act together, it can be larger than the
    change, as the head then contradicts the others. It is None where less than half of the samples
    have such a partner.

    ``low`` and ``high`` are a 95% interval of the change by the Bayesian bootstrap over samples. It
    is about the samples of this model alone; between runs, the unit is the seed. ``p`` bounds the
    p-value of a test that losses with and without the part are exchangeable
    (:func:`ablab.analysis.methods.resampling.sign_flip_p`; differences up to 1e-6 of the largest
    logit count as zero), and ``p_corrected`` is its value after Benjamini and Hochberg over all
    parts. A part matters if ``p_corrected`` is at most 0.05 and the loss rises by at least
    ``least`` nats; one without which the loss is smaller does harm, and does not count.
    Samples of a complete table are not independent draws, so the test is about whether a few
    samples make up the change.

    What it does not show: a part that others replace (backup), or that two parts do together,
    changes little when it is ablated alone; changes of parts do not add up. A change can come from
    values that never occur in the model, less so with ``resample``. With stratified probes, weights
    are used throughout. Labels of positions count where all those of a sample agree.

    Scalars: ``loss`` of the whole model; ``largest``, and for each kind ``largest_KIND``, the
    change of largest size; ``parts_that_matter``, without neurons, and ``neurons_that_matter``.

    Raises:
        DoesNotApplyError: It is no ablab model, or has none of these parts.
    """
    model = subject.model
    if not isinstance(model, Model):
        raise DoesNotApplyError("the model is not one of ablab's, so its parts have no names")
    samples = samples_of(subject.probe, _most(subject.probe, settings), settings.seed)
    found = _all_changes(model, samples, settings)
    if not found:
        raise DoesNotApplyError("the model has no attention, MLP or positional embedding to ablate")
    resampling = Resampling(settings.resamples, settings.seed)
    parts = parts_table(found, settings.how, settings.least, resampling)
    by_factor = by_factor_table(found, settings.values, resampling)
    loss = float(samples.weights @ found[0].losses)
    return Finding(_scalars(loss, parts), {"parts": parts, "by_factor": by_factor})


def _most(probe: Probe, settings: AblationSettings) -> int:
    """The largest number of samples."""
    tokens, targets = probe.tokens.shape[1], max(1.0, float(probe.mask.sum(-1).mean()))
    limits = settings.max_tokens // int(tokens), int(settings.max_targets / targets)
    return max(1, min(limits))


def _all_changes(model: Model, samples: Samples, settings: AblationSettings) -> list[Changes]:
    names = sites(model, samples.tokens)
    removal = Removal(model, samples, settings.how, settings.seed)
    heads, neurons = _sizes(removal, names)
    parts = block_parts(model, names, heads)
    parts += _chosen_edges(edge_parts(model, samples.positions), settings.edges)
    parts += [Part("positions")] if POSITIONS_SITE in names else []
    last = linear_mlp(model)
    others = {
        prefix: own for prefix, own in neurons.items() if last is None or prefix != last.prefix
    }
    if sum(others.values()) <= settings.neurons:
        parts += [
            Part("neuron", prefix, neuron=j) for prefix, own in others.items() for j in range(own)
        ]
    found = [_passes(removal, samples, parts)] if parts else []
    if last is not None:
        found.append(_of_neurons(last, samples, settings))
    return found


def _sizes(removal: Removal, names: Sequence[str]) -> tuple[dict[str, int], dict[str, int]]:
    """The numbers of heads and of neurons, by prefix."""
    sizes: list[dict[str, int]] = []
    for site, axis in (("attn.z", 2), ("mlp.post", -1)):
        own = [each for each in block_prefixes(names) if f"{each}.{site}" in names]
        tensors = removal.read(*(f"{each}.{site}" for each in own))
        sizes.append({p: x.shape[axis] for p, x in zip(own, tensors, strict=True)})
    return sizes[0], sizes[1]


def _chosen_edges(edges: list[Part], most: int) -> list[Part]:
    if len(edges) > most:
        edges = [each for each in edges if each.prefix == edges[-1].prefix]
    return edges if len(edges) <= most else []


def _passes(removal: Removal, samples: Samples, parts: Sequence[Part]) -> Changes:
    """A pass for each part, and one more with partners."""
    changes = np.stack([removal.losses_without(part) for part in parts], axis=-1)
    changes -= removal.losses[:, None]
    matched, has_partner = None, removal.has_partner
    if samples.weights @ has_partner >= _HALF:
        matched = np.stack(
            [
                removal.losses_with_partners(part) - removal.losses
                if part.kind != "positions"
                else np.full(len(has_partner), np.nan)
                for part in parts
            ],
            axis=-1,
        )
    return Changes(samples, removal.losses, removal.rounding, parts, changes, matched, has_partner)


def _of_neurons(last: LastMlp, samples: Samples, settings: AblationSettings) -> Changes:
    """All neurons of the last MLP, on fewer samples."""
    count = len(samples.weights)
    if count > settings.neuron_samples:
        rng = np.random.default_rng((settings.seed, 1))
        rows = rng.choice(count, settings.neuron_samples, replace=False)
        samples = samples.take(np.sort(rows))
    removal = Removal(last.model, samples, settings.how, settings.seed)
    neurons = np.arange(last.mlp.linear.out_features)
    losses = losses_without_neurons(last, removal, samples, neurons)
    parts = [Part("neuron", last.prefix, neuron=int(j)) for j in neurons]
    changes = losses - removal.losses[:, None]
    return Changes(samples, removal.losses, removal.rounding, parts, changes)


def _scalars(loss: float, parts: pl.DataFrame) -> dict[str, float | None]:
    """The scalars; the change of a kind is that of largest size, None without such parts."""
    found: dict[str, float | None] = {"loss": loss, "largest": _largest(parts)}
    for kind in get_args(Kind):
        found[f"largest_{kind}"] = _largest(parts.filter(pl.col("kind") == kind))
    is_neuron = pl.col("kind") == "neuron"
    for name, own in (("parts", ~is_neuron), ("neurons", is_neuron)):
        matters = parts.filter(own)["matters"].drop_nulls()
        is_known = len(matters) > 0 or (name == "parts" and np.isfinite(loss))
        found[f"{name}_that_matter"] = float(matters.sum()) if is_known else None
    return found


def _largest(parts: pl.DataFrame) -> float | None:
    changes = parts["change"].drop_nulls().to_list()
    return max(changes, key=abs, default=None)
