"""Metrics of answers as texts."""

import re
import string
from collections import Counter
from collections.abc import Callable, Iterable

from luthier.evaluate.metrics.metric import Expected, Metric, each
from luthier.recipe.metrics import ExactMatch, LastNumber, Regex, Repetition, TokenF1

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)
NUMBER = re.compile(r"(?:(?<![\w)])[-−][$€£]?)?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)")
"""In `3-5` and `x-5` nothing is negative; commas part thousands, or numbers."""

WRITTEN = str.maketrans({"−": "-", ",": "", "$": "", "€": "", "£": ""})

EDGES = string.whitespace + ".,;:!?\"'`*()[]"

STRETCH = 4
"""Words in a row that are looked for again."""


def evened(text: str) -> str:
    """Return a text as SQuAD compares them (Rajpurkar et al. 2016): no case, punctuation, articles, extra spaces."""
    return " ".join(ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split())


def namer(texts: Iterable[str]) -> Callable[[str], str]:
    """Return what evens out a text so that different answers stay different.

    As SQuAD does, where that tells all of `texts` apart and leaves something of each; not where they are choices such
    as `(A)` (an article), `C++` or `-1`: of those only case, spaces and what stands around them is evened out, and of
    those that are nothing else, such as `) ]`, case and spaces.
    """
    different = {_bare(text) for text in texts}
    if "" in different:
        return _spaced
    names = {evened(text) for text in different}
    return evened if len(names) == len(different) and "" not in names else _bare


def _spaced(text: str) -> str:
    return " ".join(text.lower().split())


def _bare(text: str) -> str:
    return _spaced(text).strip(EDGES)


def exact_match(_: ExactMatch) -> list[Metric]:
    """Return the metric."""
    return [Metric("exact_match", "answers that are as expected", each(_equal))]


def _equal(want: Expected, got: str) -> bool:
    name = namer([want.text])
    return name(want.text) == name(got)


def token_f1(_: TokenF1) -> list[Metric]:
    """Return the metric."""
    return [Metric("token_f1", "words in common with the expected answer, F1", each(_f1))]


def _f1(want: Expected, got: str) -> float:
    name = namer([want.text])
    wanted, words = name(want.text).split(), name(got).split()
    if not wanted or not words:
        return float(wanted == words)
    common = (Counter(wanted) & Counter(words)).total()
    return 2 * common / (len(wanted) + len(words))


def last_number(_: LastNumber) -> list[Metric]:
    """Return the metric; rows whose expected answer has no number don't count."""

    def right(want: Expected, got: str) -> bool | None:
        wanted = number_in(want.text)
        return None if wanted is None else number_in(got) == wanted

    return [Metric("last_number", "answers that end with the right number", each(right))]


def number_in(text: str) -> float | None:
    """Return the last number in a text."""
    found = NUMBER.findall(text)
    return float(found[-1].translate(WRITTEN)) if found else None


def regex(options: Regex) -> list[Metric]:
    """Return the metric; where the expression has groups, rows count in whose expected answer it finds something."""
    pattern = re.compile(options.pattern)

    def right(want: Expected, got: str) -> bool | None:
        found = pattern.search(got)
        if not pattern.groups:
            return found is not None
        wanted = pattern.search(want.text)
        return None if wanted is None else found is not None and found.groups() == wanted.groups()

    label = "answers in which the pattern finds what is expected" if pattern.groups else "answers with the pattern"
    return [Metric("regex", label, each(right))]


def repetition(_: Repetition) -> list[Metric]:
    """Return the metric; answers shorter than a stretch repeat nothing."""
    return [Metric("repetition", "stretches of words an answer repeats", each(_repeated), better=-1)]


def _repeated(_: Expected, got: str) -> float:
    words = got.split()
    stretches = [tuple(words[at : at + STRETCH]) for at in range(len(words) - STRETCH + 1)]
    return 1 - len(set(stretches)) / len(stretches) if stretches else 0.0
