"""The recipe's `evaluate`: what is measured, what answers are scored by, what the result must be."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from luthier.recipe.methods import Named, Positive, UpToOne
from luthier.recipe.metrics import Metric
from luthier.recipe.options import Options


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
