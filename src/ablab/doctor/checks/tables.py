"""Are tables of positions read, one row for each position, and added as they should be?"""

import torch
from torch import Tensor

from ablab.doctor.check import Finding, NotApplicable, check
from ablab.doctor.influence import passed
from ablab.doctor.messages import listed
from ablab.doctor.parts import is_users
from ablab.doctor.patient import Patient
from ablab.doctor.trace import Trace, record

_SAMPLES = 3


@check("tables", "model", "each position reads its own row of a table of positions")
def tables(patient: Patient) -> list[Finding]:
    """Looks at the rows that embeddings of positions read, and at what buffers change."""
    if not is_users(patient):
        raise NotApplicable("the model is ablab's own")
    length = patient.run.task.input_length
    samples = _SAMPLES if length != _SAMPLES else _SAMPLES + 1
    model = patient.shaken()
    one, other = (record(model, patient.batch(samples, step)[0]) for step in (1, 2))
    if torch.equal(one.logits, other.logits):
        raise NotApplicable("the model ignores its tokens; see tokens")
    found = _embeddings(one, other, length) or _without_effect(model, one, other)
    return found or _buffers(patient, model, length) or _raw(patient)


def _embeddings(one: Trace, other: Trace, length: int) -> list[Finding]:
    """Findings on embeddings whose indices do not depend on the tokens.

    Several tables that tell all positions apart together, such as one of rows and one of columns,
    may each read a row for several positions.
    """
    tables: list[tuple[list[int], str]] = []
    for first, second in zip(one.of("embedding"), other.of("embedding"), strict=False):
        rows, again = (call.argument(0, "input") for call in (first, second))
        if rows.shape != again.shape or not torch.equal(rows, again):
            continue
        if rows.shape in ((len(one.tokens),), (len(one.tokens), 1)):
            return [
                Finding(
                    "positions are those of the batch",
                    f"the rows {listed(rows.flatten().tolist())} of a table are read, one for "
                    f"each of {len(one.tokens)} samples",
                    "Positions are added along the wrong axis: each sample of the batch gets a "
                    "position, not each token. Use torch.arange(tokens.shape[1]).",
                    "certain",
                )
            ]
        if rows.shape[-1] != length:
            continue
        pairs = rows.ndim >= 2 and rows.shape[-2] == length
        read: list[int] = rows.reshape(-1, length)[-1 if pairs else 0].tolist()
        if pairs and (found := _distances(read, first.where)):
            return [found]
        if not pairs:
            tables.append((read, first.where))
    together = set(zip(*(read for read, _ in tables), strict=True))
    for read, where in tables:
        is_part = len(tables) > 1 and len(together) == length > len(set(read))
        if not is_part and (found := _rows(read, where)):
            return [found]
    return []


def _without_effect(model: torch.nn.Module, one: Trace, other: Trace) -> list[Finding]:
    """A finding if an embedding of positions is looked up and changes no logits."""
    named = {name.removeprefix("module."): part for name, part in model.named_modules()}
    for first, second in zip(one.of("embedding"), other.of("embedding"), strict=False):
        rows, again = (call.argument(0, "input") for call in (first, second))
        part = named.get(first.where)
        if rows.shape != again.shape or not torch.equal(rows, again):
            continue
        if not isinstance(part, torch.nn.Embedding):
            continue
        with torch.no_grad():
            old = part.weight.clone()
            part.weight.mul_(-0.7).add_(0.3)
            after = passed(model, one.tokens)
            part.weight.copy_(old)
        if torch.equal(after, one.logits):
            return [
                Finding(
                    "positions have no effect",
                    f"{first.where} is looked up for {rows.shape[-1]} positions, but changing its "
                    "rows does not change the logits in evaluation mode",
                    "Positions are looked up and not added: the result of the lookup is dropped, "
                    "so the model has no positions. Add it to the token embeddings.",
                    "certain",
                )
            ]
    return []


def _distances(read: list[int], where: str) -> Finding | None:
    """A finding if the last position reads one row for all distances to earlier positions."""
    if len(set(read)) > 1:
        return None
    return Finding(
        "all distances share a row",
        f"{where} reads row {read[0]} for each of the {len(read)} distances to the last position",
        "The distances have the wrong sign (key minus query) and are clamped, or they are "
        "constant, so the bias is the same everywhere and the model has no positions. Use query "
        "minus key.",
        "certain",
    )


