"""The ids of runs of a user's code: what changes them, and what does not."""

import pytest

import ablab
from tests.users_code import ASKED, HELPED, HELPER, MODEL

NORMS = """
import functools
import torch

def shrunk(x, eps): return x / (x.square().mean(-1, keepdim=True) + eps).sqrt()

class Norm(torch.nn.Module):
    def __init__(self, width, bias, eps):
        super().__init__()
        self.eps = eps

    def forward(self, x): return shrunk(x, self.eps)

norm = functools.partial(Norm, eps=1e-5)
"""


def first_id(*overrides):
    return ablab.experiment(ASKED, *overrides).runs[0].id


@pytest.mark.parametrize(("old", "new"), [("eps=1e-5", "eps=1e-4"), ("+ eps", "- eps")])
def test_an_edited_partial_changes_the_id(folder, old, new):
    folder.write(mine=NORMS)
    own = ("model={kind: transformer, d_model: 8, n_heads: 2, norm: 'mine:norm'}",)
    before = first_id(*own)
    folder.write(mine=NORMS.replace(old, new))
    assert first_id(*own) != before


def test_a_changed_local_import_changes_the_id(folder):
    folder.write(mine=HELPED, helper=HELPER)
    before = first_id()
    folder.write(helper=HELPER.replace("2.0", "3.0"))
    assert first_id() != before


@pytest.mark.parametrize(
    "same",
    [
        MODEL + "# a comment\n",
        MODEL.replace("    def forward", '    """Doc."""\n\n    def forward'),
        MODEL.replace("width: int = 4", "width: int=4"),
    ],
)
def test_a_changed_comment_docstring_or_space_does_not_change_the_id(folder, same):
    folder.write(mine=MODEL)
    before = first_id()
    folder.write(mine=same)
    assert first_id() == before


def test_changed_code_does(folder):
    folder.write(mine=MODEL)
    before = first_id()
    folder.write(mine=MODEL.replace("2.0", "3.0"))
    assert first_id() != before
