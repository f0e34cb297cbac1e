"""Expectations: claims about the results of an experiment, written before there are any."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, ValidationError, field_validator, model_validator

from ablab.config import Config, InputError, Problem
from ablab.experiments.cell_text import cell_of, cell_text, value_of
from ablab.experiments.conditions import condition_of, parse_condition
from ablab.experiments.grammar import parse
from ablab.experiments.levels import Level, level_of, parse_level
from ablab.experiments.measures import measure_of, number_of, parse_measure
from ablab.experiments.setting_keys import suggest_key

LEAST_LEVELS = 4
"""With fewer values of a setting, the deviations from a line through them are too uncertain."""

RELATIONS = (
    "falls_with", "rises_with", "lower_than", "higher_than", "lower_if", "higher_if", "same_as",
    "within", "below", "above",
)  # fmt: skip


class Expectation(Config):
    """A claim about a measure, with exactly one relation."""

    measure: str
    """The measure: ``final(eval_loss)``, ``leaves(log(10))``, see ``docs/expectations.md``."""
    claim: str = ""
    """The claim in the user's words; by default, the relation as a sentence."""
    figure: str | None = None
    """The numbers that a claim of someone else states: ``log 10 until 1200``."""
    source: str | None = None
    """Where the claim is from: ``001, Q1``."""
    falls_with: str | None = None
    """The measure falls from each value of this setting to the next."""
    rises_with: str | None = None
    """The measure rises from each value of this setting to the next."""
    lower_than: dict[str, Any] | None = None
    """The measure is lower in the cells of ``where`` than in the cells with these settings."""
    higher_than: dict[str, Any] | None = None
    """The measure is higher in the cells of ``where`` than in the cells with these settings."""
    lower_if: str | None = None
    """The measure is lower in runs with an outcome than in the others of their cell:
    ``leaves(log(10)) is reached``, ``final(loss) is below 2``."""
    higher_if: str | None = None
    """The measure is higher in runs with an outcome than in the others of their cell."""
    same_as: dict[str, Any] | None = None
    """The measure is the same, within ``margin``, as in the cells with these settings."""
    within: tuple[float | str, float | str] | None = None
    """The average of the measure over seeds lies between these numbers, both included."""
    below: float | str | None = None
    """The average of the measure over seeds lies below this: a number, or ``log(task.p)``."""
    above: float | str | None = None
    """The average of the measure over seeds lies above this: a number, or ``log(task.p)``."""
    predicts: dict[str, float] | None = None
    """With ``within``, ``below`` or ``above``: a value of a setting, for which the measure is
    predicted from the other values of the setting; it need not be trained."""
    trained: tuple[float, ...] | None = None
    """The values from which it is predicted, at least four; by default, all others."""
    where: dict[str, Any] = Field(default_factory=dict)
    """The cells that the claim is about, as settings with values; all cells by default."""
    by: float = Field(0.0, ge=0)
    """The minimum difference, for the relations that are ``lower`` or ``higher``."""
    factor: tuple[float, float] | None = None
    """The range of the average factor by which it changes from one value to the next."""
    margin: float | None = Field(None, gt=0)
    """The largest difference that counts as none, for ``same_as``."""
    confidence: float | None = Field(None, gt=0, le=1)
    """The author's confidence, as a probability."""
    after_results: bool = False
    """Whether the author had seen results, in any store; the claim then counts as late."""

    @field_validator("figure", mode="before")
    @classmethod
    def _figure_as_text(cls, value: Any) -> Any:
        """Converts numbers to text, since YAML reads a figure such as 0.8 as a number."""
        plain = isinstance(value, int | float) and not isinstance(value, bool)
        return f"{value:g}" if plain else value

    @field_validator("within", "below", "above", mode="before")
    @classmethod
    def _bound(cls, value: Any) -> Any:
        """Numbers as text become numbers; other text has to name a setting."""
        if isinstance(value, list | tuple):
            return tuple(_read_bound(each) for each in value)
        return _read_bound(value)

    @model_validator(mode="after")
    def _one_relation(self) -> "Expectation":
        given = [name for name in RELATIONS if getattr(self, name) is not None]
        if len(given) != 1:
            found = ", ".join(given) if given else "none"
            raise ValueError(f"give exactly one of {', '.join(RELATIONS)}; found {found}")
        if (self.same_as is None) != (self.margin is None):
            raise ValueError(
                "same_as and margin must be given together: which difference counts as none?"
            )
        if self.by and not self.relation.startswith(("lower", "higher")):
            raise ValueError("by can only be used with lower or higher")
        if self.factor is not None:
            if self.falls_with is None and self.rises_with is None:
                raise ValueError("factor can only be used with falls_with or rises_with")
            if not 1 <= self.factor[0] <= self.factor[1]:
                raise ValueError(
                    f"factor {list(self.factor)}: expected two numbers >= 1, the lower one first"
                )
        self._check_prediction()
        low, high = self.within or (0.0, 0.0)
        if not isinstance(low, str) and not isinstance(high, str) and low > high:
            raise ValueError(f"within {[low, high]}: the first number must be the lower one")
        return self

    def _check_prediction(self) -> None:
        if self.predicts is None:
            if self.trained is not None:
                raise ValueError("trained can only be used with predicts")
            return
        if self.relation not in ("within", "below", "above"):
            raise ValueError("predicts can only be used with within, below or above")
        if len(self.predicts) != 1:
            raise ValueError("predicts has one setting with its value: {model.d_model: 2}")
        ((key, value),) = self.predicts.items()
        if key in self.where:
            raise ValueError(f"{key} is predicted, so it cannot be in where")
        if self.trained is not None and len({*self.trained} - {value}) < LEAST_LEVELS:
            raise ValueError(
                f"trained {list(self.trained)}: a prediction needs at least {LEAST_LEVELS} other "
                f"values of {key}"
            )

    @property
    def relation(self) -> str:
        """The relation that is given."""
        return next(name for name in RELATIONS if getattr(self, name) is not None)

    @property
    def text(self) -> str:
        """The claim in its author's words, or else the relation as a sentence."""
        return self.claim or self.sentence

    @property
    def sentence(self) -> str:
        """The expectation as a sentence that :func:`parse_expectation` can parse."""
        where = f" where {cell_text(self.where)}" if self.where else ""
        by = f" by {_number(self.by)}" if self.by else ""
        other = cell_text(self.lower_than or self.higher_than or self.same_as)
        least, most = self.factor or (0.0, 0.0)
        factor = f" by a factor between {_number(least)} and {_number(most)}" if self.factor else ""
        predicted = _predicted(self.predicts, self.trained)
        sentences = {
            "falls_with": f"falls with {self.falls_with}{where}{factor}",
            "rises_with": f"rises with {self.rises_with}{where}{factor}",
            "lower_than": f"is lower{where} than where {other}{by}",
            "higher_than": f"is higher{where} than where {other}{by}",
            "lower_if": f"is lower if {self.lower_if} than otherwise{where}{by}",
            "higher_if": f"is higher if {self.higher_if} than otherwise{where}{by}",
            "same_as": f"is the same{where} as where {other} within {_number(self.margin)}",
            "within": f"is {self.range}{predicted}{where}",
            "below": f"is {self.range}{predicted}{where}",
            "above": f"is {self.range}{predicted}{where}",
        }
        return f"{self.measure} {sentences[self.relation]}"

    @property
    def range(self) -> str:
        """The range that is expected, as text; empty for relations of cells."""
        if self.within is not None:
            return f"between {_number(self.within[0])} and {_number(self.within[1])}"
        if self.below is not None:
            return f"below {_number(self.below)}"
        return "" if self.above is None else f"above {_number(self.above)}"

    @property
    def range_words(self) -> str:
        """The same with four digits of each number, and whole numbers as they are."""
        if self.within is not None:
            return f"between {_short(self.within[0])} and {_short(self.within[1])}"
        if self.below is not None:
            return f"below {_short(self.below)}"
        return "" if self.above is None else f"above {_short(self.above)}"

    @property
    def tested(self) -> str:
        """The range of a level, or the margin of a difference, as text; empty without either."""
        if self.margin is not None:
            return f"within ±{_number(self.margin)}"
        return f"by more than {_number(self.by)}" if self.by else self.range

    @property
    def levels(self) -> tuple[Level, ...]:
        """The bounds that depend on a setting."""
        bounds = (*(self.within or ()), self.below, self.above)
        return tuple(parse_level(each) for each in bounds if isinstance(each, str))

    def resolved(self, settings: Sequence[Mapping[str, Any]]) -> "Expectation":
        """The expectation with numbers as bounds.

        Args:
            settings: The settings of each run that it is about, as nested mappings.

        Raises:
            InputError: A bound is a setting that does not exist, is not a number, or differs
                between the runs; or the bounds are in the wrong order.
        """

        def number(bound: float | str | None) -> float | None:
            if not isinstance(bound, str):
                return bound
            level = parse_level(bound)
            values = {level.value(each, self.text) for each in settings}
            if len(values) > 1:
                raise InputError(
                    Problem(
                        f"{bound} differs between the runs that this is about",
                        given=", ".join(map(_short, sorted(values))),
                        expected="runs with the same value; choose them with where",
                    )
                )
            return values.pop() if values else None

        if not self.levels:
            return self
        within = None if self.within is None else tuple(number(each) for each in self.within)
        if within is not None:
            self.check_order(*within)
        changes = {"within": within, "below": number(self.below), "above": number(self.above)}
        return self.model_copy(update=changes)

    def check_order(self, low: float | None, high: float | None) -> None:
        """Checks the numbers that the bounds are for some runs; None if there are no runs."""
        if self.within is None or low is None or high is None or low <= high:
            return
        first, second = map(_number, self.within)
        numbers = f"{_short(low)} and {_short(high)}"
        raise InputError(
            Problem(
                f"{first} is above {second} in the runs that this is about",
                given=f"between {first} and {second}, that is between {numbers}",
                expected="the lower bound first",
            )
        )

    def as_data(self) -> dict[str, Any]:
        """The expectation as plain data, without defaults."""
        return self.model_dump(mode="json", exclude_defaults=True)


