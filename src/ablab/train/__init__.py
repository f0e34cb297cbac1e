"""Training: state, step, optimizers, schedules, stopping. The run axis R lives here alone."""
