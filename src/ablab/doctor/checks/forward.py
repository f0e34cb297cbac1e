"""Does the model run at all?"""

import torch

from ablab.doctor.attention_calls import attention_calls
from ablab.doctor.check import Finding, NotApplicable, check
from ablab.doctor.hidden_keys import hidden_faults
from ablab.doctor.mask_faults import mask_faults
from ablab.doctor.patient import Patient
from ablab.doctor.trace import Trace, record

# The other checks of the model run only if this one finds no problem.
NAME = "forward"
_BATCH = "computes statistics over the batch"
_INSIDE = "draws dropout inside torch"


@check(NAME, "model", "tokens (B, T) give finite logits (B, T, V)")
def forward(patient: Patient) -> list[Finding]:
    """Passes a batch whose number of samples differs from its number of positions."""
    length, vocabulary = patient.run.task.input_length, patient.run.task.vocab_size
    samples = 3 if length != 3 else 4
    tokens, _ = patient.batch(samples)
    try:
        with torch.no_grad():
            logits = patient.model().eval()(tokens)
    except Exception as error:
        if _INSIDE in str(error):  # right in torch, but not a function of seed and step
            text = " ".join(str(error).split())
            raise NotApplicable(f"ablab does not train this model: {text}") from error
        return [_raised(patient, error, samples)]
    expected = (samples, length, vocabulary)
    if tuple(logits.shape) != expected:
        return [
            Finding(
                "the logits have the wrong shape",
                f"tokens {tuple(tokens.shape)} give {tuple(logits.shape)}; expected {expected}",
                "Return logits over the vocabulary for every position, batch first: do not apply "
                "softmax, select a position or flatten.",
            )
        ]
    broken = (~logits.isfinite()).any(-1)
    if broken.any():
        places = sorted({int(place) for place in broken.nonzero()[:, 1]})
        known = _softmax(record(patient.model().eval(), tokens), patient.run.task.padding)
        if known is not None:
            evidence, cause = known
            message = "the untrained model's logits are not finite"
            return [Finding(message, f"at positions {places}: {evidence}", cause, "certain")]
        return [
            Finding(
                "the untrained model's logits are not finite",
                f"at positions {places}",
                "A mask of minus infinity reaches a linear layer or an activation that does not "
                "map it to zero (0 times infinity is NaN), or a norm divides by zero. Multiply "
                "attention weights by a mask of zeros and ones after the activation, and give "
                "norms an eps.",
            )
        ]
    return []


def _softmax(trace: Trace, padding: int | None) -> tuple[str, str] | None:
    """What a softmax has to do with values that are not finite, as (evidence, cause)."""
    for call in attention_calls(trace):
        if call.function != "softmax" or call.output.isfinite().all():
            continue
        faults = [each for each in mask_faults(trace, call.where) if each.kind == "axis"]
        if faults:
            return f"{faults[0].evidence}, in {call.where}", faults[0].cause
        for fault in hidden_faults(trace, padding, call.where):
            return f"in {fault.where} {fault.evidence}", fault.cause
    return None


def _raised(patient: Patient, error: Exception, samples: int) -> Finding:
    """An error of the forward pass; also tests whether a batch with B = T would hide it."""
    reason = f"{type(error).__name__}: {error}"
    if _BATCH in reason:
        cause = (
            "A norm over the batch (BatchNorm) lets samples see each other, and its running "
            "statistics are no function of the parameters. Use LayerNorm or RMSNorm."
        )
        return Finding("ablab does not train this model", reason, cause, "certain")
    length = patient.run.task.input_length
    try:
        with torch.no_grad():
            patient.model().eval()(patient.batch(length)[0])
    except Exception:
        return Finding(
            "the forward pass raises an error",
            reason,
            "The model must accept int64 tokens of shape (B, T) for any B, and return logits.",
        )
    return Finding(
        "the forward pass works only if there are as many samples as positions",
        f"with {samples} samples of {length} tokens: {reason}; with {length} samples it runs",
        "Batch and sequence axes are swapped somewhere. torch's attention and transformer layers "
        "expect (T, B, D) unless they are created with batch_first=True.",
    )
