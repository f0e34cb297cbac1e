"""The third set of planted bugs and of healthy code."""

from tests.doctor_blind.parts import Healthy
from tests.doctor_blind_third import (
    attention_parts,
    bugs_attention,
    bugs_recurrent,
    bugs_tasks,
    recurrent_parts,
    task_parts,
)

BUGS = [*bugs_attention.BUGS, *bugs_recurrent.BUGS, *bugs_tasks.BUGS]
MODELS = {
    "multihead attention, batch first": attention_parts.MhaModel,
    "multihead attention, time first": attention_parts.TimeFirst,
    "encoder stack": attention_parts.EncoderStack,
    "decoder stack": attention_parts.DecoderStack,
    "relative biases": attention_parts.RelativeBiasModel,
    "neighbouring rotary pairs": attention_parts.NeighbourRotaryModel,
    "window with a sink": attention_parts.SinksModel,
    "parallel with layer scale": attention_parts.ParallelModel,
    "one expert per token": attention_parts.TopOneModel,
    "linear attention": recurrent_parts.LinearAttentionModel,
    "long convolution": recurrent_parts.LongConvolutionModel,
    "selective scan": recurrent_parts.SelectiveModel,
    "token shift": recurrent_parts.TokenShiftModel,
    "learned initial states": recurrent_parts.TwoGRUs,
}
TASKS = {"recurrence": task_parts.Recurrence, "sum of three": task_parts.Sum}
HEALTHY = [Healthy(name, factory) for name, factory in (MODELS | TASKS).items()]
