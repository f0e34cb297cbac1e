"""Do the logits of a prefix depend on how long the sample is?"""

import torch

from ablab.doctor.check import Finding, NotApplicable, check
from ablab.doctor.influence import passed, token_changes
from ablab.doctor.patient import Patient


@check("length", "model", "a prefix has the logits that it has in the whole sample")
def length(patient: Patient) -> list[Finding]:
    """Compares the logits of a prefix alone with those of the whole sample, in both modes."""
    whole = patient.run.task.input_length
    if whole < 4:
        raise NotApplicable("the samples are too short")
    cut = whole - max(1, whole // 4)
    tokens, _ = patient.batch(2)
    for training in (False, True):
        if any(p < c.position for c in token_changes(patient, training) for p in c.own):
            raise NotApplicable("the model sees later tokens; see causality")
        model = patient.shaken().train(training)
        full = passed(model, tokens)[:, :cut]
        try:
            prefix = passed(model, tokens[:, :cut])
        except Exception as error:
            raise NotApplicable("the model takes samples of one length only") from error
        if prefix.shape != full.shape:
            raise NotApplicable("the model takes samples of one length only")
        if not torch.equal(full, passed(model, tokens)[:, :cut]):
            raise NotApplicable("two passes over the same tokens differ")
        apart = (full - prefix).abs().amax(-1)  # (B, P)
        if (apart > 1e-6 * max(1e-3, float(full.abs().max()))).any() and not _random(model, tokens):
            return [
                Finding(
                    "the logits of a prefix depend on the length of the whole sample",
                    f"the first {cut} of {whole} tokens alone give logits that differ by up to "
                    f"{float(apart.max()):.3g}, in {'training' if training else 'evaluation'} mode",
                    "Positions are counted from the end instead of the start, or something is "
                    "divided by the length of the sample (a mean over it, a scale). Generation "
                    "and shorter samples then see other positions than training did.",
                )
            ]
    return []


def _random(model: torch.nn.Module, tokens: torch.Tensor) -> bool:
    """Whether passes with other draws of torch's generator differ, as with dropout."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        other = model(tokens.clone())
    return not torch.equal(other, passed(model, tokens))
