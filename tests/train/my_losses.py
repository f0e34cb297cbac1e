"""Losses and schedules of a user's own, for tests."""

from torch.nn import functional as F


def by_token(logits, targets):
    return F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")


def flat(logits, targets):
    found = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    return found.view_as(targets)


def by_sample(logits, targets):
    return by_token(logits, targets).mean(1)


def of_zeros(logits, targets, tokens):
    """Cross-entropy of samples that begin with the token 0; zero for others."""
    return by_token(logits, targets) * (tokens[:, :1] == 0)


def below_zero(logits, targets):
    return by_token(logits, targets) - 5.0


def line(step, total):
    return 1 - step / total


def halves(step):
    return 0.5 ** ((step - 1) // 3)