def parse_expectation(
    text: str, confidence: float | None = None, source: str | None = None
) -> Expectation:
    """Parses a sentence.

    Examples: ``leaves(log(10)) falls with model.d_model with confidence 0.8``,
    ``final(eval_loss) is lower where model.n_heads=1 than where model.n_heads=4 by 0.1``,
    ``accuracy is above 0.97``.

    Args:
        text: The sentence.
        confidence: The author's confidence, if the sentence does not state one.
        source: Where the sentence was written, for errors.

    Raises:
        InputError: The sentence does not follow the grammar.
    """
    tree = parse(text, "expectation", "expectation", source)
    measure, relation, sure = tree.children
    written = text[measure.meta.start_pos : measure.meta.end_pos].strip()
    found: dict[str, Any] = {"measure": measure_of(measure, written, source).text}
    if sure is not None:
        found["confidence"] = number_of(sure.children[0])
    elif confidence is not None:
        found["confidence"] = confidence
    found |= _relation(relation, text)
    return _checked(found, source, "")


def read_expectations(value: Any, source: str | None) -> tuple[Expectation, ...]:
    """The expectations of an experiment, given as mappings or sentences.

    Raises:
        InputError: At least one of them is invalid; all problems are listed.
    """
    if value is None:
        return ()
    if not isinstance(value, Sequence) or isinstance(value, str):
        expected = "a list of expectations, each a mapping or a sentence"
        raise InputError(Problem("expect is not a list", "expect", source, value, expected))
    found, problems = [], []
    for number, each in enumerate(value):
        try:
            if isinstance(each, str):
                found.append(parse_expectation(each, source=source or f"expect.{number}"))
            else:
                found.append(_checked(each, source, f"expect.{number}"))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(*problems)
    return tuple(found)


