"""Settings of callbacks. Does not import torch."""

from typing import Any

from pydantic import field_validator, model_validator

from ablab.config import component_source, load_object
from ablab.config.own_parts import check_arguments
from ablab.train.at_steps_config import AtSteps

KEY = "train.callbacks.call"
LINES = ("def my_callback(run):", '    run.record("loss", run.loss)')


class CallbackConfig(AtSteps):
    """A function of a user's that is called after some steps, and after the last one."""

    call: str
    """The import path of a function of one argument (``ablab.train.callbacks.RunView``)."""

    @model_validator(mode="before")
    @classmethod
    def _by_path(cls, data: Any) -> Any:
        return {"call": data} if isinstance(data, str) else data

    @field_validator("call")
    @classmethod
    def _function_of_a_run(cls, call: str) -> str:
        if ":" not in call:
            raise ValueError("not an import path; expected module:name")
        found = load_object(call, KEY)
        if not callable(found):
            raise ValueError(f"{call} is not a callback: it is not callable")
        check_arguments(found, ["run"], call, KEY, *LINES)
        return call

    def identity(self) -> dict[str, Any]:
        """Includes the digest of its source."""
        return super().identity() | {"source": component_source(self.call, KEY)}
