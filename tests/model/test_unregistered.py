import torch
from torch import nn

from ablab.model.unregistered import loose_tensors


class Holder(nn.Module):
    def __init__(self):
        super().__init__()
        self.registered = nn.Linear(2, 2)
        self.register_buffer("kept", torch.zeros(2))
        self.inner = nn.Module()
        self.inner.layers = [nn.Linear(2, 3)]
        self.gains = {"a": (torch.nn.Parameter(torch.ones(4)),)}
        self.table = torch.zeros(3)
        # Known under another name, or without any tensor:
        self.again = [self.registered, self.registered.weight, self.kept, nn.GELU()]


def test_only_what_is_not_registered_is_loose():
    found = {each.name: (each.trains, each.size) for each in loose_tensors(Holder())}
    assert found == {
        "gains['a'][0]": (True, 4),
        "table": (False, 3),
        "inner.layers[0]": (True, 9),
    }


def test_a_registered_model_has_nothing_loose():
    assert loose_tensors(nn.TransformerEncoderLayer(8, 2, batch_first=True)) == []