def _checked(data: Any, source: str | None, key: str) -> Expectation:
    if not isinstance(data, Mapping):
        expected = "a mapping with measure and a relation, or a sentence"
        raise InputError(Problem(f"{key} is not an expectation", key, source, data, expected))
    try:
        expectation = Expectation.model_validate(dict(data))
    except ValidationError as error:
        raise InputError(*(_problem(each, source, key) for each in error.errors())) from error
    parse_measure(expectation.measure, source or key or None)
    condition = expectation.lower_if or expectation.higher_if
    if condition is not None:
        parse_condition(condition, source or key or None)
    return expectation


def _problem(error: Any, source: str | None, key: str) -> Problem:
    path = ".".join([*([key] if key else []), *map(str, error["loc"])])
    name = path or "the expectation"
    if error["type"] == "extra_forbidden":
        known = list(Expectation.model_fields)
        near = suggest_key(str(error["loc"][-1]), known)
        return Problem(f"{name} is not a setting", path, source, error["input"], None, near)
    if error["type"] == "value_error":
        return Problem(f"{name}: {error['ctx']['error']}", path, source)
    if error["type"] == "missing":
        return Problem(f"{name} is missing", path, source)
    text = str(error["msg"]).removeprefix("Input should be ")
    return Problem(f"{name} has a wrong value", path, source, error["input"], text)


