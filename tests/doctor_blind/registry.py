"""All planted bugs and all healthy code."""

from tests.doctor_blind import (
    bugs_attention,
    bugs_norms,
    bugs_output,
    bugs_parameters,
    bugs_positions,
    bugs_tasks,
    parts,
)

BUGS = [
    *bugs_attention.BUGS,
    *bugs_positions.BUGS,
    *bugs_norms.BUGS,
    *bugs_output.BUGS,
    *bugs_parameters.BUGS,
    *bugs_tasks.BUGS,
]
HEALTHY = [
    parts.Healthy(each.__name__, each)
    for each in (
        parts.GPT, parts.Llama, parts.CharLSTM, parts.ConvNet, parts.StateSpaceLM,
        parts.PyTorchTransformer,
    )
]  # fmt: skip
