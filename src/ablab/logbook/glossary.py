"""The words of an entry that are explained at its end, and sources of claims in words."""

import html
import math
import re

GLOSSARY = {
    "FLOPs": "floating-point operations.",
    "Welch's test": "a test of the difference of two means whose variances can differ.",
    "adjusted p": "the probability of so clear a result by chance alone, corrected for the number "
    "of comparisons in the table (by Holm's method): the probability that any of them is decided "
    "wrongly is at most 5%. In a table of several comparisons, Welch's test has fewer degrees of "
    "freedom than the interval beside it, and so has the test of a column whose range has two "
    "ends: with few seeds, the correction would not hold otherwise.",
    "flight recorder": "the statistics of the latest steps, which are kept if the loss jumps.",
    "floor": "the level at which a curve stays until its end.",
    "full confidence": "a prediction whose largest probability is 1 in the precision of training, "
    "so that its loss is 0 and the rounding of the others can add up.",
    "growback": "a rise of the loss over many steps, after which it is far above what it was.",
    "held": "an expectation that the numbers support; failed: one that they contradict.",
    "interact": "two settings interact if the effect of one depends on the value of the other; F "
    "is the statistic of the test.",
    "lag": "the number of steps between the training loss and another column reaching a value.",
    "leaves": "a curve leaves a level at the last step at which it is there before it falls below.",
    "log-rank": "a test of steps that some runs did not reach; it is not corrected for the number "
    "of tests.",
    "nats": "the unit of a loss with natural logarithms.",
    "plateau": "a stretch over which a curve stays at a level before it leaves it.",
    "ranks": "the order of the runs, in which those that did not reach a step come last; a test of "
    "ranks uses nothing else of their values.",
    "slowdown": "a step after which a curve falls many times more slowly.",
    "spike": "a sudden rise of the loss that is over after a few steps.",
    "step^": "as step^-0.5: in proportion to that power of the number of steps.",
    "transition": "a change of a curve from one level to another.",
    "undecided": "the numbers show neither the one nor the other, which does not mean equality.",
    "usual range": "the values of a statistic in the calm steps before an incident: a line "
    "through them, and the median distance from it.",
}
"""Words and what they mean on a page, in alphabetical order."""

_FORMS = {
    word: re.compile(rf"\b{re.escape(word)}((s|es)?\b|(?<=\^))(?!-out\b)", re.IGNORECASE)
    for word in GLOSSARY
}
_LEVEL = re.compile(r"\blog(?:\(| )([1-9]\d{0,14})\b(?![.,]\d)")
_TAG = re.compile(r"<(script|style|svg)\b.*?</\1>|<[^>]*>", re.DOTALL)


def explained(page: str) -> dict[str, str]:
    """The words of the glossary that a page uses, with their explanations.

    Args:
        page: HTML or Markdown; scripts, styles and drawings are not searched.
    """
    text = html.unescape(_TAG.sub(" ", page))
    found = {word: told for word, told in GLOSSARY.items() if _FORMS[word].search(text)}
    for number in sorted({int(each) for each in _LEVEL.findall(text)} - {1}):
        found[f"log {number}"] = (
            f"{math.log(number):.4g}, the loss of guessing among {number} equally likely values."
        )
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def source_words(text: str) -> str:
    """A source such as ``001, Q1`` in words: ``logbook 001, question 1``."""
    text = re.sub(r"(?<!logbook )(?<![.,\d])(0\d\d)(?![.\d])", r"logbook \1", text)
    text = re.sub(r"\bQ(\d+)\b", r"question \1", text)
    return re.sub(r"(logbook \d{3}), (\d+)(?=\)|$)", r"\1, section \2", text)
