"""The words of an entry that are explained at its end, and sources of claims in words."""

import re

GLOSSARY = {
    "floor": "the level at which a curve stays until its end.",
    "full confidence": "a prediction whose largest probability is 1 in the precision of training, "
    "so that its loss is 0 and the rounding of the others can add up.",
    "growback": "a rise of the loss over many steps, after which it is far above what it was.",
    "held": "an expectation that the numbers support; failed: one that they contradict.",
    "lag": "the number of steps between the training loss and another column reaching a value.",
    "plateau": "a stretch over which a curve stays at a level before it leaves it.",
    "slowdown": "a step after which a curve falls many times more slowly.",
    "spike": "a sudden rise of the loss that is over after a few steps.",
    "transition": "a change of a curve from one level to another.",
    "undecided": "the numbers show neither the one nor the other, which does not mean equality.",
    "usual range": "the values of a statistic in the calm steps before an incident: a line "
    "through them, and the median distance from it.",
}
"""Words and what they mean on a page, in alphabetical order."""

_FORMS = {word: re.compile(rf"\b{word}(s|es)?\b", re.IGNORECASE) for word in GLOSSARY}
_TAG = re.compile(r"<(script|style|svg)\b.*?</\1>|<[^>]*>", re.DOTALL)


def explained(page: str) -> dict[str, str]:
    """The words of the glossary that a page uses, with their explanations.

    Args:
        page: HTML or Markdown; scripts, styles and drawings are not searched.
    """
    text = _TAG.sub(" ", page)
    return {word: told for word, told in GLOSSARY.items() if _FORMS[word].search(text)}


def source_words(text: str) -> str:
    """A source such as ``001, Q1`` in words: ``logbook 001, question 1``."""
    text = re.sub(r"(?<!logbook )(?<![.,\d])(0\d\d)(?![.\d])", r"logbook \1", text)
    text = re.sub(r"\bQ(\d+)\b", r"question \1", text)
    return re.sub(r"(logbook \d{3}), (\d+)(?=\)|$)", r"\1, section \2", text)