def _rows(read: list[int], where: str) -> Finding | None:
    distinct = len(set(read))
    evidence = f"{where} reads the rows {listed(read, 12)} for positions 0 to {len(read) - 1}"
    if distinct == 1:
        return Finding(
            "all positions have the same vector",
            evidence,
            "The position is constant, so the model has no positions: the order of tokens is lost. "
            "Use torch.arange(T).",
            "certain",
        )
    if distinct < len(read):
        place = next(n for n in range(1, len(read)) if read[n] in read[:n])
        return Finding(
            "some positions have the same vector",
            evidence,
            f"All positions from position {place} on share rows with earlier ones (a clamp, a "
            "modulo or a table that is too short). Use torch.arange(T).",
            "certain",
        )
    if read[-1] < read[0] and read != sorted(read, reverse=True):
        return Finding(
            "positions are not in order",
            evidence,
            "The rows of a table of positions are not in order: a roll, a shuffle or a wrong "
            "index, so neighbours get rows that are far apart. Use torch.arange(T).",
            "likely",
        )
    if read == sorted(read, reverse=True):
        return Finding(
            "positions are counted from the end",
            evidence,
            "The positions are reversed (a flip), so a token's position depends on the length of "
            "the sample, and generation sees other positions than training. Use torch.arange(T).",
            "certain",
        )
    return None


def _buffers(patient: Patient, model: torch.nn.Module, length: int) -> list[Finding]:
    """Findings on float buffers with a row for each position, of which only some are read."""
    tokens, _ = patient.batch(2)
    before = passed(model, tokens)
    for name, buffer in model.named_buffers():
        rows = buffer.squeeze()
        table = buffer.is_floating_point() and rows.ndim == 2 and length <= len(rows) <= 64 * length
        if not table or rows.shape[0] == rows.shape[1] or not bool((rows[0] != rows[1:]).any()):
            continue
        read = [place for place in range(length) if _matters(model, rows, place, tokens, before)]
        if not read or len(read) > length // 2:
            continue
        return [
            Finding(
                "some rows of a table of positions are not read",
                f"{name.removeprefix('module.')}: of {length} rows only {listed(read, 12)} change "
                "the logits",
                "The table is indexed by the wrong axis (such as heads or samples instead of "
                "positions) or by a constant, so there are no positions: several positions get "
                "the same angle or vector. Rows must follow the axis of positions, 0 to T - 1.",
                "likely",
            )
        ]
    return []


def _matters(
    model: torch.nn.Module, rows: Tensor, place: int, tokens: Tensor, before: Tensor
) -> bool:
    """Whether a row of a table changes the logits."""
    old = rows[place].clone()
    rows[place] = -0.7 * old + 0.3
    changed = not torch.allclose(passed(model, tokens), before, atol=1e-9, rtol=1e-9)
    rows[place] = old
    return changed


def _raw(patient: Patient) -> list[Finding]:
    """A finding if what the first layer gets grows in proportion to the position."""
    tokens, _ = patient.batch(2)
    same = tokens[:, :1].expand_as(tokens).contiguous()
    trace = record(patient.shaken(), same)
    for each in trace.modules:
        x = each.input
        if x is None or not x.is_floating_point() or x.ndim != 3 or x.shape[:2] != same.shape:
            continue
        if x.shape[1] < 4:
            return []
        steps = x[0].diff(dim=0)  # (T - 1, D)
        even = torch.allclose(steps, steps[:1].expand_as(steps), atol=1e-6)
        growth = float(x[0, -1].norm() / x[0, 0].norm().clamp(min=1e-12))
        if even and float(steps.norm()) > 0 and growth > 3:
            return [
                Finding(
                    "the raw index of the position is added to the tokens",
                    f"with the same token everywhere, the input of {each.name} grows linearly, "
                    f"and is {growth:.3g} times as large at the last position as at the first",
                    "Positions are added as raw numbers, which grow with the position and drown "
                    "the tokens. Use an embedding, sines, or numbers scaled to about 1.",
                    "certain",
                )
            ]
        return []
    return []
