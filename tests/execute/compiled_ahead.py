"""Programs that are said to be compiled ahead, without compiling any."""

from dataclasses import replace

from ablab.execute.ahead import compilers as starting
from ablab.execute.ahead import exchange as exchanging
from ablab.execute.ahead.exchange import Exchange, Wanted
from ablab.execute.options import Options
from ablab.execute.plan import make_plan
from ablab.execute.speeds import Speeds
from ablab.train.method import STACK, Method

COMPILED = Method("stack", compiled=True)


def pretend_stored(monkeypatch):
    """The programs that are said to be in torch's cache."""
    found = set()
    monkeypatch.setattr(exchanging, "is_stored", found.__contains__)
    monkeypatch.setattr(starting, "is_stored", found.__contains__)
    return found


def exchange_of(folder, meanwhile=True, programs=("first", "second", "third")):
    return Exchange(folder, {name: Wanted(0, (), meanwhile) for name in programs})


def plan_of(asked, **options):
    left = {run.id: run.train.steps for run in asked.runs}
    plan = make_plan(asked.runs, Options(device="cpu", workers=1, **options), left, Speeds())
    return compiled(plan)


def compiled(plan):
    """The same plan with compiled methods, which ``auto`` would not use for so few steps."""
    stacks = (replace(stack, method=COMPILED, fallback=STACK) for stack in plan.stacks)
    return replace(plan, stacks=tuple(stacks))
