"""What answers are scored by: named options, each pointing to its code."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from luthier.recipe.methods import Named
from luthier.recipe.options import Method

EXTRA = "metrics"


class ExactMatch(Method):
    """Share of answers that equal the expected one but for case, punctuation, articles and spaces (SQuAD)."""

    implementation: ClassVar[str] = "luthier.evaluate.metrics.text:exact_match"
    kind: Literal["exact_match"] = "exact_match"


class TokenF1(Method):
    """Words that answer and expected answer share, as F1 (SQuAD)."""

    implementation: ClassVar[str] = "luthier.evaluate.metrics.text:token_f1"
    kind: Literal["token_f1"] = "token_f1"


class LastNumber(Method):
    """Share of answers whose last number is that of the expected answer, as GSM8K is scored."""

    implementation: ClassVar[str] = "luthier.evaluate.metrics.text:last_number"
    kind: Literal["last_number"] = "last_number"


class Regex(Method):
    """Share of answers a regular expression finds something in; with a group, that finds there what is expected."""

    implementation: ClassVar[str] = "luthier.evaluate.metrics.text:regex"
    kind: Literal["regex"] = "regex"

    pattern: Named = r"####\s*(-?[\d.,]+)"
    """As Python's `re` reads it. `(…)` marks what must be the same in the expected answer."""


class Repetition(Method):
    """Share of an answer's four-word stretches that stood in it before: a model that loops has many."""

    implementation: ClassVar[str] = "luthier.evaluate.metrics.text:repetition"
    kind: Literal["repetition"] = "repetition"


class Classes(Method):
    """For answers that are one of a few words: accuracy, F1 over classes, and what is taken for what."""

    implementation: ClassVar[str] = "luthier.evaluate.metrics.classes:classes"
    kind: Literal["classes"] = "classes"


class Bleu(Method):
    """BLEU of sacrebleu (Papineni 2002; Post 2018), for translations."""

    implementation: ClassVar[str] = "luthier.evaluate.metrics.overlap:bleu"
    needs: ClassVar[tuple[str, str] | None] = ("sacrebleu", EXTRA)
    kind: Literal["bleu"] = "bleu"

    tokenize: Literal["13a", "intl", "zh", "char"] = "13a"
    """How words are told apart: `zh` for Chinese, `char` for languages without spaces."""


class Chrf(Method):
    """chrF of sacrebleu (Popović 2015): stretches of letters in common, for any language."""

    implementation: ClassVar[str] = "luthier.evaluate.metrics.overlap:chrf"
    needs: ClassVar[tuple[str, str] | None] = ("sacrebleu", EXTRA)
    kind: Literal["chrf"] = "chrf"

    word_order: Annotated[int, Field(ge=0, le=2)] = 0
    """Stretches of words that count too; 2 is chrF++."""


class Rouge(Method):
    """ROUGE-1, 2, L and Lsum of rouge-score (Lin 2004), for summaries in languages with Latin letters."""

    implementation: ClassVar[str] = "luthier.evaluate.metrics.overlap:rouge"
    needs: ClassVar[tuple[str, str] | None] = ("rouge_score", EXTRA)
    kind: Literal["rouge"] = "rouge"

    stemmer: bool = False
    """Compare the stems of English words."""


class Json(Method):
    """Share of answers that are JSON, and that are the JSON expected; with a schema, that keep to it."""

    implementation: ClassVar[str] = "luthier.evaluate.metrics.structure:json_answers"
    kind: Literal["json"] = "json"

    json_schema: Named | None = None
    """File with a JSON Schema. Needs `luthier[metrics]`."""


class ToolCalls(Method):
    """Share of answers that call the expected functions, and with the expected arguments."""

    implementation: ClassVar[str] = "luthier.evaluate.metrics.structure:tool_calls"
    kind: Literal["tool_calls"] = "tool_calls"


class Custom(Method):
    """A function of yours: `score(expected: str, answer: str) -> float`, larger is better."""

    implementation: ClassVar[str] = "luthier.evaluate.metrics.custom:custom"
    kind: Literal["custom"] = "custom"

    function: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")] = "metrics:score"
    """`module:function`, looked for where luthier runs and among installed packages."""


Metric = Annotated[
    ExactMatch | TokenF1 | LastNumber | Regex | Repetition | Classes | Bleu | Chrf | Rouge | Json | ToolCalls | Custom,
    Field(discriminator="kind"),
]
