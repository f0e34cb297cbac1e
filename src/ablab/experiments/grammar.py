"""The grammar of measures and expectations. They are parsed and never evaluated as code."""

from functools import cache
from typing import Any

from lark import Lark, Tree
from lark.exceptions import UnexpectedInput

from ablab.config import InputError, Problem

GRAMMAR = r"""
expectation: measure _relation [sure]
_relation: falls | rises | lower | higher | lower_if | higher_if | same | between | below | above

falls: "falls" "with" KEY [where] [factor]
rises: "rises" "with" KEY [where] [factor]
lower: _IS? "lower" where "than" where [by]
higher: _IS? "higher" where "than" where [by]
lower_if: _IS? "lower" "if" condition "than" "otherwise" [where] [by]
higher_if: _IS? "higher" "if" condition "than" "otherwise" [where] [by]
condition: measure (reached | below_number | above_number)
reached: _IS? "reached"
below_number: (_IS? "below" | "<") number
above_number: (_IS? "above" | ">") number
same: _IS? "the"? "same" where "as" where "within" number
between: _IS? "between" bound "and" bound [predicted] [where]
below: (_IS? "below" | "<") bound [predicted] [where]
above: (_IS? "above" | ">") bound [predicted] [where]
predicted: "as"? "predicted" "for" pair [trained]
trained: "from" number ("," number)*
where: "where" pair ("," pair)*
pair: KEY "=" VALUE
by: "by" number
factor: "by" "a"? "factor" "between" number "and" number
sure: "with" "confidence" number

measure: NAME "(" argument ("," argument)* ")" -> call
       | NAME                                 -> bare
       | NAME "at" SIGNED_NUMBER              -> moment
argument: NAME | number | log_of
?bound: number | log_of | NAME -> setting_of
log_of: "log" "(" NAME ")"
number: SIGNED_NUMBER | "log" "(" SIGNED_NUMBER ")" -> log

_IS: "is"
KEY: /[A-Za-z_][\w.]*/
NAME: /(?!log\b)(?!(%WORDS%)\b(?!\())[A-Za-z_][\w.\/*:-]*/
VALUE: /"[^"]*"|[^\s,"]+/
%import common.SIGNED_NUMBER
%import common.WS
%ignore WS
"""
_MAX_LENGTH = 2000  # characters
_WORDS = {
    "NAME": "a measure or a column",
    "KEY": "a setting such as model.d_model",
    "SIGNED_NUMBER": "a number",
    "VALUE": "a value",
    "EQUAL": "=",
    "LPAR": "(",
    "RPAR": ")",
    "COMMA": ",",
    "LESSTHAN": "<",
    "MORETHAN": ">",
    "_IS": "is",
    "$END": "the end",
}


# By a word of the relation that was begun.
_EXAMPLES = {
    "same": "final(loss) is the same where train.lr=0.01 as where train.lr=0.02 within 0.1",
    "between": "leaves(log(10)) is between 100 and 300",
    "below": "final(loss) is below 0.1",
    "above": "final(loss) is above 0.1",
    "falls": "final(loss) falls with model.d_model",
    "rises": "leaves(log(10)) rises with model.n_heads",
    "lower": "final(loss) is lower where model.n_heads=1 than where model.n_heads=4",
    "higher": "final(loss) is higher where model.n_heads=1 than where model.n_heads=4",
}


def parse(text: str, start: str, what: str, source: str | None = None) -> Tree[Any]:
    """The parse tree of a measure or an expectation.

    Args:
        text: The text to parse.
        start: The start rule.
        what: How errors refer to the text.
        source: Where the text was written.

    Raises:
        InputError: The text does not follow the grammar. The error has the position and the tokens
            that are allowed there.
    """
    if len(text) > _MAX_LENGTH:
        raise InputError(
            Problem(
                f"the {what} is too long",
                source=source,
                given=text,
                expected=f"at most {_MAX_LENGTH:,} characters",
            )
        )
    try:
        return _parser().parse(text, start=start)
    except UnexpectedInput as error:
        place = getattr(error, "pos_in_stream", None)
        place = len(text) if place is None or place < 0 else int(place)
        expected = getattr(error, "accepts", None) or getattr(error, "expected", None) or ()
        names = sorted({_WORDS.get(name, name.lower().strip("_")) for name in expected})
        ended = getattr(getattr(error, "token", None), "type", "") == "$END"
        rest = "its end" if ended or not text[place:].strip() else repr(text[place:].strip())
        raise InputError(
            Problem(
                f"the {what} cannot be parsed at {rest}",
                source=source,
                given=text,
                expected=" ".join(filter(None, [_one_of(names), _example(start, text)])) or None,
            )
        ) from error


def _one_of(names: list[str]) -> str:
    """What may stand at a place, as a phrase."""
    return "one of " + ", ".join(names) if names else ""


def _example(start: str, text: str) -> str:
    """A complete expectation of the kind that was begun."""
    if start != "expectation":
        return ""
    known = (example for word, example in _EXAMPLES.items() if f" {word} " in f" {text} ")
    return f"(as in: {next(known, _EXAMPLES['lower'])})"


@cache
def _parser() -> Lark:
    rules = ["expectation", "measure", "where", "condition", "bound"]
    return Lark(
        GRAMMAR, parser="lalr", start=rules, maybe_placeholders=True, propagate_positions=True
    )
