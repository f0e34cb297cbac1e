"""Python data as what JSON can hold."""

import math
from typing import Any


def plain_data(value: Any) -> Any:
    """The value as JSON has it: lists for tuples, text for keys, and null for what is not finite.

    JSON has neither infinity nor NaN.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): plain_data(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain_data(inner) for inner in value]
    return value
