"""The recipe's `evaluate`: what is measured, what answers are scored by, what the result must be."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from luthier.recipe.methods import Named, Positive, UpToOne
from luthier.recipe.options import Method, Options

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


class Capability(Options):
    """Rows that the model should do no worse on than its base: general questions, sums, code, plain text."""

    name: Named
    """What it is called in the report."""

    files: Annotated[tuple[Named, ...], Field(min_length=1)]
    """Files, folders or globs, in any format that `data.sources` takes."""

    text: bool = False
    """Whether they are plain text, of which only the loss is measured."""

    limit: Positive = 200
    """Rows that are measured, evenly spread over all."""

    warn: UpToOne = 0.02
    """Loss that is told: so many of a hundred answers, or of perplexity."""

    fail: UpToOne = 0.05
    """Loss that fails, when it is more than chance."""

    @model_validator(mode="after")
    def warns_before_it_fails(self) -> "Capability":
        """Refuse limits in the wrong order."""
        if self.warn > self.fail:
            message = f"`warn` must not be above `fail`, got {self.warn} and {self.fail}"
            raise ValueError(message)
        return self


class Gate(Options):
    """What the tuned model must reach on the held-out rows."""

    verdict: Literal["any", "not_worse", "better"] = "any"
    """What the comparison with the base must say."""

    at_least: dict[Named, float] = Field(default_factory=dict)
    """Smallest values of metrics, by their names in the report: {accuracy: 0.8}."""

    at_most: dict[Named, float] = Field(default_factory=dict)
    """Largest values: {perplexity: 3.0, repetition: 0.1}."""


class Evaluate(Options):
    """How base and tuned model are compared on the held-out rows."""

    answers: Annotated[int, Field(ge=0)] = 100
    """Held-out prompts that both models answer, and whose answers are scored. 0 asks nothing."""

    metrics: tuple[Metric, ...] = ()
    """What answers are scored by, such as [exact_match, rouge]. Empty: chosen from the answers that are expected."""

    samples: Annotated[int, Field(ge=0)] = 8
    """Answers that are shown side by side."""

    capabilities: tuple[Capability, ...] = ()
    """What the model could do before and should still do. One that is lost is a gate that says no (exit code 3)."""

    gate: Gate = Gate()
    """What the result must be; where it isn't, the exit code is 3, and `luthier run` stops before it merges."""

    max_new_tokens: Positive = 128
    """Longest answer, in tokens."""

    @property
    def refuses(self) -> bool:
        """Whether a result may be refused."""
        return bool(self.capabilities) or self.gate != Gate()

    @model_validator(mode="after")
    def what_is_scored_is_asked(self) -> "Evaluate":
        """Refuse metrics of answers that nobody asks for."""
        if self.metrics and not self.answers:
            message = "`metrics` score answers, and `answers` is 0: ask for some, or name no metrics"
            raise ValueError(message)
        return self
