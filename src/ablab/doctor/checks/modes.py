"""Does the model compute the same in training and in evaluation, dropout aside?"""

import torch
from torch import nn

from ablab.doctor.check import Finding, NotApplicable, check
from ablab.doctor.influence import passed
from ablab.doctor.messages import listed
from ablab.doctor.patient import Patient
from ablab.doctor.trace import record, trace_of

_STRONG = 0.7
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


@check("modes", "model", "training and evaluation mode differ only by dropout of a usual strength")
def modes(patient: Patient) -> list[Finding]:
    """Compares the logits of both modes, and looks at the dropout rates of recorded calls."""
    found = [*_dropout(patient), *_inactive(patient)]
    batch, _ = patient.batch(4)
    model = patient.shaken()
    trained, again = (record(model.train(), batch, seed=n).logits for n in (0, 1))
    evaluated = passed(model.eval(), batch)
    if any(isinstance(part, _BATCH_NORMS) for part in model.modules()):
        raise NotApplicable("the model has a BatchNorm; see samples")
    if found or not torch.equal(trained, again):  # random in training: dropout or noise
        return found
    least = patient.tolerance * max(1e-3, float(evaluated.abs().max()))
    apart = (trained - evaluated).abs().amax(-1)
    if not (apart > least).any():
        return []
    thoughts = [getattr(patient.run.model, name, None) for name in ("n_thoughts", "eval_thoughts")]
    if None not in thoughts and thoughts[0] != thoughts[1]:
        raise NotApplicable("the model takes another number of thoughts in evaluation, as asked")
    where = _first_difference(patient)
    return [
        Finding(
            "training and evaluation mode give different logits, without dropout",
            f"they differ by up to {float(apart.max()):.3g}{where}",
            "A part of the model is used only in training (or only in evaluation): a mask, "
            "positions or a scale that depends on self.training and is missing in evaluation, or "
            "in training.",
            "likely",
        )
    ]


def _first_difference(patient: Patient) -> str:
    one, other = trace_of(patient, True), trace_of(patient, False)
    for first, second in zip(one.modules, other.modules, strict=False):
        if first.name != second.name:
            return f"; different modules are called, first {first.name or second.name}"
        if first.input is None or second.input is None or first.output is None:
            continue
        if first.input.shape == second.input.shape and not torch.equal(first.input, second.input):
            return f"; the input of {first.name} is the first that differs"
        if second.output is not None and not torch.equal(first.output, second.output):
            return f"; {first.name} is the first module whose output differs"
    return ""


def _dropout(patient: Patient) -> list[Finding]:
    rates: dict[float, list[str]] = {}
    for call in trace_of(patient, True).of("dropout"):
        rate = float(call.argument(1, "p", 0.5))
        if rate >= _STRONG and call.argument(2, "training", True):
            rates.setdefault(rate, []).append(call.where)
    for name, part in patient.model().named_modules():
        rate = getattr(part, "p", 0.0) if "dropout" in type(part).__name__.lower() else 0.0
        if isinstance(rate, float) and rate >= _STRONG:
            rates.setdefault(rate, []).append(name)
    return [
        Finding(
            f"dropout sets {100 * rate:.3g}% of its input to zero",
            f"in {listed(dict.fromkeys(names))}",
            "The rate is the probability of dropping, not of keeping. Usual rates are 0 to 0.5.",
        )
        for rate, names in rates.items()
    ]


def _inactive(patient: Patient) -> list[Finding]:
    """A finding if dropout is declared or called in training, and is not active."""
    trace = trace_of(patient, True)
    calls = [each for each in trace.of("dropout") if each.argument(1, "p", 0.5)]
    active = any(each.argument(2, "training", True) for each in calls)
    active |= any(each.argument(4, "dropout_p", 0.0) for each in trace.of("sdpa"))
    called = {each.name for each in trace.modules}
    declared = [
        name.removeprefix("module.")
        for name, part in patient.model().named_modules()
        if "dropout" in type(part).__name__.lower() and getattr(part, "p", None)
    ]
    seen = [f"{name} is never called" for name in declared if name not in called]
    if not active:
        seen += [f"{each.where or 'the model'} calls dropout with training=False" for each in calls]
        seen += [f"{name} is called in evaluation mode" for name in declared if name in called]
    if not seen:
        return []
    return [
        Finding(
            "dropout is never active in training",
            listed(dict.fromkeys(seen), 3, "; "),
            "A dropout that is declared is not called in the forward pass, or does not get "
            "training=self.training (or the pass calls self.eval()), so this dropout is never "
            "active in training.",
            "certain",
        )
    ]