def _relation(tree: Any, text: str) -> dict[str, Any]:
    """The relation of a parse tree of a text, as fields of an expectation."""
    children = list(tree.children)
    name = str(tree.data)
    if name in ("falls", "rises"):
        found: dict[str, Any] = {f"{name}_with": str(children[0]), "where": cell_of(children[1])}
        if children[2] is not None:
            found["factor"] = tuple(number_of(each) for each in children[2].children)
        return found
    if name in ("lower", "higher"):
        by = 0.0 if children[2] is None else number_of(children[2].children[0])
        return {f"{name}_than": cell_of(children[1]), "where": cell_of(children[0]), "by": by}
    if name in ("lower_if", "higher_if"):
        condition, where, least = children
        by = 0.0 if least is None else number_of(least.children[0])
        return {name: condition_of(condition, text).text, "where": cell_of(where), "by": by}
    if name == "same":
        return {
            "same_as": cell_of(children[1]),
            "where": cell_of(children[0]),
            "margin": number_of(children[2]),
        }
    *ends, predicted, where = children
    numbers = [_bound_of(each) for each in ends]
    found = {"where": cell_of(where)}
    found |= {"within": tuple(numbers)} if name == "between" else {name: numbers[0]}
    if predicted is not None:
        pair, trained = predicted.children
        found["predicts"] = {str(pair.children[0]): value_of(str(pair.children[1]))}
        if trained is not None:
            found["trained"] = tuple(number_of(each) for each in trained.children)
    return found


def _bound_of(tree: Any) -> float | str:
    """A bound in a parse tree: a number, or the text of a setting."""
    level = level_of(tree)
    return number_of(tree) if level is None else str(level)


def _read_bound(value: Any) -> Any:
    """A bound as it was written: numbers as they are, other text as it is parsed."""
    if not isinstance(value, str):
        return value
    try:
        return _bound_of(parse(value, "bound", "number"))
    except InputError as error:
        raise ValueError(error.problems[0].message) from error


def _predicted(value: Mapping[str, float] | None, trained: Sequence[float] | None) -> str:
    if value is None:
        return ""
    source = "" if trained is None else f" from {', '.join(map(_number, trained))}"
    pairs = (f"{key}={_number(number)}" for key, number in value.items())
    return f" predicted for {', '.join(pairs)}{source}"


def _number(value: float | str | None) -> str:
    return value if isinstance(value, str) else repr(value).removesuffix(".0")


def _short(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.0f}" if abs(value) >= 1000 or value == round(value) else f"{value:.4g}"
