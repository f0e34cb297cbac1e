"""All planted bugs and all healthy code."""

from tests.doctor_blind import (
    bugs_attention,
    bugs_norms,
    bugs_output,
    bugs_parameters,
    bugs_positions,
    bugs_tasks,
    healthy_models,
)

BUGS = [
    *bugs_attention.BUGS,
    *bugs_positions.BUGS,
    *bugs_norms.BUGS,
    *bugs_output.BUGS,
    *bugs_parameters.BUGS,
    *bugs_tasks.BUGS,
]
HEALTHY = [*healthy_models.HEALTHY, *healthy_models.TASKS]
