"""Languages of rows: told, and rows dropped in those that aren't wanted."""

import importlib.util
import re
from functools import cache
from typing import Any

from luthier.core.errors import MissingExtra, RecipeError
from luthier.core.example import Example
from luthier.core.text import did_you_mean
from luthier.data.clean.prose import CODE_SPAN, is_program
from luthier.data.clean.step import Notes, Step, each
from luthier.data.rows import Refusal
from luthier.recipe.data import Language

SAME = {"wuu": "zh", "yue": "zh", "nb": "no", "nn": "no", "arz": "ar", "ary": "ar"}
"""Languages that are told under the name of a larger one, unless `keep` names them."""

UNDECIDED = "undecided"
NO_LANGUAGE = "zxx"
"""The detector's word for what is none, such as code (ISO 639-2)."""

MOST = 600
"""Characters of a turn, at most, that are looked at."""

ENOUGH = 1200
"""Characters of a row."""

NOISE = re.compile(r"https?://\S{1,2000}|<[^<>\n]{1,200}>|[\d_#*|$\\{}=/+<>]+")
"""What belongs to no language."""


@cache
def _detector() -> Any:
    """Return py3langid's model (Lui and Baldwin 2012, `langid.py`), read once a process from the package: no pickle."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def step(options: Language) -> Step:
    """Return the step that tells languages and drops what `keep` doesn't name.

    Raises:
        MissingExtra: The detector isn't installed.
        RecipeError: It doesn't know a language of `keep`.
    """
    if importlib.util.find_spec("py3langid") is None:
        raise MissingExtra("py3langid", extra="data")
    folded = {name: other for name, other in SAME.items() if name not in options.keep}
    _must_be_known(options.keep, [*_detector().labels, *SAME])

    def look(example: Example, notes: Notes) -> Example | Refusal:
        name, confidence = language(example, options)
        name = folded.get(name, name)
        notes.see(name, example.source)
        if not options.keep or name == UNDECIDED or name in options.keep:
            return example
        return Refusal("other_language", f"`{name}`, with a confidence of {confidence:.2f}")

    return each(look)


def language(example: Example, options: Language) -> tuple[str, float]:
    """Return the language of what the row says in prose, and how sure that is; `undecided` where it isn't."""
    prose = _prose(example)
    if sum(map(str.isalpha, prose)) < options.min_letters:
        return UNDECIDED, 0.0
    name, confidence = _detector().classify(prose)
    return (
        (name, confidence) if confidence >= options.min_confidence and name != NO_LANGUAGE else (UNDECIDED, confidence)
    )


def _prose(example: Example) -> str:
    """Return the beginnings of the row's turns without code, addresses and numbers; system prompts only if alone."""
    said = [turn for turn in example.messages if turn.role != "system"] or example.messages
    texts: list[str] = []
    for turn in said:
        text = CODE_SPAN.sub(" ", turn.text[: 4 * MOST])
        if not is_program(text):
            texts.append(NOISE.sub(" ", text)[:MOST])
        if sum(map(len, texts)) > ENOUGH:
            break
    return " ".join(texts)


def _must_be_known(asked: tuple[str, ...], known: list[str]) -> None:
    for name in asked:
        if name not in known:
            near = did_you_mean(name, known)
            raise RecipeError(
                f"`{name}` is no language the detector knows",
                hint=f"did you mean `{near}`?" if near else f"it knows {', '.join(sorted(known))}",
                place="data.clean.language.keep",
            )
