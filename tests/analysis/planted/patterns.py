"""Expected attention patterns, computed from tokens alone. Axes: B, T; queries t, keys s."""

import numpy as np


def evenly(attended):
    """The pattern that is even over the keys attended to.

    Args:
        attended: Whether the query in a row attends to the key in a column, (…, T, T). Later keys
            are left out; a query without any key attends to all visible ones.
    """
    visible = np.tri(attended.shape[-1], dtype=bool)
    attended = attended & visible
    attended = np.where(attended.any(-1, keepdims=True), attended, visible)
    return attended / attended.sum(-1, keepdims=True)


def idle(tokens):
    """The pattern of a head without scores: even over all visible positions."""
    return evenly(np.ones((*tokens.shape, tokens.shape[-1]), dtype=bool))


def previous_token(tokens):
    """Each position attends to the one before it; the first one to itself."""
    attended = np.eye(tokens.shape[-1], k=-1, dtype=bool)
    return evenly(np.broadcast_to(attended, (*tokens.shape, tokens.shape[-1])))


def duplicate_token(tokens):
    """Each position attends to all earlier occurrences of its token, or to itself without any."""
    equal = tokens[..., :, None] == tokens[..., None, :]
    earlier = equal & np.tri(tokens.shape[-1], k=-1, dtype=bool)
    itself = np.eye(tokens.shape[-1], dtype=bool)
    return evenly(np.where(earlier.any(-1, keepdims=True), earlier, itself))


def induction(tokens):
    """Each position attends to all positions after an earlier occurrence of its token.

    Without any, it attends to all visible positions but the first, which sees only itself.
    """
    matches = np.zeros((*tokens.shape, tokens.shape[-1]), dtype=bool)
    matches[..., 1:] = tokens[..., :, None] == tokens[..., None, :-1]
    matches &= np.tri(tokens.shape[-1], dtype=bool)
    others = np.arange(tokens.shape[-1]) > 0
    return evenly(np.where(matches.any(-1, keepdims=True), matches, others))
