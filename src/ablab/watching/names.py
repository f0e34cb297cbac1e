"""Names of statistics: ``family/site-or-parameter/reducer``. Does not import torch."""

from fnmatch import fnmatchcase

from ablab.config import InputError, Problem, Variants, nearest
from ablab.model.site_names import plain_site

FAMILIES = {
    "activation": "the tensor at a site in the forward pass on batch s, before update s",
    "activation_grad": "the gradient of the loss at a site in the same pass, before update s",
    "param": "a parameter after update s, as in snapshot s",
    "grad": "a parameter's gradient on batch s, before clipping and before update s",
    "optimizer": "a tensor of the optimizer state, SLOT/PARAMETER, after update s",
}
CAPTURED = ("activation", "param", "optimizer")
DEFAULT = ("param/*/rms", "grad/*/rms", "param/*/update_ratio")
MODEL = "model"  # in place of a parameter's name: all parameters together
REDUCERS = Variants("reducer", "ablab.watching.reducers")
STATISTIC_LIMITS: dict[str, tuple[float | None, float | None]] = {
    "cosine_previous": (-1.0, 1.0),
    **dict.fromkeys(("frac_zero", "full_confidence", "zero_sum_error"), (0.0, 1.0)),
    **dict.fromkeys(
        ("effective_rank", "max_abs", "max_norm", "mean_entropy", "mean_norm", "min_norm", "rms",
         "std", "update_ratio"),
        (0.0, None),
    ),
}  # fmt: skip
"""The least and the greatest value of the reducers that ablab ships, where there is one."""
_WILD = "*?["


def is_statistic(column: str) -> bool:
    """Whether a metrics column is a statistic (a grid axis may have the name of a family)."""
    family, slash, _ = column.partition("/")
    return bool(slash) and family in FAMILIES


def split_pattern(pattern: str) -> tuple[str, str, str]:
    """Splits a name or pattern into family, site or parameter, and reducer.

    A missing part is ``*``, and so are the parameters after a slot of ``optimizer``.
    TransformerLens's prefix ``hook_`` is removed from the parts of a site.
    A reducer with a colon is an import path.

    Raises:
        InputError: The family or the reducer does not exist.
    """
    family, _, rest = pattern.partition("/")
    middle, slash, reducer = rest.rpartition("/")
    if not slash:
        middle, reducer = ("*", rest) if rest in REDUCERS.names() else (rest or "*", "*")
    if not _is_wild(family) and family not in FAMILIES:
        raise InputError(
            Problem(
                f"{pattern!r}: there is no statistic family {family!r}",
                given=pattern,
                expected="one of " + ", ".join(FAMILIES),
                suggestion=nearest(family, FAMILIES),
            )
        )
    known = REDUCERS.names()
    if slash and not _is_wild(reducer) and ":" not in reducer and reducer not in known:
        near = nearest(reducer, known)
        raise InputError(
            Problem(
                f"{pattern!r}: there is no reducer {reducer!r}; expected one of {', '.join(known)}"
                ", or an import path module:name" + (f"; did you mean {near}?" if near else ""),
                given=pattern,
                suggestion=near,
            )
        )
    return family, plain_site(middle), reducer


def matches(name: str, split: tuple[str, str, str]) -> bool:
    """Whether a statistic's full name matches a pattern split by :func:`split_pattern`."""
    own_family, _, rest = name.partition("/")
    own_middle, _, own_reducer = rest.rpartition("/")
    family, middle, reducer = split
    if not fnmatchcase(own_family, family):
        return False
    if family == "optimizer" and _is_slot(middle):
        middle = f"{middle}/*"
    return fnmatchcase(own_middle, middle) and fnmatchcase(own_reducer, reducer)


def _is_slot(middle: str) -> bool:
    """Whether the middle of a pattern is a tensor of the optimizer's state, of any parameter."""
    return "/" not in middle and not _is_wild(middle)


def _is_wild(text: str) -> bool:
    return any(mark in text for mark in _WILD)
