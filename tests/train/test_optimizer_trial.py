"""Which optimizers with the interface of torch.optim are refused, and which are not."""

import pytest
import torch

from ablab.config import InputError
from ablab.model.roles import Role
from ablab.train.config import TrainConfig
from ablab.train.optimizer import make_optimizer
from ablab.train.parameter_layout import ParameterLayout

LAYOUT = ParameterLayout(
    ("w", "b"), tuple(map(torch.Size, [(3, 4), (4,)])), (Role.MATRIX, Role.BIAS)
)
SOURCE = """
import torch

class Mine(torch.optim.Optimizer):
    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr, "t": 0})
        self.t, self.table, self.generator = 0, None, torch.Generator()

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                STEP
"""
PLAIN = "p -= group['lr'] * p.grad"
SKIPS = f"""state = self.state[p].setdefault("t", torch.zeros(()))
                state += 1
                if state > 1:
                    {PLAIN}"""


def made(folder, step):
    folder.write(mine=SOURCE.replace("STEP", step))
    tried("mine:Mine")


def tried(kind):
    make_optimizer(TrainConfig(optimizer=kind).optimizer_config, LAYOUT).check()


@pytest.mark.parametrize(
    "step",
    [
        PLAIN,
        SKIPS,
        # The part of the gradient that is perpendicular to the parameters (Prieto et al., 2025).
        "p -= group['lr'] * (p.grad - (p * p.grad).sum() / (p * p).sum() * p)",
        # It moves the parameters by something that does not depend on the rate as well.
        f"p /= p.norm(); {PLAIN}",
        # What it makes once can be made again.
        f"self.table = self.table or [1.0, float('nan')]; {PLAIN}",
        f"self.state[p].setdefault('t', torch.zeros(())).add_(1); {PLAIN} / self.state[p]['t']",
        f"{PLAIN} * torch.rand_like(p)",
    ],
)
def test_it_is_accepted(folder, step):
    before = torch.random.get_rng_state()
    made(folder, step)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    "name", ["Adadelta", "Adam", "AdamW", "Adamax", "RAdam", "RMSprop", "ASGD"]
)
def test_torchs_own_are_accepted(name):
    tried(f"torch.optim:{name}")


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("p -= 0.1 * p.grad", "ignores the learning rate"),
        (SKIPS.replace(PLAIN, "p -= 0.1 * p.grad"), "ignores the learning rate"),
        (f"group['t'] += 1; {PLAIN} / group['t']", 'keeps group["t"] outside of self.state'),
        (f"self.t += 1; {PLAIN} / self.t", "keeps self.t outside of self.state"),
        (f"self.table = [*(self.table or []), 1.0]; {PLAIN}", "keeps self.table outside"),
        (
            f"own = self.state['shared']; own['t'] = own.get('t', torch.zeros(())) + 1; {PLAIN}",
            "keeps self.state['shared'], which is lost after each step",
        ),
        # The first step is another one.
        (f"{PLAIN} * (1 if self.t else 3); self.t = 1", "makes other steps in a run that resumes"),
        (
            f"{PLAIN} * torch.rand(p.shape, generator=self.generator)",
            "makes other steps in a run that resumes",
        ),
        (
            SKIPS.replace(PLAIN, f"self.state[p]['late'] = state; {PLAIN}"),
            "its state late does not exist yet after the first step",
        ),
    ],
)
def test_it_is_refused(folder, step, message):
    with pytest.raises(InputError) as caught:
        made(folder, step)
    assert message in str(caught.value)
